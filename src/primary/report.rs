//! Events for the log about the state of the cluster: the health report once a minute, slow requests and starts, errors
//! reported by workers, and addresses.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::component::Component;
use crate::config::Change;
use crate::error::{Code, Error};
use crate::event::{AlertCause, Event, Level, Subject};
use crate::ipc::control::{SlowRequest, WorkerError};
use crate::metrics::memory::SharedMemory;
use crate::metrics::view;
use crate::model::{WorkerId, WorkerInfo};
use crate::process::scheduling::{Refusal, Scheduling};
use crate::process::worker_groups::Controller;
use crate::sys::local_time::now_ms;

const MIB: f64 = 1024.0 * 1024.0;

struct Report {
    /// Seconds.
    uptime: u64,
    alive: usize,
    wanted: usize,
    /// Bytes.
    memory: u64,
    /// The members of each worker in JSON; `uptime` in seconds.
    workers: Vec<Value>,
}

impl Report {
    /// `wanted`: the configured number of workers.
    fn of(memory: &SharedMemory, wanted: usize, now_ms: u64) -> Self {
        let metrics = view::figures(memory, now_ms);
        let row = |worker: &WorkerInfo| {
            json!({
                "id": worker.id,
                "pid": worker.pid,
                "state": worker.state,
                "uptime": worker.uptime / 1000,
                "restarts": worker.restarts,
            })
        };
        Self {
            uptime: metrics.uptime / 1000,
            alive: metrics.active_workers,
            wanted,
            memory: metrics.memory_usage,
            workers: metrics.workers.iter().map(row).collect(),
        }
    }

    fn megabytes(&self) -> f64 {
        (self.memory as f64 / MIB).round()
    }

    fn line(&self) -> String {
        let Self { alive, wanted, .. } = self;
        format!("Cluster health: {alive}/{wanted} workers alive, {}MB", self.megabytes())
    }

    /// For people: seconds and megabytes.
    fn table(&self) -> String {
        let Self { uptime, alive, wanted, workers, .. } = self;
        let mut table = format!(
            "Cluster Health Report:\n   Primary PID: {}\n   Uptime: {uptime}s\n   Workers: {alive}/{wanted} alive\n   Memory: {}MB",
            std::process::id(),
            self.megabytes(),
        );
        for worker in workers {
            let text = |name: &str| worker[name].as_str().unwrap_or("?").to_owned();
            // Writing into a String cannot fail.
            let _ = match worker["pid"].as_u64() {
                Some(pid) => write!(
                    table,
                    "\n   Worker {}: PID {pid}, Uptime: {}s, Restarts: {}",
                    text("id"),
                    worker["uptime"],
                    worker["restarts"],
                ),
                None => write!(
                    table,
                    "\n   Worker {}: {}, Restarts: {}",
                    text("id"),
                    text("state"),
                    worker["restarts"]
                ),
            };
        }
        table
    }
}

/// The health report, logged once a minute. `wanted`: the configured number of workers; `is_pretty`: people read the log.
pub(super) fn health_report(memory: &SharedMemory, wanted: u16, is_pretty: bool) -> Vec<Event> {
    let report = Report::of(memory, usize::from(wanted), now_ms());
    let message = if is_pretty { report.table() } else { report.line() };
    let Report { uptime, alive, wanted, memory: bytes, workers } = report;
    let subject = Subject::HealthReport { uptime, alive, wanted, memory: bytes, workers };
    let mut events = vec![Event::about(Component::Health, Level::Info, message).with(subject)];
    if alive * 2 < wanted {
        let text = format!("Fewer than half of the workers are alive: {alive} of {wanted}");
        events.push(Event::about(Component::Health, Level::Warn, text));
    }
    events
}

/// A warning when a start takes at least half of the time that it is allowed.
pub(super) fn late_ready(event: &Event, allowed: Duration) -> Option<Event> {
    let Event::WorkerReady { worker_id, after_ms, .. } = event else { return None };
    let took = Duration::from_millis(*after_ms);
    (took * 2 >= allowed).then(|| {
        let (took, allowed) = (took.as_secs_f64(), allowed.as_secs_f64());
        let text = format!(
            "Worker {worker_id} took {took:.1} s to get ready; after {allowed:.1} s (startupTimeout) it would have been killed"
        );
        Event::about(Component::Workers, Level::Warn, text)
    })
}

/// A worker's request took longer than `logging.slowRequests`.
pub(super) fn slow_request(worker: WorkerId, slow: SlowRequest) -> Event {
    let SlowRequest { method, path, status, ms, request_id, suppressed } = slow;
    let worker = worker.to_string();
    let outcome = if status == 0 { "its connection ended first".to_owned() } else { status.to_string() };
    let more = match suppressed {
        0 => String::new(),
        suppressed => {
            format!("; {suppressed} more of its requests were slow since the last that was logged")
        }
    };
    let message = format!("Worker {worker} took {ms} ms for {method} {path} ({outcome}){more}");
    // A client that leaves may have ended a long poll, which is no problem of the server.
    let level = if status == 0 { Level::Debug } else { Level::Warn };
    let subject =
        Subject::RequestSlow { worker, method, path, status_code: status, response_time: ms, request_id };
    Event::about(Component::Requests, level, message).with(subject)
}

/// Unhandled rejections.
pub(super) fn rejections(slot: u16, error: WorkerError, suppressed: u64) -> Vec<Event> {
    let text = format!(
        "Worker {slot}: {suppressed} more rejections were not handled since the last that was logged"
    );
    let more = (suppressed > 0).then(|| Event::about(Component::Workers, Level::Error, text));
    let event =
        Event::WorkerError { worker_id: slot.to_string(), error: worker_error(error), reported: false };
    more.into_iter().chain([event]).collect()
}

/// A draining worker exits although its event loop is not empty.
pub(super) fn lingered(slot: u16, left: BTreeMap<String, u32>, waited_ms: Option<u64>) -> Event {
    let after = match waited_ms {
        Some(ms) => format!("{ms} ms after it had nothing left to do (processManagement.lingerTimeout)"),
        None => "because its deadline has passed".to_owned(),
    };
    let kinds: Vec<String> = left.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let text =
        format!("Worker {slot} exits {after}, although its event loop is not empty: {}", kinds.join(", "));
    let subject = Subject::WorkerLingered { worker: slot.to_string(), waited_ms, left };
    Event::about(Component::Workers, Level::Info, text).with(subject)
}

/// An uncaught error in a worker's program.
pub(super) fn worker_error(error: WorkerError) -> Error {
    let WorkerError { name, message, code, stack, origin } = error;
    Error::new(Code::WorkerStartupFailed, message)
        .with(json!({ "name": name, "code": code, "stack": stack, "origin": origin }))
}

/// The cluster listens on a port that it has not listened on before.
pub(super) fn listening(port: u16) -> Event {
    let text = format!("Listening on port {port}");
    Event::about(Component::Dispatch, Level::Info, text).with(Subject::ClusterListening { port })
}

/// No worker serves the address any more.
pub(super) fn address_lost(address: String) -> Event {
    let message = format!(
        "No worker serves {address} any more; its connections wait until one does (loadBalancing.queueTimeout)"
    );
    Event::Alert { severity: Level::Error, message, cause: AlertCause::AddressLost { address } }
}

pub(super) fn address_regained(address: String, after: Duration) -> Event {
    let after_ms = after.as_millis() as u64;
    let text = format!("{address} is served again, after {after_ms} ms");
    let subject = Subject::AddressRegained { address, after_ms };
    Event::about(Component::Dispatch, Level::Info, text).with(subject)
}

/// A replacement does not serve these addresses of its predecessor, on purpose.
pub(super) fn addresses_given_up(worker: WorkerId, addresses: Vec<String>) -> Option<Event> {
    (!addresses.is_empty()).then(|| {
        let text = format!("Worker {worker} no longer serves {}", addresses.join(", "));
        let subject = Subject::AddressGivenUp { worker: worker.to_string(), addresses };
        Event::about(Component::Workers, Level::Info, text).with(subject)
    })
}

pub(super) fn short_of_descriptors(worker: WorkerId) -> Event {
    let text = format!(
        "Worker {worker} is short of file descriptors: it takes fewer connections. Raise the limit of open files \
         (ulimit -n)."
    );
    let subject = Subject::DescriptorsShort { worker: Some(worker.to_string()) };
    Event::notice(Level::Warn, text).with(subject)
}

/// What `updateConfig` has changed.
pub(super) fn changed(changes: &[Change]) -> Option<Event> {
    let text = |change: &Change| {
        let scope = if change.is_for_new_workers { ", for workers that are started from now on" } else { "" };
        format!("{} {} -> {}{scope}", change.path, change.from, change.to)
    };
    let texts: Vec<String> = changes.iter().map(text).collect();
    (!texts.is_empty())
        .then(|| Event::notice(Level::Info, format!("Configuration changed: {}", texts.join("; "))))
}

/// What the kernel cannot enforce, and what is done instead.
pub(super) fn not_in_groups(lacks: &[(Controller, String)]) -> Vec<Event> {
    let text = |(controller, reason): &(Controller, String)| {
        let instead = match controller {
            Controller::Memory => ". Their memory is watched four times a second instead",
            Controller::Cpu | Controller::Pids => "",
        };
        format!("The kernel does not limit the workers' {}: {reason}{instead}", controller.what())
    };
    lacks.iter().map(|lack| Event::notice(Level::Warn, text(lack))).collect()
}

/// The workers were started without the priority 'high'.
pub(super) fn no_high_priority() -> String {
    "The workers do not have the priority of resources.priorityLevel 'high': this user may not raise priorities \
     (CAP_SYS_NICE, ulimit -e)"
        .into()
}

/// What running workers do not have since `scheduling` was configured.
pub(super) fn not_scheduled(scheduling: Scheduling, refusal: &Refusal) -> String {
    match refusal {
        // EPERM: it runs as another user.
        Refusal::Priority(error) if error.raw_os_error() != Some(libc::EACCES) => {
            format!("The priority of the running workers did not change with resources.priorityLevel: {error}")
        }
        Refusal::Priority(_) if scheduling.nicer < 0 => no_high_priority(),
        Refusal::Priority(_) => {
            "The running workers keep the priority that they had before resources.priorityLevel was changed: this user \
             may not raise priorities (CAP_SYS_NICE, ulimit -e). Workers that are started from now on have the new one"
                .into()
        }
        Refusal::Cpus(error) => format!(
            "The CPUs of the running workers did not change with \
             resources.performanceOptimization.cpuOptimization: {error}"
        ),
        Refusal::IoPriority(error) => format!(
            "The I/O priority of the running workers did not change with \
             resources.performanceOptimization.ioOptimization: {error}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_table_for_people() {
        let workers = vec![
            json!({ "id": "0", "pid": 59_234, "state": "running", "uptime": 5, "restarts": 0 }),
            json!({ "id": "1", "pid": null, "state": "starting", "uptime": 0, "restarts": 2 }),
        ];
        let report = Report { uptime: 5, alive: 1, wanted: 2, memory: 62_914_560, workers };
        let pid = std::process::id();
        let expected = format!(
            "Cluster Health Report:\n   Primary PID: {pid}\n   Uptime: 5s\n   Workers: 1/2 alive\n   Memory: 60MB\n   \
             Worker 0: PID 59234, Uptime: 5s, Restarts: 0\n   Worker 1: starting, Restarts: 2"
        );
        assert_eq!(report.table(), expected);
    }
}
