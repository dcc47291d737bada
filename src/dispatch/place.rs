//! Placing an accepted connection: look at its first bytes if an option needs them, choose a worker, or let it
//! wait; at the end of every round send what was placed.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::getpeername;

use super::accept::Floor;
use super::bind::client_address;
use super::command::Affinity;
use super::crew::Member;
use super::group::{Connection, Door, Group, Hint};
use super::requests;
use crate::balance::{Candidate, ClientKey, Strategy, client_key, flow_key};
use crate::ipc::control::GroupId;
use crate::metrics::layout::page;

/// The client of a connection that was read back from a channel.
pub fn peer_address(fd: &OwnedFd) -> Option<SocketAddr> {
    client_address(getpeername(fd).ok().flatten())
}

/// What the choice of a worker depends on.
struct Asked {
    group: GroupId,
    client: Option<SocketAddr>,
    hint: Hint,
    giver: Option<u16>,
}

impl Asked {
    fn of(connection: &Connection) -> Self {
        let Connection { group, client, hint, giver, .. } = *connection;
        Self { group, client, hint, giver }
    }
}

impl Floor {
    /// A connection that no worker has seen: perhaps its first bytes must be read before it can be placed.
    pub fn place(&mut self, connection: Connection, now: Duration) {
        if self.wants_first_bytes(connection.group) && self.peeks.len() < self.settings.max_queue {
            let lent = self.is_shared(&connection);
            self.start_peek(Connection { lent, ..connection }, now);
        } else {
            self.route(connection, now);
        }
    }

    /// Whether a connection's worker depends on what its requests say.
    pub fn wants_first_bytes(&self, group: GroupId) -> bool {
        let settings = &self.settings;
        let by_cookie = matches!(settings.affinity, Affinity::Cookie { .. });
        let by_forwarded = !settings.trusted_proxies.is_empty()
            && (settings.affinity == Affinity::Ip || settings.strategy == Strategy::IpHash);
        (by_cookie || by_forwarded) && self.groups.get(&group).is_some_and(|group| group.plain_http)
    }

    /// A trusted proxy's: each of its requests may be another client's.
    pub fn is_shared(&self, connection: &Connection) -> bool {
        let trusted = &self.settings.trusted_proxies;
        connection.client.is_some_and(|peer| requests::is_trusted(peer.ip(), trusted))
    }

    /// Gives the connection to a worker, or lets it wait. Who waits already goes first.
    pub fn route(&mut self, connection: Connection, now: Duration) {
        let waits = self.groups.get(&connection.group).is_some_and(|group| !group.waiting.is_empty());
        let slot = if waits { None } else { self.choose(&Asked::of(&connection), now) };
        match slot.and_then(|slot| self.member_mut(slot)) {
            Some(member) => member.give(connection),
            None => self.enqueue(connection),
        }
    }

    fn choose(&mut self, asked: &Asked, now: Duration) -> Option<u16> {
        let Asked { group: id, client, hint, giver } = *asked;
        let mut candidates = std::mem::take(&mut self.candidates);
        // Whoever belongs to a slot goes there, warm or not.
        let bound = hint.slot.is_some() || self.effective_strategy() == Strategy::IpHash;
        self.find_candidates(id, bound, now, &mut candidates);
        if candidates.len() > 1 {
            candidates.retain(|candidate| Some(candidate.slot) != giver);
        }
        let named = hint.slot.and_then(|slot| candidates.iter().position(|candidate| candidate.slot == slot));
        let key = self.key(client, hint);
        let random = self.next_random();
        let evens_out = self.settings.rebalance && giver.is_some() && !bound;
        let chosen = named.or_else(|| {
            let chooser = &mut self.groups.get_mut(&id)?.chooser;
            if evens_out { chooser.lightest(&candidates) } else { chooser.choose(&candidates, key, random) }
        });
        let slot = chosen.map(|index| candidates[index].slot);
        self.candidates = candidates;
        slot
    }

    /// The workers that may take a connection of the group now. A stuck one gets something only when all are:
    /// then waiting there is as good as anywhere. One that is short of descriptors when no other has room.
    fn find_candidates(&self, id: GroupId, bound: bool, now: Duration, candidates: &mut Vec<Candidate>) {
        candidates.clear();
        let Some(group) = self.groups.get(&id) else { return };
        let most = self.settings.max_connections_per_worker;
        let serving = || {
            let all = self.crew.serving();
            all.filter(|member| group.door(member.id.slot) == Door::Open && !member.leaving)
        };
        let any_well = serving().any(Member::is_well);
        for scarce in [false, true] {
            let fit = |member: &&Member| member.scarce == scarce && (member.is_well() || !any_well);
            let has_room =
                |member: &&Member| member.has_room(now, self.allowance, most) && member.windows.has_room(id);
            let free = || serving().filter(fit).filter(has_room);
            let slowly = |member: &&Member| member.is_warm(now) || member.has_slow_room();
            let warms_up = !bound && group.plain_http && free().any(|member| member.is_warm(now));
            candidates.extend(free().filter(|m| !warms_up || slowly(m)).map(|member| self.candidate(member)));
            if !candidates.is_empty() {
                return;
            }
        }
    }

    fn key(&self, client: Option<SocketAddr>, hint: Hint) -> Option<ClientKey> {
        match self.effective_strategy() {
            Strategy::Os => client.map(flow_key),
            _ => hint.client.or(client.map(|client| client.ip())).map(client_key),
        }
    }

    fn candidate(&self, member: &Member) -> Candidate {
        let weight = self.settings.weights.get(usize::from(member.id.slot)).copied().unwrap_or(1);
        let in_flight = member.page.float(page::REQUESTS) - member.page.float(page::RESPONSES);
        Candidate {
            slot: member.id.slot,
            connections: if self.settings.connection_tracking { member.connections() } else { 0 },
            weight,
            latency_us: member.page.float(page::LATENCY),
            in_flight: in_flight.max(0.0) as u32,
        }
    }

    fn enqueue(&mut self, connection: Connection) {
        // What a worker gave away asks for nothing yet: it is bounded by the descriptors alone.
        if connection.kept.is_none() && self.waiting() >= self.settings.max_queue {
            return self.refuse(connection);
        }
        match self.groups.get_mut(&connection.group) {
            Some(group) => group.enqueue(connection),
            // Its address was closed while it was on its way.
            None => self.refuse(connection),
        }
    }

    /// Connections that wait for a worker.
    pub fn waiting(&self) -> usize {
        self.groups.values().map(|group| group.waiting.len()).sum()
    }

    /// Sends everything that was given to workers, and places again what a full channel did not take.
    pub fn flush(&mut self, now: Duration) {
        for _ in 0..3 {
            let mut back = Vec::new();
            for member in self.crew.serving_mut().filter(|member| member.has_pending()) {
                back.append(&mut member.flush(now, self.allowance));
            }
            if back.is_empty() {
                return;
            }
            // A full channel is left alone for a while, so that this ends with workers or in the queue.
            back.into_iter().for_each(|connection| self.route(connection, now));
        }
    }

    /// Gives waiting connections to workers that may have them now; refuses those that waited too long.
    pub fn serve_queues(&mut self, now: Duration) {
        let waits = |group: &&Group| !group.waiting.is_empty();
        let ids: Vec<GroupId> = self.groups.values().filter(waits).map(|group| group.id).collect();
        ids.into_iter().for_each(|id| self.serve_queue(id, now));
    }

    fn serve_queue(&mut self, id: GroupId, now: Duration) {
        while let Some(first) = self.groups.get(&id).and_then(|group| group.waiting.front()) {
            let late = now.saturating_sub(first.since) >= self.settings.queue_timeout;
            // Whether a worker has room does not depend on the connection: if not for the first, then for none.
            let asked = Asked::of(first);
            let slot = if late { None } else { self.choose(&asked, now) };
            if !late && slot.is_none() {
                return;
            }
            let Some(first) = self.groups.get_mut(&id).and_then(|group| group.waiting.pop_front()) else {
                return;
            };
            match slot.and_then(|slot| self.member_mut(slot)) {
                Some(member) => member.give(first),
                None => self.refuse(first),
            }
        }
    }
}
