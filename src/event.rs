//! The events of a cluster, as data. One value becomes the log line and the event of the ClusterManager; there is no
//! other way to log. Events have no timestamps: the loop that emits an event adds one.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::component::Component;
use crate::error::Error;
use crate::model::{
    AllMetrics, ClusterHealth, ClusterStatus, Direction, Evaluation, Limit, LimitAction, ScalingHold,
    ScalingInputs, ScalingRule,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
    /// Above every other level: a log with this level writes nothing.
    Silent,
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// drover had requested it.
    Stopped,
    /// It ended on its own with code 0.
    Finished,
    /// It ended on its own with another code.
    Failed,
    /// It was ended by a signal that drover had not sent.
    Killed,
    /// It was not ready within `startupTimeout`.
    NeverReady,
    /// It had not ended by its deadline and was killed.
    Deadline,
    /// It violated the protocol of its channel.
    Protocol,
    /// Its event loop was hung, and it was killed.
    Hung,
    /// It was above its hard limit of memory, or all workers together were, and it was killed.
    MemoryLimit,
    /// It was above its CPU limit for too long, and it was killed.
    CpuLimit,
    /// The kernel's OOM killer ended it.
    OutOfMemory,
}

/// How a process ended, as reported by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    pub exit_code: Option<i32>,
    /// The signal that ended it; events and log lines show its name.
    #[serde(serialize_with = "by_name")]
    pub signal: Option<i32>,
}

impl Exit {
    pub fn success(self) -> bool {
        self.exit_code == Some(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.exit_code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "signal {}", signal_name(signal)),
            (None, None) => f.write_str("an unknown exit status"),
        }
    }
}

fn by_name<S: Serializer>(signal: &Option<i32>, to: S) -> Result<S::Ok, S::Error> {
    signal.map(signal_name).serialize(to)
}

/// Linux's signal numbers from 1 on, as far as they are the same on all supported architectures.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Node.js's name of a signal; the number of a real-time signal, which has no name.
pub fn signal_name(signal: i32) -> String {
    let index = usize::try_from(signal - 1).unwrap_or(usize::MAX);
    SIGNALS.get(index).map_or_else(|| signal.to_string(), |name| format!("SIG{name}"))
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Event {
    #[serde(rename = "worker:started")]
    WorkerStarted { worker_id: String, pid: u32, generation: u32, port: u16 },
    #[serde(rename = "worker:ready")]
    WorkerReady { worker_id: String, pid: u32, generation: u32, after_ms: u64 },
    #[serde(rename = "worker:draining")]
    WorkerDraining { worker_id: String, pid: u32 },
    #[serde(rename = "worker:exit")]
    WorkerExit {
        worker_id: String,
        pid: u32,
        #[serde(flatten)]
        exit: Exit,
        reason: ExitReason,
        /// What would have made it ready, if it never became ready.
        #[serde(skip)]
        hint: Option<String>,
    },
    #[serde(rename = "worker:stopped")]
    WorkerStopped { worker_id: String },
    #[serde(rename = "worker:error")]
    WorkerError {
        worker_id: String,
        error: Error,
        /// The worker's output contains the runtime's report of it, with the stack.
        #[serde(skip)]
        reported: bool,
    },
    #[serde(rename = "worker:restart")]
    WorkerRestart { worker_id: String, reason: ExitReason, delay_ms: u64, restarts: u32, planned: bool },
    #[serde(rename = "worker:unhealthy")]
    WorkerUnhealthy {
        worker_id: String,
        reason: String,
        /// The worker is replaced because of it.
        replaced: bool,
        /// Its JavaScript stack, one frame per line.
        stack: Option<String>,
    },
    /// A worker, or all together, reached a limit. `value`, `allowed` and `samples`, the last ones, in the limit's unit.
    #[serde(rename = "worker:limit")]
    WorkerLimit {
        worker_id: String,
        limit: Limit,
        action: LimitAction,
        value: f64,
        allowed: f64,
        samples: Vec<f64>,
        message: String,
    },
    /// `details`: the cluster's health as returned by `getClusterHealth`.
    #[serde(rename = "health:changed")]
    HealthChanged { status: ClusterStatus, details: ClusterHealth },
    /// Ids of workers; None if there is or was no leader.
    #[serde(rename = "leader:changed")]
    LeaderChanged { from: Option<String>, to: Option<String> },
    /// Redis is reached: this machine is one of the fleet.
    #[serde(rename = "fleet:available")]
    FleetAvailable { machines: u32 },
    /// Redis cannot be reached, or refuses. What is of this machine alone goes on.
    #[serde(rename = "fleet:unavailable")]
    FleetUnavailable { reason: String },
    #[serde(rename = "fleet:joined")]
    FleetJoined { machine: String, host: String },
    #[serde(rename = "fleet:left")]
    FleetLeft { machine: String, host: String },
    /// This machine leads the fleet, with this fencing token, or no longer: None.
    #[serde(rename = "fleet:leader")]
    FleetLeader { token: Option<u64> },
    #[serde(rename = "cluster:started")]
    ClusterStarted { worker_count: u32 },
    #[serde(rename = "cluster:degraded")]
    ClusterDegraded { ready: u32, wanted: u32, failing: Vec<String> },
    #[serde(rename = "cluster:scaled")]
    ClusterScaled { old_count: u32, new_count: u32 },
    /// A change of the cluster's size by the auto-scaling, or a change that it did not make, and why.
    #[serde(rename = "scaling:decision")]
    ScalingDecision {
        action: Direction,
        from: u32,
        to: u32,
        rule: ScalingRule,
        hold: Option<ScalingHold>,
        panic: bool,
        reason: String,
        inputs: Box<ScalingInputs>,
    },
    #[serde(rename = "cluster:stopped")]
    ClusterStopped,
    /// The cluster's metrics, every `monitoring.metricsInterval`.
    #[serde(rename = "metrics:updated")]
    MetricsUpdated { metrics: Option<Box<AllMetrics>> },
    #[serde(rename = "alert")]
    Alert {
        severity: Level,
        message: String,
        #[serde(skip)]
        cause: AlertCause,
    },
    /// A log line for the operator without an event of the API.
    #[serde(rename = "notice")]
    Notice {
        level: Level,
        message: String,
        #[serde(skip)]
        component: Component,
        /// Its name and members, for programs that read the log.
        #[serde(skip)]
        subject: Option<Subject>,
    },
}

/// The subject of a notice: its name in the log (`event`) and the members of its line. Like event names they are for
/// programs that read the log, and are stable even if the message changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
pub enum Subject {
    #[serde(rename = "cluster:starting")]
    ClusterStarting { script: String, worker_count: u32 },
    /// `port`: that of the first TCP address.
    #[serde(rename = "cluster:listening")]
    ClusterListening { port: u16 },
    #[serde(rename = "monitoring:listening")]
    MonitoringListening { url: Option<String>, socket: Option<String> },
    /// `command`: the name of the method.
    #[serde(rename = "command:done")]
    CommandDone { command: &'static str, duration_ms: u64 },
    #[serde(rename = "command:failed")]
    CommandFailed { command: &'static str, duration_ms: u64 },
    #[serde(rename = "worker:recovered")]
    WorkerRecovered { worker: String, from: Recovery },
    #[serde(rename = "worker:check-failed")]
    WorkerCheckFailed { worker: String, failures: u32 },
    /// A stack, in the message, that drover had not requested.
    #[serde(rename = "worker:stack")]
    WorkerStack { worker: String },
    /// `left`: the resources in its event loop, counted by kind.
    #[serde(rename = "worker:lingered")]
    WorkerLingered { worker: String, waited_ms: Option<u64>, left: BTreeMap<String, u32> },
    /// `worker`: None for the primary.
    #[serde(rename = "descriptors:short")]
    DescriptorsShort { worker: Option<String> },
    /// The first refused connection; all are counted in metrics.
    #[serde(rename = "connections:refused")]
    ConnectionsRefused,
    /// Every worker is saturated: what would wait too long is refused from now on.
    #[serde(rename = "overload:began")]
    OverloadBegan,
    #[serde(rename = "overload:ended")]
    OverloadEnded { after_ms: u64, refused_connections: u64, refused_requests: u64 },
    /// The worker does not serve these addresses, which its predecessor in the slot served.
    #[serde(rename = "address:given-up")]
    AddressGivenUp { worker: String, addresses: Vec<String> },
    #[serde(rename = "address:uneven")]
    AddressUneven { address: String, served_by: Vec<String>, missing_from: Vec<String> },
    #[serde(rename = "address:regained")]
    AddressRegained { address: String, after_ms: u64 },
    #[serde(rename = "request:slow")]
    RequestSlow {
        worker: String,
        method: String,
        path: String,
        /// 0: the connection ended before the response.
        status_code: u16,
        /// Milliseconds.
        response_time: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// `uptime`: seconds; `memory`: bytes.
    #[serde(rename = "health:report")]
    HealthReport { uptime: u64, alive: usize, wanted: usize, memory: u64, workers: Vec<Value> },
    #[serde(rename = "diagnosis:taken")]
    DiagnosisTaken { worker: String, diagnosis: &'static str, file: String, bytes: u64 },
    #[serde(rename = "diagnosis:failed")]
    DiagnosisFailed { worker: String, diagnosis: &'static str, reason: String },
    /// Memory is above a threshold of its limit. `worker`: None for all workers together; bytes.
    #[serde(rename = "memory:pressure")]
    MemoryPressure { worker: Option<String>, usage: u64, limit: u64 },
    /// `before`, `after`: the heap in use with its external memory, bytes.
    #[serde(rename = "memory:collected")]
    MemoryCollected { worker: String, before: u64, after: u64, duration_ms: f64 },
    /// The functions that hold most of what was allocated during the sampling, the largest first. `file`: the profile.
    #[serde(rename = "memory:evidence")]
    MemoryEvidence { worker: String, file: String, bytes: u64, sites: Vec<Value> },
    #[serde(rename = "webhook:failed")]
    WebhookFailed { reason: String },
    /// `component`: None for all components.
    #[serde(rename = "log:level-changed")]
    LogLevelChanged { component: Option<&'static str>, to: String },
    /// `worker`: None for drover's own lines.
    #[serde(rename = "log:dropped")]
    LogDropped { worker: Option<String>, lines: u64 },
}

impl Subject {
    /// The members of the log line.
    pub fn members(&self) -> Value {
        json!(self)
    }
}

/// The cause of an alert, with further members of its log line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "cause", rename_all_fields = "camelCase")]
pub enum AlertCause {
    /// The worker died too often: its restarts are delayed from now on.
    #[serde(rename = "restart_circuit")]
    RestartCircuit { worker: String },
    /// The worker was replaced too often for its health: further replacements are delayed.
    #[serde(rename = "unhealthy_again")]
    UnhealthyAgain { worker: String },
    /// No worker serves the address.
    #[serde(rename = "address_lost")]
    AddressLost { address: String },
    /// Fewer than half of the workers are healthy.
    #[serde(rename = "cluster_critical")]
    ClusterCritical,
    /// A worker is at a limit, and its replacement would not help.
    #[serde(rename = "limit")]
    Limit { worker: String, limit: Limit },
    /// The memory of all workers runs out, and none of them stands out.
    #[serde(rename = "memory_budget")]
    MemoryBudget,
    /// A worker's memory grows for good.
    #[serde(rename = "memory_leak")]
    MemoryLeak {
        worker: String,
        /// `heap`, its heap after major collections, or `rss`, its resident memory.
        measure: &'static str,
        bytes_per_second: f64,
        /// 0 to 1.
        confidence: f64,
        samples: usize,
    },
}

/// The condition that a worker has recovered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Its event loop was blocked.
    Unresponsive,
    HealthChecks,
    /// It was ejected for its responses and is now on trial.
    Ejection,
}

impl Event {
    pub fn notice(level: Level, message: impl Into<String>) -> Self {
        Event::about(Component::Supervisor, level, message)
    }

    /// A notice of one of drover's components.
    pub fn about(component: Component, level: Level, message: impl Into<String>) -> Self {
        Event::Notice { level, message: message.into(), component, subject: None }
    }

    /// Adds a subject to a notice.
    #[must_use]
    pub fn with(mut self, named: Subject) -> Self {
        if let Event::Notice { subject, .. } = &mut self {
            *subject = Some(named);
        }
        self
    }

    pub fn scaling_decision(evaluation: &Evaluation) -> Self {
        let Evaluation { action, from, to, rule, hold, panic, .. } = *evaluation;
        let inputs = Box::new(evaluation.inputs.clone());
        Event::ScalingDecision {
            action,
            from,
            to,
            rule,
            hold,
            panic,
            reason: evaluation.reason.clone(),
            inputs,
        }
    }

    /// The evaluation that a decision of the auto-scaling tells of.
    pub fn evaluation(&self) -> Option<Evaluation> {
        let Event::ScalingDecision { action, from, to, rule, hold, panic, reason, inputs } = self else {
            return None;
        };
        Some(Evaluation {
            action: *action,
            from: *from,
            to: *to,
            rule: *rule,
            hold: *hold,
            panic: *panic,
            reason: reason.clone(),
            inputs: (**inputs).clone(),
        })
    }

    /// The component that emits it.
    pub fn component(&self) -> Component {
        match self {
            Event::WorkerStarted { .. }
            | Event::WorkerReady { .. }
            | Event::WorkerDraining { .. }
            | Event::WorkerExit { .. }
            | Event::WorkerStopped { .. }
            | Event::WorkerError { .. }
            | Event::WorkerRestart { .. }
            | Event::WorkerLimit { .. } => Component::Workers,
            Event::WorkerUnhealthy { .. } | Event::HealthChanged { .. } => Component::Health,
            Event::LeaderChanged { .. } => Component::Messages,
            Event::FleetAvailable { .. }
            | Event::FleetUnavailable { .. }
            | Event::FleetJoined { .. }
            | Event::FleetLeft { .. }
            | Event::FleetLeader { .. } => Component::Fleet,
            Event::ClusterStarted { .. }
            | Event::ClusterDegraded { .. }
            | Event::ClusterScaled { .. }
            | Event::ScalingDecision { .. }
            | Event::ClusterStopped
            | Event::Alert { .. } => Component::Supervisor,
            Event::MetricsUpdated { .. } => Component::Monitoring,
            Event::Notice { component, .. } => *component,
        }
    }

    /// The members of the line besides its message: the event's name, the worker, and other short values. A worker's
    /// process id is `workerPid`, because `pid` is the primary's in all of drover's lines.
    pub fn members(&self) -> Option<Value> {
        /// Members that the message contains or that are long.
        const LEFT_OUT: [&str; 6] = ["message", "error", "stack", "details", "metrics", "inputs"];
        let members = match self {
            Event::Notice { subject, .. } => return subject.as_ref().map(Subject::members),
            Event::MetricsUpdated { .. } => json!(Event::MetricsUpdated { metrics: None }),
            event => json!(event),
        };
        let Value::Object(members) = members else { return None };
        let mut line = Map::new();
        for (name, value) in members.into_iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
            let name = match name.as_str() {
                "type" => "event".to_owned(),
                "workerId" => "worker".to_owned(),
                "pid" => "workerPid".to_owned(),
                _ => name,
            };
            line.insert(name, value);
        }
        if let Event::Alert { cause, .. } = self
            && let Value::Object(more) = json!(cause)
        {
            line.extend(more);
        }
        if let Event::WorkerError { error, .. } = self {
            // The code of the program's error, or of drover's.
            let code = Some(&error.details["code"]).filter(|code| code.is_string()).cloned();
            line.insert("errorName".to_owned(), error.details["name"].clone());
            line.insert("errorCode".to_owned(), code.unwrap_or_else(|| json!(error.code)));
        }
        Some(line.into())
    }

    /// The level and the message of the log line.
    pub fn line(&self) -> (Level, String) {
        match self {
            Event::WorkerStarted { worker_id, pid, .. } => {
                (Level::Debug, format!("Worker {worker_id} started (pid {pid})"))
            }
            Event::WorkerReady { worker_id, pid, after_ms, .. } => {
                (Level::Info, format!("Worker {worker_id} is ready (pid {pid}, {after_ms} ms)"))
            }
            Event::WorkerDraining { worker_id, pid } => {
                (Level::Info, format!("Worker {worker_id} is finishing its requests (pid {pid})"))
            }
            Event::WorkerExit { worker_id, pid, exit, reason, hint } => match reason {
                ExitReason::Stopped if exit.success() => {
                    (Level::Info, format!("Worker {worker_id} has stopped (pid {pid})"))
                }
                ExitReason::Stopped => {
                    (Level::Info, format!("Worker {worker_id} has stopped: {exit} (pid {pid})"))
                }
                ExitReason::NeverReady => (
                    Level::Error,
                    format!(
                        "Worker {worker_id} was not ready in time and was killed (pid {pid}){}",
                        after(hint)
                    ),
                ),
                ExitReason::Deadline => (
                    Level::Warn,
                    format!("Worker {worker_id} exceeded its deadline and was ended by {exit} (pid {pid})"),
                ),
                ExitReason::Protocol => {
                    (Level::Error, format!("Worker {worker_id} violated the channel's protocol (pid {pid})"))
                }
                ExitReason::Hung => {
                    (Level::Warn, format!("Worker {worker_id} was hung and was ended by {exit} (pid {pid})"))
                }
                ExitReason::MemoryLimit | ExitReason::CpuLimit => {
                    (Level::Warn, format!("Worker {worker_id} was killed at its limit: {exit} (pid {pid})"))
                }
                ExitReason::OutOfMemory => (
                    Level::Error,
                    format!(
                        "Worker {worker_id} was killed by the kernel because memory ran out (OOM killer): {exit} (pid {pid})"
                    ),
                ),
                ExitReason::Finished | ExitReason::Failed | ExitReason::Killed => {
                    (Level::Warn, format!("Worker {worker_id} died: {exit} (pid {pid}){}", after(hint)))
                }
            },
            Event::WorkerStopped { worker_id } => (Level::Debug, format!("Worker {worker_id} is gone")),
            Event::WorkerError { worker_id, error, reported } => {
                // One record per error: the runtime's report may be in the log already.
                let level = if *reported { Level::Debug } else { Level::Error };
                (level, format!("Worker {worker_id}: {}", error.thrown()))
            }
            Event::WorkerRestart { worker_id, delay_ms, restarts, planned, .. } => {
                let when = if *delay_ms == 0 { "now".to_owned() } else { format!("in {delay_ms} ms") };
                let which =
                    if *planned { "as its program asked".to_owned() } else { format!("restart {restarts}") };
                (Level::Info, format!("Worker {worker_id} is replaced {when} ({which})"))
            }
            Event::WorkerUnhealthy { worker_id, reason, replaced, stack } => {
                let stack = stack.as_ref().map_or(String::new(), |stack| format!("\n{stack}"));
                if *replaced {
                    (Level::Error, format!("Worker {worker_id} {reason}; it is replaced{stack}"))
                } else {
                    (Level::Warn, format!("Worker {worker_id} is unhealthy: {reason}{stack}"))
                }
            }
            Event::WorkerLimit { limit, action, message, .. } => {
                let level = match (action, limit) {
                    (LimitAction::Kill, _) => Level::Error,
                    (LimitAction::Replace, Limit::Age | Limit::Requests) => Level::Info,
                    (LimitAction::Replace, _) => Level::Warn,
                    (LimitAction::Wait, _) => Level::Info,
                    // An alert says the same.
                    (LimitAction::Relieve | LimitAction::Alert, _) => Level::Debug,
                };
                (level, message.clone())
            }
            Event::HealthChanged { status, details } => {
                let ids = details.unhealthy_workers.join(", ");
                let who = if ids.is_empty() { String::new() } else { format!("; unhealthy: {ids}") };
                (Level::Debug, format!("The cluster is {}{who}", status.name()))
            }
            Event::LeaderChanged { to: Some(to), .. } => (Level::Debug, format!("Worker {to} leads")),
            Event::LeaderChanged { to: None, .. } => (Level::Debug, "Nobody leads".to_owned()),
            Event::FleetAvailable { machines } => {
                let machines =
                    if *machines == 1 { "1 machine".into() } else { format!("{machines} machines") };
                (Level::Info, format!("The fleet is reached through Redis: {machines}"))
            }
            Event::FleetUnavailable { reason } => {
                let text = format!("Redis cannot be used, this machine goes on alone: {reason}");
                (Level::Warn, text)
            }
            Event::FleetJoined { machine, host } => {
                (Level::Info, format!("Machine {machine} ({host}) has joined the fleet"))
            }
            Event::FleetLeft { machine, host } => {
                (Level::Info, format!("Machine {machine} ({host}) has left the fleet"))
            }
            Event::FleetLeader { token: Some(_) } => {
                (Level::Debug, "This machine leads the fleet".to_owned())
            }
            Event::FleetLeader { token: None } => {
                (Level::Debug, "This machine no longer leads the fleet".to_owned())
            }
            Event::ClusterStarted { worker_count } => {
                (Level::Info, format!("All {worker_count} workers are ready"))
            }
            Event::ClusterDegraded { ready, wanted, failing } => (
                Level::Error,
                format!("Only {ready} of {wanted} workers are up; failing: {}", failing.join(", ")),
            ),
            Event::ClusterScaled { old_count, new_count } => {
                (Level::Info, format!("The cluster has {} now (it had {old_count})", workers(*new_count)))
            }
            Event::ScalingDecision { from, to, reason, .. } => {
                (if from == to { Level::Debug } else { Level::Info }, reason.clone())
            }
            Event::ClusterStopped => (Level::Info, "All workers are gone".to_owned()),
            Event::MetricsUpdated { metrics } => {
                let sample = metrics.as_ref().map(|metrics| &metrics.cluster.sample);
                let (rate, p99) =
                    sample.map_or((0.0, 0.0), |sample| (sample.requests_per_second, sample.p99));
                (Level::Debug, format!("{rate:.1} requests a second, p99 {p99:.1} ms"))
            }
            Event::Alert { severity, message, .. } => (*severity, message.clone()),
            Event::Notice { level, message, .. } => (*level, message.clone()),
        }
    }
}

fn after(hint: &Option<String>) -> String {
    hint.as_ref().map_or(String::new(), |hint| format!(": {hint}"))
}

/// Maximum bytes kept of a program's output before it is ready.
pub const MAX_OUTPUT: usize = 4096;

/// The last bytes of a text, in whole characters.
pub fn tail(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[from..]
}

/// The first bytes of a text, in whole characters.
pub fn head(text: &str, most: usize) -> &str {
    let to = (0..=text.len().min(most)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..to]
}

fn workers(count: u32) -> String {
    if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn signals_have_the_names_that_node_gives_them() {
        let names = [
            (1, "SIGHUP"),
            (5, "SIGTRAP"),
            (9, "SIGKILL"),
            (12, "SIGUSR2"),
            (15, "SIGTERM"),
            (24, "SIGXCPU"),
            (31, "SIGSYS"),
            (34, "34"),
            (0, "0"),
        ];
        for (number, name) in names {
            assert_eq!(signal_name(number), name);
        }
    }

    #[test]
    fn a_line_names_its_event_and_says_what_is_short() {
        let worker_id = || "3".to_owned();
        let exit = Exit { exit_code: None, signal: Some(9) };
        let error =
            Error::new(Code::WorkerStartupFailed, "no").with(json!({ "name": "TypeError", "stack": "at x" }));
        for (event, members) in [
            (
                Event::WorkerExit {
                    worker_id: worker_id(),
                    pid: 7,
                    exit,
                    reason: ExitReason::Killed,
                    hint: Some("why".into()),
                },
                json!({
                    "event": "worker:exit", "worker": "3", "workerPid": 7, "exitCode": null, "signal": "SIGKILL",
                    "reason": "killed",
                }),
            ),
            (
                Event::WorkerUnhealthy {
                    worker_id: worker_id(),
                    reason: "hung".into(),
                    replaced: true,
                    stack: Some("at x".into()),
                },
                json!({ "event": "worker:unhealthy", "worker": "3", "reason": "hung", "replaced": true }),
            ),
            (
                Event::WorkerError { worker_id: worker_id(), error: error.clone(), reported: true },
                json!({
                    "event": "worker:error", "worker": "3", "errorName": "TypeError",
                    "errorCode": "WORKER_STARTUP_FAILED",
                }),
            ),
            (
                Event::WorkerError {
                    worker_id: worker_id(),
                    error: error.and("code", "E_X".into()),
                    reported: true,
                },
                json!({ "event": "worker:error", "worker": "3", "errorName": "TypeError", "errorCode": "E_X" }),
            ),
            (
                Event::Alert {
                    severity: Level::Error,
                    message: "lost".into(),
                    cause: AlertCause::AddressLost { address: "a".into() },
                },
                json!({ "event": "alert", "severity": "error", "cause": "address_lost", "address": "a" }),
            ),
            (Event::MetricsUpdated { metrics: None }, json!({ "event": "metrics:updated" })),
            (
                Event::notice(Level::Info, "two")
                    .with(Subject::DescriptorsShort { worker: Some(worker_id()) }),
                json!({ "event": "descriptors:short", "worker": "3" }),
            ),
        ] {
            assert_eq!(event.members(), Some(members));
        }
        assert_eq!(Event::notice(Level::Info, "unnamed").members(), None);
    }

    #[test]
    fn the_tail_of_a_text_is_whole_characters() {
        assert_eq!(tail("grüße", 100), "grüße");
        assert_eq!(tail("grüße", 2), "e");
        assert_eq!(tail("grüße", 3), "ße");
        assert_eq!(tail("ß", 1), "");
        assert_eq!((head("grüße", 100), head("grüße", 3), head("ß", 1)), ("grüße", "gr", ""));
    }
}
