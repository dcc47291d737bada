//! How workers end that are meant to: the cluster stops or shrinks, a successor is ready, or a worker leaves
//! because its program says so.

use std::time::Duration;

use super::Action;
use super::reconcile::{Phase, SIGNAL_LAG, Supervisor};
use super::slot::{ActiveWorker, Role, Slot};
use super::worker::Stage;
use crate::error::{Code, Error};
use crate::event::{Event, ExitReason};
use crate::model::WorkerId;

impl Supervisor {
    /// The worker drains by itself; its deadline is a stop's. Another takes its place at once, or when it is clear
    /// that the signal it leaves for was its alone.
    pub(super) fn leaving(&mut self, id: WorkerId, signalled: bool, now: Duration) {
        let policy = self.policy.clone();
        let (replaced, gone_by) = (policy.respawn && self.phase != Phase::Stopping, self.gone_by);
        let Some(worker) = self.worker(id) else { return };
        let Stage::Ready { pid } = worker.stage else { return };
        worker.leave(pid, &policy, now, gone_by.unwrap_or(now + policy.graceful_timeout));
        self.emit(Event::WorkerDraining { worker_id: id.to_string(), pid });
        // One that leaves with the primary's own stop signal was meant by it too.
        let delayed = signalled || now < self.shadow_until;
        let lag = if signalled { SIGNAL_LAG } else { Duration::ZERO };
        let until = self.shadow_until.max(now + lag);
        let slot = &mut self.slots[usize::from(id.slot)];
        if slot.active_worker().is_none_or(|active_worker| active_worker.id != id) {
            return;
        }
        let (restarts, planned) = (slot.restarts, true);
        let after = match slot.next.take() {
            Some(next) => {
                slot.replacements += 1;
                ActiveWorker::Running(next)
            }
            None if replaced && slot.role != Role::Retired => {
                ActiveWorker::Waiting { until, announced: !delayed, planned }
            }
            None => ActiveWorker::Vacant,
        };
        if let ActiveWorker::Running(old) = std::mem::replace(&mut slot.active, after) {
            slot.leaving.push(old);
        }
        if matches!(slot.active, ActiveWorker::Waiting { announced: true, .. }) {
            let (worker_id, reason) = (id.to_string(), ExitReason::Finished);
            self.emit(Event::WorkerRestart { worker_id, reason, delay_ms: 0, restarts, planned });
        }
    }

    pub(super) fn stop(&mut self, graceful: bool, limit: Option<Duration>, now: Duration) {
        if self.phase == Phase::Stopped {
            return;
        }
        if self.phase == Phase::Starting {
            let error = Error::new(Code::Stopped, "The cluster was stopped before its workers were ready");
            self.actions.push(Action::Started(Err(error)));
        }
        let again = self.phase == Phase::Stopping;
        self.phase = Phase::Stopping;
        self.abandon_operations();
        let graceful = graceful && self.policy.graceful;
        if graceful && again {
            return;
        }
        if let Some(limit) = limit.filter(|_| graceful) {
            // Who is in a hurry has no load balancer to wait for.
            self.gone_by = Some(now + limit.min(self.policy.graceful_timeout));
            return self.end_all(true, now);
        }
        if graceful && !self.policy.shutdown_delay.is_zero() && self.slots.iter().any(Slot::is_ready) {
            return self.announce_stop(now);
        }
        self.end_all(graceful, now);
    }

    /// Load balancers look away before anything is refused.
    fn announce_stop(&mut self, now: Duration) {
        self.drain_at = Some(now + self.policy.shutdown_delay);
        self.gone_by = Some(now + self.policy.graceful_timeout);
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            slot.cancel_start();
            // Nobody is succeeded any more.
            if let Some(next) = slot.next.as_ref().map(|next| next.id) {
                self.let_go(next, false, now);
            }
        }
        let ready = self.slots.iter().filter(|slot| slot.is_ready());
        let unready =
            ready.filter_map(Slot::active_worker).map(|worker| Action::Unready { worker: worker.id });
        self.actions.extend(unready);
    }

    pub(super) fn end_all(&mut self, graceful: bool, now: Duration) {
        self.drain_at = None;
        self.actions.push(Action::Retire);
        for index in (0..self.slots.len()).rev() {
            self.stop_slot(index, graceful, now);
        }
    }

    /// Everybody in the slot is to go, and nobody is to come.
    pub(super) fn stop_slot(&mut self, index: usize, graceful: bool, now: Duration) {
        let slot = &mut self.slots[index];
        slot.cancel_start();
        for id in slot.workers().map(|worker| worker.id).collect::<Vec<_>>() {
            self.let_go(id, graceful, now);
        }
    }

    /// Asks the worker to finish, or ends it; one that is on its way out already is only pressed harder.
    pub(super) fn let_go(&mut self, id: WorkerId, graceful: bool, now: Duration) {
        let policy = self.policy.clone();
        let kill = self.gone_by.unwrap_or(now + policy.graceful_timeout);
        let Some(worker) = self.worker(id) else { return };
        match worker.stage {
            Stage::Ready { pid } | Stage::Starting { pid: Some(pid), .. } if graceful => {
                worker.drain(pid, &policy, now, kill);
                self.actions.push(Action::Drain { worker: id, deadline: kill.saturating_sub(now) });
                self.emit(Event::WorkerDraining { worker_id: id.to_string(), pid });
            }
            Stage::Ready { pid }
            | Stage::Starting { pid: Some(pid), .. }
            | Stage::Draining { pid, .. }
            | Stage::Terminating { pid, .. }
                if !graceful =>
            {
                worker.stage = Stage::Killed { pid, reason: ExitReason::Stopped };
                self.actions.push(Action::Kill { worker: id });
            }
            // Being made (`spawned` ends it), or on its way out already.
            Stage::Starting { .. }
            | Stage::Ready { .. }
            | Stage::Draining { .. }
            | Stage::Terminating { .. }
            | Stage::Killed { .. } => {}
        }
    }
}
