//! What the log says of how the cluster does: the health report once a minute, requests and starts that took long.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::run::Cluster;
use crate::component::Component;
use crate::event::{Event, Level};
use crate::ipc::control::SlowRequest;
use crate::metrics::memory::SharedMemory;
use crate::metrics::view;
use crate::model::{WorkerId, WorkerInfo};
use crate::sys::local_time::now_ms;

const MIB: f64 = 1024.0 * 1024.0;

struct Report {
    alive: usize,
    wanted: usize,
    line: String,
    members: Value,
}

impl Report {
    /// `wanted`: how many workers there should be.
    fn of(memory: &SharedMemory, wanted: usize, now_ms: u64) -> Self {
        let metrics = view::figures(memory, now_ms);
        let alive = metrics.active_workers;
        let row = |worker: &WorkerInfo| {
            json!({
                "id": worker.id,
                "pid": worker.pid,
                "state": worker.state,
                "uptime": worker.uptime / 1000,
                "restarts": worker.restarts,
            })
        };
        let rows: Vec<Value> = metrics.workers.iter().map(row).collect();
        let (uptime, bytes) = (metrics.uptime / 1000, metrics.memory_usage);
        let megabytes = (bytes as f64 / MIB).round();
        let line = format!("Cluster health: {alive}/{wanted} workers alive, {megabytes}MB");
        let members =
            json!({ "uptime": uptime, "alive": alive, "wanted": wanted, "memory": bytes, "workers": rows });
        Self { alive, wanted, line, members }
    }

    /// For people: seconds and megabytes.
    fn table(&self) -> String {
        let Self { members, alive, wanted, .. } = self;
        let megabytes = (members["memory"].as_f64().unwrap_or(0.0) / MIB).round();
        let mut table = format!(
            "Cluster Health Report:\n   Primary PID: {}\n   Uptime: {}s\n   Workers: {alive}/{wanted} alive\n   Memory: {megabytes}MB",
            std::process::id(),
            members["uptime"],
        );
        for worker in members["workers"].as_array().into_iter().flatten() {
            let text = |name: &str| worker[name].as_str().unwrap_or("?").to_owned();
            // Writing into a text cannot fail.
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

impl Cluster {
    /// Once a minute.
    pub(super) fn report(&mut self) {
        if self.supervisor.is_stopping() {
            return;
        }
        let report = Report::of(&self.memory, usize::from(self.supervisor.wanted()), now_ms());
        let (message, members) = if self.log.is_pretty() {
            (report.table(), None)
        } else {
            (report.line.clone(), Some(report.members.clone()))
        };
        self.emit(Event::Notice { level: Level::Info, message, component: Component::Health, members });
        if report.alive * 2 < report.wanted {
            let Report { alive, wanted, .. } = report;
            let text = format!("Less than half of the workers are alive: {alive} of {wanted}");
            self.emit(Event::about(Component::Health, Level::Warn, text));
        }
    }

    /// A start that takes half of what it may is worth a word.
    pub(super) fn judge_start(&mut self, event: &Event) {
        let Event::WorkerReady { worker_id, after_ms, .. } = event else { return };
        let allowed = self.setup.policy.startup_timeout;
        let took = Duration::from_millis(*after_ms);
        if took * 2 >= allowed {
            let (took, allowed) = (took.as_secs_f64(), allowed.as_secs_f64());
            let text = format!(
                "Worker {worker_id} took {took:.1} s to get ready; after {allowed:.1} s (startupTimeout) it would have been killed"
            );
            self.emit(Event::about(Component::Workers, Level::Warn, text));
        }
    }

    /// A worker's request took longer than `logging.slowRequests`.
    pub(super) fn slow(&mut self, worker: WorkerId, slow: SlowRequest) {
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
        let mut members = json!({
            "worker": worker, "method": method, "path": path, "statusCode": status, "responseTime": ms,
        });
        if let Some(id) = request_id {
            members["requestId"] = id.into();
        }
        // Who waits for long polls gives up as it likes.
        let level = if status == 0 { Level::Debug } else { Level::Warn };
        let component = Component::Requests;
        self.emit(Event::Notice { level, message, component, members: Some(members) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_table_for_people() {
        let members = json!({
            "uptime": 5, "alive": 1, "wanted": 2, "memory": 62_914_560, "workers": [
                { "id": "0", "pid": 59_234, "state": "running", "uptime": 5, "restarts": 0 },
                { "id": "1", "pid": null, "state": "starting", "uptime": 0, "restarts": 2 },
            ],
        });
        let report = Report { alive: 1, wanted: 2, line: String::new(), members };
        let pid = std::process::id();
        let expected = format!(
            "Cluster Health Report:\n   Primary PID: {pid}\n   Uptime: 5s\n   Workers: 1/2 alive\n   Memory: 60MB\n   \
             Worker 0: PID 59234, Uptime: 5s, Restarts: 0\n   Worker 1: starting, Restarts: 2"
        );
        assert_eq!(report.table(), expected);
    }
}
