//! The addresses that the cluster serves: their listeners, which of them wake the accept thread, which process accepts
//! from which, the steering program, and closing. It returns connections; their placement is decided elsewhere.
//!
//! The thread is woken by each group's own listener and by those of slots without an accepting worker; by none while
//! few file descriptors are left. A listener is removed from the epoll set before it is closed, because a worker's copy
//! of it would keep waking the thread.

mod bind;
mod closing;
mod group;
mod handshakes;
mod mode;
mod shares;
mod sharing;
mod steering;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::sync::oneshot;

use self::closing::ClosingAll;
use self::group::{Group, Opener};
use self::sharing::{Decision, Founder, Requester, Reservation};
use super::address;
use super::command::{Holder, ListenFailure, Listening, Report};
use super::connection::Connection;
use super::fd_budget::FdBudget;
use super::poller::Poller;
use super::settings::Settings;
use super::workers::WorkerState;
use crate::event::{Level, Subject};
use crate::ipc::control::{Address, GroupId, ListenOptions};
use crate::model::WorkerId;
use crate::sys::fds;

pub use self::closing::{End, Last, MAX_QUEUED};
pub use self::group::AddressView;
pub use self::shares::{Share, Shares};

/// How long accepting pauses when few file descriptors are left.
const REST: Duration = Duration::from_millis(10);

/// A worker that wants to listen.
#[derive(Clone, Copy)]
pub struct Applicant {
    pub slot: u16,
    /// How long it has been ready; None: it is not.
    pub ready_for: Option<Duration>,
}

/// The group of an address on which the worker may listen.
pub struct Found {
    pub group: GroupId,
    /// It was opened just now.
    pub is_new: bool,
    /// 0 for unix sockets.
    pub port: u16,
}

/// The result of one accept.
pub enum Accepted {
    Connection {
        connection: Connection,
        /// Few file descriptors are left.
        is_last: bool,
    },
    /// The client has disconnected already; there may be others.
    Gone,
    /// No file descriptor is left for a queued connection.
    Short,
    None,
}

/// The consequence for the address when a worker's server closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    ServedByOthers,
    /// Every program has closed its server: no worker will serve there.
    Abandoned,
}

pub struct Listeners {
    settings: Arc<Settings>,
    fd_budget: FdBudget,
    groups: BTreeMap<GroupId, Group>,
    next: GroupId,
    /// Ports that workers have probed a moment ago.
    reservations: Vec<Reservation>,
    /// Accepting is paused until then for lack of file descriptors.
    resting_until: Option<Duration>,
    said_out_of_descriptors: bool,
    /// It was logged that an address has no slots' listeners because of too few file descriptors.
    said_few_members: bool,
    /// Every group is in push mode, because connections may have to be refused.
    is_overloaded: bool,
    closing_all: Option<ClosingAll>,
    reports: Vec<Report>,
}

impl Listeners {
    pub fn new(settings: Arc<Settings>, fd_budget: FdBudget) -> Self {
        Self {
            settings,
            fd_budget,
            groups: BTreeMap::new(),
            next: 1,
            reservations: Vec::new(),
            resting_until: None,
            said_out_of_descriptors: false,
            said_few_members: false,
            is_overloaded: false,
            closing_all: None,
            reports: Vec::new(),
        }
    }

    /// Reports since the last call.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    // Queries about addresses.

    pub fn ids(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    pub fn has(&self, id: GroupId) -> bool {
        self.groups.contains_key(&id)
    }

    /// Whether drover may send HTTP responses to clients of the address.
    pub fn is_plain_http(&self, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(Group::is_plain_http)
    }

    /// The shares of the address.
    pub fn shares(&self, id: GroupId) -> Option<&Shares> {
        self.groups.get(&id).map(Group::shares)
    }

    /// Whether the slot's worker serves plain HTTP anywhere.
    pub fn serves_http(&self, slot: u16) -> bool {
        self.groups.values().any(|group| group.is_plain_http() && group.shares().is_open(slot))
    }

    /// Groups that at least one of these slots' workers serves.
    pub fn served_by(&self, slots: &[u16]) -> BTreeSet<GroupId> {
        let served = |group: &&Group| slots.iter().any(|slot| group.shares().is_open(*slot));
        self.groups.values().filter(served).map(Group::id).collect()
    }

    /// Whether a worker serves there or is expected to.
    pub fn is_served(&self, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(|group| group.shares().any_served())
    }

    /// Every address, for `services`. `slots`: the cluster's number of slots.
    pub fn addresses(&self, slots: usize) -> impl Iterator<Item = AddressView<'_>> {
        self.groups.values().map(move |group| group.view(slots))
    }

    /// Whether a listener is too busy for wake-ups.
    pub fn is_busy(&self) -> bool {
        self.groups.values().any(|group| group.mode().is_busy())
    }

    pub fn has_direct(&self) -> bool {
        self.groups.values().any(|group| group.mode().is_direct())
    }

    /// By slot, of those for which `is_asked` is true: whether connections are queued at a listener that the slot's
    /// worker polls itself.
    pub fn queued(&self, slots: usize, is_asked: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut queued = vec![false; slots];
        let is_asked = |slot| slot < slots && is_asked(slot);
        let polled = self.groups.values().flat_map(|group| group.polled_by_workers(is_asked));
        let (of, mut polled): (Vec<usize>, Vec<PollFd<'_>>) = polled.unzip();
        // One call for all of them.
        if !polled.is_empty() && poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            for (slot, listener) in of.into_iter().zip(&polled) {
                queued[slot] |= !listener.revents().is_empty();
            }
        }
        queued
    }

    // Opening and sharing.

    /// The address's group, which is opened if necessary, if `options` allow it.
    ///
    /// # Errors
    /// Another server has the address, or the kernel refuses it.
    pub fn find_or_open(
        &mut self,
        address: Address,
        options: ListenOptions,
        applicant: Option<Applicant>,
        poller: &Poller,
        now: Duration,
    ) -> Result<Found, ListenFailure> {
        self.reservations.retain(|reservation| !reservation.is_over(now));
        let slot = applicant.map(|applicant| applicant.slot);
        if self.reservations.iter().any(|reservation| reservation.keeps_out(&address, slot)) {
            return Err(taken(&address));
        }
        match self.groups.values().find(|group| group.answers_to(&address)) {
            Some(group) => {
                join(group, &address, options, applicant, now)?;
                Ok(Found { group: group.id(), is_new: false, port: group.port() })
            }
            None if options.joins_only => Err(taken(&address)),
            None => self.open(address, options, applicant, poller, now),
        }
    }

    fn open(
        &mut self,
        address: Address,
        options: ListenOptions,
        applicant: Option<Applicant>,
        poller: &Poller,
        now: Duration,
    ) -> Result<Found, ListenFailure> {
        let requester = requester(applicant, options, false);
        let opener = Opener {
            founder: Founder::of(&address, requester, now),
            is_primary: applicant.is_none(),
            is_late: requester.is_late(),
        };
        let bound = bind::open(&address, options, self.room_for_members(&address))?;
        if self.fd_budget.is_near(bound.primary_listener.as_raw_fd()) {
            // Otherwise its connections and those of all other addresses would wait forever.
            return Err(ListenFailure::new(libc::EMFILE, "listen", None));
        }
        if let Some(note) = &bound.note {
            let text = format!("Connections go through the primary: {note}");
            self.reports.push(Report::notice(Level::Warn, text));
        }
        let id = self.next;
        self.next += 1;
        let group = Group::new(id, address, bound, opener, self.settings.holds_push());
        if self.resting_until.is_none() {
            group
                .register(poller)
                .map_err(|errno| ListenFailure::new(errno.raw_os_error(), "listen", None))?;
        }
        let port = group.port();
        self.groups.insert(id, group);
        Ok(Found { group: id, is_new: true, port })
    }

    /// How many listeners for slots the address may have.
    fn room_for_members(&mut self, address: &Address) -> u16 {
        if !matches!(address, Address::Tcp { .. }) {
            return 0;
        }
        let wanted = self.settings.slots;
        let held = self.groups.values().map(|group| group.members() as u64).sum();
        let members = self.fd_budget.members(wanted, held, fds::open_count().unwrap_or(0));
        if members < wanted && !std::mem::replace(&mut self.said_few_members, true) {
            let text = "Connections to further addresses go through the primary: listeners for each worker would \
                        take too many file descriptors. Raise the limit of open files (ulimit -n) if they are many.";
            self.reports.push(Report::notice(Level::Warn, text));
        }
        members
    }

    /// A listener for the slot, if a slot requests it.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn hand_out(&self, id: GroupId, slot: Option<u16>) -> Result<Listening, ListenFailure> {
        let Some(group) = self.groups.get(&id) else {
            return Err(ListenFailure::new(libc::EINVAL, "listen", None));
        };
        group.hand_out(slot)
    }

    // Serving workers.

    /// The slot's worker serves there. `plain_http`: drover may send HTTP responses.
    pub fn serve(&mut self, id: GroupId, slot: u16, plain_http: bool) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.serve(slot, plain_http);
        }
    }

    /// The slot has a new worker, which serves the addresses that it has `prepared`. Its predecessor's other addresses
    /// are expected: a program listens on one address after the other.
    pub fn take_over(
        &mut self,
        slot: u16,
        prepared: &BTreeMap<GroupId, bool>,
        predecessor: Option<WorkerId>,
    ) {
        for group in self.groups.values_mut() {
            match (prepared.get(&group.id()), predecessor) {
                (Some(&plain_http), _) => group.serve(slot, plain_http),
                (None, Some(predecessor)) => group.leave(predecessor),
                (None, None) => {}
            }
        }
    }

    /// The worker drains, and its replacement is expected.
    pub fn leave(&mut self, worker: WorkerId) {
        self.groups.values_mut().for_each(|group| group.leave(worker));
    }

    /// The slot's worker no longer serves, and its replacement is expected.
    pub fn orphan(&mut self, slot: u16) {
        for group in self.groups.values_mut().filter(|group| group.shares().is_open(slot)) {
            group.set_share(slot, Share::Orphaned);
        }
    }

    /// The draining worker that keeps serving there, if no other worker serves.
    pub fn keeper(&self, id: GroupId) -> Option<WorkerId> {
        self.groups.get(&id).and_then(Group::keeper)
    }

    /// A draining worker no longer serves there.
    pub fn end_keeping(&mut self, id: GroupId, worker: WorkerId) {
        self.groups.get_mut(&id).into_iter().for_each(|group| {
            group.end_keeping(worker);
        });
    }

    /// The worker has ended; returns the addresses that it was the last to serve.
    pub fn left(&mut self, worker: WorkerId) -> Vec<GroupId> {
        let left = self.groups.values_mut().filter_map(|group| group.end_keeping(worker).then(|| group.id()));
        left.collect()
    }

    /// The slot's worker has closed its server. `is_awaited`: another worker is expected there.
    pub fn close_share(&mut self, id: GroupId, slot: u16, is_awaited: bool) -> Option<Closed> {
        let group = self.groups.get_mut(&id)?;
        // The share of a draining worker waits for its replacement.
        if group.shares().of(slot) != Share::Orphaned {
            group.set_share(slot, Share::Closed);
        }
        let is_abandoned = group.shares().is_abandoned() && !is_awaited && !group.is_kept();
        Some(if is_abandoned { Closed::Abandoned } else { Closed::ServedByOthers })
    }

    /// Whether the slot's worker is the last that serves the address. A socket that the program owns stays open with
    /// its queue.
    pub fn is_last(&self, id: GroupId, slot: u16, is_awaited: bool) -> bool {
        let Some(group) = self.groups.get(&id) else { return false };
        let mut others = group.shares().beside(slot);
        let is_over = if group.is_released() {
            others.all(|share| share != Share::Open)
        } else {
            others.all(|share| matches!(share, Share::Closed | Share::None)) && !is_awaited
        };
        group.shares().is_open(slot) && is_over && !group.is_programs() && !group.is_kept()
    }

    /// A worker opened it, but no worker serves or has served there.
    pub fn is_untouched(&self, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(Group::is_untouched)
    }

    /// The slot's worker has closed the last server there. A port that it only probed is reserved for it for a moment.
    pub fn reserve(&mut self, id: GroupId, slot: u16, now: Duration) {
        let group = self.groups.get(&id);
        let after = group.and_then(|group| Reservation::after(group.address(), group.founder(), slot, now));
        self.reservations.extend(after);
    }

    /// The primary's program closed the address. `gone` is dropped when it has closed.
    pub fn release(&mut self, id: GroupId, gone: oneshot::Sender<()>) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.release(gone);
        }
    }

    /// Addresses that the primary's program closed and that no worker serves any more.
    pub fn released(&self) -> Vec<GroupId> {
        let is_over = |group: &&Group| group.is_released() && !group.shares().any_open();
        self.groups.values().filter(is_over).map(Group::id).collect()
    }

    // Accepting.

    /// After any change of shares, workers or modes: updates who accepts from which listener, and the steering program.
    pub fn sync(&mut self, workers: &[WorkerState], poller: &Poller) {
        for id in self.ids() {
            self.sync_group(id, workers, poller);
        }
    }

    pub fn sync_group(&mut self, id: GroupId, workers: &[WorkerState], poller: &Poller) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.own_queues(workers, poller, self.resting_until.is_some(), self.is_overloaded);
        if let Err(text) = group.steer(workers, &self.settings)
            && group.mode_mut().give_up_steering()
        {
            self.reports.push(Report::notice(Level::Warn, text));
            // Without a program the kernel spreads connections over all members; then the primary accepts those of
            // every slot.
            let _ = group.steer(workers, &self.settings);
        }
    }

    /// The settings from now on; the modes of the groups have to be considered.
    pub fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Whether all workers are saturated; every group then has to be synced and its mode considered.
    pub fn set_overloaded(&mut self, is_overloaded: bool) {
        self.is_overloaded = is_overloaded;
    }

    /// Updates the group's mode; if it has changed, the group has to be synced. `accepted`: connections that the accept
    /// thread has just accepted.
    pub fn consider_mode(&mut self, id: GroupId, accepted: u32, now: Duration) -> bool {
        let Self { groups, settings, .. } = self;
        groups.get_mut(&id).is_some_and(|group| group.mode_mut().consider(accepted, settings, now))
    }

    /// Counts connections that workers have accepted themselves. Returns the groups whose modes have changed.
    pub fn count_direct(&mut self, accepted: u64, now: Duration) -> Vec<GroupId> {
        let Self { groups, settings, .. } = self;
        let changed = groups.values_mut().filter_map(|group| {
            let mode = group.mode_mut();
            let has_changed = mode.count_direct(accepted) && mode.consider(0, settings, now);
            has_changed.then(|| group.id())
        });
        changed.collect()
    }

    /// Accepts one connection from the group's own listener, or from a slot's.
    pub fn accept(&mut self, id: GroupId, slot: Option<u16>, poller: &Poller, now: Duration) -> Accepted {
        let Some(group) = self.groups.get(&id) else { return Accepted::None };
        let Some(listener) = group.listener(slot) else { return Accepted::None };
        match acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((fd, client)) => {
                let is_last = self.fd_budget.is_near(fd.as_raw_fd());
                let connection = Connection::new(fd, id, address::of_client(client), now);
                Accepted::Connection { connection, is_last }
            }
            Err(Errno::INTR | Errno::CONNABORTED) => Accepted::Gone,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Accepted::Short,
            // A closing listener was shut down here.
            Err(Errno::INVAL) if !group.is_closing() => {
                // Another process shut it down (it is shared by `listen({ fd })`): it would wake the thread endlessly.
                poller.remove(listener);
                let text =
                    "A listening socket was shut down by another process: it gets no more connections.";
                self.reports.push(Report::notice(Level::Error, text));
                Accepted::None
            }
            // None left, or the connection was aborted.
            Err(_) => Accepted::None,
        }
    }

    /// Pauses accepting for lack of file descriptors: connections wait in the kernel's queues.
    pub fn rest(&mut self, poller: &Poller, now: Duration) {
        self.groups.values().for_each(|group| group.deregister(poller));
        self.resting_until = Some(now + REST);
        if !std::mem::replace(&mut self.said_out_of_descriptors, true) {
            let text = "The primary is short of file descriptors: new connections wait. Raise the limit of open \
                        files (ulimit -n).";
            let subject = Subject::DescriptorsShort { worker: None };
            self.reports.push(Report::named(Level::Error, text, subject));
        }
    }

    pub fn is_resting(&self) -> bool {
        self.resting_until.is_some()
    }

    /// Resumes accepting, if it is due.
    pub fn resume(&mut self, poller: &Poller, now: Duration) {
        if self.resting_until.is_some_and(|until| until <= now) {
            self.resting_until = None;
            if self.groups.values().try_for_each(|group| group.register(poller)).is_err() {
                self.rest(poller, now);
            }
        }
    }

    // Closing.

    /// The cluster stops. `gone` is dropped when every address has closed.
    pub fn stop(&mut self, gone: oneshot::Sender<()>, now: Duration) {
        self.closing_all.get_or_insert_with(|| ClosingAll::new(now)).add_waiting(gone);
    }

    /// Starts closing the address: new handshakes are dropped, and `close_look` says when it closes. Returns whether
    /// there is anything to close.
    pub fn begin_to_close(&mut self, id: GroupId, end: End, now: Duration) -> bool {
        let Some(group) = self.groups.get_mut(&id).filter(|group| group.is_open()) else { return false };
        group.close(end, now);
        true
    }

    /// Addresses that are closing.
    pub fn closing(&self) -> Vec<GroupId> {
        self.groups.values().filter(|group| group.is_closing()).map(Group::id).collect()
    }

    pub fn closes_in(&self, now: Duration) -> Option<Duration> {
        let closing =
            self.groups.values().filter_map(|group| group.closing().map(|closing| closing.look_at()));
        let closing_all = self.closing_all.iter().map(ClosingAll::until);
        closing.chain(closing_all).map(|at| at.saturating_sub(now)).min()
    }

    /// Checks an address that closes. Some, if its queues have to be emptied now; true: it closes then, even with
    /// pending handshakes.
    pub fn close_look(&mut self, id: GroupId, now: Duration) -> Option<bool> {
        self.groups.get_mut(&id)?.closing_mut()?.look(now)
    }

    /// Whether connections are queued at the address or handshakes pending, as far as the kernel reports them.
    pub fn is_expecting(&self, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(Group::is_expecting)
    }

    /// The listeners whose queues are emptied before the address closes. A listener of the program stays open with its
    /// queue, unless the cluster stops.
    pub fn emptied(&self, id: GroupId) -> Vec<Option<u16>> {
        let Some(group) = self.groups.get(&id) else { return Vec::new() };
        let stops = group.closing().is_some_and(closing::Closing::is_stop);
        if group.is_programs() && !stops {
            return Vec::new();
        }
        std::iter::once(None).chain((0..group.members() as u16).map(Some)).collect()
    }

    /// The address closes now; returns the reason.
    pub fn end_of(&mut self, id: GroupId) -> Option<End> {
        self.groups.get_mut(&id)?.take_closing()
    }

    /// Releases the address. The group is kept for the connections accepted there.
    pub fn release_address(&mut self, id: GroupId, poller: &Poller) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.deregister(poller);
            group.shut_down();
            group.retire();
        }
    }

    /// Refuses clients of the address, even if workers still hold a copy of a listener.
    pub fn shut_down(&self, id: GroupId) {
        self.groups.get(&id).into_iter().for_each(Group::shut_down);
    }

    /// Removes an address that no worker serves.
    pub fn remove(&mut self, id: GroupId, poller: &Poller) {
        if let Some(group) = self.groups.remove(&id) {
            group.deregister(poller);
        }
    }

    /// Whether the cluster stops and every address has closed. `waits`: accepted connections still wait for a worker,
    /// until their deadline.
    pub fn has_stopped(&self, waits: bool, now: Duration) -> bool {
        let Some(closing_all) = &self.closing_all else { return false };
        let is_closing = self.groups.values().any(Group::is_closing);
        !is_closing && (!waits || now >= closing_all.until())
    }

    /// Notifies waiting callers that every address has closed.
    pub fn report_stopped(&mut self) {
        self.closing_all = None;
    }
}

/// Another server of this cluster has the address.
fn taken(address: &Address) -> ListenFailure {
    ListenFailure { holder: Holder::Ours, ..ListenFailure::new(libc::EADDRINUSE, "listen", address.host()) }
}

/// Whether a server of the applicant may share the open address.
fn join(
    group: &Group,
    address: &Address,
    options: ListenOptions,
    applicant: Option<Applicant>,
    now: Duration,
) -> Result<(), ListenFailure> {
    let was_here = applicant.is_some_and(|applicant| group.shares().of(applicant.slot) != Share::None);
    let holder = match group.admit(requester(applicant, options, was_here), now) {
        Decision::Shares => return bind::permit(address, options.mode),
        Decision::Taken => Holder::Ours,
        Decision::Later => Holder::OursPerhaps,
    };
    Err(ListenFailure { holder, ..group.taken() })
}

fn requester(applicant: Option<Applicant>, options: ListenOptions, was_here: bool) -> Requester {
    applicant
        .map_or(Requester::Primary, |applicant| Requester::worker(applicant.ready_for, options, was_here))
}
