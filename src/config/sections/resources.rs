//! `resources`: limits of a worker and of the cluster.

use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::config::millis;
use crate::config::options::options;
use crate::config::units::MIB;
use std::time::Duration;

/// The keys of the section.
pub const KEYS: &[&[Key]] =
    &[Resources::KEYS, MemoryManagement::KEYS, Enforcement::KEYS, PerformanceOptimization::KEYS];

choices! {
    /// The workers' priority: nice +10, 0 or -5.
    Priority { Low = "low", Normal = "normal", High = "high" }
}

options! {
    /// Limits of a worker and of the cluster; memory in bytes, CPU in percent of one core.
    Resources in "resources." {
        max_memory_per_worker: Option<u64> = null, "maxMemoryPerWorker": Kind::MEMORY_LIMIT,
            "a worker whose resident memory exceeds this in three samples, one a second, is replaced gracefully (`limits.memory` counts in MB); workers get a matching `--max-old-space-size` unless you set one",
            variant ("limits.memory", Kind::Megabytes { min: 32 * MIB });
        max_cpu_per_worker: Option<f64> = null, "maxCpuPerWorker": Kind::CPU,
            "CPU usage of a worker, in percent of one core; above it for a minute: an alert and fewer new connections; it is replaced if the others use less than half as much",
            also ["limits.cpu"];
        max_requests_per_worker: Option<u32> = null, "maxRequestsPerWorker": Kind::COUNT,
            "number of requests after which a worker is replaced gracefully, less up to 10 %, different for each worker",
            also ["limits.requests"];
        #[serde(with = "millis::optional")]
        max_age_per_worker: Option<Duration> = null, "maxAgePerWorker": Kind::TIME,
            "time since its start after which a worker is replaced gracefully, less up to 10 %, different for each worker";
        max_connections_per_worker: Option<u32> = null, "maxConnectionsPerWorker": Kind::COUNT,
            "maximum number of concurrent connections of a worker; further ones wait in drover's queue",
            also ["limits.connections"];
        priority_level: Priority = "normal", "priorityLevel": Kind::Choice(Priority::NAMES),
            "the workers' priority: nice +10, 0 or -5 more than the primary's";
    }
    with {
        memory_management: MemoryManagement = "memoryManagement";
        enforcement: Enforcement = "enforcement";
        performance_optimization: PerformanceOptimization = "performanceOptimization";
    }
}

options! {
    /// Memory monitoring; thresholds in percent of the limit.
    MemoryManagement in "resources.memoryManagement." {
        enabled: bool = true, "enabled": Kind::Bool,
            "monitor the memory of the workers and of the machine";
        max_total_memory: Option<u64> = null, "maxTotalMemory": Kind::MEMORY_LIMIT,
            "maximum memory of all workers together (default: the memory limit of the control group, otherwise the machine's memory, less `memoryReservation`)";
        #[serde(with = "millis")]
        memory_check_interval: Duration = 30000, "memoryCheckInterval": Kind::TIME,
            "interval of the memory checks";
        memory_warning_threshold: f64 = 80, "memoryWarningThreshold": Kind::PERCENT,
            "percent of the limit at which a warning is logged; at this part of `maxTotalMemory` the largest leaking worker is replaced";
        memory_critical_threshold: f64 = 95, "memoryCriticalThreshold": Kind::PERCENT,
            "percent of the limit that counts as critical; above this part of the control group's limit, or of `maxTotalMemory` with `enforceHardLimits`, the largest worker is killed before the rest is used too";
        memory_leak_detection: bool = true, "memoryLeakDetection": Kind::Bool,
            "detect steady growth of memory";
        garbage_collection_hint: bool = false, "garbageCollectionHint": Kind::Bool,
            "ask a worker under pressure to collect garbage";
        evidence: bool = false, "evidence": Kind::Bool,
            "sample the allocations of a worker that seems to leak; the profile is kept in `logs/`, and the log names the functions";
        memory_reservation: Option<u64> = null, "memoryReservation": Kind::Size { min: 0 },
            "memory that is not part of the budget, and that scaling up always leaves free";
    }
}

options! {
    /// Enforcement of the limits.
    Enforcement in "resources.enforcement." {
        enforce_hard_limits: bool = false, "enforceHardLimits": Kind::Bool,
            "limits are hard too: 110 % of `maxMemoryPerWorker` ends a worker, 110 % of `maxCpuPerWorker` is a quota, and at `maxTotalMemory` a worker is killed; by control groups below the primary's own where it has some, memory otherwise by a sampler, four times a second";
        kill_on_memory_exceed: bool = false, "killOnMemoryExceed": Kind::Bool,
            "kill a worker above `maxMemoryPerWorker` at once";
        kill_on_cpu_exceed: bool = false, "killOnCpuExceed": Kind::Bool,
            "kill a worker that is above `maxCpuPerWorker` for a minute";
    }
}

options! {
    /// Tuning of the kernel and V8, off by default.
    PerformanceOptimization in "resources.performanceOptimization." {
        low_memory_mode: bool = false, "lowMemoryMode": Kind::Bool,
            "run the workers with V8's flags for a small heap (`--optimize-for-size`, small semi-spaces)";
        cpu_optimization: bool = false, "cpuOptimization": Kind::Bool,
            "pin each worker to one of the CPUs that the primary may use";
        io_optimization: bool = false, "ioOptimization": Kind::Bool,
            "give the workers the highest I/O priority that needs no privilege";
    }
}
