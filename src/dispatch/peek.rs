//! Connections whose first bytes are looked at (never taken) before they are placed: cookie affinity and
//! trusted proxies. Edge-triggered, because half a header would otherwise wake the thread without end; at
//! most 16 KiB and one second.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::accept::Floor;
use super::affinity::cookie_slot;
use super::command::Affinity;
use super::group::{Connection, Hint};
use super::requests::{self, FirstBytes};
use super::token::Token;
use crate::ipc::control::GroupId;

const MOST_BYTES: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Peeks {
    next: u32,
    /// In the order in which they came.
    open: BTreeMap<u32, Connection>,
}

impl Peeks {
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl Floor {
    pub fn start_peek(&mut self, connection: Connection, now: Duration) {
        let id = self.peeks.next;
        self.peeks.next = id.wrapping_add(1);
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        let token = EventData::new_u64(Token::Peek(id).pack());
        if epoll::add(&self.epoll, &connection.fd, token, flags).is_err() {
            return self.route(connection, now);
        }
        self.peeks.open.insert(id, connection);
    }

    /// More of a connection's first bytes are here (or its end).
    pub fn peeked(&mut self, id: u32, now: Duration) {
        let Some(connection) = self.peeks.open.get(&id) else { return };
        let mut bytes = [MaybeUninit::<u8>::uninit(); MOST_BYTES];
        let hint = match recv(&connection.fd, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok(((read, _), _)) => {
                let read: &[u8] = read;
                let full = read.len() == MOST_BYTES;
                match requests::read(read) {
                    FirstBytes::Incomplete if !full && !read.is_empty() => return,
                    FirstBytes::Incomplete | FirstBytes::Unreadable => Hint::default(),
                    FirstBytes::Request { cookies, forwarded, x_forwarded_for } => {
                        self.hint(connection, &cookies, &forwarded, &x_forwarded_for)
                    }
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => return,
            // Reset: the worker finds out as it would have without drover.
            Err(_) => Hint::default(),
        };
        if let Some(connection) = self.end_peek(id) {
            self.route(Connection { hint, ..connection }, now);
        }
    }

    fn hint(&self, connection: &Connection, cookies: &[&str], forwarded: &[&str], hops: &[&str]) -> Hint {
        let slot = match &self.settings.affinity {
            Affinity::Cookie { name, key } => {
                requests::cookie(cookies, name).and_then(|value| cookie_slot(value, key))
            }
            Affinity::None | Affinity::Ip => None,
        };
        let trusted = &self.settings.trusted_proxies;
        let client = connection.client.and_then(|peer| requests::client(peer.ip(), forwarded, hops, trusted));
        Hint { slot, client }
    }

    fn end_peek(&mut self, id: u32) -> Option<Connection> {
        let connection = self.peeks.open.remove(&id)?;
        // Removed from the set before it goes to a worker: the worker's copy would keep it registered.
        let _ = epoll::delete(&self.epoll, &connection.fd);
        Some(connection)
    }

    /// Connections that have been looked at for long enough.
    pub fn expired_peeks(&mut self, now: Duration) -> Vec<Connection> {
        self.end_peeks(|connection| now.saturating_sub(connection.since) >= PATIENCE)
    }

    /// Connections of a group that is about to close.
    pub fn peeks_of(&mut self, group: GroupId) -> Vec<Connection> {
        self.end_peeks(|connection| connection.group == group)
    }

    fn end_peeks(&mut self, which: impl Fn(&Connection) -> bool) -> Vec<Connection> {
        let open = self.peeks.open.iter();
        let ids: Vec<u32> = open.filter(|(_, connection)| which(connection)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.end_peek(id)).collect()
    }
}
