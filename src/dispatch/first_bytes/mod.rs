//! Connections whose first bytes are peeked at (never consumed) before they are placed: cookie affinity and trusted
//! proxies. Edge-triggered, because half a header would otherwise wake the thread endlessly; at most 16 KiB and one
//! second. A connection that returned between two requests may be idle first for as long as its server allows.

mod affinity_cookie;
mod request_head;

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::connection::{Connection, Hint};
use super::poller::Poller;
use super::settings::{Affinity, Settings};
use crate::ipc::control::GroupId;

pub use affinity_cookie::{cookie_slot, cookie_value};
pub use request_head::{RequestHead, client, cookie, read};

const MAX_BYTES: usize = 16 * 1024;
const TIMEOUT: Duration = Duration::from_secs(1);

pub struct FirstBytes {
    settings: Arc<Settings>,
    next: u32,
    /// In the order of arrival.
    open: BTreeMap<u32, Peek>,
    /// No deadline is before this.
    look_at: Option<Duration>,
}

/// What a connection's first bytes say about admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The request is not there yet.
    Nothing,
    Exempt,
    /// Another request, or none of HTTP/1.
    Other,
}

/// Looks once at the first bytes that a connection has sent so far.
pub fn asked(connection: &Connection, is_exempt: impl Fn(&str) -> bool) -> Asked {
    let mut bytes = [MaybeUninit::<u8>::uninit(); MAX_BYTES];
    match recv(&connection.fd, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok(((read, _), _)) => match request_head::read(read) {
            RequestHead::Request { path, .. } if is_exempt(path) => Asked::Exempt,
            RequestHead::Incomplete if !read.is_empty() && read.len() < MAX_BYTES => Asked::Nothing,
            RequestHead::Incomplete | RequestHead::Unreadable | RequestHead::Request { .. } => Asked::Other,
        },
        Err(Errno::AGAIN | Errno::INTR) => Asked::Nothing,
        Err(_) => Asked::Other,
    }
}

struct Peek {
    connection: Connection,
    until: Duration,
    /// It is idle between two requests, and may be closed without losing a request.
    silent: bool,
}

impl Peek {
    fn of(connection: Connection) -> Self {
        let quiet =
            connection.keep_alive.map(|keep_alive| Duration::from_millis(keep_alive.remaining_ms.into()));
        let until = connection.since.saturating_add(quiet.unwrap_or(TIMEOUT));
        Self { connection, until, silent: quiet.is_some() }
    }
}

impl FirstBytes {
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, next: 0, open: BTreeMap::new(), look_at: None }
    }

    /// The time until the next deadline; None: there is none.
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        self.look_at.map(|at| at.saturating_sub(now))
    }

    /// Whether the maximum number is reached.
    pub fn is_full(&self) -> bool {
        self.open.len() >= self.settings.max_queue
    }

    /// Peeks at the connection when bytes arrive.
    ///
    /// # Errors
    /// It cannot be polled: it has to be placed without its first bytes.
    pub fn start(&mut self, connection: Connection, poller: &Poller) -> Result<(), Connection> {
        let id = self.next;
        self.next = id.wrapping_add(1);
        if poller.add_peek(&connection.fd, id).is_err() {
            return Err(connection);
        }
        let peek = Peek::of(connection);
        self.look_by(peek.until);
        self.open.insert(id, peek);
        Ok(())
    }

    /// More of a connection's first bytes have arrived (or its end). Returns the connection once it can be placed.
    /// `is_exempt`: whether admission does not apply to a path.
    pub fn ready(
        &mut self,
        id: u32,
        poller: &Poller,
        is_exempt: impl Fn(&str) -> bool,
        now: Duration,
    ) -> Option<Connection> {
        let peek = self.open.get_mut(&id)?;
        let client = peek.connection.client;
        let mut bytes = [MaybeUninit::<u8>::uninit(); MAX_BYTES];
        let hint = match recv(&peek.connection.fd, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok(((read, _), _)) => {
                let read: &[u8] = read;
                if read.is_empty() && peek.silent {
                    self.close_silent(id, poller);
                    return None;
                }
                if std::mem::take(&mut peek.silent) {
                    peek.until = now + TIMEOUT;
                    self.look_by(now + TIMEOUT);
                }
                let full = read.len() == MAX_BYTES;
                match request_head::read(read) {
                    RequestHead::Incomplete if !full && !read.is_empty() => return None,
                    RequestHead::Incomplete | RequestHead::Unreadable => Hint::default(),
                    RequestHead::Request { path, cookies, forwarded, x_forwarded_for } => Hint {
                        is_exempt: is_exempt(path),
                        ..self.hint(client, &cookies, &forwarded, &x_forwarded_for)
                    },
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Err(_) if peek.silent => {
                self.close_silent(id, poller);
                return None;
            }
            // Reset: the worker will get the error as it would without drover.
            Err(_) => Hint::default(),
        };
        self.end(id, poller).map(|connection| Connection { hint, ..connection })
    }

    /// Connections whose deadline has passed; idle ones between two requests are closed.
    pub fn expire(&mut self, poller: &Poller, now: Duration) -> Vec<Connection> {
        if self.look_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        drop(self.end_all(poller, |peek| peek.silent && now >= peek.until));
        let expired = self.end_all(poller, |peek| now >= peek.until);
        self.look_at = self.open.values().map(|peek| peek.until).min();
        expired
    }

    /// Connections of a group that had no worker before, or that have sent bytes.
    pub fn take_fresh(&mut self, group: GroupId, poller: &Poller) -> Vec<Connection> {
        self.end_all(poller, |peek| {
            peek.connection.group == group && !(peek.silent && peek.connection.keep_alive.is_some())
        })
    }

    /// Connections of a group that is about to close.
    pub fn take(&mut self, group: GroupId, poller: &Poller) -> Vec<Connection> {
        self.end_all(poller, |peek| peek.connection.group == group)
    }

    fn look_by(&mut self, at: Duration) {
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }

    fn hint(&self, peer: Option<SocketAddr>, cookies: &[&str], forwarded: &[&str], hops: &[&str]) -> Hint {
        let slot = match &self.settings.affinity {
            Affinity::Cookie { name, key } => {
                request_head::cookie(cookies, name).and_then(|value| cookie_slot(value, key))
            }
            Affinity::None | Affinity::Ip => None,
        };
        let trusted = &self.settings.trusted_proxies;
        let client = peer.and_then(|peer| request_head::client(peer.ip(), forwarded, hops, trusted));
        Hint { slot, client, is_exempt: false }
    }

    fn end(&mut self, id: u32, poller: &Poller) -> Option<Connection> {
        let Peek { connection, .. } = self.open.remove(&id)?;
        // Removed from the set before it goes to a worker: the worker's copy would keep it registered.
        poller.remove(&connection.fd);
        Some(connection)
    }

    /// Closes a connection whose client has closed it or that was idle for too long.
    fn close_silent(&mut self, id: u32, poller: &Poller) {
        drop(self.end(id, poller));
    }

    fn end_all(&mut self, poller: &Poller, which: impl Fn(&Peek) -> bool) -> Vec<Connection> {
        let ids: Vec<u32> = self.open.iter().filter(|(_, peek)| which(peek)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.end(id, poller)).collect()
    }
}
