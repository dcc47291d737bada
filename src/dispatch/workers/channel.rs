//! The accept thread's view of one worker: its channel, its unread connections, and whether it may get more.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::super::connection::Connection;
use super::super::fd_budget::FdBudget;
use super::super::placement::{Pace, Prospect, WorkerLoad};
use super::super::transfer::{Handoffs, Taken, read_back, receive_handoffs, send};
use super::connection_limit::ConnectionLimits;
use super::heartbeat::Heartbeat;
use super::state::WorkerState;
use crate::balance::Sight;
use crate::ipc::control::{GroupId, SocketId};
use crate::ipc::fd_message::{self, FdHeader};
use crate::metrics::layout::page;
use crate::metrics::memory::Page;
use crate::model::WorkerId;

/// A worker is warm when it has answered this many requests: its code is compiled by then.
const WARM_RESPONSES: f64 = 1000.0;
/// Or when it has had its slot for this long, whatever it has answered.
const WARM_AFTER: Duration = Duration::from_secs(1);

/// A cold worker may have one more concurrent connection for each this many responses.
const ANSWERS_A_CONNECTION: f64 = 64.0;

/// How long a worker whose channel was full gets no connections.
const BACK_OFF: Duration = Duration::from_millis(2);

pub struct WorkerChannel {
    id: WorkerId,
    channel: OwnedFd,
    far_end: OwnedFd,
    page: Page,
    /// Connections assigned to this worker, less those taken back.
    sent: u64,
    /// How many of these are left to it though it does not read.
    left: u64,
    /// How many of `page::ACCEPTED` have been counted.
    accepted_seen: u64,
    heartbeat: Heartbeat,
    /// How many it had read of those sent, and since when it has read none of the others.
    read_seen: u64,
    unread_since: Option<Duration>,
    unresponsive: bool,
    excluded: bool,
    relieved: bool,
    inspected: bool,
    fd_pressure: bool,
    leaving: bool,
    blocked_until: Duration,
    pending: Vec<Connection>,
    /// Its channel has connections that were never taken back: if it becomes unresponsive, its channel has to be read.
    can_take_back: bool,
    prepared: BTreeMap<GroupId, bool>,
    asked: BTreeSet<GroupId>,
    first_sockets: BTreeSet<SocketId>,
    has_unread_handoffs: bool,
    promoted: Duration,
    given: u64,
    connection_limits: ConnectionLimits,
}

impl WorkerChannel {
    /// `channel`: the primary's end; `far_end`: a duplicate of the worker's.
    pub fn new(id: WorkerId, channel: OwnedFd, far_end: OwnedFd, page: Page) -> Self {
        Self {
            id,
            channel,
            far_end,
            page,
            sent: 0,
            left: 0,
            accepted_seen: 0,
            heartbeat: Heartbeat::default(),
            read_seen: 0,
            unread_since: None,
            unresponsive: false,
            excluded: false,
            relieved: false,
            inspected: false,
            fd_pressure: false,
            leaving: false,
            blocked_until: Duration::ZERO,
            pending: Vec::new(),
            can_take_back: false,
            prepared: BTreeMap::new(),
            asked: BTreeSet::new(),
            first_sockets: BTreeSet::new(),
            has_unread_handoffs: false,
            promoted: Duration::ZERO,
            given: 0,
            connection_limits: ConnectionLimits::default(),
        }
    }

    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// The primary's end.
    pub fn channel(&self) -> &OwnedFd {
        &self.channel
    }

    /// Connections assigned to the worker and not read by it yet.
    pub fn under_way(&self) -> u64 {
        self.sent.saturating_sub(self.page.get(page::PUSHED))
    }

    /// Connections open in the worker or in transit to it.
    pub fn connections(&self) -> u32 {
        let opened = self.sent + self.page.get(page::ACCEPTED);
        u32::try_from(opened.saturating_sub(self.page.closed())).unwrap_or(u32::MAX)
    }

    /// Total requests of the worker.
    pub fn requests(&self) -> f64 {
        self.page.float(page::REQUESTS)
    }

    /// Total connections that it has handed off.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// When it got its slot.
    pub fn promoted(&self) -> Duration {
        self.promoted
    }

    /// It gets its slot's connections from now on. Returns the groups that it serves, and whether its servers are plain
    /// HTTP; from then on the groups store this.
    pub fn promote(&mut self, now: Duration) -> BTreeMap<GroupId, bool> {
        self.promoted = now;
        std::mem::take(&mut self.prepared)
    }

    /// It drains: it gets no more connections.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    pub fn is_unresponsive(&self) -> bool {
        self.unresponsive
    }

    /// A debugger may stop it: then it does not count as unresponsive.
    pub fn inspect(&mut self) {
        self.inspected = true;
    }

    /// Excludes it because of its health: new connections go to other workers while there are any.
    pub fn exclude(&mut self, excluded: bool) {
        self.excluded = excluded;
    }

    /// It is busy: it gets half as many new connections as others.
    pub fn relieve(&mut self, relieved: bool) {
        self.relieved = relieved;
    }

    pub fn set_fd_pressure(&mut self, fd_pressure: bool) {
        self.fd_pressure = fd_pressure;
    }

    pub fn has_fd_pressure(&self) -> bool {
        self.fd_pressure
    }

    /// Whether new connections should go to other workers.
    fn is_excluded(&self) -> bool {
        self.unresponsive || self.excluded
    }

    /// Does not drain, and makes progress, as far as known.
    pub fn is_well(&self) -> bool {
        !self.leaving && !self.is_excluded()
    }

    /// It has requested a share of the group's address, and does not serve there yet.
    pub fn ask(&mut self, group: GroupId) {
        self.asked.insert(group);
    }

    /// It serves there now, or has closed its server.
    pub fn has_answered(&mut self, group: GroupId) {
        self.asked.remove(&group);
    }

    /// It serves the group from its promotion on.
    pub fn prepare(&mut self, group: GroupId, plain_http: bool) {
        self.prepared.insert(group, plain_http);
    }

    pub fn has_prepared(&self, group: GroupId) -> bool {
        self.prepared.contains_key(&group)
    }

    pub fn unprepare(&mut self, group: GroupId) {
        self.prepared.remove(&group);
    }

    /// Whether it will serve the group when it is promoted, or has just got a share there.
    pub fn awaits(&self, group: GroupId) -> bool {
        self.has_prepared(group) || self.asked.contains(&group)
    }

    /// Datagram sockets that it bound at its start and still has.
    pub fn first_sockets(&self) -> &BTreeSet<SocketId> {
        &self.first_sockets
    }

    pub fn add_first_socket(&mut self, socket: SocketId) {
        self.first_sockets.insert(socket);
    }

    pub fn remove_first_socket(&mut self, socket: SocketId) {
        self.first_sockets.remove(&socket);
    }

    /// Sets the total number of the group's connections that the worker takes. Returns whether it has become limited or
    /// unlimited.
    pub fn limit(&mut self, group: GroupId, upto: Option<u64>) -> bool {
        self.connection_limits.set(group, upto)
    }

    /// Its server there has closed.
    pub fn forget_limit(&mut self, group: GroupId) {
        self.connection_limits.forget(group);
    }

    /// The state on which the listeners depend.
    pub fn state(&self, now: Duration) -> WorkerState {
        WorkerState {
            slot: self.id.slot,
            leaving: self.leaving,
            excluded: self.is_excluded(),
            fd_pressure: self.fd_pressure,
            is_warm: self.is_warm(now) && !self.relieved,
            connections: self.connections(),
            latency_us: self.page.float(page::LATENCY),
            limited: self.connection_limits.limited().collect(),
        }
    }

    /// The state on which the placement of a connection of the group depends.
    pub fn prospect(
        &self,
        group: GroupId,
        now: Duration,
        fd_budget: FdBudget,
        max_connections: Option<u32>,
    ) -> Prospect {
        let has_room = !self.leaving && self.has_room(group, now, fd_budget, max_connections);
        Prospect {
            slot: self.id.slot,
            is_well: self.is_well(),
            fd_pressure: self.fd_pressure,
            load: has_room.then(|| self.load(now)),
        }
    }

    fn load(&self, now: Duration) -> WorkerLoad {
        let in_flight = self.requests() - self.page.float(page::RESPONSES);
        let pace = if self.is_warm(now) && self.relieved {
            Pace::Half
        } else if self.is_warm(now) {
            Pace::Full
        } else if self.has_slow_room() {
            Pace::Slow
        } else {
            Pace::Wait
        };
        WorkerLoad {
            connections: self.connections(),
            latency_us: self.page.float(page::LATENCY),
            in_flight: in_flight.max(0.0) as u32,
            pace,
        }
    }

    /// Whether it has warmed up.
    fn is_warm(&self, now: Duration) -> bool {
        now.saturating_sub(self.promoted) >= WARM_AFTER || self.page.float(page::RESPONSES) >= WARM_RESPONSES
    }

    /// A cold worker gets one connection, and one more for every `ANSWERS_A_CONNECTION` requests that it has answered:
    /// its first requests take many times as long as later ones, and further connections would wait behind them.
    fn has_slow_room(&self) -> bool {
        f64::from(self.connections()) <= (self.page.float(page::RESPONSES) / ANSWERS_A_CONNECTION).floor()
    }

    /// Whether it may get another connection of the group through its channel now.
    pub fn has_room(
        &self,
        group: GroupId,
        now: Duration,
        fd_budget: FdBudget,
        max_connections: Option<u32>,
    ) -> bool {
        // A worker with fd pressure gets connections one by one; the others wait in the primary, from where they can go
        // to any worker.
        let max_under_way = if self.fd_pressure { 1 } else { fd_budget.under_way() };
        now >= self.blocked_until
            && self.under_way() < max_under_way
            && max_connections.is_none_or(|most| self.connections() < most)
            && self.connection_limits.has_room(group)
    }

    /// Whether the worker is unresponsive, if that has changed. `has_own_queue`: connections are queued at a listener
    /// that it polls itself.
    pub fn observe(&mut self, has_own_queue: bool, now: Duration) -> Option<bool> {
        let outstanding = (self.under_way() > 0 || has_own_queue) && !self.inspected;
        let unresponsive = self.heartbeat.observe(self.page.get(page::HEARTBEAT), outstanding, now);
        if unresponsive == self.unresponsive {
            return None;
        }
        self.unresponsive = unresponsive;
        if unresponsive {
            self.wake_up();
        }
        Some(unresponsive)
    }

    /// The worker, as admission sees it. `clock`: the monotonic clock.
    pub fn sight(&mut self, now: Duration, clock: Duration) -> Sight {
        let read = self.page.get(page::PUSHED);
        let has_read = std::mem::replace(&mut self.read_seen, read) != read;
        self.unread_since = if self.under_way() == 0 {
            None
        } else if has_read {
            Some(now)
        } else {
            self.unread_since.or(Some(now))
        };
        let late = Some(self.page.get(page::LATE)).filter(|late| *late != 0).map(Duration::from_nanos);
        Sight {
            slot: self.id.slot,
            is_out: !self.is_well(),
            late_at: late.map(|late| now.saturating_sub(clock.saturating_sub(late))),
            unread_since: self.unread_since.or(self.heartbeat.waiting_since()),
        }
    }

    /// Connections that it accepted itself and that have not been counted yet.
    pub fn count_accepted(&mut self) -> u64 {
        let accepted = self.page.get(page::ACCEPTED);
        let fresh = accepted - self.accepted_seen.min(accepted);
        self.accepted_seen = accepted;
        fresh
    }

    /// Assigns the connection to this worker; it is sent with the next `flush`.
    pub fn assign(&mut self, connection: Connection) {
        self.sent += 1;
        self.connection_limits.given(connection.group);
        self.can_take_back |= !connection.taken_back;
        self.pending.push(connection);
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends assigned connections. Those that do not fit into the channel are returned, to be placed elsewhere.
    pub fn flush(&mut self, now: Duration, fd_budget: FdBudget) -> Vec<Connection> {
        let max_fds = if self.fd_pressure { 1 } else { fd_budget.message() };
        let mut pending = std::mem::take(&mut self.pending);
        match send(&self.channel, &mut pending, max_fds, now) {
            Ok(()) => {
                // Its capacity is reused.
                self.pending = pending;
                Vec::new()
            }
            Err(_) => {
                // Full, too many in flight, or closed (its death will be reported): not this worker for now.
                self.blocked_until = now + BACK_OFF;
                self.forget(&pending);
                pending
            }
        }
    }

    /// Wakes the worker. If an unresponsive worker's loop can run, its heartbeat changes; it gets no connections by
    /// which its recovery could be detected.
    pub fn wake_up(&self) {
        // A full channel wakes it as well, and a dead worker does not matter.
        let _ = fd_message::send(self.channel.as_fd(), FdHeader::of(0), &[]);
    }

    /// Lets it ask for connections anew, while all workers are saturated. Any message does that.
    pub fn remind(&self) {
        if !matches!(fd_message::next_size(self.far_end.as_fd()), Ok(Some(_))) {
            self.wake_up();
        }
    }

    /// Requests idle connections for other workers.
    pub fn ask_for(&self, count: u32) {
        // If the channel is full, it has unread connections; the next comparison repeats the request.
        let _ = fd_message::send(self.channel.as_fd(), FdHeader { asked: count, ..FdHeader::of(0) }, &[]);
    }

    /// Receives the worker's handoffs.
    pub fn receive_handoffs(&mut self, now: Duration) -> Handoffs {
        let handoffs = receive_handoffs(&self.channel, now);
        self.has_unread_handoffs = !handoffs.whole;
        self.given += handoffs.connections.len() as u64;
        handoffs
    }

    /// Whether handoffs could not be read for lack of file descriptors.
    pub fn has_unread_handoffs(&self) -> bool {
        self.has_unread_handoffs
    }

    /// Takes back connections from an unresponsive worker that one of the `takers` may get. Each connection once: when
    /// every worker is slow, moving connections makes it worse.
    pub fn take_back(&mut self, takers: &BTreeSet<GroupId>, now: Duration) -> Taken {
        if !self.can_take_back || takers.is_empty() {
            return Taken::default();
        }
        let mut taken = self.read_back(now);
        let (moving, staying) = std::mem::take(&mut taken.connections)
            .into_iter()
            .partition(|connection| !connection.taken_back && takers.contains(&connection.group));
        taken.connections = moving;
        taken.connections.iter_mut().for_each(|connection| connection.taken_back = true);
        self.forget(&taken.connections);
        // Sent again before connections that were assigned since.
        self.pending.splice(0..0, staying);
        self.can_take_back = !taken.whole || self.pending.iter().any(|connection| !connection.taken_back);
        taken
    }

    /// Whether it was sent connections since `leave_rest`.
    pub fn has_news(&self) -> bool {
        self.sent != self.left
    }

    /// What it has been sent so far is not taken back while it does not read: it would come back to it again and again.
    pub fn leave_rest(&mut self) {
        self.left = self.sent;
    }

    /// Takes back all unread and unsent connections.
    pub fn take_all(&mut self, now: Duration) -> Taken {
        let mut taken = self.read_back(now);
        taken.connections.append(&mut self.pending);
        self.forget(&taken.connections);
        taken
    }

    /// These connections no longer belong to this worker.
    fn forget(&mut self, connections: &[Connection]) {
        self.sent = self.sent.saturating_sub(connections.len() as u64);
        connections.iter().for_each(|connection| self.connection_limits.taken_back(connection.group, 1));
    }

    fn read_back(&mut self, now: Duration) -> Taken {
        let Self { sent, connection_limits, far_end, .. } = self;
        let mut taken = read_back(far_end, now, |group, lost| {
            *sent = sent.saturating_sub(lost as u64);
            connection_limits.taken_back(group, lost as u64);
        });
        if !taken.connections.is_empty() {
            taken.from.push(self.id.slot);
        }
        if self.unresponsive {
            // The wake-up message was taken back too.
            self.wake_up();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::memory::SharedMemory;
    use rustix::event::{EventfdFlags, eventfd};

    const WORKER: WorkerId = WorkerId::new(0, 1);

    fn channel(memory: &SharedMemory) -> WorkerChannel {
        let channel = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let mut channel = WorkerChannel::new(WORKER, channel(), channel(), memory.page(WORKER));
        channel.promote(Duration::from_secs(10));
        channel
    }

    fn set(memory: &SharedMemory, cell: usize, value: f64) {
        memory.page(WORKER).set(cell, value.to_bits());
    }

    #[test]
    fn what_was_left_to_a_worker_is_no_news_and_what_it_is_sent_then_is() {
        let (memory, _) = SharedMemory::create(0).unwrap();
        let mut channel = channel(&memory);
        assert!(!channel.has_news());
        let connection =
            || Connection::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap(), 1, None, Duration::ZERO);
        channel.assign(connection());
        assert!(channel.has_news());
        channel.leave_rest();
        assert!(!channel.has_news());
        channel.assign(connection());
        assert!(channel.has_news());
    }

    #[test]
    fn a_worker_is_warm_after_a_second_or_a_thousand_answers() {
        let (memory, _) = SharedMemory::create(0).unwrap();
        let channel = channel(&memory);
        assert!(!channel.is_warm(Duration::from_millis(10_999)));
        assert!(channel.is_warm(Duration::from_secs(11)));
        set(&memory, page::RESPONSES, 1000.0);
        assert!(channel.is_warm(Duration::from_secs(10)));
    }

    #[test]
    fn a_cold_worker_has_room_for_one_and_for_one_more_with_every_64_answers() {
        let (memory, _) = SharedMemory::create(0).unwrap();
        let channel = channel(&memory);
        assert!(channel.has_slow_room());
        memory.page(WORKER).add(page::ACCEPTED, 1);
        assert!(!channel.has_slow_room());
        set(&memory, page::RESPONSES, 63.0);
        assert!(!channel.has_slow_room());
        set(&memory, page::RESPONSES, 64.0);
        assert!(channel.has_slow_room());
        memory.page(WORKER).add(page::ACCEPTED, 1);
        assert!(!channel.has_slow_room());
        set(&memory, page::CLOSED, 1.0);
        assert!(channel.has_slow_room());
    }
}
