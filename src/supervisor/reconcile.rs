//! The state machine: takes one fact at a time, updates the slots, and returns actions. Workers start from the lowest
//! slot up and stop from the highest down. A retry is a due time of the slot, never a sleep.

use std::time::Duration;

use super::action::{Action, Actions};
use super::death::Death;
use super::fact::Fact;
use super::operation::{Operation, Operations};
use super::policy::Policy;
use super::slot::{Role, Slot};
use super::slots::{Refill, Slots};
use super::worker::Stage;
use crate::error::{Code, Error};
use crate::event::{AlertCause, Event, Exit, ExitReason, Level};
use crate::model::{Limit, WorkerId};

/// A worker that ends within this time after the primary's own stop signal probably got the signal too.
const SIGNAL_SHADOW: Duration = Duration::from_secs(2);
/// A signal to a whole control group reaches its processes one after the other: a worker that leaves because of a
/// signal is replaced if the primary has not got the signal within this time.
pub(super) const SIGNAL_LAG: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Starting,
    Running,
    Stopping,
    Stopped,
}

pub struct Supervisor {
    phase: Phase,
    slots: Slots,
    operations: Operations,
    /// Some worker has been ready: from then on failing slots are retried forever.
    ever_ready: bool,
    /// The first error that a worker reported or failed with during the start of the cluster.
    first_error: Option<Error>,
    shadow_until: Duration,
    /// When the workers drain, after a stop was announced.
    drain_at: Option<Duration>,
    actions: Actions,
}

impl Supervisor {
    pub fn new(policy: Policy) -> Self {
        Self {
            phase: Phase::Idle,
            slots: Slots::new(policy),
            operations: Operations::default(),
            ever_ready: false,
            first_error: None,
            shadow_until: Duration::ZERO,
            drain_at: None,
            actions: Actions::default(),
        }
    }

    /// Whether the cluster stops: workers that end are not replaced.
    pub fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping | Phase::Stopped)
    }

    /// The configured number of serving workers.
    pub fn wanted(&self) -> u16 {
        self.slots.wanted()
    }

    /// The number of serving workers when all operations that wait are done.
    pub fn intended(&self) -> u16 {
        self.operations.intended(self.slots.wanted())
    }

    pub fn slots(&self) -> &[Slot] {
        self.slots.all()
    }

    /// Whether the slot's worker is being replaced, or will be.
    pub fn is_rolling(&self, slot: u16) -> bool {
        self.operations.is_rolling(slot)
    }

    /// Handles a fact at time `now` (monotonic, since any fixed moment) and returns the actions, in order.
    pub fn handle(&mut self, fact: Fact, now: Duration) -> Vec<Action> {
        match fact {
            Fact::Start => self.start(now),
            Fact::Spawned { worker, pid } => {
                let unwanted = self.phase == Phase::Stopping;
                self.slots.spawned(worker, pid, unwanted, &mut self.actions);
            }
            Fact::SpawnFailed { worker, error } => self.spawn_failed(worker, error, now),
            Fact::Ready { worker } => self.ready(worker, now),
            Fact::Lacks { worker, addresses } => {
                if let Some(worker) = self.slots.worker(worker) {
                    worker.lacks = addresses;
                }
            }
            Fact::Warm { worker } => {
                if let Some(worker) = self.slots.worker(worker) {
                    worker.is_warm = true;
                }
            }
            Fact::Wrote { worker, text } => {
                if let Some(worker) = self.slots.worker(worker) {
                    worker.wrote(&text);
                }
            }
            Fact::Leaving { worker, signalled } => self.leaving(worker, signalled, now),
            Fact::Failed { worker, error, reported } => self.failed(worker, error, reported),
            Fact::Broken { worker, error } => self.broken(worker, error),
            Fact::Unhealthy { worker } => self.unhealthy(worker, now),
            Fact::Hung { worker } => self.kill(worker, ExitReason::Hung),
            Fact::Expired { worker } => self.expired(worker),
            Fact::Exceeded { worker, limit: Limit::Cpu } => self.kill(worker, ExitReason::CpuLimit),
            Fact::Exceeded { worker, .. } => self.kill(worker, ExitReason::MemoryLimit),
            Fact::OutOfMemory { worker } => {
                if let Some(worker) = self.slots.worker(worker) {
                    worker.is_out_of_memory = true;
                }
            }
            Fact::Exited { worker, exit } => self.exited(worker, exit, now),
            Fact::StopSignal => self.shadow_until = now + SIGNAL_SHADOW,
            Fact::Stop { graceful, limit } => self.stop(graceful, limit, now),
            Fact::Scale { id, target, requester } => self.ask(Operation::scale(id, target, requester)),
            Fact::Roll { id, slot, requester } => self.ask(Operation::roll(id, slot, requester)),
            Fact::Tick => {}
        }
        self.due(now);
        self.settle(now);
        if self.phase == Phase::Running {
            self.operations.advance(&mut self.slots, now, &mut self.actions);
        }
        // The end of the cluster may have waited for the end of the operation.
        self.settle(now);
        self.actions.take()
    }

    /// When the next `Fact::Tick` is needed.
    pub fn next_due(&self) -> Option<Duration> {
        self.slots.next_due().into_iter().chain(self.drain_at).min()
    }

    fn start(&mut self, now: Duration) {
        if self.phase != Phase::Idle {
            return;
        }
        self.phase = Phase::Starting;
        self.slots.start_all(now, &mut self.actions);
    }

    fn spawn_failed(&mut self, id: WorkerId, error: Error, now: Duration) {
        if self.slots.worker(id).is_none() {
            return;
        }
        self.note_start_error(&error);
        let told = error.clone();
        self.actions.emit(Event::WorkerError { worker_id: id.to_string(), error: told, reported: false });
        self.gone(id, &Death::not_spawned(error), now);
    }

    fn ready(&mut self, id: WorkerId, now: Duration) {
        if !self.slots.ready(id, now, &mut self.actions) {
            return;
        }
        self.ever_ready = true;
        if self.drain_at.is_some() {
            self.actions.push(Action::Unready { worker: id });
        }
    }

    /// Records the error of `start` for the case that no worker becomes ready.
    fn note_start_error(&mut self, error: &Error) {
        if self.phase == Phase::Starting {
            self.first_error.get_or_insert_with(|| error.clone());
        }
    }

    /// Replaces the worker at once, or, after a signal, when it is clear that only this worker got it.
    fn leaving(&mut self, id: WorkerId, signalled: bool, now: Duration) {
        let is_replaced = self.slots.policy().respawn && self.phase != Phase::Stopping;
        // A worker that leaves shortly after the primary's own stop signal got it too.
        let delayed = signalled || now < self.shadow_until;
        let lag = if signalled { SIGNAL_LAG } else { Duration::ZERO };
        let refill = Refill { until: self.shadow_until.max(now + lag), announced: !delayed };
        self.slots.leave(id, is_replaced.then_some(refill), now, &mut self.actions);
    }

    /// The worker has reported an uncaught error.
    fn failed(&mut self, id: WorkerId, error: Error, reported: bool) {
        let Some(worker) = self.slots.worker(id) else { return };
        worker.error = Some(error.clone());
        self.note_start_error(&error);
        self.actions.emit(Event::WorkerError { worker_id: id.to_string(), error, reported });
    }

    fn broken(&mut self, id: WorkerId, error: Error) {
        if self.slots.kill(id, ExitReason::Protocol, &mut self.actions) {
            self.actions.emit(Event::WorkerError { worker_id: id.to_string(), error, reported: false });
        }
    }

    /// Replaces the worker as in a roll, so that its clients do not wait.
    fn unhealthy(&mut self, id: WorkerId, now: Duration) {
        let number = id.slot;
        let respawns = self.slots.policy().respawn && self.phase == Phase::Running;
        if !respawns || self.operations.is_rolling(number) || !self.slots.note_unhealthy(id, now) {
            return;
        }
        let policy = self.slots.policy();
        let (times, trial) = (policy.max_restarts, policy.reset_timeout.as_secs_f64());
        let message = format!(
            "Worker {number} was replaced {times} times and is unhealthy again; from now on it is replaced every \
             {trial} s at most"
        );
        let cause = AlertCause::UnhealthyAgain { worker: number.to_string() };
        self.actions.emit(Event::Alert { severity: Level::Error, message, cause });
    }

    fn kill(&mut self, id: WorkerId, reason: ExitReason) {
        let Some(worker) = self.slots.worker(id) else { return };
        if !matches!(worker.stage, Stage::Killed { .. }) {
            self.slots.kill(id, reason, &mut self.actions);
        }
    }

    /// Replaces the worker as in a roll, if it still serves.
    fn expired(&mut self, id: WorkerId) {
        let slot = self.slots.all().get(usize::from(id.slot)).filter(|slot| slot.role == Role::Serving);
        let active = slot.and_then(Slot::active_worker).filter(|active| active.id == id && active.is_ready());
        if active.is_some() && self.phase == Phase::Running && !self.operations.is_rolling(id.slot) {
            self.ask(Operation::own_roll(id.slot));
        }
    }

    fn exited(&mut self, id: WorkerId, exit: Exit, now: Duration) {
        let Some(pid) = self.slots.worker(id).and_then(|worker| worker.pid()) else { return };
        let Some(death) = self.slots.death(id, exit, self.phase == Phase::Stopping) else { return };
        if let (true, Some(error)) = (death.is_of_start(), &death.error) {
            self.note_start_error(error);
        }
        let worker_id = id.to_string();
        let (reason, hint) = (death.reason, death.hint.clone());
        self.actions.emit(Event::WorkerExit { worker_id: worker_id.clone(), pid, exit, reason, hint });
        self.actions.emit(Event::WorkerStopped { worker_id });
        self.gone(id, &death, now);
    }

    /// The process has ended: removes it from the slot and decides about a replacement.
    fn gone(&mut self, id: WorkerId, death: &Death, now: Duration) {
        if let (false, Some(error)) = (death.was_ready, &death.error) {
            self.operations.not_ready(id, error);
        }
        if !self.slots.remove(id) || self.is_stopping() {
            return;
        }
        if self.slots.refill(id.slot, death, self.shadow_until, now, &mut self.actions) && self.ever_ready {
            self.circuit_opened(id.slot);
        }
    }

    fn circuit_opened(&mut self, number: u16) {
        let policy = self.slots.policy();
        let deaths = policy.max_restarts + 1;
        let minutes = policy.restart_window.as_secs_f64() / 60.0;
        let trial = policy.reset_timeout.as_secs_f64();
        let message = format!(
            "Worker {number} died {deaths} times in {minutes} minutes; one trial start every {trial} s from now on"
        );
        let cause = AlertCause::RestartCircuit { worker: number.to_string() };
        self.actions.emit(Event::Alert { severity: Level::Error, message, cause });
        // The result of a start is reported when it is settled.
        if self.phase == Phase::Running {
            self.actions.emit(self.slots.degraded());
        }
    }

    fn ask(&mut self, operation: Operation) {
        if self.is_stopping() {
            operation.refuse(&mut self.actions);
        } else {
            self.operations.ask(operation);
        }
    }

    fn stop(&mut self, graceful: bool, limit: Option<Duration>, now: Duration) {
        if self.phase == Phase::Stopped {
            return;
        }
        if self.phase == Phase::Starting {
            let error = Error::new(Code::Stopped, "The cluster was stopped before its workers were ready");
            self.actions.push(Action::Started(Err(error)));
        }
        let again = self.phase == Phase::Stopping;
        self.phase = Phase::Stopping;
        self.operations.abandon(&mut self.actions);
        let policy = self.slots.policy();
        let graceful = graceful && policy.graceful;
        if graceful && again {
            return;
        }
        let (delay, whole) = (policy.shutdown_delay, policy.graceful_timeout);
        if let Some(limit) = limit.filter(|_| graceful) {
            // With a limit there is no load balancer to wait for.
            self.slots.end_by(now + limit.min(whole));
            return self.end_all(true, now);
        }
        if graceful && !delay.is_zero() && self.slots.is_any_ready() {
            // Load balancers must stop routing before anything is refused.
            self.drain_at = Some(now + delay);
            self.slots.end_by(now + whole);
            return self.slots.announce_stop(now, &mut self.actions);
        }
        self.end_all(graceful, now);
    }

    fn end_all(&mut self, graceful: bool, now: Duration) {
        self.drain_at = None;
        self.actions.push(Action::Retire);
        for number in (0..self.slots.all().len() as u16).rev() {
            self.slots.stop_slot(number, graceful, now, &mut self.actions);
        }
    }

    /// Handles everything that is due.
    fn due(&mut self, now: Duration) {
        if self.drain_at.is_some_and(|at| at <= now) {
            self.end_all(true, now);
        }
        for number in self.slots.take_due_replacements(now) {
            if !self.operations.is_rolling(number) {
                self.ask(Operation::own_roll(number));
            }
        }
        self.slots.due(now, &mut self.actions);
    }

    /// Settles `start` and detects the end.
    fn settle(&mut self, now: Duration) {
        match self.phase {
            Phase::Starting if self.slots.serving().all(Slot::is_settled) => self.settle_start(now),
            Phase::Stopping if !self.slots.have_workers() => self.end(),
            // Without respawn the end of the last worker is the end of the cluster.
            Phase::Running
                if !self.slots.policy().respawn
                    && !self.operations.is_busy()
                    && !self.slots.have_workers() =>
            {
                self.end();
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Stopped;
        self.operations.abandon(&mut self.actions);
        // A cluster whose port was taken never had workers.
        if self.slots.all().iter().any(|slot| slot.generation > 0) {
            self.actions.emit(Event::ClusterStopped);
        }
        self.actions.push(Action::Stopped);
    }

    fn settle_start(&mut self, now: Duration) {
        if !self.slots.is_any_ready() {
            let error = self.first_error.clone().unwrap_or_else(|| {
                let script = &self.slots.policy().script;
                Error::new(Code::WorkerStartupFailed, format!("No worker of {script} became ready"))
            });
            self.phase = Phase::Stopping;
            self.operations.abandon(&mut self.actions);
            for number in 0..self.slots.all().len() as u16 {
                // A trial start may be running.
                self.slots.stop_slot(number, false, now, &mut self.actions);
            }
            self.actions.push(Action::Started(Err(error)));
            return self.settle(now);
        }
        self.phase = Phase::Running;
        let serving: Vec<u16> = self.slots.serving().map(|slot| slot.number).collect();
        self.slots.expect_workers(serving);
        if self.slots.serving().all(Slot::is_ready) {
            self.actions.emit(Event::ClusterStarted { worker_count: u32::from(self.slots.wanted()) });
        } else {
            self.actions.emit(self.slots.degraded());
        }
        self.first_error = None;
        self.actions.push(Action::Started(Ok(())));
    }
}
