//! Carrying out the commands: addresses open and close, workers come and go.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::accept_loop::AcceptLoop;
use super::bind;
use super::closing::{End, Last};
use super::command::{Command, Holder, Joining, ListenFailure, Listening, Report};
use super::datagrams::Key;
use super::group::{Group, Share};
use super::sharing::{Asker, Decision, Founder, Reservation};
use super::siblings::OPENING;
use super::worker_channel::{Taken, WorkerChannel};
use super::worker_table::Stage;
use crate::event::Level;
use crate::ipc::control::{Address, Datagram, GroupId, ListenOptions, SocketId};
use crate::metrics::layout::header;
use crate::model::WorkerId;
use crate::sys::fds;

/// Another server of this cluster has the address.
fn taken(address: &Address) -> ListenFailure {
    ListenFailure { holder: Holder::Ours, ..ListenFailure::new(libc::EADDRINUSE, "listen", address.host()) }
}

impl AcceptLoop {
    pub fn carry_out(&mut self, command: Command, now: Duration) {
        match command {
            Command::Listen { address, options, asker, reply } => {
                // Nobody waits any more when the asking worker died meanwhile.
                let _ = reply.send(self.listen(address, options, asker));
            }
            Command::Join { worker, channel, far_end, page } => {
                let channel = WorkerChannel::new(worker, channel, far_end, page);
                self.watch_handoffs(&channel);
                self.workers.join(channel);
            }
            Command::Succeed { worker } => self.succeed(worker),
            Command::Started => self.started(now),
            Command::Promote { worker } => self.promote(worker, now),
            Command::Serve { worker, group, plain_http } => {
                self.serve(worker, group, plain_http, now);
            }
            Command::ConnectionLimit { worker, group, upto } => {
                let Some((_, channel)) = self.workers.find(worker) else { return };
                if channel.connection_limits.set(group, upto) {
                    // It accepts by itself no more, or again.
                    self.sync_routing();
                    self.consider_mode(group, 0, now);
                }
                self.serve_queues(now);
            }
            Command::Close { worker, group, reply } => {
                if self.is_last(group, worker) {
                    return self.close_last(group, Last { worker, reply }, now);
                }
                self.close(worker, group, now);
                let _ = reply.send(self.is_served(group));
            }
            Command::Bind { datagram, worker, reply } => {
                let _ = reply.send(self.bind(&datagram, worker));
            }
            Command::Unbind { socket, worker, reply } => {
                self.datagrams.release(socket, worker);
                if let Some((_, channel)) = self.workers.find(worker) {
                    channel.first_sockets.remove(&socket);
                }
                self.join_groups();
                let _ = reply.send(());
            }
            Command::Hear { socket, membership, worker, reply } => {
                self.joining.push(Joining { socket, membership, holder: (worker), reply });
                self.join_groups();
            }
            Command::Part { socket, membership, worker, reply } => {
                let _ = reply.send(self.datagrams.part(socket, &membership, worker));
            }
            Command::Left { socket, membership, worker } => {
                self.datagrams.left(socket, &membership, worker);
                self.join_groups();
            }
            Command::FdPressure { worker, fd_pressure } => {
                if let Some((_, channel)) = self.workers.find(worker) {
                    channel.fd_pressure = fd_pressure;
                    // Others may have room for what it cannot take.
                    let unread = if fd_pressure { channel.take_all(now) } else { Taken::default() };
                    self.sync_routing();
                    self.place_again(unread, now);
                }
            }
            Command::Inspected { worker } => {
                if let Some((_, channel)) = self.workers.find(worker) {
                    channel.inspected = true;
                }
            }
            Command::Exclude { worker, exclude } => self.exclude(worker, exclude, now),
            Command::Drain { worker } => {
                if let Some(channel) = self.current(worker) {
                    // What it has not read yet it still reads, before it closes its doors.
                    channel.leaving = true;
                    self.sync_routing();
                }
            }
            Command::Leave { worker } => {
                self.datagrams.leaves(worker);
                if let Some(channel) = self.current(worker) {
                    channel.leaving = true;
                    self.orphan_shares(worker.slot);
                    self.sync_routing();
                }
            }
            Command::Dead { worker } => self.on_exit(worker, now),
            Command::Release { group, gone } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.released = Some(gone);
                }
                self.forget_released();
            }
            Command::Retire { gone } => self.retire(gone, now),
            Command::Shutdown => self.end(now),
        }
    }

    fn exclude(&mut self, worker: WorkerId, exclude: bool, now: Duration) {
        let others = self
            .workers
            .serving()
            .filter(|channel| channel.id.slot != worker.slot)
            .any(WorkerChannel::is_well);
        let Some((_, channel)) = self.workers.find(worker) else { return };
        channel.excluded = exclude;
        let unread = if exclude && others {
            channel.ask_for(channel.connections());
            channel.take_all(now)
        } else {
            Taken::default()
        };
        self.sync_routing();
        self.place_again(unread, now);
        self.serve_queues(now);
    }

    pub fn current(&mut self, worker: WorkerId) -> Option<&mut WorkerChannel> {
        self.channel_mut(worker.slot).filter(|channel| channel.id == worker)
    }

    fn listen(
        &mut self,
        address: Address,
        options: ListenOptions,
        asker: Option<WorkerId>,
    ) -> Result<Listening, ListenFailure> {
        let now = self.now();
        self.reservations.retain(|keep_alive| !keep_alive.is_over(now));
        let slot = asker.map(|worker| worker.slot);
        if self.reservations.iter().any(|keep_alive| keep_alive.keeps_out(&address, slot)) {
            return Err(taken(&address));
        }
        let open = self.groups.values().find(|group| group.answers_to(&address)).map(|group| group.id);
        let id = match open {
            Some(id) => {
                self.join(id, &address, options, asker)?;
                id
            }
            None if options.joins_only => return Err(taken(&address)),
            None => self.open(address, options, asker)?,
        };
        let Some(group) = self.groups.get_mut(&id) else {
            return Err(ListenFailure::new(libc::EINVAL, "listen", None));
        };
        let listener = match slot {
            None => None,
            Some(slot) => {
                // Without one of its own it gets a copy of the group's, for its looks: the accept thread alone
                // accepts there, or the strategy and every limit would be passed by.
                let copied = group
                    .listener(Some(slot))
                    .or(group.primary_listener.as_ref())
                    .map_or(Err(Errno::BADF), |listener| {
                        rustix::io::fcntl_dupfd_cloexec(listener.as_fd(), 0)
                    });
                Some(copied.map_err(|errno| ListenFailure::new(errno.raw_os_error(), "listen", None))?)
            }
        };
        let own = slot.is_some_and(|slot| group.listener(Some(slot)).is_some());
        if let Some(worker) = asker
            && let Some((_, channel)) = self.workers.find(worker)
        {
            channel.asked.insert(id);
        }
        Ok(Listening {
            group: id,
            host: group.local.map(|local| local.ip().to_string()),
            port: group.local.map_or(0, |local| local.port()),
            listener,
            own,
        })
    }

    /// The address is open: may a server of the asker's share it?
    fn join(
        &mut self,
        id: GroupId,
        address: &Address,
        options: ListenOptions,
        asker: Option<WorkerId>,
    ) -> Result<(), ListenFailure> {
        let now = self.now();
        let asker = self.asker(asker, Some(id), options);
        let Some(group) = self.groups.get(&id) else { return Ok(()) };
        let holder = match group.founder.decide(asker, now) {
            Decision::Shares => return bind::permit(address, options.mode),
            Decision::Taken => Holder::Ours,
            Decision::Later => Holder::OursPerhaps,
        };
        let host = group.local.map(|local| local.ip().to_string());
        Err(ListenFailure { holder, ..ListenFailure::new(libc::EADDRINUSE, "listen", host) })
    }

    fn asker(&mut self, worker: Option<WorkerId>, id: Option<GroupId>, options: ListenOptions) -> Asker {
        let Some(worker) = worker else { return Asker::Primary };
        let now = self.now();
        let ready_for = self
            .workers
            .find(worker)
            .filter(|(place, _)| *place != Stage::Starting)
            .map(|(_, channel)| now.saturating_sub(channel.promoted));
        let group = id.and_then(|id| self.groups.get(&id));
        let was_here = group.is_some_and(|group| group.share(worker.slot) != Share::None);
        Asker::worker(ready_for, options, was_here)
    }

    fn open(
        &mut self,
        address: Address,
        options: ListenOptions,
        asker: Option<WorkerId>,
    ) -> Result<GroupId, ListenFailure> {
        let by_primary = asker.is_none();
        let opener = self.asker(asker, None, options);
        let founder = Founder::of(&address, opener, self.now());
        let bound = bind::open(&address, options, self.room_for_members(&address))?;
        if self.fd_budget.is_near(bound.primary_listener.as_raw_fd()) {
            // What it could not accept would wait for good, and so would the connections of all other addresses.
            return Err(ListenFailure::new(libc::EMFILE, "listen", None));
        }
        if let Some(note) = &bound.note {
            let text = format!("Connections go through the primary: {note}");
            (self.report)(Report::Notice(Level::Warn, text));
        }
        let id = self.next_group;
        self.next_group += 1;
        let for_all = matches!(address, Address::Tcp { host: None, .. });
        let held = self.holds_push();
        let mut group = Group::new(id, address, bound, self.effective_strategy(), held);
        group.is_primarys = by_primary;
        group.opened_by_primary = by_primary && for_all;
        group.founder = founder;
        group.is_late = opener.is_late();
        self.register_group(&group)
            .map_err(|errno| ListenFailure::new(errno.raw_os_error(), "listen", None))?;
        let port = group.local.map_or(0, |local| local.port());
        if port != 0 && self.memory.get(header::PORT) == 0 {
            self.memory.set(header::PORT, u64::from(port));
            (self.report)(Report::Port(port));
        }
        self.groups.insert(id, group);
        self.sync_routing();
        Ok(id)
    }

    /// How many listeners for slots the address may have.
    fn room_for_members(&mut self, address: &Address) -> u16 {
        if !matches!(address, Address::Tcp { .. }) {
            return 0;
        }
        let wanted = self.settings.slots;
        let held = self.groups.values().map(|group| group.members.len() as u64).sum();
        let members = self.fd_budget.members(wanted, held, fds::open_count().unwrap_or(0));
        if members < wanted && !std::mem::replace(&mut self.said_few_members, true) {
            let text = "Connections to further addresses go through the primary: listeners for each worker would \
                        take too many file descriptors. Raise the limit of open files (ulimit -n) if they are many.";
            (self.report)(Report::Notice(Level::Warn, text.to_owned()));
        }
        members
    }

    /// Answers who wants to hear multicast groups, but for groups that another is just leaving.
    pub fn join_groups(&mut self) {
        for joining in std::mem::take(&mut self.joining) {
            match self.datagrams.join(joining.socket, &joining.membership, joining.holder) {
                Some(first) => drop(joining.reply.send(first)),
                None => self.joining.push(joining),
            }
        }
    }

    fn bind(&mut self, wanted: &Datagram, holder: WorkerId) -> Result<(SocketId, OwnedFd), ListenFailure> {
        let failed =
            |errno: Errno| ListenFailure::new(errno.raw_os_error(), "bind", Some(wanted.host.clone()));
        // It died while the address was waited for.
        self.workers.find(holder).ok_or_else(|| failed(Errno::CONNABORTED))?;
        let at = bind::datagram_address(wanted).map_err(failed)?;
        let key = Key { at, ipv6_only: wanted.ipv6_only, nth: wanted.nth };
        let fd_budget = self.fd_budget;
        let has_port = self.datagrams.has_port(wanted.port);
        let (id, socket) = self.datagrams.bind(key, holder, || {
            let socket = bind::datagram(at, wanted).map_err(|errno| match failed(errno) {
                failure if has_port => ListenFailure { holder: Holder::Ours, ..failure },
                failure => failure,
            })?;
            // Short-lived sockets may come by the hundred; connections come first.
            if fd_budget.leaves_no_room(socket.as_raw_fd()) { Err(failed(Errno::MFILE)) } else { Ok(socket) }
        })?;
        let copy = rustix::io::fcntl_dupfd_cloexec(socket.as_fd(), 0);
        let copy = copy.inspect_err(|_| self.datagrams.release(id, holder)).map_err(failed)?;
        let now = self.now();
        if let Some((place, channel)) = self.workers.find(holder)
            && (place == Stage::Starting || now.saturating_sub(channel.promoted) < OPENING)
        {
            channel.first_sockets.insert(id);
        }
        Ok((id, copy))
    }

    fn serve(&mut self, worker: WorkerId, id: GroupId, plain_http: bool, now: Duration) {
        let Some((place, channel)) = self.workers.find(worker) else { return };
        channel.asked.remove(&id);
        if place == Stage::Starting {
            channel.prepared.insert(id, plain_http);
        }
        let Some(group) = self.groups.get_mut(&id).filter(|_| place == Stage::Serving) else { return };
        group.set_share(worker.slot, Share::Open);
        group.plain_http = plain_http;
        self.sync_routing();
        self.consider_mode(id, 0, now);
        self.serve_queues(now);
    }

    fn close(&mut self, worker: WorkerId, id: GroupId, now: Duration) {
        let Some((place, channel)) = self.workers.find(worker) else { return };
        channel.asked.remove(&id);
        if place != Stage::Serving {
            // The slot's doors are another's; only what lies in its own channel would find this one closed.
            channel.prepared.remove(&id);
            let unread = channel.take_all(now);
            channel.connection_limits.forget(id);
            self.place_again(unread, now);
            return self.close_untouched(id, now);
        }
        let Some(group) = self.groups.get_mut(&id) else { return };
        // The door of a worker that leaves waits for its replacement.
        if group.share(worker.slot) != Share::Orphaned {
            group.set_share(worker.slot, Share::Closed);
        }
        let abandoned = self.is_abandoned(id);
        self.sync_routing();
        // What lies in its channel for this door would find it closed; the rest comes round again.
        let unread = self.current(worker).map(|channel| {
            let unread = channel.take_all(now);
            channel.connection_limits.forget(id);
            unread
        });
        self.place_again(unread.unwrap_or_default(), now);
        if abandoned {
            self.reserve(id, worker.slot, now);
            self.begin_to_close(id, End::Unserved, now);
        }
        self.forget_released();
        self.serve_queues(now);
    }

    /// Does nobody serve the address any more when this worker has closed its server? One that the program owns stays
    /// open for others, with what is in its queue.
    fn is_last(&mut self, id: GroupId, worker: WorkerId) -> bool {
        let Some((Stage::Serving, channel)) = self.workers.find(worker) else { return false };
        channel.asked.remove(&id);
        let Some(group) = self.groups.get(&id) else { return false };
        let others = || {
            (0..group.shares.len() as u16)
                .filter(|other| *other != worker.slot)
                .map(|other| group.share(other))
        };
        let is_over = if group.released.is_some() {
            others().all(|share| share != Share::Open)
        } else {
            others().all(|share| matches!(share, Share::Closed | Share::None)) && !self.is_awaited(id)
        };
        let is_programs = matches!(group.address, Address::Descriptor { .. });
        group.share(worker.slot) == Share::Open && is_over && !is_programs
    }

    /// Nobody serves the address any more: a client is refused by the kernel, as with one process.
    fn close_last(&mut self, id: GroupId, last: Last, now: Duration) {
        self.reserve(id, last.worker.slot, now);
        self.begin_to_close(id, End::Last(last), now);
    }

    fn reserve(&mut self, id: GroupId, slot: u16, now: Duration) {
        let group = self.groups.get(&id);
        let keep_alive = group.and_then(|group| Reservation::after(&group.address, group.founder, slot, now));
        self.reservations.extend(keep_alive);
    }

    /// Is a server of some worker there, or expected?
    fn is_served(&self, id: GroupId) -> bool {
        let waits =
            |group: &Group| group.shares.iter().any(|share| matches!(share, Share::Open | Share::Orphaned));
        self.groups.get(&id).is_some_and(waits)
    }

    /// A worker that starts has closed its server: where nobody else has one, none will come.
    fn close_untouched(&mut self, id: GroupId, now: Duration) {
        if self.groups.get(&id).is_some_and(Group::is_untouched) && !self.is_awaited(id) {
            self.begin_to_close(id, End::Unserved, now);
        }
    }

    /// A worker takes its slot over. Its servers stand ready behind the same listener; what its predecessor has
    /// not read comes round again, and what it has read it finishes.
    fn promote(&mut self, worker: WorkerId, now: Duration) {
        let Some(channel) = self.workers.promote(worker) else { return };
        channel.promoted = now;
        self.datagrams.serves(worker.slot, now);
        let requests = self.all_requests();
        if let Some(channel) = self.current(worker) {
            channel.requests_then = requests;
        }
        let Some(channel) = self.current(worker) else { return };
        let prepared = std::mem::take(&mut channel.prepared);
        for group in self.groups.values_mut() {
            match prepared.get(&group.id) {
                Some(&plain_http) => {
                    group.set_share(worker.slot, Share::Open);
                    group.plain_http = plain_http;
                }
                // A program listens on one address after the other: its next ones are expected.
                None if group.share(worker.slot) == Share::Open => {
                    group.set_share(worker.slot, Share::Orphaned)
                }
                None => {}
            }
        }
        self.sync_routing();
        let mut unread = Taken::default();
        for draining in
            self.workers.others_mut().filter(|other| other.id.slot == worker.slot && other.leaving)
        {
            unread.append(draining.take_all(now));
        }
        self.place_again(unread, now);
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        ids.into_iter().for_each(|id| self.consider_mode(id, 0, now));
        self.serve_queues(now);
    }

    /// Every program closed its server: nobody will serve this address.
    fn is_abandoned(&self, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(Group::is_abandoned) && !self.is_awaited(id)
    }

    /// A worker that gets ready has a server there, or one has just got a share for one.
    fn is_awaited(&self, id: GroupId) -> bool {
        self.workers.all().any(|channel| channel.prepared.contains_key(&id) || channel.asked.contains(&id))
    }

    /// Closes an address that nobody serves, for the workers that still hold a copy of a listener too.
    pub fn shut_group(&mut self, id: GroupId) {
        self.groups.get(&id).into_iter().for_each(Group::shut_down);
        self.close_group(id);
    }

    /// Forgets an address that nobody serves.
    pub fn close_group(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            let waiting = std::mem::take(&mut group.waiting);
            let peeked = self.peeks_of(id);
            peeked.into_iter().chain(waiting).for_each(|connection| self.refuse(connection));
        }
        if let Some(group) = self.groups.remove(&id) {
            self.deregister_group(&group);
        }
    }

    /// The slot's worker serves no more, and its replacement is expected.
    pub fn orphan_shares(&mut self, slot: u16) {
        for group in self.groups.values_mut().filter(|group| group.share(slot) == Share::Open) {
            group.set_share(slot, Share::Orphaned);
        }
        self.forget_released();
    }

    /// An address that the primary's program closed ends with the last worker that serves it.
    fn forget_released(&mut self) {
        let serves = |group: &Group, slot: usize| group.share(slot as u16) == Share::Open;
        let is_over = |group: &&Group| {
            group.released.is_some() && !(0..group.shares.len()).any(|slot| serves(group, slot))
        };
        let over: Vec<GroupId> = self.groups.values().filter(is_over).map(|group| group.id).collect();
        let now = self.now();
        over.into_iter().for_each(|id| self.begin_to_close(id, End::Unserved, now));
    }
}
