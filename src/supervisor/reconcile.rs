//! The machine: takes a fact at a time, updates the slots, and says what to do. Workers start from the lowest
//! slot up and stop from the highest down. A retry is a time at which the slot is due, never a sleep.

use std::time::Duration;

use serde_json::json;

use super::budget::Verdict;
use super::slot::{Slot, State};
use super::{Action, Fact, Policy};
use crate::error::{Code, Error};
use crate::event::{Event, Exit, ExitReason, Level};

/// A worker that ends this soon after the primary's own stop signal was probably meant by it too.
const SIGNAL_SHADOW: Duration = Duration::from_secs(2);

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
    ever_ready: bool,
    /// The first error that a worker told of or that a start failed with.
    first_error: Option<Error>,
    shadow_until: Duration,
    pub(super) actions: Vec<Action>,
}

impl Supervisor {
    pub fn new(policy: Policy) -> Self {
        let slots = (0..policy.workers).map(Slot::new).collect();
        Self {
            policy,
            phase: Phase::Idle,
            slots,
            ever_ready: false,
            first_error: None,
            shadow_until: Duration::ZERO,
            actions: Vec::new(),
        }
    }

    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Takes a fact at time `now` (since any fixed moment, never going back) and says what to do, in order.
    pub fn handle(&mut self, fact: Fact, now: Duration) -> Vec<Action> {
        match fact {
            Fact::Start => self.start(now),
            Fact::Spawned { slot, generation, pid } => self.spawned(slot, generation, pid),
            Fact::SpawnFailed { slot, generation, error } => self.spawn_failed(slot, generation, error, now),
            Fact::Ready { slot, generation } => self.ready(slot, generation, now),
            Fact::Leaving { slot, generation } => self.leaving(slot, generation, now),
            Fact::Failed { slot, generation, error } => self.failed(slot, generation, error),
            Fact::Broken { slot, generation, error } => self.broken(slot, generation, error),
            Fact::Exited { slot, generation, exit } => self.exited(slot, generation, exit, now),
            Fact::StopSignal => self.shadow_until = now + SIGNAL_SHADOW,
            Fact::Stop { graceful } => self.stop(graceful, now),
            Fact::Tick => {}
        }
        self.due(now);
        self.settle(now);
        std::mem::take(&mut self.actions)
    }

    /// When `Fact::Tick` is next wanted.
    pub fn next_due(&self) -> Option<Duration> {
        self.slots.iter().filter_map(|slot| slot.due(self.policy.startup_timeout)).min()
    }

    fn start(&mut self, now: Duration) {
        if self.phase != Phase::Idle {
            return;
        }
        self.phase = Phase::Starting;
        for index in 0..self.slots.len() {
            self.spawn(index, now);
        }
    }

    fn spawn(&mut self, index: usize, now: Duration) {
        let slot = &mut self.slots[index];
        slot.generation += 1;
        slot.error = None;
        slot.has_been_ready = false;
        slot.state = State::Starting { pid: None, since: now };
        self.actions.push(Action::Spawn { slot: slot.number, generation: slot.generation });
    }

    /// The slot, unless the fact is about one of its earlier workers.
    pub(super) fn current(&mut self, slot: u16, generation: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(slot)).filter(|found| found.generation == generation)
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.actions.push(Action::Emit(event));
    }

    fn spawned(&mut self, slot: u16, generation: u32, spawned: u32) {
        let stopping = self.phase == Phase::Stopping;
        let Some(found) = self.current(slot, generation) else { return };
        if let State::Starting { pid, .. } = &mut found.state {
            *pid = Some(spawned);
        }
        if stopping {
            // The stop came while the process was being made.
            found.state = State::Killed { pid: spawned, reason: ExitReason::Stopped };
            self.actions.push(Action::Kill { slot, generation });
        }
    }

    fn spawn_failed(&mut self, slot: u16, generation: u32, error: Error, now: Duration) {
        if self.current(slot, generation).is_none() {
            return;
        }
        self.first_error.get_or_insert_with(|| error.clone());
        self.emit(Event::WorkerError { worker_id: slot.to_string(), error });
        self.gone(slot, ExitReason::Failed, false, now);
    }

    fn ready(&mut self, slot: u16, generation: u32, now: Duration) {
        let Some(found) = self.current(slot, generation) else { return };
        let State::Starting { pid: Some(pid), since } = found.state else { return };
        found.state = State::Ready { pid };
        found.trial = false;
        found.has_been_ready = true;
        self.ever_ready = true;
        let after_ms = (now - since).as_millis() as u64;
        self.emit(Event::WorkerReady { worker_id: slot.to_string(), pid, generation, after_ms });
    }

    fn failed(&mut self, slot: u16, generation: u32, error: Error) {
        let Some(found) = self.current(slot, generation) else { return };
        found.error = Some(error.clone());
        self.first_error.get_or_insert_with(|| error.clone());
        self.emit(Event::WorkerError { worker_id: slot.to_string(), error });
    }

    fn broken(&mut self, slot: u16, generation: u32, error: Error) {
        let Some(found) = self.current(slot, generation) else { return };
        let Some(pid) = found.pid() else { return };
        found.state = State::Killed { pid, reason: ExitReason::Protocol };
        self.actions.push(Action::Kill { slot, generation });
        self.emit(Event::WorkerError { worker_id: slot.to_string(), error });
    }

    fn exited(&mut self, slot: u16, generation: u32, exit: Exit, now: Duration) {
        let stopping = self.phase == Phase::Stopping;
        let Some(found) = self.current(slot, generation) else { return };
        let Some(pid) = found.pid() else { return };
        let reason = match found.state {
            State::Killed { reason, .. } => reason,
            _ if stopping => ExitReason::Stopped,
            _ if exit.success() => ExitReason::Finished,
            _ if exit.signal.is_some() => ExitReason::Killed,
            _ => ExitReason::Failed,
        };
        let was_ready = found.has_been_ready;
        if !was_ready && found.error.is_none() && !matches!(reason, ExitReason::Stopped) {
            let error = self.startup_error(reason, exit);
            self.first_error.get_or_insert(error);
        }
        let worker_id = slot.to_string();
        self.emit(Event::WorkerExit { worker_id: worker_id.clone(), pid, exit, reason });
        self.emit(Event::WorkerStopped { worker_id });
        self.gone(slot, reason, was_ready, now);
    }

    /// What `start` rejects with when a worker ended without an error of its own.
    fn startup_error(&self, reason: ExitReason, exit: Exit) -> Error {
        let script = &self.policy.script;
        let seconds = self.policy.startup_timeout.as_secs_f64();
        let message = match reason {
            ExitReason::NeverReady => format!(
                "{script} was not ready after {seconds} s (startupTimeout). A worker is ready when it listens; \
                 set processManagement.ready for a script that never does."
            ),
            ExitReason::Finished => format!(
                "{script} exited with code 0 before it was ready (startupTimeout is {seconds} s). A worker is \
                 ready when it listens; set processManagement.ready for a script that never does."
            ),
            _ => format!(
                "{script} ended with {exit} before it was ready (startupTimeout is {seconds} s). Its own output \
                 above says more."
            ),
        };
        Error::new(Code::WorkerStartupFailed, message)
            .with(json!({ "exitCode": exit.exit_code, "signal": exit.signal, "reason": reason }))
    }

    /// The slot's process is gone: what now?
    fn gone(&mut self, slot: u16, reason: ExitReason, was_ready: bool, now: Duration) {
        let (stopping, shadow) = (matches!(self.phase, Phase::Stopping | Phase::Stopped), self.shadow_until);
        let policy = &self.policy;
        let found = &mut self.slots[usize::from(slot)];
        if stopping || !policy.respawn {
            found.state = State::Vacant;
            return;
        }
        if now < shadow {
            found.state = State::Waiting { until: shadow };
            return;
        }
        let verdict =
            if found.trial { Verdict::Open } else { found.budget.death(policy, slot, was_ready, now) };
        let worker_id = slot.to_string();
        match verdict {
            Verdict::RestartAfter(delay) => {
                found.state = State::Waiting { until: now + delay };
                let restarts = found.restarts + 1;
                let delay_ms = delay.as_millis() as u64;
                self.emit(Event::WorkerRestart { worker_id, reason, delay_ms, restarts });
            }
            Verdict::Open => self.open_circuit(slot, now),
        }
    }

    fn open_circuit(&mut self, slot: u16, now: Duration) {
        let found = &mut self.slots[usize::from(slot)];
        let again = found.trial;
        found.state = State::CircuitOpen { until: now + self.policy.reset_timeout };
        if again || !self.ever_ready {
            return;
        }
        let deaths = self.policy.max_restarts + 1;
        let minutes = self.policy.restart_window.as_secs_f64() / 60.0;
        let trial = self.policy.reset_timeout.as_secs_f64();
        let message = format!(
            "Worker {slot} died {deaths} times in {minutes} minutes; one trial start every {trial} s from now on"
        );
        self.emit(Event::Alert { severity: Level::Error, message });
        self.emit_degraded();
    }

    fn emit_degraded(&mut self) {
        let ready = self.slots.iter().filter(|slot| slot.is_ready()).count() as u32;
        let failing = self.slots.iter().filter(|slot| !slot.is_ready());
        let failing = failing.map(|slot| slot.number.to_string()).collect();
        self.emit(Event::ClusterDegraded { ready, wanted: u32::from(self.policy.workers), failing });
    }

    /// Does what has become due.
    fn due(&mut self, now: Duration) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.due(self.policy.startup_timeout).is_none_or(|due| due > now) {
                continue;
            }
            let (number, generation) = (slot.number, slot.generation);
            match slot.state {
                State::Starting { pid: Some(pid), .. } => {
                    slot.state = State::Killed { pid, reason: ExitReason::NeverReady };
                    self.actions.push(Action::Kill { slot: number, generation });
                }
                State::Draining { pid, kill, .. } => {
                    slot.state = State::Terminating { pid, kill };
                    self.actions.push(Action::Terminate { slot: number, generation });
                }
                State::Terminating { pid, .. } => {
                    slot.state = State::Killed { pid, reason: ExitReason::Deadline };
                    self.actions.push(Action::Kill { slot: number, generation });
                }
                State::Waiting { .. } => {
                    slot.restarts += 1;
                    self.spawn(index, now);
                }
                State::CircuitOpen { .. } => {
                    slot.restarts += 1;
                    slot.trial = true;
                    self.spawn(index, now);
                }
                State::Starting { pid: None, .. }
                | State::Vacant
                | State::Ready { .. }
                | State::Killed { .. } => {}
            }
        }
    }

    /// Settles `start` and notices the end.
    fn settle(&mut self, now: Duration) {
        match self.phase {
            Phase::Starting if self.slots.iter().all(Slot::is_settled) => self.settle_start(now),
            Phase::Stopping if !self.slots.iter().any(Slot::occupied) => self.end(),
            // Without respawn the last worker's end is the cluster's.
            Phase::Running if self.slots.iter().all(|slot| matches!(slot.state, State::Vacant)) => self.end(),
            _ => {}
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Stopped;
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
            for index in 0..self.slots.len() {
                // A trial may be under way.
                self.stop_slot(index, false, now);
            }
            self.actions.push(Action::Started(Err(error)));
            return self.settle(now);
        }
        self.phase = Phase::Running;
        if self.slots.iter().all(Slot::is_ready) {
            self.emit(Event::ClusterStarted { worker_count: self.slots.len() as u32 });
        } else {
            self.emit_degraded();
        }
        self.actions.push(Action::Started(Ok(())));
    }
}
