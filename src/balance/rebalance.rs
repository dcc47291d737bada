//! Rebalancing of long-lived connections: which worker should hand some off, and how many. PURE: loads and the time go
//! in. A connection is weighted by its requests, as far as known; small and temporary differences are ignored.

use crate::model::WorkerId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Interval between two comparisons.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Consecutive comparisons in which the same worker must be the heaviest before it is asked.
const LOOKS: u32 = 2;
/// Connections per second that may always move, or a tenth of all if that is more.
const MIN_RATE: f64 = 4.0;
/// Smoothing factor of a worker's request rate, per comparison.
const FOLLOW: f64 = 0.3;
/// Ratio range within which a worker's connections count as average.
const ORDINARY: std::ops::RangeInclusive<f64> = 0.75..=1.33;
const HEAVIEST: f64 = 8.0;
/// Pause for a worker that handed nothing off, because none of its connections can move.
const REST: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    pub worker: WorkerId,
    pub connections: u32,
    /// From `loadBalancing.weights`: its relative share.
    pub weight: u32,
    /// In total.
    pub requests: u64,
    /// Connections that it has handed off, in total.
    pub given: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub worker: WorkerId,
    pub count: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    requests: u64,
    /// Requests per comparison.
    rate: f64,
    /// Its handoffs in total when it was last asked.
    asked_at_given: Option<u64>,
    rests_until: Duration,
}

#[derive(Debug, Default)]
pub struct Rebalance {
    seen: BTreeMap<WorkerId, Seen>,
    /// Connections that may move now.
    allowance: f64,
    heaviest: Option<WorkerId>,
    looks: u32,
}

impl Rebalance {
    /// A comparison at `now`, `LOOK_INTERVAL` after the last one: the worker to ask for connections, if any.
    pub fn look(&mut self, loads: &[Load], now: Duration) -> Option<Ask> {
        self.follow(loads, now);
        let total: u32 = loads.iter().map(|load| load.connections).sum();
        let rate = (f64::from(total) / 10.0).max(MIN_RATE);
        self.allowance = (self.allowance + rate * LOOK_INTERVAL.as_secs_f64()).min(rate);
        let weighed: Vec<(Load, f64)> =
            loads.iter().map(|load| (*load, self.business(load, loads))).collect();
        let share = |load: &Load| f64::from(load.weight.max(1));
        let score = |(load, business): &(Load, f64)| f64::from(load.connections) * business / share(load);
        let heavy = weighed.iter().max_by(|a, b| score(a).total_cmp(&score(b)))?;
        let light = weighed.iter().min_by(|a, b| score(a).total_cmp(&score(b)))?;
        let (load, business) = *heavy;
        // As many connections of the heaviest worker as make both equal.
        let a_connection = business * (1.0 / share(&load) + 1.0 / share(&light.0));
        let beyond = ((score(heavy) - score(light)) / a_connection).floor();
        if beyond < 1.0 || self.seen.get(&load.worker).is_some_and(|seen| now < seen.rests_until) {
            self.heaviest = None;
            return None;
        }
        self.looks = if self.heaviest == Some(load.worker) { self.looks + 1 } else { 1 };
        self.heaviest = Some(load.worker);
        let count = beyond.min(self.allowance.floor());
        if self.looks < LOOKS || count < 1.0 {
            return None;
        }
        self.allowance -= count;
        self.seen.entry(load.worker).and_modify(|seen| {
            seen.asked_at_given.get_or_insert(load.given);
        });
        Some(Ask { worker: load.worker, count: count as u32 })
    }

    fn follow(&mut self, loads: &[Load], now: Duration) {
        self.seen.retain(|worker, _| loads.iter().any(|load| load.worker == *worker));
        for load in loads {
            let fresh = Seen { requests: load.requests, ..Seen::default() };
            let seen = self.seen.entry(load.worker).or_insert(fresh);
            let requests = load.requests.saturating_sub(seen.requests) as f64;
            seen.rate += (requests - seen.rate) * FOLLOW;
            seen.requests = load.requests;
            match seen.asked_at_given.take() {
                // Asked at the last comparison, and nothing was handed off since.
                Some(given) if given == load.given => seen.rests_until = now + REST,
                Some(_) | None => {}
            }
        }
    }

    /// The ratio of the worker's requests per connection to the average.
    fn business(&self, load: &Load, loads: &[Load]) -> f64 {
        let rate = |load: &Load| self.seen.get(&load.worker).map_or(0.0, |seen| seen.rate);
        let all: f64 = loads.iter().map(rate).sum();
        let total: f64 = loads.iter().map(|load| f64::from(load.connections)).sum();
        if load.connections == 0 || all < 1.0 {
            return 1.0;
        }
        let business = (rate(load) / f64::from(load.connections)) / (all / total);
        if ORDINARY.contains(&business) { 1.0 } else { business.clamp(1.0 / HEAVIEST, HEAVIEST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A cluster that moves the requested connections to its lightest worker; `busy`: requests per connection and
    /// comparison.
    struct World {
        rebalance: Rebalance,
        loads: Vec<Load>,
        busy: Vec<f64>,
        gives: bool,
        now: Duration,
        moved: u32,
    }

    impl World {
        fn new(connections: &[u32]) -> Self {
            let load = |(slot, &connections): (usize, &u32)| Load {
                worker: WorkerId::new(slot as u16, 1),
                connections,
                weight: 1,
                requests: 0,
                given: 0,
            };
            let loads: Vec<Load> = connections.iter().enumerate().map(load).collect();
            let busy = vec![2.0; loads.len()];
            Self { rebalance: Rebalance::default(), loads, busy, gives: true, now: Duration::ZERO, moved: 0 }
        }

        fn look(&mut self) -> Option<Ask> {
            self.now += LOOK_INTERVAL;
            for (load, busy) in self.loads.iter_mut().zip(&self.busy) {
                load.requests += (f64::from(load.connections) * busy) as u64;
            }
            let ask = self.rebalance.look(&self.loads, self.now)?;
            if self.gives {
                for _ in 0..ask.count {
                    let load = |load: &&Load| (load.connections + 1) * 12 / load.weight;
                    let lightest = self.loads.iter().min_by_key(load).unwrap().worker.slot;
                    self.loads[usize::from(ask.worker.slot)].connections -= 1;
                    self.loads[usize::from(ask.worker.slot)].given += 1;
                    self.loads[usize::from(lightest)].connections += 1;
                    self.moved += 1;
                }
            }
            Some(ask)
        }

        fn seconds(&mut self, seconds: u32) {
            (0..seconds * 4).for_each(|_| {
                self.look();
            });
        }

        fn counts(&self) -> Vec<u32> {
            self.loads.iter().map(|load| load.connections).collect()
        }
    }

    #[test]
    fn connections_of_one_worker_are_spread_over_four_within_ten_seconds() {
        let mut world = World::new(&[64, 0, 0, 0]);
        world.seconds(10);
        assert_eq!(world.counts(), [16, 16, 16, 16]);
    }

    #[test]
    fn no_more_than_a_tenth_of_all_and_always_four_may_move_in_a_second() {
        for (all, most) in [(1000, 100), (10, 4)] {
            let mut world = World::new(&[all, 0]);
            world.seconds(2);
            let before = world.moved;
            world.seconds(1);
            assert!(world.moved - before <= most, "{} of {all}", world.moved - before);
        }
    }

    #[test]
    fn what_is_even_stays_as_it_is() {
        for counts in [[5, 5, 5], [6, 5, 5], [100, 101, 100], [0, 0, 1]] {
            let mut world = World::new(&counts);
            world.seconds(20);
            assert_eq!(world.moved, 0, "{counts:?}");
        }
    }

    #[test]
    fn a_difference_of_one_look_is_left_alone() {
        let mut world = World::new(&[10, 10]);
        world.look();
        world.loads[0].connections = 14;
        assert_eq!(world.look(), None);
        world.loads[0].connections = 10;
        world.seconds(5);
        assert_eq!(world.moved, 0);
    }

    #[test]
    fn few_busy_connections_weigh_as_much_as_many_quiet_ones() {
        let mut world = World::new(&[10, 40]);
        world.busy = vec![8.0, 2.0];
        world.seconds(20);
        assert_eq!(world.moved, 0, "both workers have as much to do");
    }

    #[test]
    fn a_worker_of_three_times_the_weight_keeps_three_times_the_connections() {
        for counts in [[48, 0], [0, 48], [36, 12]] {
            let mut world = World::new(&counts);
            world.loads[0].weight = 3;
            world.seconds(20);
            assert_eq!(world.counts(), [36, 12], "{counts:?}");
        }
    }

    #[test]
    fn a_worker_that_has_nothing_to_give_is_not_asked_again_and_again() {
        let mut world = World::new(&[20, 0]);
        world.gives = false;
        let asks = (0..40).filter(|_| world.look().is_some()).count();
        assert!(asks <= 2, "{asks} in ten seconds");
    }

    proptest! {
        #[test]
        fn it_comes_to_rest_with_nobody_far_above_another(
            counts in proptest::collection::vec(0u32..200, 2..8),
        ) {
            let mut world = World::new(&counts);
            world.seconds(30);
            let settled = world.moved;
            world.seconds(10);
            prop_assert_eq!(world.moved, settled, "it does not go on for ever");
            let spread = world.counts().iter().max().unwrap() - world.counts().iter().min().unwrap();
            prop_assert!(spread <= 1, "{:?}", world.counts());
        }
    }
}
