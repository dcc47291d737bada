//! Placing an accepted connection: look at its first bytes if an option needs them, choose a worker, or let it
//! wait; at the end of every round send what was placed.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::getpeername;

use super::accept_loop::AcceptLoop;
use super::bind::client_address;
use super::command::Affinity;
use super::group::{Connection, Group, Hint, Share};
use super::request_head;
use super::worker_channel::WorkerChannel;
use crate::balance::{Candidate, ClientKey, Strategy, client_key, flow_key};
use crate::ipc::control::GroupId;
use crate::metrics::layout::page;

/// The client of a connection that was read back from a channel.
pub fn peer_address(fd: &OwnedFd) -> Option<SocketAddr> {
    client_address(getpeername(fd).ok().flatten())
}

/// What the choice of a worker depends on.
struct Placement {
    group: GroupId,
    client: Option<SocketAddr>,
    hint: Hint,
    donor: Option<u16>,
}

impl Placement {
    fn of(connection: &Connection) -> Self {
        let Connection { group, client, hint, donor, .. } = *connection;
        Self { group, client, hint, donor }
    }
}

impl AcceptLoop {
    /// A connection that no worker has seen: perhaps its first bytes must be read before it can be placed.
    pub fn place(&mut self, connection: Connection, now: Duration) {
        if self.wants_first_bytes(connection.group) && self.first_bytes.len() < self.settings.max_queue {
            let per_request = self.is_shared(&connection);
            self.start_peek(Connection { per_request, ..connection }, now);
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
        connection.client.is_some_and(|peer| request_head::is_trusted(peer.ip(), trusted))
    }

    /// Gives the connection to a worker, or lets it wait. Who waits already goes first.
    pub fn route(&mut self, connection: Connection, now: Duration) {
        let waits = self.groups.get(&connection.group).is_some_and(|group| !group.waiting.is_empty());
        let slot = if waits { None } else { self.choose(&Placement::of(&connection), now) };
        match slot.and_then(|slot| self.channel_mut(slot)) {
            Some(channel) => channel.assign(connection),
            None => self.enqueue(connection),
        }
    }

    fn choose(&mut self, asked: &Placement, now: Duration) -> Option<u16> {
        let Placement { group: id, client, hint, donor } = *asked;
        let mut candidates = std::mem::take(&mut self.candidates);
        // Whoever belongs to a slot goes there, warm or not.
        let bound = hint.slot.is_some() || self.effective_strategy() == Strategy::IpHash;
        self.find_candidates(id, bound, now, &mut candidates);
        if candidates.len() > 1 {
            candidates.retain(|candidate| Some(candidate.slot) != donor);
        }
        let named = hint.slot.and_then(|slot| candidates.iter().position(|candidate| candidate.slot == slot));
        let key = self.key(client, hint);
        let random = self.next_random();
        let evens_out = self.settings.rebalance && donor.is_some() && !bound;
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
            let all = self.workers.serving();
            all.filter(|channel| group.share(channel.id.slot) == Share::Open && !channel.leaving)
        };
        let any_well = serving().any(WorkerChannel::is_well);
        for fd_pressure in [false, true] {
            let fit = |channel: &&WorkerChannel| {
                channel.fd_pressure == fd_pressure && (channel.is_well() || !any_well)
            };
            let has_room = |channel: &&WorkerChannel| {
                channel.has_room(now, self.fd_budget, most) && channel.connection_limits.has_room(id)
            };
            let free = || serving().filter(fit).filter(has_room);
            let slowly = |channel: &&WorkerChannel| channel.is_warm(now) || channel.has_slow_room();
            let warms_up = !bound && group.plain_http && free().any(|channel| channel.is_warm(now));
            candidates
                .extend(free().filter(|m| !warms_up || slowly(m)).map(|channel| self.candidate(channel)));
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

    fn candidate(&self, channel: &WorkerChannel) -> Candidate {
        let weight = self.settings.weights.get(usize::from(channel.id.slot)).copied().unwrap_or(1);
        let in_flight = channel.page.float(page::REQUESTS) - channel.page.float(page::RESPONSES);
        Candidate {
            slot: channel.id.slot,
            connections: if self.settings.connection_tracking { channel.connections() } else { 0 },
            weight,
            latency_us: channel.page.float(page::LATENCY),
            in_flight: in_flight.max(0.0) as u32,
        }
    }

    fn enqueue(&mut self, connection: Connection) {
        // What a worker gave away asks for nothing yet: it is bounded by the descriptors alone.
        if connection.keep_alive.is_none() && self.waiting() >= self.settings.max_queue {
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
            for channel in self.workers.serving_mut().filter(|channel| channel.has_pending()) {
                back.append(&mut channel.flush(now, self.fd_budget));
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
            let asked = Placement::of(first);
            let slot = if late { None } else { self.choose(&asked, now) };
            if !late && slot.is_none() {
                return;
            }
            let Some(first) = self.groups.get_mut(&id).and_then(|group| group.waiting.pop_front()) else {
                return;
            };
            match slot.and_then(|slot| self.channel_mut(slot)) {
                Some(channel) => channel.assign(first),
                None => self.refuse(first),
            }
        }
    }
}
