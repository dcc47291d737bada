//! How workers end that are meant to: the cluster stops, or a worker leaves because its program says so.

use std::time::Duration;

use super::reconcile::{Phase, Supervisor};
use super::slot::State;
use super::{Action, Policy};
use crate::error::{Code, Error};
use crate::event::{Event, ExitReason};

impl Policy {
    /// A worker that finishes what it has, from `now` on.
    fn draining(&self, pid: u32, now: Duration) -> State {
        let kill = now + self.graceful_timeout;
        State::Draining { pid, terminate: kill.saturating_sub(self.kill_timeout).max(now), kill }
    }
}

impl Supervisor {
    /// The worker drains by itself; its deadline is a stop's, and its end is one that calls for another.
    pub(super) fn leaving(&mut self, slot: u16, generation: u32, now: Duration) {
        let Some(found) = self.current(slot, generation) else { return };
        let State::Ready { pid } = found.state else { return };
        let draining = self.policy.draining(pid, now);
        if let Some(found) = self.current(slot, generation) {
            found.state = draining;
        }
        self.emit(Event::WorkerDraining { worker_id: slot.to_string(), pid });
    }

    pub(super) fn stop(&mut self, graceful: bool, now: Duration) {
        if self.phase == Phase::Stopped {
            return;
        }
        if self.phase == Phase::Starting {
            let error = Error::new(Code::Stopped, "The cluster was stopped before its workers were ready");
            self.actions.push(Action::Started(Err(error)));
        }
        self.phase = Phase::Stopping;
        for index in (0..self.slots.len()).rev() {
            self.stop_slot(index, graceful && self.policy.graceful, now);
        }
    }

    pub(super) fn stop_slot(&mut self, index: usize, graceful: bool, now: Duration) {
        let graceful_timeout = self.policy.graceful_timeout;
        let slot = &mut self.slots[index];
        let (number, generation) = (slot.number, slot.generation);
        match slot.state {
            State::Ready { pid } | State::Starting { pid: Some(pid), .. } if graceful => {
                slot.state = self.policy.draining(pid, now);
                self.actions.push(Action::Drain { slot: number, generation, deadline: graceful_timeout });
                self.emit(Event::WorkerDraining { worker_id: number.to_string(), pid });
            }
            State::Ready { pid }
            | State::Starting { pid: Some(pid), .. }
            | State::Draining { pid, .. }
            | State::Terminating { pid, .. }
                if !graceful =>
            {
                slot.state = State::Killed { pid, reason: ExitReason::Stopped };
                self.actions.push(Action::Kill { slot: number, generation });
            }
            State::Waiting { .. } | State::CircuitOpen { .. } => slot.state = State::Vacant,
            // Being made (`spawned` ends it), or on its way out already.
            State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Terminating { .. }
            | State::Killed { .. }
            | State::Vacant => {}
        }
    }
}
