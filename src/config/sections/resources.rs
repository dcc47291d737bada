//! `resources`: what a worker and the cluster may use.

use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::config::millis;
use crate::config::units::MIB;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub const KEYS: &[Key] = &[
    Key::new(
        "resources.maxMemoryPerWorker",
        Kind::MEMORY_LIMIT,
        "resident memory of a worker above which it is replaced gracefully (`limits.memory` counts in MB)",
    )
    .variant("limits.memory", Kind::Megabytes { min: 32 * MIB }),
    Key::new(
        "resources.maxCpuPerWorker",
        Kind::CPU,
        "CPU of a worker, in percent of one core; above it for a minute: an alert and less new work",
    )
    .also(&["limits.cpu"]),
    Key::new(
        "resources.maxRequestsPerWorker",
        Kind::COUNT,
        "requests in a worker's life; then it is replaced gracefully",
    )
    .also(&["limits.requests"]),
    Key::new(
        "resources.maxConnectionsPerWorker",
        Kind::COUNT,
        "connections a worker has at a time, never more; the rest wait in drover's queue",
    )
    .also(&["limits.connections"]),
    Key::new(
        "resources.priorityLevel",
        Kind::Choice(Priority::NAMES),
        "the workers' priority: nice +10, 0 or -5",
    ),
    Key::new(
        "resources.memoryManagement.enabled",
        Kind::Bool,
        "watch the memory of the workers and of the machine",
    ),
    Key::new(
        "resources.memoryManagement.maxTotalMemory",
        Kind::MEMORY_LIMIT,
        "memory of all workers together",
    ),
    Key::new("resources.memoryManagement.memoryCheckInterval", Kind::TIME, "how often memory is looked at"),
    Key::new(
        "resources.memoryManagement.memoryWarningThreshold",
        Kind::PERCENT,
        "percent of the limit at which a warning is given",
    ),
    Key::new(
        "resources.memoryManagement.memoryCriticalThreshold",
        Kind::PERCENT,
        "percent of the limit that counts as critical",
    ),
    Key::new("resources.memoryManagement.memoryLeakDetection", Kind::Bool, "tell steady growth from use"),
    Key::new(
        "resources.memoryManagement.garbageCollectionHint",
        Kind::Bool,
        "ask a worker under pressure to collect garbage",
    ),
    Key::new(
        "resources.memoryManagement.memoryReservation",
        Kind::Size { min: 1 },
        "memory that scaling up always leaves free",
    ),
    Key::new(
        "resources.enforcement.enforceHardLimits",
        Kind::Bool,
        "let the kernel hold the limits (cgroups), else the sampler",
    ),
    Key::new(
        "resources.enforcement.killOnMemoryExceed",
        Kind::Bool,
        "kill a worker above its memory limit at once",
    ),
    Key::new("resources.enforcement.killOnCpuExceed", Kind::Bool, "kill a worker above its CPU limit"),
    Key::new("resources.performanceOptimization.lowMemoryMode", Kind::Bool, "V8's flags for size"),
    Key::new("resources.performanceOptimization.cpuOptimization", Kind::Bool, "pin workers to cores"),
    Key::new(
        "resources.performanceOptimization.ioOptimization",
        Kind::Bool,
        "raise the workers' I/O priority",
    ),
];

choices! {
    /// The workers' priority: nice +10, 0 or -5.
    Priority { Low = "low", Normal = "normal", High = "high" }
}

/// What a worker and the cluster may use; memory in bytes, CPU in percent of one core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    pub max_memory_per_worker: Option<u64>,
    pub max_cpu_per_worker: Option<f64>,
    pub max_requests_per_worker: Option<u32>,
    pub max_connections_per_worker: Option<u32>,
    pub priority_level: Priority,
    pub memory_management: MemoryManagement,
    pub enforcement: Enforcement,
    pub performance_optimization: PerformanceOptimization,
}

/// How memory is watched; thresholds in percent of the limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemoryManagement {
    pub enabled: bool,
    pub max_total_memory: Option<u64>,
    #[serde(with = "millis")]
    pub memory_check_interval: Duration,
    pub memory_warning_threshold: f64,
    pub memory_critical_threshold: f64,
    pub memory_leak_detection: bool,
    pub garbage_collection_hint: bool,
    pub memory_reservation: Option<u64>,
}

/// How hard the limits are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Enforcement {
    pub enforce_hard_limits: bool,
    pub kill_on_memory_exceed: bool,
    pub kill_on_cpu_exceed: bool,
}

/// Trades of the kernel's and V8's, all off unless asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PerformanceOptimization {
    pub low_memory_mode: bool,
    pub cpu_optimization: bool,
    pub io_optimization: bool,
}
