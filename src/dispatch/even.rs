//! Evening out: asks the worker that has more than its share for some of its idle connections. What it gives
//! comes back as any gift does and finds the lightest worker.

use std::time::Duration;

use super::accept::Floor;
use super::crew::Member;
use super::group::Door;
use crate::balance::{Load, REBALANCE_EVERY};
use crate::metrics::layout::page;

impl Floor {
    /// How long until the next look; None while there is nothing to look at.
    pub fn evens_out_in(&self) -> Option<Duration> {
        let even = || self.crew.serving().filter(|member| self.shares(member));
        let worth = self.settings.rebalance && even().nth(1).is_some() && even().any(|m| m.connections() > 1);
        worth.then_some(REBALANCE_EVERY)
    }

    pub fn even_out(&mut self, now: Duration) {
        if !self.settings.rebalance || now.saturating_sub(self.evened) < REBALANCE_EVERY {
            return;
        }
        self.evened = now;
        let loads: Vec<Load> = self
            .crew
            .serving()
            .filter(|member| self.shares(member))
            .map(|member| self.load(member))
            .collect();
        if loads.len() < 2 {
            return;
        }
        if let Some(ask) = self.rebalance.look(&loads, now)
            && let Some(member) = self.current(ask.worker)
        {
            member.ask_for(ask.count);
        }
    }

    /// Its connections may be given to others, and it may be given theirs.
    fn shares(&self, member: &Member) -> bool {
        let serves =
            || self.groups.values().any(|group| group.plain_http && group.door(member.id.slot) == Door::Open);
        member.is_well() && !member.scarce && serves()
    }

    fn load(&self, member: &Member) -> Load {
        Load {
            worker: member.id,
            connections: member.connections(),
            weight: self.settings.weights.get(usize::from(member.id.slot)).copied().unwrap_or(1),
            requests: member.page.float(page::REQUESTS) as u64,
            given: member.given,
        }
    }
}
