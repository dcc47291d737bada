//! Connections whose first bytes are looked at (never taken) before they are placed: cookie affinity and
//! trusted proxies. Edge-triggered, because half a header would otherwise wake the thread without end; at
//! most 16 KiB and one second. A connection that came back between two requests may be silent before that for
//! as long as its server allows.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::accept_loop::AcceptLoop;
use super::affinity::cookie_slot;
use super::command::Affinity;
use super::group::{Connection, Hint};
use super::request_head::{self, RequestHead};
use super::token::Token;
use crate::ipc::control::GroupId;

const MAX_BYTES: usize = 16 * 1024;
const TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct FirstBytes {
    next: u32,
    /// In the order in which they came.
    open: BTreeMap<u32, Peek>,
    /// None of them is over before this.
    look_at: Option<Duration>,
}

struct Peek {
    connection: Connection,
    until: Duration,
    /// It is between two requests, and nothing is lost if it closes now.
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
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// How long nothing needs to be done about them; None: until something happens.
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        self.look_at.map(|at| at.saturating_sub(now))
    }

    fn look_by(&mut self, at: Duration) {
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }
}

impl AcceptLoop {
    pub fn start_peek(&mut self, connection: Connection, now: Duration) {
        let id = self.first_bytes.next;
        self.first_bytes.next = id.wrapping_add(1);
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        let token = EventData::new_u64(Token::Peek(id).pack());
        if epoll::add(&self.epoll, &connection.fd, token, flags).is_err() {
            return self.route(connection, now);
        }
        let peek = Peek::of(connection);
        self.first_bytes.look_by(peek.until);
        self.first_bytes.open.insert(id, peek);
    }

    /// More of a connection's first bytes are here (or its end).
    pub fn peeked(&mut self, id: u32, now: Duration) {
        let Some(peek) = self.first_bytes.open.get_mut(&id) else { return };
        let client = peek.connection.client;
        let mut bytes = [MaybeUninit::<u8>::uninit(); MAX_BYTES];
        let hint = match recv(&peek.connection.fd, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok(((read, _), _)) => {
                let read: &[u8] = read;
                if read.is_empty() && peek.silent {
                    return self.close_silent(id);
                }
                if std::mem::take(&mut peek.silent) {
                    peek.until = now + TIMEOUT;
                    self.first_bytes.look_by(now + TIMEOUT);
                }
                let full = read.len() == MAX_BYTES;
                match request_head::read(read) {
                    RequestHead::Incomplete if !full && !read.is_empty() => return,
                    RequestHead::Incomplete | RequestHead::Unreadable => Hint::default(),
                    RequestHead::Request { cookies, forwarded, x_forwarded_for } => {
                        self.hint(client, &cookies, &forwarded, &x_forwarded_for)
                    }
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) if peek.silent => return self.close_silent(id),
            // Reset: the worker finds out as it would have without drover.
            Err(_) => Hint::default(),
        };
        if let Some(connection) = self.end_peek(id) {
            self.route(Connection { hint, ..connection }, now);
        }
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
        Hint { slot, client }
    }

    fn end_peek(&mut self, id: u32) -> Option<Connection> {
        let Peek { connection, .. } = self.first_bytes.open.remove(&id)?;
        // Removed from the set before it goes to a worker: the worker's copy would keep it registered.
        let _ = epoll::delete(&self.epoll, &connection.fd);
        Some(connection)
    }

    /// Its client has closed it, or it was silent for too long.
    fn close_silent(&mut self, id: u32) {
        drop(self.end_peek(id));
    }

    /// Places the connections that have been looked at for long enough; those that said nothing are closed.
    pub fn expire_peeks(&mut self, now: Duration) {
        if self.first_bytes.look_at.is_none_or(|at| now < at) {
            return;
        }
        drop(self.end_peeks(|peek| peek.silent && now >= peek.until));
        let expired = self.end_peeks(|peek| now >= peek.until);
        expired.into_iter().for_each(|connection| self.route(connection, now));
        self.first_bytes.look_at = self.first_bytes.open.values().map(|peek| peek.until).min();
    }

    /// Connections of a group that no worker has had, or that have said something.
    pub fn fresh_peeks_of(&mut self, group: GroupId) -> Vec<Connection> {
        self.end_peeks(|peek| {
            peek.connection.group == group && !(peek.silent && peek.connection.keep_alive.is_some())
        })
    }

    /// Connections of a group that is about to close.
    pub fn peeks_of(&mut self, group: GroupId) -> Vec<Connection> {
        self.end_peeks(|peek| peek.connection.group == group)
    }

    fn end_peeks(&mut self, which: impl Fn(&Peek) -> bool) -> Vec<Connection> {
        let open = self.first_bytes.open.iter();
        let ids: Vec<u32> = open.filter(|(_, peek)| which(peek)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.end_peek(id)).collect()
    }
}
