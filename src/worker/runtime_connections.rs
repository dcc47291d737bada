//! The connections of a runtime that accepts by itself: which group they belong to, and which of them may move to another
//! worker. The runtime's calls report what happens on them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::http_wire::HttpWire;
use crate::ipc::control::GroupId;
use crate::sys::socket_calls::PollEntry;

/// Interval of the search for connections whose time is up.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

struct Connection {
    group: GroupId,
    /// None: it stays in this worker.
    wire: Option<HttpWire>,
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
    /// As a connection that may move now, if it may.
    fn idle(&self, fd: RawFd) -> Option<Idle> {
        let wire = self.wire.as_ref().filter(|wire| wire.is_idle())?;
        Some(Idle { fd, served: self.served.saturating_add(wire.served()), poll: self.poll? })
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

/// A connection that may move now.
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
    connections: RefCell<HashMap<RawFd, Connection, std::hash::BuildHasherDefault<FdHasher>>>,
    /// A connection may have become idle since this was last asked.
    has_changed: Cell<bool>,
    received: Cell<u64>,
    sent: Cell<u64>,
    /// Number of connections with a time at which they end.
    waiting: Cell<usize>,
    /// When connections whose time is up were last looked for.
    swept: Cell<Option<Instant>>,
    /// Connections that may have to return to the primary.
    returning: RefCell<Vec<RawFd>>,
}

/// Descriptors are small numbers, which need no mixing.
#[derive(Default)]
struct FdHasher(u64);

impl std::hash::Hasher for FdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_i32(&mut self, fd: i32) {
        // The upper bits choose within a group of the table.
        self.0 = (fd as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl RuntimeConnections {
    /// The runtime has got this connection.
    pub fn opened(&self, fd: RawFd, opened: Opened) {
        let Opened { group, moves, served, ends, per_request, is_probe } = opened;
        let wire = moves.then(HttpWire::default);
        let connection = Connection { group, wire, poll: None, served, ends, per_request, is_probe };
        self.connections.borrow_mut().insert(fd, connection);
        self.has_changed.set(true);
        if ends.is_some() {
            self.waiting.set(self.waiting.get() + 1);
        }
    }

    /// The runtime has closed it, or it has moved. Returns whether its end counts.
    pub fn closed(&self, fd: RawFd) -> bool {
        let closed = self.connections.borrow_mut().remove(&fd);
        if closed.as_ref().is_some_and(|connection| connection.ends.is_some()) {
            self.waiting.set(self.waiting.get() - 1);
        }
        closed.is_some_and(|connection| !connection.is_probe)
    }

    /// `begun` gets the first line of each request that has begun.
    pub fn received(&self, fd: RawFd, bytes: &[u8], begun: impl Fn(&[u8])) {
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(&fd) else { return };
        let is_probe = connection.is_probe;
        if !is_probe {
            self.received.set(self.received.get() + bytes.len() as u64);
        }
        if connection.ends.take().is_some() {
            self.waiting.set(self.waiting.get() - 1);
        }
        if let Some(wire) = &mut connection.wire {
            wire.received(bytes, &mut |line| {
                if !is_probe {
                    begun(line);
                }
            });
        }
    }

    pub fn sent(&self, fd: RawFd, bytes: &[u8]) {
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(&fd) else { return };
        if !connection.is_probe {
            self.sent.set(self.sent.get() + bytes.len() as u64);
        }
        if let Some(wire) = &mut connection.wire {
            wire.sent(bytes);
            self.has_changed.set(true);
            if connection.per_request && wire.is_idle() {
                self.returning.borrow_mut().push(fd);
            }
        }
    }

    pub fn polled(&self, fd: RawFd, poll: PollEntry) {
        if let Some(connection) = self.connections.borrow_mut().get_mut(&fd) {
            connection.poll = Some(poll);
        }
    }

    /// Bytes received and sent since the last call.
    pub fn take_bytes(&self) -> (u64, u64) {
        (self.received.take(), self.sent.take())
    }

    /// Whether a connection may have become idle since the last call.
    pub fn take_changed(&self) -> bool {
        self.has_changed.take()
    }

    /// The group's connections that may move now, at most `most`.
    pub fn idle(&self, group: GroupId, most: usize) -> Vec<Idle> {
        self.idle_where(|connection| connection.group == group, most)
    }

    /// Connections that return to the primary after each response and have got one since the last call, with their groups.
    pub fn take_returning(&self) -> Vec<(GroupId, Idle)> {
        let returning = self.returning.take();
        let connections = self.connections.borrow();
        let found = returning.into_iter().filter_map(|fd| {
            let connection = connections.get(&fd)?;
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
        meant.filter_map(|(fd, connection)| connection.idle(*fd)).take(most).collect()
    }

    /// How many of the group's connections may move, now or later.
    pub fn movable(&self, group: GroupId) -> usize {
        let connections = self.connections.borrow();
        let movable = connections.values().filter(|connection| {
            connection.group == group && connection.wire.as_ref().is_some_and(|wire| !wire.stays())
        });
        movable.count()
    }

    /// How many connections the group has.
    pub fn count(&self, group: GroupId) -> usize {
        self.connections.borrow().values().filter(|connection| connection.group == group).count()
    }

    /// How many of them await a response that will come to an end.
    pub fn busy(&self, group: GroupId) -> usize {
        let connections = self.connections.borrow();
        let busy = connections.values().filter(|connection| {
            connection.group == group && connection.wire.as_ref().is_some_and(HttpWire::is_busy)
        });
        busy.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        connections.received(11, b"GET / HT", |_| {});
        assert_eq!(connections.idle(1, 9), [Idle { fd: 10, served: 0, poll: POLL }]);
        assert_eq!((connections.count(1), connections.busy(1), connections.count(2)), (4, 1, 1));
        connections.received(11, b"TP/1.1\r\n\r\n", |_| {});
        connections.sent(11, b"HTTP/1.1 204 No Content\r\n\r\n");
        let mut idle: Vec<(RawFd, u32)> =
            connections.idle(1, 9).iter().map(|one| (one.fd, one.served)).collect();
        idle.sort_unstable();
        assert_eq!(idle, [(10, 0), (11, 1)]);
        assert_eq!(connections.idle(1, 1).len(), 1);
        assert!(connections.closed(11) && !connections.closed(11));
        assert_eq!(connections.take_bytes(), (18, 27));
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
        connections.received(11, b"GET / HTTP/1.1\r\n\r\n", |_| {});
        assert!(connections.take_returning().is_empty());
        connections.sent(11, b"HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(connections.expired(now), [Idle { fd: 10, served: 5, poll: POLL }]);
        assert_eq!(connections.take_returning(), [(1, Idle { fd: 11, served: 6, poll: POLL })]);
        connections.closed(10);
        assert!(connections.expired(now).is_empty());
        assert_eq!(connections.movable(1), 1);
    }
}
