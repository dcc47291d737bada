//! Evening out: asks the worker that has more than its share for some of its idle connections. What it gives
//! comes back as any gift does and finds the lightest worker.

use std::time::Duration;

use super::accept_loop::AcceptLoop;
use super::group::Share;
use super::worker_channel::WorkerChannel;
use crate::balance::{Load, REBALANCE_INTERVAL};
use crate::metrics::layout::page;

impl AcceptLoop {
    /// How long until the next look; None while there is nothing to look at.
    pub fn rebalances_in(&self) -> Option<Duration> {
        let even = || self.workers.serving().filter(|channel| self.shares(channel));
        let worth = self.settings.rebalance && even().nth(1).is_some() && even().any(|m| m.connections() > 1);
        worth.then_some(REBALANCE_INTERVAL)
    }

    pub fn rebalance_connections(&mut self, now: Duration) {
        if !self.settings.rebalance || now.saturating_sub(self.rebalanced) < REBALANCE_INTERVAL {
            return;
        }
        self.rebalanced = now;
        let loads: Vec<Load> = self
            .workers
            .serving()
            .filter(|channel| self.shares(channel))
            .map(|channel| self.load(channel))
            .collect();
        if loads.len() < 2 {
            return;
        }
        if let Some(ask) = self.rebalance.look(&loads, now)
            && let Some(channel) = self.current(ask.worker)
        {
            channel.ask_for(ask.count);
        }
    }

    /// Its connections may be given to others, and it may be given theirs.
    fn shares(&self, channel: &WorkerChannel) -> bool {
        let serves = || {
            self.groups.values().any(|group| group.plain_http && group.share(channel.id.slot) == Share::Open)
        };
        channel.is_well() && !channel.fd_pressure && serves()
    }

    fn load(&self, channel: &WorkerChannel) -> Load {
        Load {
            worker: channel.id,
            connections: channel.connections(),
            weight: self.settings.weights.get(usize::from(channel.id.slot)).copied().unwrap_or(1),
            requests: channel.page.float(page::REQUESTS) as u64,
            given: channel.given,
        }
    }
}
