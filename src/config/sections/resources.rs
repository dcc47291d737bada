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
            "a worker whose resident memory exceeds this is replaced gracefully (`limits.memory` counts in MB)",
            variant ("limits.memory", Kind::Megabytes { min: 32 * MIB });
        max_cpu_per_worker: Option<f64> = null, "maxCpuPerWorker": Kind::CPU,
            "CPU usage of a worker, in percent of one core; above it for a minute: an alert and fewer new connections",
            also ["limits.cpu"];
        max_requests_per_worker: Option<u32> = null, "maxRequestsPerWorker": Kind::COUNT,
            "number of requests after which a worker is replaced gracefully",
            also ["limits.requests"];
        max_connections_per_worker: Option<u32> = null, "maxConnectionsPerWorker": Kind::COUNT,
            "maximum number of concurrent connections of a worker; further ones wait in drover's queue",
            also ["limits.connections"];
        priority_level: Priority = "normal", "priorityLevel": Kind::Choice(Priority::NAMES),
            "the workers' priority: nice +10, 0 or -5";
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
            "maximum memory of all workers together";
        #[serde(with = "millis")]
        memory_check_interval: Duration = 30000, "memoryCheckInterval": Kind::TIME,
            "interval of the memory checks";
        memory_warning_threshold: f64 = 80, "memoryWarningThreshold": Kind::PERCENT,
            "percent of the limit at which a warning is logged";
        memory_critical_threshold: f64 = 95, "memoryCriticalThreshold": Kind::PERCENT,
            "percent of the limit that counts as critical";
        memory_leak_detection: bool = true, "memoryLeakDetection": Kind::Bool,
            "detect steady growth of memory";
        garbage_collection_hint: bool = false, "garbageCollectionHint": Kind::Bool,
            "ask a worker under pressure to collect garbage";
        memory_reservation: Option<u64> = null, "memoryReservation": Kind::Size { min: 1 },
            "memory that scaling up always leaves free";
    }
}

options! {
    /// Enforcement of the limits.
    Enforcement in "resources.enforcement." {
        enforce_hard_limits: bool = false, "enforceHardLimits": Kind::Bool,
            "let the kernel enforce the limits (cgroups) instead of the sampler";
        kill_on_memory_exceed: bool = false, "killOnMemoryExceed": Kind::Bool,
            "kill a worker above its memory limit at once";
        kill_on_cpu_exceed: bool = false, "killOnCpuExceed": Kind::Bool,
            "kill a worker above its CPU limit";
    }
}

options! {
    /// Tuning of the kernel and V8, off by default.
    PerformanceOptimization in "resources.performanceOptimization." {
        low_memory_mode: bool = false, "lowMemoryMode": Kind::Bool,
            "use V8's flags for a small heap";
        cpu_optimization: bool = false, "cpuOptimization": Kind::Bool,
            "pin workers to cores";
        io_optimization: bool = false, "ioOptimization": Kind::Bool,
            "raise the workers' I/O priority";
    }
}
