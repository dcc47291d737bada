//! The end of a worker: its reason, and the error for operations that waited for the worker.

use serde_json::json;

use super::policy::Policy;
use super::worker::{Stage, Worker};
use crate::config::sections::process::Ready;
use crate::error::{Code, Error};
use crate::event::{Exit, ExitReason};

pub struct Death {
    pub reason: ExitReason,
    /// It had been ready.
    pub was_ready: bool,
    /// The error that the worker reported; for one that was never ready, at least a description of its exit.
    pub error: Option<Error>,
    /// A hint why it was not ready.
    pub hint: Option<String>,
}

impl Death {
    /// `leaving`: another worker has its slot. `stopping`: the cluster stops.
    pub fn of(worker: &Worker, exit: Exit, leaving: bool, stopping: bool, policy: &Policy) -> Self {
        let reason = match worker.stage {
            Stage::Killed { reason, .. } => reason,
            _ if worker.is_out_of_memory => ExitReason::OutOfMemory,
            // Any exit is expected, because the worker was told to stop.
            Stage::Draining { asked: true, .. } | Stage::Terminating { .. } => ExitReason::Stopped,
            _ if stopping || (leaving && exit.success()) => ExitReason::Stopped,
            _ if exit.success() => ExitReason::Finished,
            _ if exit.signal.is_some() => ExitReason::Killed,
            _ => ExitReason::Failed,
        };
        let was_ready = worker.has_been_ready;
        let unready = !was_ready && reason != ExitReason::Stopped;
        let lacks = &worker.lacks;
        let reported = worker.error.clone();
        let error = reported.or_else(|| unready.then(|| startup_error(policy, reason, exit, lacks)));
        let error =
            error.map(|error| if unready { error.and("output", json!(worker.output)) } else { error });
        let never_ready =
            unready && lacks.is_empty() && matches!(reason, ExitReason::NeverReady | ExitReason::Finished);
        let hint = never_ready.then(|| when_ready(policy.ready).to_owned());
        Self { reason, was_ready, error, hint }
    }

    /// The process could not be spawned.
    pub fn not_spawned(error: Error) -> Self {
        Self { reason: ExitReason::Failed, was_ready: false, error: Some(error), hint: None }
    }

    /// It ended before it was ready, without being told to.
    pub fn is_of_start(&self) -> bool {
        !self.was_ready && self.reason != ExitReason::Stopped
    }
}

fn when_ready(ready: Ready) -> &'static str {
    match ready {
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

/// The error of a start or a roll if a worker ended without reporting one.
fn startup_error(policy: &Policy, reason: ExitReason, exit: Exit, lacks: &[String]) -> Error {
    let script = &policy.script;
    let seconds = policy.startup_timeout.as_secs_f64();
    let message = match reason {
        ExitReason::NeverReady if !lacks.is_empty() => format!(
            "{script} did not serve {} in {seconds} s (startupTimeout), which the worker before it serves. A \
             program that does so on purpose says when it is ready: processManagement.ready 'message'.",
            lacks.join(", ")
        ),
        ExitReason::NeverReady => {
            format!("{script} was not ready after {seconds} s (startupTimeout): {}", when_ready(policy.ready))
        }
        ExitReason::Finished => format!(
            "{script} exited with code 0 before it was ready (startupTimeout is {seconds} s): {}",
            when_ready(policy.ready)
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
