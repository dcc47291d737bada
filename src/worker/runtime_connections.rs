//! The connections of a runtime that accepts by itself: which group they belong to, and which of them may move to another
//! worker. The runtime's calls report what happens on them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::http_wire::{Event, HttpWire};
use super::requests::{Begun, Requests};
use crate::ipc::control::GroupId;
use crate::sys::socket_calls::PollEntry;

/// Interval of the search for connections whose time is up.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// Bits of a [`ConnectionId`] that are the descriptor; the others tell its connections from earlier ones with that number.
const FD_BITS: u32 = 20;

/// A connection, for as long as this process runs: descriptors are used again. JavaScript has it as a number.
pub type ConnectionId = u64;

fn fd_of(id: ConnectionId) -> RawFd {
    (id & ((1 << FD_BITS) - 1)) as RawFd
}

struct Connection {
    id: ConnectionId,
    group: GroupId,
    /// None: it carries another protocol.
    wire: Option<HttpWire>,
    /// The request that is being answered.
    answering: Option<Begun>,
    /// JavaScript has its id.
    is_named: bool,
    /// The program has touched it: it stays in this worker.
    stays: bool,
    /// How the runtime polls it; None: not yet.
    poll: Option<PollEntry>,
    /// Requests that other workers have answered on it.
    served: u32,
    /// It has moved here and has sent nothing since: it ends at this time.
    ends: Option<Instant>,
    /// It returns to the primary after each response.
    per_request: bool,
    /// A health check of the primary, which is not counted.
    is_probe: bool,
}

impl Connection {
    /// As a connection between two requests, if it is.
    fn idle(&self, fd: RawFd) -> Option<Idle> {
        self.wire.as_ref().filter(|wire| wire.is_idle())?;
        Some(Idle { fd, served: self.served(), poll: self.poll? })
    }

    /// Counts the requests that begin and end with the bytes that `read` passes to the wire.
    fn follow(&mut self, requests: &Requests, read: impl FnOnce(&mut HttpWire, &mut dyn FnMut(Event<'_>))) {
        let Self { wire: Some(wire), answering, is_probe: false, .. } = self else {
            if let Some(wire) = &mut self.wire {
                read(wire, &mut |_| {});
            }
            return;
        };
        let mut pending = wire.pending();
        read(wire, &mut |event| match event {
            Event::Begun { line, asks_for_upgrade } => {
                requests.came(line);
                pending += 1;
                answering.get_or_insert_with(|| requests.begun(asks_for_upgrade));
            }
            Event::Answered(status) => {
                pending -= 1;
                if let Some(begun) = answering.take() {
                    requests.answered(begun, status);
                }
                // What came with it or before its end.
                *answering = (pending > 0).then(|| requests.begun(false));
            }
        });
    }

    /// Whether it may move to another worker, now or later.
    fn is_movable(&self) -> bool {
        !self.stays && self.wire.as_ref().is_some_and(|wire| !wire.stays())
    }

    /// Requests that were answered on it, here and in other workers.
    fn served(&self) -> u32 {
        self.served.saturating_add(self.wire.as_ref().map_or(0, HttpWire::served))
    }
}

/// What is known of a connection when the runtime gets it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opened {
    pub group: GroupId,
    /// It carries HTTP/1.1 without TLS.
    pub moves: bool,
    /// Requests that other workers have answered on it.
    pub served: u32,
    /// It has moved here, and ends at this time if it sends nothing.
    pub ends: Option<Instant>,
    /// It returns to the primary after each response.
    pub per_request: bool,
    /// A health check of the primary, which is not counted.
    pub is_probe: bool,
}

/// A connection between two requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Idle {
    pub fd: RawFd,
    /// How many requests were answered on it.
    pub served: u32,
    pub poll: PollEntry,
}

#[derive(Default)]
pub struct RuntimeConnections {
    /// By descriptor.
    connections: RefCell<ByDescriptor>,
    /// How many there have been.
    opened: Cell<u64>,
    /// The connection that the runtime has last got or read from.
    current: Cell<Option<RawFd>>,
    /// A connection may have become idle since this was last asked.
    has_changed: Cell<bool>,
    /// A connection has ended since this was last asked.
    has_ended: Cell<bool>,
    received: Cell<u64>,
    sent: Cell<u64>,
    /// Number of connections with a time at which they end.
    waiting: Cell<usize>,
    /// When connections whose time is up were last looked for.
    swept: Cell<Option<Instant>>,
    /// When the last connection of a group ended.
    ends: RefCell<HashMap<GroupId, Instant>>,
    /// How long a group's connection may be idle, milliseconds.
    idle_timeouts: RefCell<HashMap<GroupId, u32>>,
    /// Connections that may have to return to the primary.
    returning: RefCell<Vec<RawFd>>,
}

/// Connections by descriptor. Descriptors are small numbers: looking one up costs less than in a map.
#[derive(Default)]
struct ByDescriptor(Vec<Option<Box<Connection>>>);

impl ByDescriptor {
    fn get(&self, fd: RawFd) -> Option<&Connection> {
        self.0.get(usize::try_from(fd).ok()?)?.as_deref()
    }

    fn get_mut(&mut self, fd: RawFd) -> Option<&mut Connection> {
        self.0.get_mut(usize::try_from(fd).ok()?)?.as_deref_mut()
    }

    fn insert(&mut self, fd: RawFd, connection: Connection) {
        let Ok(at) = usize::try_from(fd) else { return };
        if at >= self.0.len() {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at] = Some(Box::new(connection));
    }

    fn remove(&mut self, fd: RawFd) -> Option<Box<Connection>> {
        self.0.get_mut(usize::try_from(fd).ok()?)?.take()
    }

    fn iter(&self) -> impl Iterator<Item = (RawFd, &Connection)> {
        self.0.iter().enumerate().filter_map(|(fd, slot)| Some((fd as RawFd, slot.as_deref()?)))
    }

    fn count(&self, is_meant: impl Fn(&Connection) -> bool) -> usize {
        self.iter().filter(|(_, connection)| is_meant(connection)).count()
    }
}

impl RuntimeConnections {
    /// The runtime has got this connection.
    pub fn opened(&self, fd: RawFd, opened: Opened) {
        let Opened { group, moves, served, ends, per_request, is_probe } = opened;
        let wire = moves.then(HttpWire::default);
        let id = self.opened.replace(self.opened.get() + 1) << FD_BITS | fd as ConnectionId;
        let connection = Connection {
            id,
            group,
            wire,
            answering: None,
            is_named: false,
            stays: false,
            poll: None,
            served,
            ends,
            per_request,
            is_probe,
        };
        self.connections.borrow_mut().insert(fd, connection);
        self.current.set(Some(fd));
        self.has_changed.set(true);
        if ends.is_some() {
            self.waiting.set(self.waiting.get() + 1);
        }
    }

    /// The runtime has closed it, or it has moved. Returns whether its end counts.
    pub fn closed(&self, fd: RawFd, requests: &Requests) -> bool {
        let Some(closed) = self.connections.borrow_mut().remove(fd) else { return false };
        self.has_ended.set(true);
        if self.current.get() == Some(fd) {
            self.current.set(None);
        }
        if closed.ends.is_some() {
            self.waiting.set(self.waiting.get() - 1);
        }
        if let Some(begun) = closed.answering {
            requests.answered(begun, closed.wire.and_then(|wire| wire.status_at_end()).unwrap_or(0));
        }
        if closed.is_probe {
            return false;
        }
        self.ends.borrow_mut().insert(closed.group, Instant::now());
        true
    }

    pub fn received(&self, fd: RawFd, bytes: &[u8], requests: &Requests) {
        self.current.set(Some(fd));
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(fd) else { return };
        if !connection.is_probe {
            self.received.set(self.received.get() + bytes.len() as u64);
        }
        if connection.ends.take().is_some() {
            self.waiting.set(self.waiting.get() - 1);
        }
        connection.follow(requests, |wire, events| wire.received(bytes, events));
    }

    pub fn sent(&self, fd: RawFd, bytes: &[u8], requests: &Requests) {
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(fd) else { return };
        if !connection.is_probe {
            self.sent.set(self.sent.get() + bytes.len() as u64);
        }
        connection.follow(requests, |wire, events| wire.sent(bytes, events));
        if connection.wire.is_some() {
            self.has_changed.set(true);
            if connection.per_request && connection.idle(fd).is_some() {
                self.returning.borrow_mut().push(fd);
            }
        }
    }

    pub fn polled(&self, fd: RawFd, poll: PollEntry) {
        if let Some(connection) = self.connections.borrow_mut().get_mut(fd) {
            connection.poll = Some(poll);
        }
    }

    /// The connection that the runtime has last got or read from, whose first event it is handling; None if that is not a
    /// connection of the group, or had its first event before.
    pub fn name_current(&self, group: GroupId) -> Option<ConnectionId> {
        let mut connections = self.connections.borrow_mut();
        let connection = connections.get_mut(self.current.get()?)?;
        let is_meant = connection.group == group && !std::mem::replace(&mut connection.is_named, true);
        is_meant.then_some(connection.id)
    }

    /// Calls `act` with a connection that has not ended.
    fn with<T>(&self, id: ConnectionId, act: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        let mut connections = self.connections.borrow_mut();
        connections.get_mut(fd_of(id)).filter(|connection| connection.id == id).map(act)
    }

    /// Sets whether the connection stays in this worker.
    pub fn keep(&self, id: ConnectionId, stays: bool) {
        self.with(id, |connection| connection.stays = stays);
        self.has_changed.set(true);
    }

    /// How many requests were answered on the connection, here and in other workers.
    pub fn served(&self, id: ConnectionId) -> u32 {
        self.with(id, |connection| connection.served()).unwrap_or(0)
    }

    /// A connection of the group may be idle for so long.
    pub fn set_idle_timeout(&self, group: GroupId, ms: u32) {
        self.idle_timeouts.borrow_mut().insert(group, ms);
    }

    pub fn idle_timeout(&self, group: GroupId) -> Option<u32> {
        self.idle_timeouts.borrow().get(&group).copied()
    }

    /// Whether the connection returns to the primary after each response.
    pub fn is_per_request(&self, id: ConnectionId) -> bool {
        self.with(id, |connection| connection.per_request).unwrap_or(false)
    }

    /// Bytes received and sent since the last call.
    pub fn take_bytes(&self) -> (u64, u64) {
        (self.received.take(), self.sent.take())
    }

    /// Whether a connection may have become idle since the last call.
    pub fn take_changed(&self) -> bool {
        self.has_changed.take()
    }

    /// Whether a connection has ended since the last call.
    pub fn take_ended(&self) -> bool {
        self.has_ended.take()
    }

    /// The group's connections that may move now, at most `most`.
    pub fn idle(&self, group: GroupId, most: usize) -> Vec<Idle> {
        self.idle_where(|connection| connection.group == group && connection.is_movable(), most)
    }

    /// Connections that return to the primary after each response and have got one since the last call, with their groups.
    pub fn take_returning(&self) -> Vec<(GroupId, Idle)> {
        let returning = self.returning.take();
        let connections = self.connections.borrow();
        let found = returning.into_iter().filter_map(|fd| {
            let connection = connections.get(fd).filter(|connection| connection.is_movable())?;
            Some((connection.group, connection.idle(fd)?))
        });
        found.collect()
    }

    /// Connections that have moved here and whose time is up.
    pub fn expired_now(&self) -> Vec<Idle> {
        if self.waiting.get() == 0 {
            return Vec::new();
        }
        let now = Instant::now();
        if self.swept.get().is_some_and(|swept| now - swept < SWEEP_INTERVAL) {
            return Vec::new();
        }
        self.swept.set(Some(now));
        self.expired(now)
    }

    fn expired(&self, now: Instant) -> Vec<Idle> {
        self.idle_where(|connection| connection.ends.is_some_and(|ends| ends <= now), usize::MAX)
    }

    fn idle_where(&self, is_meant: impl Fn(&Connection) -> bool, most: usize) -> Vec<Idle> {
        let connections = self.connections.borrow();
        let meant = connections.iter().filter(|(_, connection)| is_meant(connection));
        meant.filter_map(|(fd, connection)| connection.idle(fd)).take(most).collect()
    }

    /// How many of the group's connections may move, now or later.
    pub fn movable(&self, group: GroupId) -> usize {
        self.connections.borrow().count(|connection| connection.group == group && connection.is_movable())
    }

    /// How many connections the group has, without health checks.
    pub fn count(&self, group: GroupId) -> usize {
        self.connections.borrow().count(|connection| connection.group == group && !connection.is_probe)
    }

    /// How long ago the last one ended; None: none has.
    pub fn since_last_end(&self, group: GroupId) -> Option<Duration> {
        self.ends.borrow().get(&group).map(Instant::elapsed)
    }

    /// How many of them await a response that will come to an end.
    pub fn busy(&self, group: GroupId) -> usize {
        self.connections.borrow().count(|connection| {
            connection.group == group && connection.wire.as_ref().is_some_and(HttpWire::is_busy)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::layout::page;
    use crate::metrics::memory::SharedMemory;
    use crate::model::WorkerId;

    fn requests() -> Requests {
        let (memory, _memfds) = SharedMemory::create(0).unwrap();
        Requests::new(memory.page(WorkerId { slot: 0, generation: 1 }), true)
    }

    const POLL: PollEntry = PollEntry { poll: 3, events: 1, data: 7 };

    #[test]
    fn only_what_is_idle_and_may_move_moves() {
        let connections = RuntimeConnections::default();
        for (fd, group, moves) in [(10, 1, true), (11, 1, true), (12, 1, false), (13, 2, true), (14, 1, true)]
        {
            connections.opened(fd, Opened { group, moves, ..Opened::default() });
            if fd != 14 {
                connections.polled(fd, POLL);
            }
        }
        connections.received(11, b"GET / HT", &requests());
        assert_eq!(connections.idle(1, 9), [Idle { fd: 10, served: 0, poll: POLL }]);
        assert_eq!((connections.count(1), connections.busy(1), connections.count(2)), (4, 1, 1));
        connections.received(11, b"TP/1.1\r\n\r\n", &requests());
        connections.sent(11, b"HTTP/1.1 204 No Content\r\n\r\n", &requests());
        let mut idle: Vec<(RawFd, u32)> =
            connections.idle(1, 9).iter().map(|one| (one.fd, one.served)).collect();
        idle.sort_unstable();
        assert_eq!(idle, [(10, 0), (11, 1)]);
        assert_eq!(connections.idle(1, 1).len(), 1);
        assert!(connections.closed(11, &requests()) && !connections.closed(11, &requests()));
        assert_eq!(connections.take_bytes(), (18, 27));
    }

    #[test]
    fn each_request_is_counted_when_its_turn_comes_and_answered_once() {
        let (memory, _memfds) = SharedMemory::create(0).unwrap();
        let page = memory.page(WorkerId { slot: 0, generation: 1 });
        let (connections, requests) = (RuntimeConnections::default(), Requests::new(page.clone(), true));
        let counted = || {
            [page::REQUESTS, page::RESPONSES, page::STATUS + 1, page::ABORTED].map(|cell| page.float(cell))
        };
        for (fd, is_probe) in [(10, false), (11, true)] {
            connections.opened(fd, Opened { group: 1, moves: true, is_probe, ..Opened::default() });
            connections.received(fd, b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", &requests);
            assert_eq!(
                counted(),
                [1.0, 0.0, 0.0, 0.0],
                "the second waits, and a health check does not count"
            );
        }
        for fd in [10, 11] {
            connections.sent(fd, b"HTTP/1.1 204 No Content\r\n\r\n", &requests);
            assert_eq!(counted(), [2.0, 1.0, 1.0, 0.0]);
        }
        connections.sent(10, b"HTTP/1.1 200 OK\r\n", &requests);
        connections.closed(10, &requests);
        connections.closed(11, &requests);
        assert_eq!(counted(), [2.0, 2.0, 1.0, 1.0]);
    }

    #[test]
    fn what_the_program_has_touched_stays() {
        let connections = RuntimeConnections::default();
        let open = |fd| {
            connections.opened(fd, Opened { group: 1, moves: true, served: 2, ..Opened::default() });
            connections.polled(fd, POLL);
            connections.received(fd, b"GET / HTTP/1.1\r\n\r\n", &requests());
            connections.sent(fd, b"HTTP/1.1 204 No Content\r\n\r\n", &requests());
            connections.name_current(1).unwrap()
        };
        let (first, second) = (open(10), open(11));
        assert_eq!((connections.served(first), connections.movable(1)), (3, 2));
        connections.keep(first, true);
        assert_eq!(connections.idle(1, 9), [Idle { fd: 11, served: 3, poll: POLL }]);
        assert_eq!((connections.movable(1), connections.count(1)), (1, 2));
        connections.closed(10, &requests());
        let third = open(10);
        assert_ne!(first, third);
        // The connection is another one.
        connections.keep(first, true);
        assert_eq!((connections.served(first), connections.movable(1)), (0, 2));
        assert_eq!(connections.name_current(1), None, "named already");
        connections.closed(10, &requests());
        assert!(connections.take_ended() && connections.since_last_end(1).is_some());
        assert_eq!(connections.since_last_end(2), None);
        connections.keep(second, true);
        assert_eq!(connections.movable(1), 0);
        connections.keep(second, false);
        assert_eq!(connections.movable(1), 1);
    }

    #[test]
    fn a_connection_that_has_moved_here_ends_if_it_stays_silent() {
        let connections = RuntimeConnections::default();
        let now = Instant::now();
        for fd in [10, 11] {
            let opened = Opened {
                group: 1,
                moves: true,
                served: 5,
                ends: Some(now),
                per_request: true,
                is_probe: false,
            };
            connections.opened(fd, opened);
            connections.polled(fd, POLL);
        }
        connections.received(11, b"GET / HTTP/1.1\r\n\r\n", &requests());
        assert!(connections.take_returning().is_empty());
        connections.sent(11, b"HTTP/1.1 204 No Content\r\n\r\n", &requests());
        assert_eq!(connections.expired(now), [Idle { fd: 10, served: 5, poll: POLL }]);
        assert_eq!(connections.take_returning(), [(1, Idle { fd: 11, served: 6, poll: POLL })]);
        connections.closed(10, &requests());
        assert!(connections.expired(now).is_empty());
        assert_eq!(connections.movable(1), 1);
    }
}
