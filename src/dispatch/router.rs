//! Passes connections and commands between the parts of dispatch. Each part owns its state and returns what to do; the
//! router passes it on, and makes no decision that a part can make.

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::oneshot;

use super::admission::Admission;
use super::command::{Command, ListenFailure, Listening, Report};
use super::connection::{Connection, Hint};
use super::datagrams::{self, Datagrams, Successor};
use super::fd_budget::FdBudget;
use super::first_bytes::{self, Asked, FirstBytes};
use super::listeners::{Accepted, Applicant, Closed, End, Last, Listeners, MAX_QUEUED};
use super::placement::{Placement, PlacementRequest, RebalanceTimer, WarmUp};
use super::poller::{Poller, Token};
use super::queue::Queues;
use super::refusal::{self, Refusals};
use super::services::{OPENING, Outages, Siblings, Succession, Successions};
use super::settings::{Admission as AdmissionSettings, Affinity, Settings};
use super::transfer::{Handoffs, Taken};
use super::workers::{HealthChange, Stage, WorkerChannel, WorkerState, WorkerTable};
use crate::balance::{AdmissionChange, Load};
use crate::event::Level;
use crate::ipc::control::{Address, Datagram, GroupId, ListenOptions, SocketId};
use crate::metrics::layout::{header, row};
use crate::metrics::memory::SharedMemory;
use crate::model::WorkerId;

/// Maximum number of connections accepted from one listener at a time, so that one busy address does not starve the
/// others.
const BATCH: u32 = 64;

/// The parts of dispatch.
pub struct Router {
    settings: Arc<Settings>,
    poller: Poller,
    report: Box<dyn Fn(Report) + Send>,
    memory: SharedMemory,
    workers: WorkerTable,
    listeners: Listeners,
    placement: Placement,
    queues: Queues,
    admission: Admission,
    warm_up: WarmUp,
    rebalance: RebalanceTimer,
    first_bytes: FirstBytes,
    refusals: Refusals,
    datagrams: Datagrams,
    successions: Successions,
    siblings: Siblings,
    outages: Outages,
}

impl Router {
    pub fn new(
        mut settings: Settings,
        poller: Poller,
        report: Box<dyn Fn(Report) + Send>,
        memory: SharedMemory,
        seed: u32,
    ) -> Self {
        let admission = Admission::new(settings.admission.take(), memory.clone());
        let settings = Arc::new(settings);
        let fd_budget = FdBudget::new(crate::sys::limits::descriptors());
        Self {
            poller,
            report,
            workers: WorkerTable::new(fd_budget, settings.max_connections_per_worker),
            listeners: Listeners::new(settings.clone(), fd_budget),
            placement: Placement::new(settings.clone(), seed),
            queues: Queues::new(settings.max_queue, settings.queue_timeout),
            admission,
            warm_up: WarmUp::default(),
            rebalance: RebalanceTimer::default(),
            first_bytes: FirstBytes::new(settings.clone()),
            refusals: Refusals::new(settings.fallback.clone()),
            datagrams: Datagrams::new(fd_budget),
            successions: Successions::default(),
            siblings: Siblings::default(),
            outages: Outages::default(),
            memory,
            settings,
        }
    }

    pub fn poller(&self) -> &Poller {
        &self.poller
    }

    pub fn report(&self, report: Report) {
        (self.report)(report);
    }

    fn report_all(&self, reports: impl IntoIterator<Item = Report>) {
        reports.into_iter().for_each(|report| self.report(report));
    }

    // Queries of the loop.

    /// Whether a listener is too busy for wake-ups.
    pub fn is_polling(&self) -> bool {
        self.listeners.is_busy()
    }

    /// Whether steering programs choose workers, by values that change.
    pub fn has_direct(&self) -> bool {
        self.listeners.has_direct()
    }

    /// Whether connections wait for a worker or for a file descriptor.
    pub fn is_waiting(&self) -> bool {
        !self.queues.is_empty()
            || self.listeners.is_resting()
            || self.workers.has_dead()
            || self.workers.with_unread_handoffs().next().is_some()
    }

    /// Whether workers may change without waking the thread.
    pub fn is_watching(&self) -> bool {
        self.workers.is_busy()
            || self.listeners.has_direct()
            || self.warm_up.has_cold()
            || self.admission.is_on()
    }

    /// Whether refused connections are being drained.
    pub fn is_refusing(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// When something else is due.
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        [
            self.rebalances_in(),
            self.datagrams.due_in(now),
            self.first_bytes.due_in(now),
            self.admission.due_in(now),
            self.siblings.due_in(now),
            self.listeners.closes_in(now),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // The path of a connection.

    /// Handles an event.
    pub fn wake(&mut self, token: Token, now: Duration) {
        match token {
            Token::Wake => {}
            Token::PrimaryListener(group) => {
                let accepted = self.accept(group, None, now);
                if accepted > 0 {
                    self.consider_mode(group, accepted, now);
                }
            }
            Token::Slot(group, slot) => {
                self.accept(group, Some(slot), now);
            }
            Token::Peek(id) => {
                let is_exempt = |path: &str| self.admission.is_exempt(path);
                if let Some(connection) = self.first_bytes.ready(id, &self.poller, is_exempt, now) {
                    self.route(connection, now);
                }
            }
            Token::Refused(id) => self.refusals.drain(id),
            Token::Handoffs(worker) => self.receive_handoffs(worker, now),
        }
    }

    fn accept(&mut self, id: GroupId, slot: Option<u16>, now: Duration) -> u32 {
        let (mut accepted, mut is_short) = (0, false);
        while accepted < BATCH && !is_short {
            match self.listeners.accept(id, slot, &self.poller, now) {
                Accepted::Connection { connection, is_last } => {
                    accepted += 1;
                    is_short = is_last;
                    self.place(connection, now);
                }
                Accepted::Gone => {}
                Accepted::Short => is_short = true,
                Accepted::None => break,
            }
        }
        if is_short {
            self.listeners.rest(&self.poller, now);
        }
        self.report_listeners();
        accepted
    }

    /// Places a new connection, or peeks at its first bytes before that.
    fn place(&mut self, connection: Connection, now: Duration) {
        if self.needs_first_bytes(connection.group) && !self.first_bytes.is_full() {
            let per_request = self.settings.is_trusted(connection.client);
            self.look_at_first_bytes(Connection { per_request, ..connection }, now);
        } else {
            self.route(connection, now);
        }
    }

    fn needs_first_bytes(&self, group: GroupId) -> bool {
        self.settings.needs_first_bytes() && self.listeners.is_plain_http(group)
    }

    fn look_at_first_bytes(&mut self, connection: Connection, now: Duration) {
        if let Err(connection) = self.first_bytes.start(connection, &self.poller) {
            self.route(connection, now);
        }
    }

    /// Assigns the connection to a worker or queues it. Connections that wait already go first.
    fn route(&mut self, connection: Connection, now: Duration) {
        if connection.is_turned_away && self.admission.concerns(&connection) {
            return self.refuse_overloaded(connection);
        }
        let waits = self.queues.is_waited_in(connection.group);
        let is_concerned = self.admission.concerns(&connection);
        let request = PlacementRequest::of(&connection);
        let chosen = if waits { None } else { self.choose(&request, is_concerned, now) };
        match chosen {
            Some(worker) => self.assign(worker, connection, now),
            None if is_concerned && !waits && self.listeners.is_served(connection.group) => {
                let refused = self.admission.hold(connection, now);
                self.turn_away(refused, now);
            }
            None => self.enqueue(connection),
        }
    }

    fn assign(&mut self, worker: WorkerId, connection: Connection, now: Duration) {
        match self.workers.chosen_mut(worker) {
            Some(channel) => {
                channel.assign(connection);
                // A draining worker gets those of an address that only it serves.
                if self.workers.current_mut(worker).is_some() {
                    self.admission.given(worker.slot, now);
                }
            }
            None => self.enqueue(connection),
        }
    }

    /// `is_concerned`: only a worker that may take it while all are saturated.
    fn choose(&mut self, request: &PlacementRequest, is_concerned: bool, now: Duration) -> Option<WorkerId> {
        let Self { listeners, workers, placement, admission, settings, .. } = self;
        let shares = listeners.shares(request.group)?;
        if let Some(keeper) = listeners.keeper(request.group) {
            return workers.may_have_its_own(keeper, request.group, now).then_some(keeper);
        }
        if is_concerned && !admission.any_may_take() {
            return None;
        }
        let may_take = |slot: u16| !is_concerned || admission.may_take(slot);
        // A client that is bound to a slot waits for its worker.
        let is_bound = settings.binds(request.hint.slot);
        let plain_http = listeners.is_plain_http(request.group);
        let prospects = workers.prospects(request.group, |slot| shares.is_open(slot), now);
        let prospects = prospects.filter(|prospect| is_bound || may_take(prospect.slot));
        let slot = placement.choose(request, plain_http, prospects)?;
        may_take(slot).then(|| workers.in_slot(slot).map(WorkerChannel::id)).flatten()
    }

    /// Gives workers that have asked the newest of the connections that are held.
    fn serve_held(&mut self, now: Duration) {
        for at in (0..self.admission.held()).rev() {
            let Some(request) = self.admission.request(at) else { return };
            if let Some(worker) = self.choose(&request, true, now)
                && let Some(connection) = self.admission.take(at)
            {
                self.assign(worker, connection, now);
            }
            if !self.admission.any_may_take() {
                return;
            }
        }
    }

    /// Refuses connections because all workers are saturated, unless their requests are exempt.
    fn turn_away(&mut self, refused: Vec<Connection>, now: Duration) {
        for mut connection in refused {
            let may_be_exempt = self.admission.has_exempt() && self.listeners.is_plain_http(connection.group);
            let is_exempt = |path: &str| self.admission.is_exempt(path);
            let asked = if may_be_exempt { first_bytes::asked(&connection, is_exempt) } else { Asked::Other };
            match asked {
                Asked::Exempt => {
                    connection.hint.is_exempt = true;
                    self.route(connection, now);
                }
                Asked::Nothing if !self.first_bytes.is_full() => {
                    let connection = Connection { is_turned_away: true, ..connection };
                    self.look_at_first_bytes(connection, now);
                }
                Asked::Nothing | Asked::Other => self.refuse_overloaded(connection),
            }
        }
    }

    fn refuse_overloaded(&mut self, connection: Connection) {
        self.count_refused(1);
        let plain_http = self.listeners.is_plain_http(connection.group);
        self.refusals.answer(connection, plain_http, &self.poller);
    }

    fn enqueue(&mut self, connection: Connection) {
        // The address may have closed while the connection was in transit.
        let refused = if self.listeners.has(connection.group) {
            self.queues.push(connection).err()
        } else {
            Some(connection)
        };
        refused.into_iter().for_each(|connection| self.refuse(connection));
    }

    /// Refuses a connection that no worker can take.
    fn refuse(&mut self, connection: Connection) {
        if refusal::may_close_silently(&connection) {
            return;
        }
        self.count_refused(1);
        let notice = self.refusals.notice();
        self.report_all(notice);
        let plain_http = self.listeners.is_plain_http(connection.group);
        self.refusals.answer(connection, plain_http, &self.poller);
    }

    fn count_refused(&self, count: u64) {
        self.memory.set(header::REFUSED, self.memory.get(header::REFUSED) + count);
    }

    /// Assigns waiting connections to workers; refuses those that have waited too long.
    pub fn serve_queues(&mut self, now: Duration) {
        self.queues.groups().into_iter().for_each(|group| self.serve_queue(group, now));
    }

    fn serve_queue(&mut self, group: GroupId, now: Duration) {
        while let Some(first) = self.queues.first(group) {
            let late = self.queues.is_late(first, now);
            // Whether a worker has room does not depend on the connection: if there is none for the first, there is
            // none for the others.
            let request = PlacementRequest::of(first);
            let is_concerned = self.admission.concerns(first);
            let chosen = if late { None } else { self.choose(&request, is_concerned, now) };
            if !late && chosen.is_none() {
                return;
            }
            let Some(first) = self.queues.pop(group) else { return };
            match chosen {
                Some(worker) => self.assign(worker, first, now),
                None => self.refuse(first),
            }
        }
    }

    /// Sends all assigned connections, and places those again that did not fit into a full channel.
    pub fn flush(&mut self, now: Duration) {
        for _ in 0..3 {
            let back = self.workers.flush(now);
            if back.is_empty() {
                return;
            }
            // A full channel is not used for a while, so that this ends with another worker or in the queue.
            back.into_iter().for_each(|connection| self.route(connection, now));
        }
    }

    /// Places connections that were taken back. Their first bytes are still unread and may be peeked at again.
    fn place_again(&mut self, taken: Taken, now: Duration) {
        if taken.lost > 0 {
            self.count_refused(taken.lost as u64);
            let text =
                format!("{} connections were lost: the primary has no file descriptor left", taken.lost);
            self.report(Report::notice(Level::Error, text));
        }
        if self.admission.is_on() {
            // They may have asked for these connections.
            self.workers.remind(&taken.from);
        }
        taken.connections.into_iter().for_each(|connection| self.place(connection, now));
    }

    /// Receives a worker's handoffs.
    fn receive_handoffs(&mut self, worker: WorkerId, now: Duration) {
        let Some((stage, channel)) = self.workers.find_mut(worker) else { return };
        let Handoffs { connections, asks, .. } = channel.receive_handoffs(now);
        self.place_handoffs(connections, worker.slot, stage, now);
        if asks && stage == Stage::Serving {
            self.admission.asks(worker.slot, now);
            self.serve_held(now);
        }
    }

    fn place_handoffs(&mut self, handoffs: Vec<Connection>, slot: u16, stage: Stage, now: Duration) {
        let bound = self.settings.affinity != Affinity::None;
        for mut connection in handoffs {
            if self.needs_first_bytes(connection.group) && self.settings.is_trusted(connection.client) {
                // Its next request may belong to another worker, so the primary waits for it.
                self.look_at_first_bytes(Connection { per_request: true, ..connection }, now);
                continue;
            }
            if stage == Stage::Serving {
                connection.donor = Some(slot);
            } else if bound {
                // Its client is bound to the slot, which has a new worker.
                connection.hint = Hint { slot: Some(slot), ..connection.hint };
            }
            self.route(connection, now);
        }
    }

    // Time.

    /// Observes the workers, and takes connections back from unresponsive ones.
    pub fn watch(&mut self, now: Duration) {
        if self.settings.health_aware && !self.settings.inspected {
            self.observe_workers(now);
        }
        if self.admission.is_enabled() && !self.settings.inspected {
            self.look_for_overload(now);
        }
        let warm = self.warm_up.look(requests(&self.workers), now);
        self.report_all(warm.into_iter().map(|worker| Report::WarmedUp { worker }));
        let accepted = self.workers.count_accepted();
        let changed = self.listeners.count_direct(accepted, now);
        changed.into_iter().for_each(|group| self.sync_group(group, now));
    }

    fn look_for_overload(&mut self, now: Duration) {
        let sights = self.workers.sights(now, crate::sys::clock::monotonic());
        if let Some((change, report)) = self.admission.look(&sights, now) {
            self.report(report);
            self.set_overloaded(change == AdmissionChange::Began, now);
        }
        // Workers that had asked may have had no room.
        self.serve_held(now);
        let forgotten = self.admission.forgotten(now);
        self.workers.remind(&forgotten);
        let stuck = self.admission.stuck(&sights, now);
        let taken = self.workers.take_back_from(&stuck, now);
        self.place_again(taken, now);
        self.workers.leave_rest_to(&stuck);
    }

    fn set_overloaded(&mut self, is_overloaded: bool, now: Duration) {
        self.listeners.set_overloaded(is_overloaded);
        self.sync(now);
        for group in self.listeners.ids() {
            self.consider_mode(group, 0, now);
        }
        if is_overloaded {
            // A worker that has just gone to sleep has to see it too.
            self.workers.wake_all();
        }
    }

    fn set_admission(&mut self, admission: Option<AdmissionSettings>, now: Duration) {
        if let Some((report, held)) = self.admission.configure(admission, now) {
            self.report(report);
            self.set_overloaded(false, now);
            held.into_iter().for_each(|connection| self.route(connection, now));
        }
    }

    fn observe_workers(&mut self, now: Duration) {
        // The queues of a worker with unread connections do not have to be polled.
        let is_asked = |slot| {
            let channel = u16::try_from(slot).ok().and_then(|slot| self.workers.in_slot(slot));
            channel.is_some_and(|channel| channel.under_way() == 0)
        };
        let queued = self.listeners.queued(self.workers.slots(), is_asked);
        let changes = self.workers.observe(&queued, now);
        for HealthChange { worker, unresponsive, fd_pressure } in &changes {
            let (slot, generation) = (worker.slot, if *unresponsive { worker.generation } else { 0 });
            self.memory.set_row(slot, row::UNRESPONSIVE, u64::from(generation));
            // A worker reports fd pressure itself.
            if !fd_pressure {
                self.report(if *unresponsive {
                    Report::Unresponsive { slot }
                } else {
                    Report::Recovered { slot }
                });
            }
        }
        let well = self.workers.serving().filter(|channel| channel.is_well());
        let well: Vec<u16> = well.map(|channel| channel.id().slot).collect();
        let takers = self.listeners.served_by(&well);
        let taken = self.workers.take_back_from_unresponsive(&takers, now);
        if !changes.is_empty() {
            self.sync(now);
        }
        self.place_again(taken, now);
    }

    /// Does what is due.
    pub fn pass_time(&mut self, now: Duration) {
        self.listeners.resume(&self.poller, now);
        self.report_listeners();
        self.take_back_from_dead(now);
        let late: Vec<WorkerId> = self.workers.with_unread_handoffs().collect();
        late.into_iter().for_each(|worker| self.receive_handoffs(worker, now));
        self.rebalance(now);
        let looked_at = self.first_bytes.expire(&self.poller, now);
        looked_at.into_iter().for_each(|connection| self.route(connection, now));
        self.serve_queues(now);
        let late = self.admission.expire(now);
        self.turn_away(late, now);
        self.refusals.expire(now);
        self.datagrams.expire(now);
        self.compare_siblings(now);
        self.listeners.closing().into_iter().for_each(|group| self.go_on_closing(group, now));
    }

    fn take_back_from_dead(&mut self, now: Duration) {
        let taken = self.workers.take_back_from_dead(now);
        self.place_again(taken, now);
    }

    /// Workers that take part in rebalancing.
    fn rebalanced(&self) -> impl Iterator<Item = &WorkerChannel> {
        self.workers.serving().filter(|channel| {
            channel.is_well() && !channel.has_fd_pressure() && self.listeners.serves_http(channel.id().slot)
        })
    }

    fn rebalances_in(&self) -> Option<Duration> {
        let connections = self.rebalanced().map(WorkerChannel::connections);
        self.settings.rebalance.then(|| RebalanceTimer::due_in(connections)).flatten()
    }

    fn rebalance(&mut self, now: Duration) {
        if !self.settings.rebalance || !self.rebalance.is_due(now) {
            return;
        }
        let load = |channel: &WorkerChannel| Load {
            worker: channel.id(),
            connections: channel.connections(),
            weight: self.settings.weight(channel.id().slot),
            requests: channel.requests() as u64,
            given: channel.given(),
        };
        let loads: Vec<Load> = self.rebalanced().map(load).collect();
        if let Some(ask) = self.rebalance.look(&loads, now)
            && let Some(channel) = self.workers.current_mut(ask.worker)
        {
            channel.ask_for(ask.count);
        }
    }

    fn compare_siblings(&mut self, now: Duration) {
        let workers = self.workers.serving().map(|channel| (channel.id().slot, channel.promoted()));
        let addresses = self.listeners.addresses(self.workers.slots());
        let reports = self.siblings.compare(workers, addresses, now);
        self.report_all(reports);
    }

    /// Reports the missing addresses of each replacement, if they have changed.
    pub fn review_successions(&mut self) {
        let Self { successions, workers, listeners, datagrams, .. } = self;
        let reports = successions.review(|succession: &Succession| {
            let worker = succession.worker();
            let starting = workers.starting(worker)?;
            let old = workers.in_slot(worker.slot).map(WorkerChannel::id);
            let lacked = |socket| {
                let old_has_it = old.is_some_and(|old| datagrams.is_held(socket, old));
                let is_lacked = old_has_it && !datagrams.is_held(socket, worker);
                if is_lacked { datagrams.name(socket) } else { None }
            };
            let addresses = listeners.addresses(workers.slots());
            Some(succession.lacks(addresses, |group| starting.has_prepared(group), lacked))
        });
        self.report_all(reports);
    }

    fn look_for_outages(&mut self, now: Duration) {
        let reports = self.outages.look(self.listeners.addresses(self.workers.slots()), now);
        self.report_all(reports);
    }

    // Accepting.

    fn states(&self, now: Duration) -> Vec<WorkerState> {
        self.workers.states(now)
    }

    /// After any change of shares, workers or modes.
    pub fn sync(&mut self, now: Duration) {
        let states = self.states(now);
        self.listeners.sync(&states, &self.poller);
        self.report_listeners();
    }

    fn sync_group(&mut self, group: GroupId, now: Duration) {
        let states = self.states(now);
        self.listeners.sync_group(group, &states, &self.poller);
        self.report_listeners();
    }

    fn consider_mode(&mut self, group: GroupId, accepted: u32, now: Duration) {
        if self.listeners.consider_mode(group, accepted, now) {
            self.sync_group(group, now);
        }
    }

    fn report_listeners(&mut self) {
        let reports = self.listeners.take_reports();
        self.report_all(reports);
    }

    // Commands.

    pub fn carry_out(&mut self, command: Command, now: Duration) {
        let moves_shares = command.moves_shares();
        match command {
            Command::Listen { address, options, requester, reply } => {
                let listening = self.listen(address, options, requester, now);
                // The receiver is gone if the worker died meanwhile.
                let _ = reply.send(listening);
            }
            Command::Join { worker, channel, far_end, page } => {
                self.join(WorkerChannel::new(worker, channel, far_end, page));
            }
            Command::Succeed { worker } => self.succeed(worker),
            Command::Started => {
                self.outages.started();
                self.siblings.started(now);
            }
            Command::Promote { worker } => self.promote(worker, now),
            Command::Serve { worker, group, plain_http } => self.serve(worker, group, plain_http, now),
            Command::ConnectionLimit { worker, group, upto } => self.limit(worker, group, upto, now),
            Command::Close { worker, group, reply } => self.close(worker, group, reply, now),
            Command::Bind { datagram, worker, reply } => {
                let _ = reply.send(self.bind(&datagram, worker, now));
            }
            Command::Unbind { socket, worker, reply } => {
                self.datagrams.release(socket, worker);
                if let Some((_, channel)) = self.workers.find_mut(worker) {
                    channel.remove_first_socket(socket);
                }
                let _ = reply.send(());
            }
            Command::JoinMulticast { socket, membership, worker, reply } => {
                self.datagrams.join_multicast(socket, membership, worker, reply);
            }
            Command::LeaveMulticast { socket, membership, worker, reply } => {
                let _ = reply.send(self.datagrams.leave_multicast(socket, &membership, worker));
            }
            Command::MulticastLeft { socket, membership, worker } => {
                self.datagrams.multicast_left(socket, &membership, worker)
            }
            Command::FdPressure { worker, fd_pressure } => self.set_fd_pressure(worker, fd_pressure, now),
            Command::Inspected { worker } => {
                if let Some((_, channel)) = self.workers.find_mut(worker) {
                    channel.inspect();
                }
            }
            Command::Exclude { worker, exclude } => self.exclude(worker, exclude, now),
            Command::LimitConnections { most } => self.limit_connections_per_worker(most, now),
            Command::SetAdmission { admission } => self.set_admission(admission, now),
            Command::Relieve { worker, relieved } => {
                if let Some((_, channel)) = self.workers.find_mut(worker) {
                    channel.relieve(relieved);
                    self.sync(now);
                }
            }
            Command::Drain { worker } => {
                if let Some(channel) = self.workers.current_mut(worker) {
                    // It still reads the connections in its channel before it closes its servers.
                    channel.leave();
                    self.admission.left(worker.slot);
                    self.sync(now);
                }
            }
            Command::Leave { worker } => {
                self.datagrams.leaves(worker);
                if let Some(channel) = self.workers.current_mut(worker) {
                    channel.leave();
                    self.admission.left(worker.slot);
                    self.listeners.leave(worker);
                    self.close_released(now);
                    self.sync(now);
                }
            }
            Command::Dead { worker } => self.on_exit(worker, now),
            Command::Release { group, gone } => {
                self.listeners.release(group, gone);
                self.close_released(now);
            }
            Command::Retire { gone } => self.stop(gone, now),
            Command::Shutdown => self.end(),
        }
        if moves_shares {
            self.look_for_outages(now);
        }
    }

    fn listen(
        &mut self,
        address: Address,
        options: ListenOptions,
        requester: Option<WorkerId>,
        now: Duration,
    ) -> Result<Listening, ListenFailure> {
        let applicant = requester.map(|worker| Applicant {
            slot: worker.slot,
            ready_for: self
                .workers
                .find(worker)
                .filter(|(stage, _)| *stage != Stage::Starting)
                .map(|(_, channel)| now.saturating_sub(channel.promoted())),
        });
        let found = self.listeners.find_or_open(address, options, applicant, &self.poller, now);
        self.report_listeners();
        let found = found?;
        if found.is_new {
            if found.port != 0 && self.memory.get(header::PORT) == 0 {
                self.memory.set(header::PORT, u64::from(found.port));
                self.report(Report::Port(found.port));
            }
            self.sync(now);
        }
        let listening = self.listeners.hand_out(found.group, requester.map(|worker| worker.slot))?;
        if let Some((_, channel)) = requester.and_then(|worker| self.workers.find_mut(worker)) {
            channel.ask(found.group);
        }
        Ok(listening)
    }

    fn join(&mut self, channel: WorkerChannel) {
        if let Err(errno) = self.poller.add_handoffs(channel.channel(), channel.id()) {
            let slot = channel.id().slot;
            let text = format!("Connections of worker {slot} cannot be handed off: {errno}");
            self.report(Report::notice(Level::Warn, text));
        }
        self.workers.join(channel);
    }

    /// The worker is ready except for missing addresses of its predecessor: they are reported, and each change of them.
    fn succeed(&mut self, worker: WorkerId) {
        let old = self.workers.in_slot(worker.slot);
        let sockets = old.map(|old| old.first_sockets().clone()).unwrap_or_default();
        let addresses = self.listeners.addresses(self.workers.slots());
        self.successions.begin(worker, addresses, sockets);
        self.review_successions();
    }

    /// A worker takes over its slot. Its servers are ready on the same listener; connections that its predecessor has
    /// not read are placed again, and those it has read it finishes.
    fn promote(&mut self, worker: WorkerId, now: Duration) {
        let predecessor = self.workers.in_slot(worker.slot).map(WorkerChannel::id);
        let Some(prepared) = self.workers.promote(worker, now) else { return };
        self.datagrams.serves(worker.slot, now);
        self.admission.joined(worker.slot, now);
        self.warm_up.promoted(worker, requests(&self.workers), now);
        self.listeners.take_over(worker.slot, &prepared, predecessor);
        self.sync(now);
        let unread = self.workers.take_back_from_draining(worker.slot, now);
        self.place_again(unread, now);
        self.listeners.ids().into_iter().for_each(|group| self.consider_mode(group, 0, now));
        self.serve_queues(now);
    }

    fn serve(&mut self, worker: WorkerId, group: GroupId, plain_http: bool, now: Duration) {
        let Some((stage, channel)) = self.workers.find_mut(worker) else { return };
        channel.has_answered(group);
        match stage {
            Stage::Starting => channel.prepare(group, plain_http),
            Stage::Serving if self.listeners.has(group) => {
                self.listeners.serve(group, worker.slot, plain_http);
                self.sync(now);
                self.consider_mode(group, 0, now);
                self.serve_queues(now);
            }
            Stage::Serving | Stage::Draining => {}
        }
    }

    fn limit(&mut self, worker: WorkerId, group: GroupId, upto: Option<u64>, now: Duration) {
        let Some((_, channel)) = self.workers.find_mut(worker) else { return };
        if channel.limit(group, upto) {
            // Whether it accepts directly has changed.
            self.sync(now);
            self.consider_mode(group, 0, now);
        }
        self.serve_queues(now);
    }

    fn set_fd_pressure(&mut self, worker: WorkerId, fd_pressure: bool, now: Duration) {
        let Some((_, channel)) = self.workers.find_mut(worker) else { return };
        channel.set_fd_pressure(fd_pressure);
        // Other workers may have room for connections that it cannot read.
        let unread = if fd_pressure { channel.take_all(now) } else { Taken::default() };
        self.sync(now);
        self.place_again(unread, now);
    }

    fn limit_connections_per_worker(&mut self, most: Option<u32>, now: Duration) {
        let settings = Settings { max_connections_per_worker: most, ..Settings::clone(&self.settings) };
        self.settings = Arc::new(settings);
        self.listeners.configure(self.settings.clone());
        self.workers.limit_connections(most);
        for group in self.listeners.ids() {
            // With a limit only the accept thread knows who has room.
            self.consider_mode(group, 0, now);
        }
        self.sync(now);
        self.serve_queues(now);
    }

    fn exclude(&mut self, worker: WorkerId, exclude: bool, now: Duration) {
        let others = self.workers.has_well_beside(worker.slot);
        let Some((_, channel)) = self.workers.find_mut(worker) else { return };
        channel.exclude(exclude);
        let unread = if exclude && others {
            channel.ask_for(channel.connections());
            channel.take_all(now)
        } else {
            Taken::default()
        };
        self.sync(now);
        self.place_again(unread, now);
        self.serve_queues(now);
    }

    fn bind(
        &mut self,
        wanted: &Datagram,
        holder: WorkerId,
        now: Duration,
    ) -> Result<(SocketId, std::os::fd::OwnedFd), ListenFailure> {
        let Some((stage, channel)) = self.workers.find_mut(holder) else {
            // The worker died while it waited for the address.
            return Err(datagrams::failure(wanted, Errno::CONNABORTED));
        };
        let (id, socket) = self.datagrams.bind(wanted, holder)?;
        if stage == Stage::Starting || now.saturating_sub(channel.promoted()) < OPENING {
            channel.add_first_socket(id);
        }
        Ok((id, socket))
    }

    /// The order matters: stop sending, then take back unread connections, then accept from its queues.
    fn on_exit(&mut self, worker: WorkerId, now: Duration) {
        let Some((stage, mut gone)) = self.workers.remove(worker) else { return };
        self.warm_up.gone(worker);
        if stage == Stage::Serving {
            self.admission.left(worker.slot);
            self.orphan(worker.slot, now);
            self.sync(now);
        }
        let successor = match (stage, self.workers.in_slot(worker.slot)) {
            (Stage::Draining, Some(successor)) => Successor::Serves(successor.promoted()),
            (Stage::Draining, None) => Successor::Expected,
            // A worker that was told to drain without a successor is not replaced.
            (Stage::Serving, _) if !gone.is_leaving() => Successor::Expected,
            (Stage::Serving | Stage::Starting, _) => Successor::None,
        };
        self.datagrams.gone(worker, successor);
        let Handoffs { connections, .. } = gone.receive_handoffs(now);
        self.place_handoffs(connections, worker.slot, stage, now);
        self.workers.keep_dead(gone);
        self.take_back_from_dead(now);
        let left = self.listeners.left(worker);
        left.into_iter().for_each(|group| self.begin_to_close(group, End::Unserved, now));
    }

    // Closing addresses.

    /// The slot's worker no longer serves, and its replacement is expected.
    fn orphan(&mut self, slot: u16, now: Duration) {
        self.listeners.orphan(slot);
        self.close_released(now);
    }

    /// Closes addresses that the primary's program has closed and that no worker serves any more.
    fn close_released(&mut self, now: Duration) {
        let released = self.listeners.released();
        released.into_iter().for_each(|group| self.begin_to_close(group, End::Unserved, now));
    }

    /// The worker closes its server. `reply` gets whether another worker serves there.
    fn close(&mut self, worker: WorkerId, group: GroupId, reply: oneshot::Sender<bool>, now: Duration) {
        let Some((stage, channel)) = self.workers.find_mut(worker) else {
            let _ = reply.send(self.listeners.is_served(group));
            return;
        };
        channel.has_answered(group);
        if self.listeners.keeper(group) == Some(worker) {
            // Connections until now still belong to it.
            return self.begin_to_close(group, End::Last(Last { worker, reply }), now);
        }
        self.listeners.end_keeping(group, worker);
        let is_awaited = self.workers.is_awaited(group);
        if stage == Stage::Serving && self.listeners.is_last(group, worker.slot, is_awaited) {
            // No worker serves the address any more: the kernel refuses clients, as with one process.
            self.listeners.reserve(group, worker.slot, now);
            return self.begin_to_close(group, End::Last(Last { worker, reply }), now);
        }
        if stage == Stage::Serving {
            self.close_serving(worker, group, is_awaited, now);
        } else {
            self.close_prepared(worker, group, now);
        }
        let _ = reply.send(self.listeners.is_served(group));
    }

    /// Closes a worker's server while others serve there or will.
    fn close_serving(&mut self, worker: WorkerId, group: GroupId, is_awaited: bool, now: Duration) {
        let Some(closed) = self.listeners.close_share(group, worker.slot, is_awaited) else { return };
        self.sync(now);
        // Unread connections in its channel for this server would find it closed; they are placed again.
        self.take_back_for(worker, group, now);
        if closed == Closed::Abandoned {
            self.listeners.reserve(group, worker.slot, now);
            self.begin_to_close(group, End::Unserved, now);
        }
        self.close_released(now);
        self.serve_queues(now);
    }

    /// Closes a server of a worker that does not have the slot: only unread connections in its own channel would find
    /// the server closed.
    fn close_prepared(&mut self, worker: WorkerId, group: GroupId, now: Duration) {
        self.take_back_for(worker, group, now);
        // If no other worker has a server there, none is expected.
        if self.listeners.is_untouched(group) && !self.workers.is_awaited(group) {
            self.begin_to_close(group, End::Unserved, now);
        }
    }

    /// Takes back unread connections; the worker's server in the group has closed.
    fn take_back_for(&mut self, worker: WorkerId, group: GroupId, now: Duration) {
        let Some((_, channel)) = self.workers.find_mut(worker) else { return };
        channel.unprepare(group);
        let unread = channel.take_all(now);
        channel.forget_limit(group);
        self.place_again(unread, now);
    }

    /// The cluster stops: its addresses close. `gone` is dropped when they have closed and every connection that the
    /// kernel had accepted was sent to a worker.
    fn stop(&mut self, gone: oneshot::Sender<()>, now: Duration) {
        self.datagrams.clear();
        self.listeners.stop(gone, now);
        self.listeners.ids().into_iter().for_each(|group| self.begin_to_close(group, End::Stop, now));
    }

    fn begin_to_close(&mut self, group: GroupId, end: End, now: Duration) {
        if self.listeners.begin_to_close(group, end, now) {
            self.go_on_closing(group, now);
        }
    }

    fn go_on_closing(&mut self, group: GroupId, now: Duration) {
        let Some(is_over) = self.listeners.close_look(group, now) else { return };
        // Queued connections are accepted as far as they can be placed.
        for slot in self.listeners.emptied(group) {
            while !self.queues.is_full() && self.accept(group, slot, now) > 0 {}
        }
        if is_over || !self.listeners.is_expecting(group) {
            self.close_now(group, now);
        }
    }

    fn close_now(&mut self, group: GroupId, now: Duration) {
        for slot in self.listeners.emptied(group) {
            // Limited, because connections may keep joining the queue.
            let most = self.settings.max_queue.max(MAX_QUEUED) / BATCH as usize + 1;
            let _ = (0..most).find(|_| self.accept(group, slot, now) < BATCH);
        }
        let Some(end) = self.listeners.end_of(group) else { return };
        if !matches!(end, End::Unserved) {
            // First bytes are no longer peeked at.
            let fresh = self.first_bytes.take_fresh(group, &self.poller);
            fresh.into_iter().for_each(|connection| self.route(connection, now));
        }
        // Placed connections are sent before the workers are notified of the end.
        self.flush(now);
        match end {
            End::Stop => {
                let silent = self.first_bytes.take(group, &self.poller);
                self.listeners.release_address(group, &self.poller);
                silent.into_iter().for_each(|connection| self.refuse(connection));
            }
            End::Unserved => self.shut(group),
            End::Last(Last { worker, reply }) => {
                if let Some((_, channel)) = self.workers.find_mut(worker) {
                    channel.forget_limit(group);
                }
                self.shut(group);
                // The worker reads its connections before it closes the server.
                let _ = reply.send(false);
            }
        }
    }

    /// Closes an address that no worker serves, even if workers still hold a copy of a listener.
    fn shut(&mut self, group: GroupId) {
        self.listeners.shut_down(group);
        self.forget(group);
    }

    /// Removes an address that no worker serves.
    fn forget(&mut self, group: GroupId) {
        let peeked = self.first_bytes.take(group, &self.poller);
        let waiting = self.queues.take(group);
        let held = self.admission.take_group(group);
        peeked.into_iter().chain(waiting).chain(held).for_each(|connection| self.refuse(connection));
        self.listeners.remove(group, &self.poller);
        self.placement.forget(group);
        self.outages.forget(group);
    }

    /// Notifies waiting callers that every address has closed and all accepted connections were sent. Connections that
    /// found no worker in time are refused.
    pub fn report_stopped(&mut self, now: Duration) {
        if self.listeners.has_stopped(!self.queues.is_empty(), now) {
            self.queues.take_all().into_iter().for_each(|connection| self.refuse(connection));
            self.listeners.report_stopped();
        }
    }

    /// Refuses waiting connections and closes everything.
    fn end(&mut self) {
        self.listeners.ids().into_iter().for_each(|group| self.forget(group));
        self.datagrams.clear();
    }

    /// Publishes the thread's metrics.
    pub fn publish(&self) {
        self.admission.publish();
        self.memory.set(header::QUEUED, (self.queues.len() + self.admission.held()) as u64);
    }
}

/// The total requests of each serving worker.
fn requests(workers: &WorkerTable) -> impl Iterator<Item = (WorkerId, f64)> {
    workers.serving().map(|channel| (channel.id(), channel.requests()))
}
