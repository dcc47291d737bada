//! The open connections and the epoll instance over them. It does what it is told (open, ask, close) and says
//! what happened; when and how often is the modes' matter.

use crate::connection::{Connection, Progress};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const EVENTS: usize = 512;

/// What happened to the connection at this index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// Its answer is complete, so long after the request was due. It stays open.
    Answered(usize, Duration),
    /// The peer closed it between requests; it is gone.
    Ended(usize),
    /// It broke before its answer was complete; it is gone.
    Failed(usize),
}

pub struct Pool {
    target: SocketAddr,
    request: Vec<u8>,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    takes_refusals: bool,
}

impl Pool {
    /// `connection` is the header's value: `close` or `keep-alive`.
    pub fn new(target: SocketAddr, path: &str, connection: &str, capacity: usize) -> Result<Self, Errno> {
        Ok(Self {
            target,
            request: format!("GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: {connection}\r\n\r\n")
                .into(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: (0..capacity).map(|_| None).collect(),
            free: (0..capacity).rev().collect(),
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; 16 * 1024],
            takes_refusals: false,
        })
    }

    /// A 503 is an answer too.
    pub fn take_refusals(&mut self) {
        self.takes_refusals = true;
    }

    /// Whether the connection's last answer is a 503.
    pub fn is_refused(&self, index: usize) -> bool {
        self.connections[index].as_ref().is_some_and(Connection::is_refused)
    }

    /// Whether the peer closes the connection after its last answer.
    pub fn is_last(&self, index: usize) -> bool {
        self.connections[index].as_ref().is_none_or(Connection::is_last)
    }

    /// Closes the connections whose answer has not come for so long; when each was due.
    pub fn give_up(&mut self, patience: Duration, now: Instant) -> Vec<Instant> {
        let late = |due: Instant| now.saturating_duration_since(due) >= patience;
        let due = |one: &Option<Connection>| one.as_ref().and_then(|one| one.asked).filter(|due| late(*due));
        let found = self.connections.iter().enumerate().filter_map(|(index, one)| Some((index, due(one)?)));
        let found: Vec<(usize, Instant)> = found.collect();
        found.iter().for_each(|(index, _)| self.close(*index));
        found.into_iter().map(|(_, due)| due).collect()
    }

    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.free.len() == self.connections.len()
    }

    /// Connections whose answer is still to come.
    pub fn waiting(&self) -> u64 {
        self.connections.iter().flatten().filter(|c| c.asked.is_some()).count() as u64
    }

    /// Opens a connection and asks on it; its index, or `None` when it broke at once or there is no room.
    pub fn open(&mut self, asked: Instant) -> Option<usize> {
        let mut connection = Connection::open(self.target).ok()?;
        if self.takes_refusals {
            connection.take_refusals();
        }
        let unsent = match connection.ask(&self.request, asked) {
            Progress::Waiting { unsent } => unsent,
            _ => return None,
        };
        let index = self.free.pop()?;
        let added =
            epoll::add(&self.epoll, &connection, epoll::EventData::new_u64(index as u64), flags(unsent));
        if added.is_err() {
            self.free.push(index);
            return None;
        }
        self.connections[index] = Some(connection);
        Some(index)
    }

    /// Asks again on an open connection; `false` when it broke at once.
    pub fn ask(&mut self, index: usize, asked: Instant) -> bool {
        let Some(connection) = &mut self.connections[index] else { return false };
        let progress = connection.ask(&self.request, asked);
        let unsent = progress == Progress::Waiting { unsent: true };
        self.settle(index, progress, unsent)
    }

    pub fn close(&mut self, index: usize) {
        if self.connections[index].take().is_some() {
            self.free.push(index);
        }
    }

    /// The body of the connection's last answer.
    pub fn text(&self, index: usize) -> Option<String> {
        self.connections[index].as_ref().map(Connection::text)
    }

    /// Waits for at most `timeout` and adds what happened to `outcomes`.
    pub fn turn(&mut self, timeout: Duration, outcomes: &mut Vec<Outcome>) -> Result<(), Errno> {
        let timeout =
            Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let waited = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
        for event in &events {
            let index = event.data.u64() as usize;
            if let Some(outcome) = self.advance(index, event.flags) {
                outcomes.push(outcome);
            }
        }
        self.events = events;
        match waited {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn advance(&mut self, index: usize, ready: epoll::EventFlags) -> Option<Outcome> {
        let connection = self.connections[index].as_mut()?;
        let progress = if connection.unsent(&self.request) && !ready.contains(epoll::EventFlags::IN) {
            connection.send(&self.request)
        } else {
            connection.receive(&mut self.buffer)
        };
        if progress == Progress::Answered {
            // An answer is only seen while a request is under way.
            let asked = connection.asked.take()?;
            return Some(Outcome::Answered(index, asked.elapsed()));
        }
        let ended = progress == Progress::Ended;
        let sending = ready.contains(epoll::EventFlags::OUT);
        if self.settle(index, progress, sending) {
            return None;
        }
        Some(if ended { Outcome::Ended(index) } else { Outcome::Failed(index) })
    }

    /// Closes a connection that is over and returns `false`; else, if asked to, watches for what is next.
    fn settle(&mut self, index: usize, progress: Progress, watch: bool) -> bool {
        let watched = match (&self.connections[index], progress) {
            (Some(connection), Progress::Waiting { unsent }) if watch => {
                let data = epoll::EventData::new_u64(index as u64);
                epoll::modify(&self.epoll, connection, data, flags(unsent)).is_ok()
            }
            (Some(_), Progress::Waiting { .. }) => true,
            _ => false,
        };
        if !watched {
            self.close(index);
        }
        watched
    }
}

fn flags(unsent: bool) -> epoll::EventFlags {
    if unsent { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN }
}
