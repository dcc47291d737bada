use serde::{Deserialize, Serialize};

use super::{CheckStatus, PublicState, WorkerState};

/// `WorkerInfo`: the public view of a slot's worker. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerInfo {
    /// The slot.
    pub id: String,
    pub worker_id: String,
    /// None: there is no process, its start is pending.
    pub pid: Option<u32>,
    pub generation: u32,
    pub state: PublicState,
    pub status: PublicState,
    pub detail: WorkerState,
    /// Since 1970.
    pub start_time: u64,
    pub uptime: u64,
    pub restarts: u64,
    pub replacements: u64,
    pub port: u16,
    pub request_count: u64,
    pub active_requests: u64,
    pub active_connections: u64,
    pub average_response_time: f64,
    /// None until the process was sampled, like the next two.
    pub memory_usage: Option<u64>,
    /// Percent of one processor.
    pub cpu_usage: Option<f64>,
    pub event_loop_lag: Option<f64>,
    /// None until it was read.
    pub heap: Option<HeapUsage>,
    pub healthy: bool,
    pub health: CheckReport,
}

/// A worker's heap, bytes. Read when it answers, once a second at most, and at major collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeapUsage {
    pub used: u64,
    pub total: u64,
    pub external: u64,
    /// What the latest major collection has left, with external memory; None: there was none, or it is unknown.
    pub floor: Option<u64>,
    /// Major collections so far.
    pub major_collections: u64,
}

/// The result of a worker's health checks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    pub status: CheckStatus,
    pub consecutive_failures: u64,
    /// Since 1970.
    pub last_check: Option<u64>,
    pub reason: Option<String>,
    /// What `healthCheck.customCheck` returned, as the program gave it.
    pub metrics: serde_json::Value,
}

/// `CheckStatus`: the cluster's health.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterHealth {
    pub healthy: bool,
    pub status: super::ClusterStatus,
    pub total_workers: usize,
    pub healthy_workers: usize,
    pub unhealthy_workers: Vec<String>,
    /// Time of the latest completed check of a current worker, since 1970.
    pub last_health_check: Option<u64>,
    pub details: Vec<HealthDetail>,
}

/// Why a worker counts as healthy or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthDetail {
    pub worker_id: String,
    pub healthy: bool,
    /// Sentences for people; empty when healthy.
    pub reasons: Vec<String>,
}
