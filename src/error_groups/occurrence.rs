//! One error.

use serde::Serialize;

use crate::error::{Code, Error};
use crate::event::{Event, ExitReason, Level};

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    UncaughtException,
    UnhandledRejection,
    /// A worker ended without being told to.
    WorkerDeath,
    /// A worker failed a health check.
    HealthCheck,
    /// A worker is unhealthy, and the consequence.
    UnhealthyWorker,
    /// A channel broke, or a process could not be spawned.
    Worker,
    /// Open restart circuits, and fewer than half of the workers healthy.
    Alert,
    /// Another warning for the operator.
    Notice,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    pub class: Class,
    pub severity: Level,
    pub message: String,
    /// The id of the affected worker.
    pub worker: Option<String>,
    pub stack: Option<String>,
}

impl Occurrence {
    /// The error of an event, if it has one.
    pub fn of(event: &Event) -> Option<Self> {
        let (class, severity, message, worker, stack) = match event {
            Event::WorkerError { worker_id, error, .. } => {
                let (class, message) = (class_of(error), error.thrown());
                (class, Level::Error, message, Some(worker_id), error.details["stack"].as_str())
            }
            Event::WorkerExit { worker_id, exit, reason, .. } => {
                let severity = match reason {
                    ExitReason::Stopped => return None,
                    ExitReason::Finished | ExitReason::Deadline => Level::Warn,
                    ExitReason::Failed
                    | ExitReason::Killed
                    | ExitReason::NeverReady
                    | ExitReason::Protocol
                    | ExitReason::Hung
                    | ExitReason::MemoryLimit
                    | ExitReason::CpuLimit
                    | ExitReason::OutOfMemory => Level::Error,
                };
                let why = match reason {
                    ExitReason::NeverReady => "it was never ready",
                    ExitReason::Deadline => "it exceeded its deadline",
                    ExitReason::Protocol => "it violated the channel's protocol",
                    ExitReason::Hung => "it was hung",
                    ExitReason::MemoryLimit => "it was above its limit of memory",
                    ExitReason::CpuLimit => "it was above its limit of CPU",
                    ExitReason::OutOfMemory => "memory ran out, and the kernel's OOM killer chose it",
                    ExitReason::Stopped | ExitReason::Finished | ExitReason::Failed | ExitReason::Killed => {
                        "nobody had asked it to end"
                    }
                };
                (Class::WorkerDeath, severity, format!("ended with {exit}: {why}"), Some(worker_id), None)
            }
            Event::WorkerUnhealthy { worker_id, reason, replaced, stack } => {
                let severity = if *replaced { Level::Error } else { Level::Warn };
                (Class::UnhealthyWorker, severity, reason.clone(), Some(worker_id), stack.as_deref())
            }
            Event::Alert { severity, message, .. } => (Class::Alert, *severity, message.clone(), None, None),
            Event::Notice { level: Level::Error, message, .. } => {
                (Class::Notice, Level::Error, message.clone(), None, None)
            }
            Event::WorkerStarted { .. }
            | Event::WorkerReady { .. }
            | Event::WorkerDraining { .. }
            | Event::WorkerStopped { .. }
            | Event::WorkerRestart { .. }
            | Event::WorkerLimit { .. }
            | Event::HealthChanged { .. }
            | Event::LeaderChanged { .. }
            | Event::FleetAvailable { .. }
            | Event::FleetUnavailable { .. }
            | Event::FleetJoined { .. }
            | Event::FleetLeft { .. }
            | Event::FleetLeader { .. }
            | Event::ClusterStarted { .. }
            | Event::ClusterDegraded { .. }
            | Event::ClusterScaled { .. }
            | Event::ScalingDecision { .. }
            | Event::ClusterStopped
            | Event::MetricsUpdated { .. }
            | Event::Notice { .. } => return None,
        };
        Some(Self { class, severity, message, worker: worker.cloned(), stack: stack.map(str::to_owned) })
    }
}

fn class_of(error: &Error) -> Class {
    match error.details["origin"].as_str() {
        Some("unhandledRejection") => Class::UnhandledRejection,
        Some(_) => Class::UncaughtException,
        None if error.code == Code::WorkerStartupFailed => Class::UncaughtException,
        None => Class::Worker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Exit;
    use serde_json::json;

    #[test]
    fn what_a_program_threw_has_its_name_and_its_stack() {
        let details =
            json!({ "name": "TypeError", "origin": "unhandledRejection", "stack": "at a (b.js:1:2)" });
        let error = Error::new(Code::WorkerStartupFailed, "x is no function").with(details);
        let occurrence =
            Occurrence::of(&Event::WorkerError { worker_id: "3".into(), error, reported: false }).unwrap();
        assert_eq!(occurrence.class, Class::UnhandledRejection);
        assert_eq!(occurrence.message, "TypeError: x is no function");
        assert_eq!(occurrence.worker.as_deref(), Some("3"));
        assert_eq!(occurrence.stack.as_deref(), Some("at a (b.js:1:2)"));
    }

    #[test]
    fn a_death_is_one_and_a_stop_is_none() {
        let exit = Exit { exit_code: None, signal: Some(9) };
        let of = |reason| {
            Occurrence::of(&Event::WorkerExit { worker_id: "0".into(), pid: 7, exit, reason, hint: None })
        };
        assert_eq!(of(ExitReason::Stopped), None);
        let killed = of(ExitReason::Killed).unwrap();
        assert_eq!((killed.class, killed.severity), (Class::WorkerDeath, Level::Error));
        assert_eq!(killed.message, "ended with signal SIGKILL: nobody had asked it to end");
        assert_eq!(of(ExitReason::Finished).unwrap().severity, Level::Warn);
    }

    #[test]
    fn notices_count_when_they_are_errors() {
        let of = |level| Occurrence::of(&Event::notice(level, "no disk"));
        assert_eq!(of(Level::Error).unwrap().class, Class::Notice);
        assert_eq!((of(Level::Warn), of(Level::Info)), (None, None));
    }
}
