//! The strategies of push mode: which of the candidates gets a connection. The candidates (alive, ready, not
//! unresponsive, not ejected, below their limit) and their counts are inputs. The chooser stores only the state of the
//! rotation.

use super::hash::{ClientKey, score};
use std::cmp::Reverse;

pub use crate::config::sections::balancing::Strategy;

/// A worker that may get the connection, with its current state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub slot: u16,
    /// Connections that are open or in transit to the worker.
    pub connections: u32,
    /// From `loadBalancing.weights`; 0 counts as 1.
    pub weight: u32,
    /// Peak EWMA of the response time in microseconds; 0 if nothing has been measured yet.
    pub latency_us: f64,
    /// Requests in progress.
    pub in_flight: u32,
}

impl Candidate {
    fn weight(&self) -> u64 {
        u64::from(self.weight.max(1))
    }
}

/// Chooses for one listener group. One owner, no sharing.
#[derive(Debug)]
pub struct Chooser {
    strategy: Strategy,
    last: Option<u16>,
    /// The running weight of each slot, by its number. A slot that is not a candidate keeps its running weight.
    running: Vec<i64>,
}

impl Chooser {
    pub fn new(strategy: Strategy) -> Self {
        Self { strategy, last: None, running: Vec::new() }
    }

    /// The index in `candidates` of the worker that gets the connection; `None` only if there is no candidate. Slots
    /// must be distinct; their order does not matter.
    ///
    /// `client` is [`super::client_key`] for ip-hash and [`super::flow_key`] for os; without one (a unix socket has no
    /// address) both use round-robin. `random` is any uniformly distributed number, used only by least-response-time.
    pub fn choose(
        &mut self,
        candidates: &[Candidate],
        client: Option<ClientKey>,
        random: u32,
    ) -> Option<usize> {
        let chosen = match (self.strategy, client) {
            (Strategy::IpHash, Some(key)) => by_score(candidates, key),
            (Strategy::Os, Some(key)) => by_remainder(candidates, key),
            (Strategy::LeastConnections, _) => self.least_connections(candidates),
            (Strategy::WeightedRoundRobin, _) => self.smooth_weighted(candidates),
            (Strategy::LeastResponseTime, _) => better_of_two(candidates, random),
            (Strategy::RoundRobin | Strategy::IpHash | Strategy::Os, _) => {
                self.next_slot(candidates, |_| true)
            }
        }?;
        self.last = Some(candidates[chosen].slot);
        Some(chosen)
    }

    /// The index of the worker with the least load, whatever the strategy: for a connection that was rebalanced.
    pub fn lightest(&self, candidates: &[Candidate]) -> Option<usize> {
        self.least_connections(candidates)
    }

    /// The next slot number after the last one that was chosen, cyclically.
    fn next_slot(&self, candidates: &[Candidate], eligible: impl Fn(&Candidate) -> bool) -> Option<usize> {
        let served = |slot: u16| self.last.is_some_and(|last| slot <= last);
        let eligible = candidates.iter().enumerate().filter(|(_, c)| eligible(c));
        eligible.min_by_key(|(_, c)| (served(c.slot), c.slot)).map(|(index, _)| index)
    }

    /// Compares loads including the new connection, per unit of weight, by cross-multiplication without rounding. Among
    /// empty workers the one with the largest weight is first.
    fn least_connections(&self, candidates: &[Candidate]) -> Option<usize> {
        let load = |c: &Candidate| u64::from(c.connections) + 1;
        let lightest =
            candidates.iter().min_by(|a, b| (load(a) * b.weight()).cmp(&(load(b) * a.weight())))?;
        self.next_slot(candidates, |c| load(c) * lightest.weight() == load(lightest) * c.weight())
    }

    /// nginx's smooth weighted round-robin: each slot's running weight grows by its weight, and the slot with the
    /// largest is chosen and reduced by the sum of all weights. Weights 5, 1, 1 give a a b a c a a, never five in a
    /// row.
    fn smooth_weighted(&mut self, candidates: &[Candidate]) -> Option<usize> {
        let slots = candidates.iter().map(|c| usize::from(c.slot) + 1).max()?;
        if self.running.len() < slots {
            self.running.resize(slots, 0);
        }
        let mut gained = 0;
        for c in candidates {
            // A u32 always fits; the sum of 65,536 of them does too.
            let weight = c.weight() as i64;
            self.running[usize::from(c.slot)] += weight;
            gained += weight;
        }
        let running = |c: &Candidate| self.running[usize::from(c.slot)];
        let (chosen, first) =
            candidates.iter().enumerate().max_by_key(|(_, c)| (running(c), Reverse(c.slot)))?;
        self.running[usize::from(first.slot)] -= gained;
        Some(chosen)
    }
}

/// Rendezvous hashing; equal scores go to the lower slot, as in the BPF program.
fn by_score(candidates: &[Candidate], key: ClientKey) -> Option<usize> {
    let best = candidates.iter().enumerate().max_by_key(|(_, c)| (score(key, c.slot), Reverse(c.slot)));
    best.map(|(index, _)| index)
}

/// The key's remainder is an index into the slots in ascending order, as in the BPF program.
fn by_remainder(candidates: &[Candidate], key: ClientKey) -> Option<usize> {
    let count = u32::try_from(candidates.len()).ok().filter(|&n| n > 0)?;
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_unstable_by_key(|&index| candidates[index].slot);
    Some(order[(key.0 % count) as usize])
}

/// Two choices, because the best of all would attract every connection until its measurements catch up (Mitzenmacher,
/// "The Power of Two Choices in Randomized Load Balancing", 2001).
fn better_of_two(candidates: &[Candidate], random: u32) -> Option<usize> {
    let count = candidates.len();
    if count < 2 {
        return (count == 1).then_some(0);
    }
    let a = (random & 0xFFFF) as usize % count;
    let b = (a + 1 + (random >> 16) as usize % (count - 1)) % count;
    let (first, second) = (&candidates[a], &candidates[b]);
    let measured = |c: &Candidate| (c.latency_us.is_finite() && c.latency_us > 0.0).then_some(c.latency_us);
    // A worker without a measurement counts as fast as the other one: with zero it would win every time, and a new
    // worker would be overloaded before it answers its first request.
    let latency = |c: &Candidate, rival: &Candidate| measured(c).or(measured(rival)).unwrap_or(1.0);
    let cost = |c: &Candidate, rival: &Candidate| {
        latency(c, rival) * (f64::from(c.in_flight) + 1.0) / c.weight() as f64
    };
    Some(if cost(second, first) < cost(first, second) { b } else { a })
}

#[cfg(test)]
mod tests;
