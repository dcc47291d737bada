//! What a worker's end means: for its slot, for a roll that waited for it, for a standby worker.

use std::time::Duration;

use serde_json::json;

use super::budget::Verdict;
use super::reconcile::{Phase, Supervisor};
use super::slot::{ActiveWorker, Role};
use super::worker::Stage;
use crate::config::sections::process::Ready;
use crate::error::{Code, Error};
use crate::event::{Event, Exit, ExitReason, Level};
use crate::model::WorkerId;

impl Supervisor {
    pub(super) fn exited(&mut self, id: WorkerId, exit: Exit, now: Duration) {
        let stopping = self.phase == Phase::Stopping;
        let slot = self.slots.get(usize::from(id.slot));
        let leaving = slot.is_some_and(|slot| slot.leaving.iter().any(|worker| worker.id == id));
        let Some(worker) = self.worker(id) else { return };
        let Some(pid) = worker.pid() else { return };
        let reason = match worker.stage {
            Stage::Killed { reason, .. } => reason,
            // Whatever way it goes, it was asked to.
            Stage::Draining { asked: true, .. } | Stage::Terminating { .. } => ExitReason::Stopped,
            _ if stopping || (leaving && exit.success()) => ExitReason::Stopped,
            _ if exit.success() => ExitReason::Finished,
            _ if exit.signal.is_some() => ExitReason::Killed,
            _ => ExitReason::Failed,
        };
        let was_ready = worker.has_been_ready;
        let reported = worker.error.clone();
        let unready = !was_ready && reason != ExitReason::Stopped;
        let output = std::mem::take(&mut worker.output);
        let lacks = std::mem::take(&mut worker.lacks);
        let error = reported.or_else(|| unready.then(|| self.startup_error(reason, exit, &lacks)));
        let error = error.map(|error| if unready { error.and("output", json!(output)) } else { error });
        if let (true, Some(error)) = (unready, &error) {
            self.note_start_error(error);
        }
        let worker_id = id.to_string();
        let never_ready =
            unready && lacks.is_empty() && matches!(reason, ExitReason::NeverReady | ExitReason::Finished);
        let hint = never_ready.then(|| self.when_ready().to_owned());
        self.emit(Event::WorkerExit { worker_id: worker_id.clone(), pid, exit, reason, hint });
        self.emit(Event::WorkerStopped { worker_id });
        self.gone(id, reason, was_ready, error, now);
    }

    /// For who wonders why a worker was not ready.
    fn when_ready(&self) -> &'static str {
        match self.policy.ready {
            Ready::Listen => {
                "a worker is ready when it listens; a program that serves nothing needs processManagement.ready: 'boot'"
            }
            Ready::Message => {
                "a worker is ready when it calls process.send('ready'), as processManagement.ready: 'message' says"
            }
            Ready::Boot => {
                "a worker is ready when its script has loaded, with its top-level await, as processManagement.ready: \
                 'boot' says"
            }
        }
    }

    /// What a start or a roll rejects with when a worker ended without an error of its own.
    fn startup_error(&self, reason: ExitReason, exit: Exit, lacks: &[String]) -> Error {
        let script = &self.policy.script;
        let seconds = self.policy.startup_timeout.as_secs_f64();
        let message = match reason {
            ExitReason::NeverReady if !lacks.is_empty() => format!(
                "{script} did not serve {} in {seconds} s (startupTimeout), which the worker before it serves. A \
                 program that does so on purpose says when it is ready: processManagement.ready 'message'.",
                lacks.join(", ")
            ),
            ExitReason::NeverReady => {
                format!("{script} was not ready after {seconds} s (startupTimeout): {}", self.when_ready())
            }
            ExitReason::Finished => format!(
                "{script} exited with code 0 before it was ready (startupTimeout is {seconds} s): {}",
                self.when_ready()
            ),
            _ => format!(
                "{script} ended with {exit} before it was ready (startupTimeout is {seconds} s). Its own output \
                 above says more."
            ),
        };
        Error::new(Code::WorkerStartupFailed, message).with(json!({
            "exitCode": exit.exit_code, "signal": exit.signal, "reason": reason, "addresses": lacks
        }))
    }

    /// The process is gone: out of the slot with it, and what now?
    pub(super) fn gone(
        &mut self,
        id: WorkerId,
        reason: ExitReason,
        was_ready: bool,
        error: Option<Error>,
        now: Duration,
    ) {
        if let (false, Some(error)) = (was_ready, &error) {
            self.not_ready(id, error);
        }
        let slot = &mut self.slots[usize::from(id.slot)];
        if slot.leaving.iter().any(|worker| worker.id == id) {
            slot.leaving.retain(|worker| worker.id != id);
            return;
        }
        if slot.next.as_ref().is_some_and(|next| next.id == id) {
            // The one that sits goes on serving.
            slot.next = None;
            return;
        }
        slot.active = match slot.next.take() {
            // It is on its way already.
            Some(next) => {
                slot.restarts += 1;
                ActiveWorker::Running(next)
            }
            None => ActiveWorker::Vacant,
        };
        if matches!(slot.active, ActiveWorker::Vacant) {
            self.refill(id.slot, reason, was_ready, now);
        }
    }

    fn refill(&mut self, number: u16, reason: ExitReason, was_ready: bool, now: Duration) {
        let stopping = matches!(self.phase, Phase::Stopping | Phase::Stopped);
        let slot = &self.slots[usize::from(number)];
        if stopping || !self.policy.respawn || slot.role == Role::Retired {
            return;
        }
        if slot.role == Role::Serving && was_ready && self.take_standby().is_some() {
            // The standby worker serves under its own number; this slot has the next one.
            self.slots[usize::from(number)].role = Role::Standby;
        }
        let shadow = self.shadow_until;
        let policy = &self.policy;
        let slot = &mut self.slots[usize::from(number)];
        if now < shadow {
            slot.active = ActiveWorker::Waiting { until: shadow, announced: false, planned: false };
            return;
        }
        let verdict =
            if slot.trial { Verdict::Open } else { slot.budget.death(policy, number, was_ready, now) };
        match verdict {
            Verdict::RestartAfter(delay) => {
                slot.active = ActiveWorker::Waiting { until: now + delay, announced: true, planned: false };
                let (restarts, planned) = (slot.restarts + 1, false);
                let delay_ms = delay.as_millis() as u64;
                let worker_id = number.to_string();
                self.emit(Event::WorkerRestart { worker_id, reason, delay_ms, restarts, planned });
            }
            Verdict::Open => self.open_circuit(number, now),
        }
    }

    fn open_circuit(&mut self, number: u16, now: Duration) {
        let slot = &mut self.slots[usize::from(number)];
        let again = slot.trial;
        slot.active = ActiveWorker::CircuitOpen { until: now + self.policy.reset_timeout };
        if again || !self.ever_ready {
            return;
        }
        let deaths = self.policy.max_restarts + 1;
        let minutes = self.policy.restart_window.as_secs_f64() / 60.0;
        let trial = self.policy.reset_timeout.as_secs_f64();
        let message = format!(
            "Worker {number} died {deaths} times in {minutes} minutes; one trial start every {trial} s from now on"
        );
        self.emit(Event::Alert { severity: Level::Error, message });
        // What became of a start is said when it is settled.
        if self.phase == Phase::Running {
            self.emit_degraded();
        }
    }

    pub(super) fn emit_degraded(&mut self) {
        let serving = || self.slots.iter().filter(|slot| slot.role == Role::Serving);
        let ready = serving().filter(|slot| slot.is_ready()).count() as u32;
        let failing = serving().filter(|slot| !slot.is_ready());
        let failing = failing.map(|slot| slot.number.to_string()).collect();
        self.emit(Event::ClusterDegraded { ready, wanted: u32::from(self.policy.workers), failing });
    }
}
