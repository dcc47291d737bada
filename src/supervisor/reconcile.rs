//! The machine: takes a fact at a time, updates the slots, and says what to do. Workers start from the lowest
//! slot up and stop from the highest down. A retry is a time at which the slot is due, never a sleep.

use std::collections::VecDeque;
use std::time::Duration;

use super::operation::{Operation, Running};
use super::slot::{ActiveWorker, Role, Slot};
use super::worker::{Stage, Worker};
use super::{Action, Fact, Policy};
use crate::error::{Code, Error};
use crate::event::{Event, ExitReason};
use crate::model::{MAX_WORKERS, WorkerId};

/// A worker that ends this soon after the primary's own stop signal was probably meant by it too.
const SIGNAL_SHADOW: Duration = Duration::from_secs(2);
/// A signal to a whole control group reaches its processes one by one: a worker that leaves for one is replaced
/// when the primary has not got it by then.
pub(super) const SIGNAL_LAG: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Starting,
    Running,
    Stopping,
    Stopped,
}

pub struct Supervisor {
    pub(super) policy: Policy,
    pub(super) phase: Phase,
    pub(super) slots: Vec<Slot>,
    /// Some worker was ready once: from then on failing slots are retried for ever.
    pub(super) ever_ready: bool,
    /// The first error that a worker told of or failed with while the cluster starts.
    pub(super) first_error: Option<Error>,
    pub(super) shadow_until: Duration,
    pub(super) queue: VecDeque<Operation>,
    pub(super) running: Option<Running>,
    /// A stop was announced: then the workers drain.
    pub(super) drain_at: Option<Duration>,
    /// The end of a stop that was announced.
    pub(super) gone_by: Option<Duration>,
    pub(super) actions: Vec<Action>,
}

impl Supervisor {
    pub fn new(policy: Policy) -> Self {
        let serving = (0..policy.workers).map(|number| Slot::new(number, Role::Serving));
        let standbys = policy.workers..(policy.workers + policy.standby).min(MAX_WORKERS);
        let standbys = standbys.map(|number| Slot::new(number, Role::Standby));
        Self {
            slots: serving.chain(standbys).collect(),
            policy,
            phase: Phase::Idle,
            ever_ready: false,
            first_error: None,
            shadow_until: Duration::ZERO,
            queue: VecDeque::new(),
            running: None,
            drain_at: None,
            gone_by: None,
            actions: Vec::new(),
        }
    }

    /// Nobody comes after those who leave.
    pub fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping | Phase::Stopped)
    }

    /// Workers that are to serve.
    pub fn wanted(&self) -> u16 {
        self.policy.workers
    }

    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Takes a fact at time `now` (since any fixed moment, never going back) and says what to do, in order.
    pub fn handle(&mut self, fact: Fact, now: Duration) -> Vec<Action> {
        match fact {
            Fact::Start => self.start(now),
            Fact::Spawned { worker, pid } => self.spawned(worker, pid),
            Fact::SpawnFailed { worker, error } => self.spawn_failed(worker, error, now),
            Fact::Ready { worker } => self.ready(worker, now),
            Fact::Lacks { worker, addresses } => {
                if let Some(worker) = self.worker(worker) {
                    worker.lacks = addresses;
                }
            }
            Fact::Warm { worker } => {
                if let Some(worker) = self.worker(worker) {
                    worker.is_warm = true;
                }
            }
            Fact::Wrote { worker, text } => {
                if let Some(worker) = self.worker(worker) {
                    worker.wrote(&text);
                }
            }
            Fact::Leaving { worker, signalled } => self.leaving(worker, signalled, now),
            Fact::Failed { worker, error, reported } => self.failed(worker, error, reported),
            Fact::Broken { worker, error } => self.broken(worker, error),
            Fact::Unhealthy { worker } => self.unhealthy(worker, now),
            Fact::Hung { worker } => self.hung(worker),
            Fact::Exited { worker, exit } => self.exited(worker, exit, now),
            Fact::StopSignal => self.shadow_until = now + SIGNAL_SHADOW,
            Fact::Stop { graceful, limit } => self.stop(graceful, limit, now),
            Fact::Scale { id, target, asker } => self.ask_scale(id, target, asker),
            Fact::Roll { id, slot, asker } => self.ask_roll(id, slot, asker),
            Fact::Tick => {}
        }
        self.due(now);
        self.settle(now);
        self.operate(now);
        // The end of an operation may be what the end of the cluster waited for.
        self.settle(now);
        std::mem::take(&mut self.actions)
    }

    /// When `Fact::Tick` is next wanted.
    pub fn next_due(&self) -> Option<Duration> {
        let slots = self.slots.iter().filter_map(|slot| slot.due(self.policy.startup_timeout));
        slots.chain(self.drain_at).min()
    }

    fn start(&mut self, now: Duration) {
        if self.phase != Phase::Idle {
            return;
        }
        self.phase = Phase::Starting;
        for number in 0..self.slots.len() as u16 {
            self.start_worker(number, now);
        }
    }

    /// A new worker becomes the slot's active one.
    pub(super) fn start_worker(&mut self, number: u16, now: Duration) {
        let slot = &mut self.slots[usize::from(number)];
        let worker = slot.new_worker(now);
        let (id, standby) = (worker.id, slot.role == Role::Standby);
        slot.active = ActiveWorker::Running(worker);
        self.actions.push(Action::Spawn { worker: id, standby });
    }

    /// A new worker starts beside the one that sits.
    pub(super) fn prepare_next(&mut self, number: u16, now: Duration) {
        let slot = &mut self.slots[usize::from(number)];
        let worker = slot.new_worker(now);
        let (id, standby) = (worker.id, slot.role == Role::Standby);
        slot.next = Some(worker);
        self.actions.push(Action::Spawn { worker: id, standby });
    }

    /// A slot that nobody has, with this role from now on: the lowest number first. None when every number is
    /// taken.
    pub(super) fn free_slot(&mut self, role: Role) -> Option<u16> {
        let vacant = self.slots.iter().find(|slot| slot.is_vacant()).map(|slot| slot.number);
        let number = vacant.unwrap_or(self.slots.len() as u16);
        self.open_slot(number, role).then_some(number)
    }

    /// The slot of this number has this role from now on; false when somebody has it, or there is no such number.
    pub(super) fn open_slot(&mut self, number: u16, role: Role) -> bool {
        if number >= MAX_WORKERS {
            return false;
        }
        while self.slots.len() <= usize::from(number) {
            self.slots.push(Slot::new(self.slots.len() as u16, Role::Retired));
        }
        let slot = &mut self.slots[usize::from(number)];
        if !slot.is_vacant() {
            return false;
        }
        slot.role = role;
        (slot.trial, slot.restarts_exhausted, slot.pending_replacement, slot.fresh) =
            (false, false, None, true);
        slot.budget = Default::default();
        true
    }

    /// A standby worker that is ready serves from now on.
    pub(super) fn take_standby(&mut self) -> Option<u16> {
        let standby = self.slots.iter_mut().find(|slot| slot.role == Role::Standby && slot.is_ready())?;
        standby.role = Role::Serving;
        let id = standby.active_worker()?.id;
        self.actions.push(Action::Promote { worker: id });
        Some(id.slot)
    }

    pub(super) fn worker(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.slots.get_mut(usize::from(id.slot)).and_then(|slot| slot.worker(id))
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.actions.push(Action::Emit(event));
    }

    fn spawned(&mut self, id: WorkerId, spawned: u32) {
        let stopping = self.phase == Phase::Stopping;
        let retired = self.slots.get(usize::from(id.slot)).is_some_and(|slot| slot.role == Role::Retired);
        let Some(worker) = self.worker(id) else { return };
        if let Stage::Starting { pid, .. } = &mut worker.stage {
            *pid = Some(spawned);
        }
        if stopping || retired {
            // It is not wanted any more: that was decided while it was being made.
            worker.stage = Stage::Killed { pid: spawned, reason: ExitReason::Stopped };
            self.actions.push(Action::Kill { worker: id });
        }
    }

    fn spawn_failed(&mut self, id: WorkerId, error: Error, now: Duration) {
        if self.worker(id).is_none() {
            return;
        }
        self.note_start_error(&error);
        self.emit(Event::WorkerError { worker_id: id.to_string(), error: error.clone(), reported: false });
        self.gone(id, ExitReason::Failed, false, Some(error), now);
    }

    fn ready(&mut self, id: WorkerId, now: Duration) {
        let Some(worker) = self.worker(id) else { return };
        let Stage::Starting { pid: Some(pid), since } = worker.stage else { return };
        worker.stage = Stage::Ready { pid };
        worker.has_been_ready = true;
        self.ever_ready = true;
        let after_ms = (now - since).as_millis() as u64;
        self.emit(Event::WorkerReady { worker_id: id.to_string(), pid, generation: id.generation, after_ms });
        let found = &mut self.slots[usize::from(id.slot)];
        (found.trial, found.fresh) = (false, false);
        let takes_over = found.next.as_ref().is_some_and(|next| next.id == id);
        if takes_over {
            self.succeed(id.slot, now);
        } else if self.slots[usize::from(id.slot)].role == Role::Serving {
            self.actions.push(Action::Promote { worker: id });
        }
        if self.drain_at.is_some() {
            self.actions.push(Action::Unready { worker: id });
        }
    }

    /// The next worker becomes the active one, and its predecessor leaves.
    fn succeed(&mut self, number: u16, now: Duration) {
        let slot = &mut self.slots[usize::from(number)];
        let Some(next) = slot.next.take() else { return };
        let id = next.id;
        slot.replacements += 1;
        if let ActiveWorker::Running(old) = std::mem::replace(&mut slot.active, ActiveWorker::Running(next)) {
            slot.leaving.push(old);
        }
        if slot.role == Role::Serving {
            self.actions.push(Action::Promote { worker: id });
        }
        for old in self.slots[usize::from(number)].leaving.iter().map(|old| old.id).collect::<Vec<_>>() {
            self.let_go(old, self.policy.graceful, now);
        }
    }

    /// What `start` rejects with when nothing gets ready.
    pub(super) fn note_start_error(&mut self, error: &Error) {
        if self.phase == Phase::Starting {
            self.first_error.get_or_insert_with(|| error.clone());
        }
    }

    /// The worker, and why it told that it would end.
    fn failed(&mut self, id: WorkerId, error: Error, reported: bool) {
        let Some(worker) = self.worker(id) else { return };
        worker.error = Some(error.clone());
        self.note_start_error(&error);
        self.emit(Event::WorkerError { worker_id: id.to_string(), error, reported });
    }

    fn broken(&mut self, id: WorkerId, error: Error) {
        let Some(worker) = self.worker(id) else { return };
        let Some(pid) = worker.pid() else { return };
        worker.stage = Stage::Killed { pid, reason: ExitReason::Protocol };
        self.actions.push(Action::Kill { worker: id });
        self.emit(Event::WorkerError { worker_id: id.to_string(), error, reported: false });
    }

    fn hung(&mut self, id: WorkerId) {
        let Some(worker) = self.worker(id) else { return };
        let (Some(pid), false) = (worker.pid(), matches!(worker.stage, Stage::Killed { .. })) else { return };
        worker.stage = Stage::Killed { pid, reason: ExitReason::Hung };
        self.actions.push(Action::Kill { worker: id });
    }

    /// Does what has become due.
    fn due(&mut self, now: Duration) {
        if self.drain_at.is_some_and(|at| at <= now) {
            self.end_all(true, now);
        }
        self.replace_unhealthy(now);
        for number in 0..self.slots.len() as u16 {
            let slot = &mut self.slots[usize::from(number)];
            match slot.active {
                ActiveWorker::Waiting { until, announced, planned } if until <= now => {
                    *if planned { &mut slot.replacements } else { &mut slot.restarts } += 1;
                    let restarts = slot.restarts;
                    if !announced {
                        let (worker_id, reason) = (number.to_string(), ExitReason::Finished);
                        self.emit(Event::WorkerRestart { worker_id, reason, delay_ms: 0, restarts, planned });
                    }
                    self.start_worker(number, now);
                }
                ActiveWorker::CircuitOpen { until } if until <= now => {
                    slot.restarts += 1;
                    slot.trial = true;
                    self.start_worker(number, now);
                }
                ActiveWorker::Waiting { .. }
                | ActiveWorker::CircuitOpen { .. }
                | ActiveWorker::Vacant
                | ActiveWorker::Running(_) => {}
            }
            let slot = &self.slots[usize::from(number)];
            let timeout = self.policy.startup_timeout;
            let due = slot.workers().filter(|worker| worker.due(timeout).is_some_and(|due| due <= now));
            for id in due.map(|worker| worker.id).collect::<Vec<_>>() {
                self.press(id);
            }
        }
    }

    /// The worker's time is up: the next, harder step.
    fn press(&mut self, id: WorkerId) {
        let Some(worker) = self.worker(id) else { return };
        match worker.stage {
            Stage::Starting { pid: Some(pid), .. } => {
                worker.stage = Stage::Killed { pid, reason: ExitReason::NeverReady };
                self.actions.push(Action::Kill { worker: id });
            }
            Stage::Draining { pid, kill, .. } => {
                worker.stage = Stage::Terminating { pid, kill };
                self.actions.push(Action::Terminate { worker: id });
            }
            Stage::Terminating { pid, .. } => {
                worker.stage = Stage::Killed { pid, reason: ExitReason::Deadline };
                self.actions.push(Action::Kill { worker: id });
            }
            Stage::Starting { pid: None, .. } | Stage::Ready { .. } | Stage::Killed { .. } => {}
        }
    }

    /// Settles `start` and notices the end.
    fn settle(&mut self, now: Duration) {
        let serving = || self.slots.iter().filter(|slot| slot.role == Role::Serving);
        match self.phase {
            Phase::Starting if serving().all(Slot::is_settled) => self.settle_start(now),
            Phase::Stopping if !self.slots.iter().any(Slot::has_workers) => self.end(),
            // Without respawn the last worker's end is the cluster's.
            Phase::Running
                if !self.policy.respawn
                    && self.running.is_none()
                    && !self.slots.iter().any(Slot::has_workers) =>
            {
                self.end();
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Stopped;
        self.abandon_operations();
        // A cluster that found its port taken never had workers.
        if self.slots.iter().any(|slot| slot.generation > 0) {
            self.emit(Event::ClusterStopped);
        }
        self.actions.push(Action::Stopped);
    }

    fn settle_start(&mut self, now: Duration) {
        if !self.slots.iter().any(Slot::is_ready) {
            let error = self.first_error.clone().unwrap_or_else(|| {
                Error::new(
                    Code::WorkerStartupFailed,
                    format!("No worker of {} got ready", self.policy.script),
                )
            });
            self.phase = Phase::Stopping;
            self.abandon_operations();
            for index in 0..self.slots.len() {
                // A trial may be under way.
                self.stop_slot(index, false, now);
            }
            self.actions.push(Action::Started(Err(error)));
            return self.settle(now);
        }
        self.phase = Phase::Running;
        // Who did not get ready is missed from now on.
        self.slots.iter_mut().filter(|slot| slot.role == Role::Serving).for_each(|slot| slot.fresh = false);
        let mut serving = self.slots.iter().filter(|slot| slot.role == Role::Serving);
        if serving.all(Slot::is_ready) {
            self.emit(Event::ClusterStarted { worker_count: u32::from(self.policy.workers) });
        } else {
            self.emit_degraded();
        }
        self.first_error = None;
        self.actions.push(Action::Started(Ok(())));
    }
}
