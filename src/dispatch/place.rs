//! Placing an accepted connection: look at its first bytes if an option needs them, choose a worker, or let it
//! wait; at the end of every round send what was placed.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::getpeername;

use super::accept::Floor;
use super::bind::client_address;
use super::command::Affinity;
use super::crew::Member;
use super::group::{Connection, Door};
use crate::balance::{Candidate, ClientKey, Strategy, client_key, flow_key};
use crate::ipc::control::GroupId;
use crate::metrics::layout::{header, page};

/// The client of a connection that was read back from a channel.
pub fn peer_address(fd: &OwnedFd) -> Option<SocketAddr> {
    client_address(getpeername(fd).ok().flatten())
}

/// What is known of a connection beyond its address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint {
    /// The slot that a valid affinity cookie names.
    pub slot: Option<u16>,
    /// The client behind a trusted proxy.
    pub client: Option<IpAddr>,
}

impl Floor {
    /// A fresh connection: perhaps its first bytes must be seen before it can be placed.
    pub fn place(&mut self, connection: Connection, now: Duration) {
        if self.wants_first_bytes(&connection) && self.peeks.len() < self.settings.max_queue {
            self.start_peek(connection, now);
        } else {
            self.route(connection, Hint::default(), now);
        }
    }

    fn wants_first_bytes(&self, connection: &Connection) -> bool {
        let settings = &self.settings;
        let by_cookie = matches!(settings.affinity, Affinity::Cookie { .. });
        let by_forwarded = !settings.trusted_proxies.is_empty()
            && (settings.affinity == Affinity::Ip || settings.strategy == Strategy::IpHash);
        (by_cookie || by_forwarded)
            && self.groups.get(&connection.group).is_some_and(|group| group.plain_http)
    }

    /// Gives the connection to a worker, or puts it at the end of its group's queue.
    pub fn route(&mut self, connection: Connection, hint: Hint, now: Duration) {
        match self.choose(&connection, hint, now) {
            Some(slot) => {
                if let Some(member) = self.member_mut(slot) {
                    member.give(connection);
                }
            }
            None => self.enqueue(connection),
        }
    }

    fn choose(&mut self, connection: &Connection, hint: Hint, now: Duration) -> Option<u16> {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let most = self.settings.max_connections_per_worker;
        let group = self.groups.get(&connection.group)?;
        // A worker that is short of descriptors gets something only when all are, a stuck one only when all are
        // stuck: then waiting there is as good as anywhere.
        for (allow_scarce, allow_stuck) in [(false, false), (true, false), (true, true)] {
            let open = self.crew.iter().flatten().filter(|member| {
                group.door(member.slot) == Door::Open
                    && (allow_scarce || !member.scarce)
                    && (allow_stuck || !member.stuck)
                    && member.has_room(now, self.allowance, most)
            });
            candidates.extend(open.map(|member| self.candidate(member)));
            if !candidates.is_empty() {
                break;
            }
        }
        let named = hint.slot.and_then(|slot| candidates.iter().position(|candidate| candidate.slot == slot));
        let key = self.key(connection, hint);
        let random = self.next_random();
        let chosen = named.or_else(|| {
            let group = self.groups.get_mut(&connection.group)?;
            group.chooser.choose(&candidates, key, random)
        });
        let slot = chosen.map(|index| candidates[index].slot);
        self.candidates = candidates;
        slot
    }

    fn key(&self, connection: &Connection, hint: Hint) -> Option<ClientKey> {
        match self.effective_strategy() {
            Strategy::Os => connection.client.map(flow_key),
            _ => hint.client.or(connection.client.map(|client| client.ip())).map(client_key),
        }
    }

    fn candidate(&self, member: &Member) -> Candidate {
        let weight = self.settings.weights.get(usize::from(member.slot)).copied().unwrap_or(1);
        let in_flight = member.page.float(page::REQUESTS) - member.page.float(page::RESPONSES);
        Candidate {
            slot: member.slot,
            connections: if self.settings.connection_tracking { member.connections() } else { 0 },
            weight,
            latency_us: member.page.float(page::LATENCY),
            in_flight: in_flight.max(0.0) as u32,
        }
    }

    fn enqueue(&mut self, connection: Connection) {
        let waiting: usize = self.groups.values().map(|group| group.waiting.len()).sum();
        if waiting >= self.settings.max_queue {
            return self.refuse(connection);
        }
        match self.groups.get_mut(&connection.group) {
            Some(group) => group.waiting.push_back(connection),
            // Its address was closed while it was on its way.
            None => self.refuse(connection),
        }
    }

    /// Sends everything that was given to workers, and places again what a full channel did not take.
    pub fn flush(&mut self, now: Duration) {
        for _ in 0..3 {
            let mut back = Vec::new();
            for member in self.crew.iter_mut().flatten().filter(|member| member.has_pending()) {
                back.append(&mut member.flush(now, self.allowance));
            }
            if back.is_empty() {
                return;
            }
            // A full channel is left alone for a while, so that this ends with workers or in the queue.
            for connection in back {
                self.route(connection, Hint::default(), now);
            }
        }
    }

    /// Gives waiting connections to workers that may have them now; refuses those that waited too long.
    pub fn serve_queues(&mut self, now: Duration) {
        let groups: Vec<GroupId> =
            self.groups.values().filter(|group| !group.waiting.is_empty()).map(|group| group.id).collect();
        for id in groups {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let waiting = std::mem::take(&mut group.waiting);
            for connection in waiting {
                if now.saturating_sub(connection.since) >= self.settings.queue_timeout {
                    self.refuse(connection);
                } else {
                    self.route(connection, Hint::default(), now);
                }
            }
        }
        let waiting: usize = self.groups.values().map(|group| group.waiting.len()).sum();
        self.memory.set(header::QUEUED, waiting as u64);
    }
}
