//! Rebalancing: when the workers' connections are compared, and which worker is asked for some of its idle ones. They
//! arrive like any handoff and go to the lightest worker.

use std::time::Duration;

use crate::balance::{Ask, Load, REBALANCE_INTERVAL, Rebalance};

#[derive(Default)]
pub struct RebalanceTimer {
    rebalance: Rebalance,
    looked: Duration,
}

impl RebalanceTimer {
    /// The time until the next comparison; None if there is nothing to compare. `connections`: of each worker whose
    /// connections may move.
    pub fn due_in(mut connections: impl Iterator<Item = u32>) -> Option<Duration> {
        let (mut workers, mut any) = (0, false);
        let is_worth = connections.any(|count| {
            workers += 1;
            any |= count > 1;
            any && workers > 1
        });
        is_worth.then_some(REBALANCE_INTERVAL)
    }

    pub fn is_due(&self, now: Duration) -> bool {
        now.saturating_sub(self.looked) >= REBALANCE_INTERVAL
    }

    /// The worker to ask for connections, if any.
    pub fn look(&mut self, loads: &[Load], now: Duration) -> Option<Ask> {
        self.looked = now;
        if loads.len() < 2 { None } else { self.rebalance.look(loads, now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_something_to_compare_with_two_workers_and_two_connections() {
        for (counts, is_worth) in
            [(&[][..], false), (&[9], false), (&[1, 1, 0], false), (&[0, 2], true), (&[2, 0], true)]
        {
            let due = RebalanceTimer::due_in(counts.iter().copied());
            assert_eq!(due.is_some(), is_worth, "{counts:?}");
        }
    }
}
