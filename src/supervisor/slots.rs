//! The slots of the cluster and their workers: starts, takeovers, drains and replacements. The phase of the cluster and
//! its operations are not known here.

use std::time::Duration;

use super::action::{Action, Actions};
use super::budget::Verdict;
use super::death::Death;
use super::policy::Policy;
use super::slot::{ActiveWorker, Role, Slot};
use super::worker::{Stage, Worker};
use crate::event::{Event, Exit, ExitReason};
use crate::model::{MAX_WORKERS, WorkerId};

/// The replacement of a leaving worker: a new one at `until`. `announced`: this is published at once.
#[derive(Clone, Copy, Debug)]
pub struct Refill {
    pub until: Duration,
    pub announced: bool,
}

pub struct Slots {
    slots: Vec<Slot>,
    policy: Policy,
    /// The configured number of serving workers.
    wanted: u16,
    /// The deadline of an announced stop, for all workers.
    gone_by: Option<Duration>,
}

impl Slots {
    pub fn new(policy: Policy) -> Self {
        let serving = (0..policy.workers).map(|number| Slot::new(number, Role::Serving));
        let standbys = policy.workers..(policy.workers + policy.standby).min(MAX_WORKERS);
        let standbys = standbys.map(|number| Slot::new(number, Role::Standby));
        Self { slots: serving.chain(standbys).collect(), wanted: policy.workers, policy, gone_by: None }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn all(&self) -> &[Slot] {
        &self.slots
    }

    pub fn serving(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.role == Role::Serving)
    }

    /// The slot with this number, which must exist.
    pub fn slot(&self, number: u16) -> &Slot {
        &self.slots[usize::from(number)]
    }

    pub fn slot_mut(&mut self, number: u16) -> &mut Slot {
        &mut self.slots[usize::from(number)]
    }

    pub fn worker(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.slots.get_mut(usize::from(id.slot)).and_then(|slot| slot.worker(id))
    }

    pub fn have_workers(&self) -> bool {
        self.slots.iter().any(Slot::has_workers)
    }

    pub fn is_any_ready(&self) -> bool {
        self.slots.iter().any(Slot::is_ready)
    }

    pub fn wanted(&self) -> u16 {
        self.wanted
    }

    pub fn want(&mut self, workers: u16) {
        self.wanted = workers;
    }

    /// Sets the deadline of all later drains.
    pub fn end_by(&mut self, time: Duration) {
        self.gone_by = Some(time);
    }

    /// When a slot has to be checked again.
    pub fn next_due(&self) -> Option<Duration> {
        self.slots.iter().filter_map(|slot| slot.due(self.policy.startup_timeout)).min()
    }

    /// The event with the number of ready and of configured workers.
    pub fn degraded(&self) -> Event {
        let ready = self.serving().filter(|slot| slot.is_ready()).count() as u32;
        let failing = self.serving().filter(|slot| !slot.is_ready());
        let failing = failing.map(|slot| slot.number.to_string()).collect();
        Event::ClusterDegraded { ready, wanted: u32::from(self.wanted), failing }
    }

    /// From now on missing workers in these slots count for the cluster's health.
    pub fn expect_workers(&mut self, numbers: impl IntoIterator<Item = u16>) {
        numbers.into_iter().for_each(|number| self.slot_mut(number).fresh = false);
    }

    pub fn start_all(&mut self, now: Duration, actions: &mut Actions) {
        for number in 0..self.slots.len() as u16 {
            self.start_worker(number, now, actions);
        }
    }

    /// A new worker becomes the slot's active one.
    pub fn start_worker(&mut self, number: u16, now: Duration, actions: &mut Actions) {
        let slot = self.slot_mut(number);
        let worker = slot.new_worker(now);
        let (id, standby) = (worker.id, slot.role == Role::Standby);
        slot.active = ActiveWorker::Running(worker);
        actions.push(Action::Spawn { worker: id, standby });
    }

    /// Starts a new worker next to the active one.
    pub fn prepare_next(&mut self, number: u16, now: Duration, actions: &mut Actions) {
        let slot = self.slot_mut(number);
        let worker = slot.new_worker(now);
        let (id, standby) = (worker.id, slot.role == Role::Standby);
        slot.next = Some(worker);
        actions.push(Action::Spawn { worker: id, standby });
    }

    /// Opens the lowest vacant slot with this role. None if every number is in use.
    pub fn free_slot(&mut self, role: Role) -> Option<u16> {
        let vacant = self.slots.iter().find(|slot| slot.is_vacant()).map(|slot| slot.number);
        let number = vacant.unwrap_or(self.slots.len() as u16);
        self.open_slot(number, role).then_some(number)
    }

    /// Opens the slot of this number with this role; false if it is not vacant or there is no such number.
    pub fn open_slot(&mut self, number: u16, role: Role) -> bool {
        if number >= MAX_WORKERS {
            return false;
        }
        while self.slots.len() <= usize::from(number) {
            self.slots.push(Slot::new(self.slots.len() as u16, Role::Retired));
        }
        let slot = self.slot_mut(number);
        if !slot.is_vacant() {
            return false;
        }
        slot.reopen(role);
        true
    }

    /// Promotes a ready standby worker.
    pub fn take_standby(&mut self, actions: &mut Actions) -> Option<u16> {
        let standby = self.slots.iter_mut().find(|slot| slot.role == Role::Standby && slot.is_ready())?;
        standby.role = Role::Serving;
        let id = standby.active_worker()?.id;
        actions.push(Action::Promote { worker: id });
        Some(id.slot)
    }

    /// The worker's process was spawned. `unwanted`: no more workers are needed.
    pub fn spawned(&mut self, id: WorkerId, spawned: u32, unwanted: bool, actions: &mut Actions) {
        let retired = self.slots.get(usize::from(id.slot)).is_some_and(|slot| slot.role == Role::Retired);
        let Some(worker) = self.worker(id) else { return };
        if let Stage::Starting { pid, .. } = &mut worker.stage {
            *pid = Some(spawned);
        }
        if unwanted || retired {
            // It is no longer needed: that was decided while it was being spawned.
            worker.stage = Stage::Killed { pid: spawned, reason: ExitReason::Stopped };
            actions.push(Action::Kill { worker: id });
        }
    }

    /// The worker is ready, and takes over its slot if it is a replacement. False if it was not starting.
    pub fn ready(&mut self, id: WorkerId, now: Duration, actions: &mut Actions) -> bool {
        let Some(worker) = self.worker(id) else { return false };
        let Stage::Starting { pid: Some(pid), since } = worker.stage else { return false };
        worker.stage = Stage::Ready { pid };
        worker.has_been_ready = true;
        let after_ms = (now - since).as_millis() as u64;
        actions.emit(Event::WorkerReady {
            worker_id: id.to_string(),
            pid,
            generation: id.generation,
            after_ms,
        });
        let slot = self.slot_mut(id.slot);
        (slot.trial, slot.fresh) = (false, false);
        let takes_over = slot.next.as_ref().is_some_and(|next| next.id == id);
        if takes_over {
            self.succeed(id.slot, now, actions);
        } else if slot.role == Role::Serving {
            actions.push(Action::Promote { worker: id });
        }
        true
    }

    /// The next worker becomes the active one, and its predecessor drains.
    fn succeed(&mut self, number: u16, now: Duration, actions: &mut Actions) {
        let graceful = self.policy.graceful;
        let slot = self.slot_mut(number);
        let Some(next) = slot.next.take() else { return };
        let id = next.id;
        slot.replacements += 1;
        if let ActiveWorker::Running(old) = std::mem::replace(&mut slot.active, ActiveWorker::Running(next)) {
            slot.leaving.push(old);
        }
        if slot.role == Role::Serving {
            actions.push(Action::Promote { worker: id });
        }
        for old in self.slot(number).leaving.iter().map(|old| old.id).collect::<Vec<_>>() {
            self.end_worker(old, graceful, now, actions);
        }
    }

    /// Kills the worker. False if it has no process or does not exist.
    pub fn kill(&mut self, id: WorkerId, reason: ExitReason, actions: &mut Actions) -> bool {
        let Some(worker) = self.worker(id) else { return false };
        let Some(pid) = worker.pid() else { return false };
        worker.stage = Stage::Killed { pid, reason };
        actions.push(Action::Kill { worker: id });
        true
    }

    /// The worker drains on its own initiative; its deadline is that of a stop. `refill`: its replacement, unless one
    /// is starting already; None: none.
    pub fn leave(&mut self, id: WorkerId, refill: Option<Refill>, now: Duration, actions: &mut Actions) {
        let Self { slots, policy, gone_by, .. } = self;
        let Some(slot) = slots.get_mut(usize::from(id.slot)) else { return };
        let Some(worker) = slot.worker(id) else { return };
        let Stage::Ready { pid } = worker.stage else { return };
        worker.leave(pid, policy, now, gone_by.unwrap_or(now + policy.graceful_timeout));
        actions.emit(Event::WorkerDraining { worker_id: id.to_string(), pid });
        if slot.active_worker().is_none_or(|active_worker| active_worker.id != id) {
            return;
        }
        let (restarts, planned) = (slot.restarts, true);
        let after = match (slot.next.take(), refill) {
            (Some(next), _) => {
                slot.replacements += 1;
                ActiveWorker::Running(next)
            }
            (None, Some(Refill { until, announced })) if slot.role != Role::Retired => {
                ActiveWorker::Waiting { until, announced, planned }
            }
            (None, _) => ActiveWorker::Vacant,
        };
        if let ActiveWorker::Running(old) = std::mem::replace(&mut slot.active, after) {
            slot.leaving.push(old);
        }
        if matches!(slot.active, ActiveWorker::Waiting { announced: true, .. }) {
            let (worker_id, reason) = (id.to_string(), ExitReason::Finished);
            actions.emit(Event::WorkerRestart { worker_id, reason, delay_ms: 0, restarts, planned });
        }
    }

    /// Drains the slot's worker without a replacement.
    pub fn retire(&mut self, number: u16, graceful: bool, now: Duration, actions: &mut Actions) {
        self.slot_mut(number).role = Role::Retired;
        self.stop_slot(number, graceful, now, actions);
    }

    /// Ends all workers of the slot without replacements.
    pub fn stop_slot(&mut self, number: u16, graceful: bool, now: Duration, actions: &mut Actions) {
        let slot = self.slot_mut(number);
        slot.cancel_start();
        for id in slot.workers().map(|worker| worker.id).collect::<Vec<_>>() {
            self.end_worker(id, graceful, now, actions);
        }
    }

    /// Starts no more workers, and lets serving ones report that they are about to drain.
    pub fn announce_stop(&mut self, now: Duration, actions: &mut Actions) {
        for number in 0..self.slots.len() as u16 {
            let slot = self.slot_mut(number);
            slot.cancel_start();
            // Starting replacements are no longer needed.
            if let Some(next) = slot.next.as_ref().map(|next| next.id) {
                self.end_worker(next, false, now, actions);
            }
        }
        let ready = self.slots.iter().filter(|slot| slot.is_ready());
        for worker in ready.filter_map(Slot::active_worker) {
            actions.push(Action::Unready { worker: worker.id });
        }
    }

    /// Drains the worker, or kills it; the end of a worker that is draining already is only sped up.
    fn end_worker(&mut self, id: WorkerId, graceful: bool, now: Duration, actions: &mut Actions) {
        let Self { slots, policy, gone_by, .. } = self;
        let kill = gone_by.unwrap_or(now + policy.graceful_timeout);
        let slot = slots.get_mut(usize::from(id.slot));
        let Some(worker) = slot.and_then(|slot| slot.worker(id)) else { return };
        match worker.stage {
            Stage::Ready { pid } | Stage::Starting { pid: Some(pid), .. } if graceful => {
                worker.drain(pid, policy, now, kill);
                actions.push(Action::Drain { worker: id, deadline: kill.saturating_sub(now) });
                actions.emit(Event::WorkerDraining { worker_id: id.to_string(), pid });
            }
            Stage::Ready { pid }
            | Stage::Starting { pid: Some(pid), .. }
            | Stage::Draining { pid, .. }
            | Stage::Terminating { pid, .. }
                if !graceful =>
            {
                worker.stage = Stage::Killed { pid, reason: ExitReason::Stopped };
                actions.push(Action::Kill { worker: id });
            }
            // Being spawned (`spawned` ends it), or already ending.
            Stage::Starting { .. }
            | Stage::Ready { .. }
            | Stage::Draining { .. }
            | Stage::Terminating { .. }
            | Stage::Killed { .. } => {}
        }
    }

    /// The death of a worker that still has its slot. None if it has none.
    pub fn death(&mut self, id: WorkerId, exit: Exit, stopping: bool) -> Option<Death> {
        let Self { slots, policy, .. } = self;
        let slot = slots.get_mut(usize::from(id.slot))?;
        let leaving = slot.leaving.iter().any(|worker| worker.id == id);
        Some(Death::of(slot.worker(id)?, exit, leaving, stopping, policy))
    }

    /// Removes a worker that has ended; returns whether the slot has no worker now and none is starting.
    pub fn remove(&mut self, id: WorkerId) -> bool {
        let slot = self.slot_mut(id.slot);
        if slot.leaving.iter().any(|worker| worker.id == id) {
            slot.leaving.retain(|worker| worker.id != id);
            return false;
        }
        if slot.next.as_ref().is_some_and(|next| next.id == id) {
            // The active worker keeps serving.
            slot.next = None;
            return false;
        }
        slot.active = match slot.next.take() {
            // Its replacement is starting already.
            Some(next) => {
                slot.restarts += 1;
                ActiveWorker::Running(next)
            }
            None => ActiveWorker::Vacant,
        };
        matches!(slot.active, ActiveWorker::Vacant)
    }

    /// Schedules a replacement of the worker that died in this slot, not before `shadow`. True if the slot's budget has
    /// just run out: then its circuit opens.
    pub fn refill(
        &mut self,
        number: u16,
        Death { reason, was_ready, .. }: &Death,
        shadow: Duration,
        now: Duration,
        actions: &mut Actions,
    ) -> bool {
        if !self.policy.respawn || self.slot(number).role == Role::Retired {
            return false;
        }
        if self.slot(number).role == Role::Serving && *was_ready && self.take_standby(actions).is_some() {
            // The standby worker serves in its own slot; this slot gets the next standby worker.
            self.slot_mut(number).role = Role::Standby;
        }
        let policy = &self.policy;
        let slot = &mut self.slots[usize::from(number)];
        if now < shadow {
            slot.active = ActiveWorker::Waiting { until: shadow, announced: false, planned: false };
            return false;
        }
        let verdict =
            if slot.trial { Verdict::Open } else { slot.budget.death(policy, number, *was_ready, now) };
        match verdict {
            Verdict::RestartAfter(delay) => {
                slot.active = ActiveWorker::Waiting { until: now + delay, announced: true, planned: false };
                let (restarts, planned) = (slot.restarts + 1, false);
                let delay_ms = delay.as_millis() as u64;
                let (worker_id, reason) = (number.to_string(), *reason);
                actions.emit(Event::WorkerRestart { worker_id, reason, delay_ms, restarts, planned });
                false
            }
            Verdict::Open => {
                slot.active = ActiveWorker::CircuitOpen { until: now + policy.reset_timeout };
                !slot.trial
            }
        }
    }

    /// The worker is unhealthy: it is replaced as soon as the slot's budget allows. True if the budget has just run
    /// out.
    pub fn note_unhealthy(&mut self, id: WorkerId, now: Duration) -> bool {
        let slot = self.slots.get_mut(usize::from(id.slot));
        slot.is_some_and(|slot| slot.note_unhealthy(id, &self.policy, now))
    }

    /// The slots whose unhealthy worker has to be replaced now.
    pub fn take_due_replacements(&mut self, now: Duration) -> Vec<u16> {
        let due =
            self.slots.iter_mut().filter_map(|slot| slot.take_due_replacement(now).then_some(slot.number));
        due.collect()
    }

    /// Handles everything that is due.
    pub fn due(&mut self, now: Duration, actions: &mut Actions) {
        for number in 0..self.slots.len() as u16 {
            let slot = self.slot_mut(number);
            match slot.active {
                ActiveWorker::Waiting { until, announced, planned } if until <= now => {
                    *if planned { &mut slot.replacements } else { &mut slot.restarts } += 1;
                    let restarts = slot.restarts;
                    if !announced {
                        let (worker_id, reason) = (number.to_string(), ExitReason::Finished);
                        actions.emit(Event::WorkerRestart {
                            worker_id,
                            reason,
                            delay_ms: 0,
                            restarts,
                            planned,
                        });
                    }
                    self.start_worker(number, now, actions);
                }
                ActiveWorker::CircuitOpen { until } if until <= now => {
                    slot.restarts += 1;
                    slot.trial = true;
                    self.start_worker(number, now, actions);
                }
                ActiveWorker::Waiting { .. }
                | ActiveWorker::CircuitOpen { .. }
                | ActiveWorker::Vacant
                | ActiveWorker::Running(_) => {}
            }
            let timeout = self.policy.startup_timeout;
            let workers = self.slot(number).workers();
            let due = workers.filter(|worker| worker.due(timeout).is_some_and(|due| due <= now));
            for id in due.map(|worker| worker.id).collect::<Vec<_>>() {
                self.escalate(id, actions);
            }
        }
    }

    /// The worker's deadline has passed: SIGTERM, then SIGKILL.
    fn escalate(&mut self, id: WorkerId, actions: &mut Actions) {
        let Some(worker) = self.worker(id) else { return };
        match worker.stage {
            Stage::Starting { pid: Some(pid), .. } => {
                worker.stage = Stage::Killed { pid, reason: ExitReason::NeverReady };
                actions.push(Action::Kill { worker: id });
            }
            Stage::Draining { pid, kill, .. } => {
                worker.stage = Stage::Terminating { pid, kill };
                actions.push(Action::Terminate { worker: id });
            }
            Stage::Terminating { pid, .. } => {
                worker.stage = Stage::Killed { pid, reason: ExitReason::Deadline };
                actions.push(Action::Kill { worker: id });
            }
            Stage::Starting { pid: None, .. } | Stage::Ready { .. } | Stage::Killed { .. } => {}
        }
    }
}
