//! Workers that live and are not well: another takes the place of such a one, as in a roll, so that nobody waits for it.
//! The slot's budget is theirs too: what makes every new worker unhealthy is not mended by ever more of them.

use std::time::Duration;

use super::budget::Verdict;
use super::reconcile::{Phase, Supervisor};
use super::slot::{Role, Slot};
use super::worker::Worker;
use crate::event::{Event, Level};
use crate::model::WorkerId;

/// The id of operations that nobody has asked for; those of others begin with 1.
pub const OWN: u32 = 0;

/// A worker that is to be replaced, and when.
#[derive(Clone, Copy, Debug)]
pub struct PendingReplacement {
    id: WorkerId,
    pub until: Duration,
}

impl Supervisor {
    /// Another takes its place as soon as the slot's budget allows.
    pub(super) fn unhealthy(&mut self, id: WorkerId, now: Duration) {
        let number = id.slot;
        let is_wanted = self.policy.respawn && self.phase == Phase::Running && !self.is_rolling(number);
        let (policy, slot) = (&self.policy, self.slots.get_mut(usize::from(number)));
        let Some(slot) = slot.filter(|slot| is_wanted && slot.may_be_replaced(id)) else { return };
        if slot.pending_replacement.is_some() {
            return;
        }
        let verdict = slot.budget.death(policy, number, true, now);
        let delay = match verdict {
            Verdict::RestartAfter(delay) => delay,
            Verdict::Open => policy.reset_timeout,
        };
        slot.pending_replacement = Some(PendingReplacement { id, until: now + delay });
        let is_new = verdict == Verdict::Open && !slot.restarts_exhausted;
        slot.restarts_exhausted = verdict == Verdict::Open;
        if is_new {
            let (times, trial) = (policy.max_restarts, policy.reset_timeout.as_secs_f64());
            let message = format!(
                "Worker {number} was replaced {times} times and is unhealthy again; from now on it is replaced \
                 every {trial} s at most"
            );
            self.emit(Event::Alert { severity: Level::Error, message });
        }
    }

    /// Begins to replace those whose time has come.
    pub(super) fn replace_unhealthy(&mut self, now: Duration) {
        for number in 0..self.slots.len() as u16 {
            let slot = &mut self.slots[usize::from(number)];
            let Some(pending_replacement) =
                slot.pending_replacement.filter(|pending_replacement| pending_replacement.until <= now)
            else {
                continue;
            };
            slot.pending_replacement = None;
            if slot.may_be_replaced(pending_replacement.id) && !self.is_rolling(number) {
                self.ask_roll(OWN, Some(number), None);
            }
        }
    }
}

impl Slot {
    fn may_be_replaced(&self, id: WorkerId) -> bool {
        let is_active = |worker: &Worker| worker.id == id && worker.is_ready();
        self.role == Role::Serving && self.next.is_none() && self.active_worker().is_some_and(is_active)
    }
}
