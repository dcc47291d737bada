//! `autoScaling`: automatic changes of the number of workers.

use super::worker::MAX_WORKERS;
use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::config::millis;
use crate::config::options::options;
use std::time::Duration;

/// Options that set several others (`derive::SPREAD`).
const IN_ONE: &[Key] = &[
    Key::new(
        "autoScaling.cooldownPeriod",
        Kind::FROM_ZERO,
        "sets both `scaleUpCooldown` and `scaleDownCooldown`",
    ),
    Key::new("autoScaling.scaleStep", SLOTS, "sets both `scaleUpIncrement` and `scaleDownIncrement`"),
];

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[AutoScaling::KEYS, ScaleUpThreshold::KEYS, ScaleDownThreshold::KEYS, IN_ONE];

const SLOTS: Kind = Kind::Whole { min: 1, max: MAX_WORKERS as u64 };

choices! {
    /// The criterion of scaling.
    Trigger { Cpu = "cpu", Memory = "memory", Requests = "requests" }
}

options! {
    /// Automatic changes of the number of workers; CPU and memory in percent.
    AutoScaling in "autoScaling." {
        enabled: bool = false, "enabled": Kind::Bool,
            "change the number of workers by load";
        min_workers: u16 = 1, "minWorkers": SLOTS,
            "minimum number of workers";
        max_workers: u16 = null, "maxWorkers": SLOTS,
            "maximum number of workers (default: usable CPUs)";
        /// None: whichever triggers.
        strategy: Option<Trigger> = null, "strategy": Kind::Choice(Trigger::NAMES),
            "the criterion (default: whichever triggers first)";
        #[serde(with = "millis")]
        scale_up_cooldown: Duration = 60000, "scaleUpCooldown": Kind::FROM_ZERO,
            "delay after a change before workers are added";
        #[serde(with = "millis")]
        scale_down_cooldown: Duration = 300000, "scaleDownCooldown": Kind::FROM_ZERO,
            "delay after a change before workers are removed";
        scale_up_increment: Option<u16> = null, "scaleUpIncrement": SLOTS,
            "workers added at a time (default: in proportion to the load, at most doubling)";
        scale_down_increment: Option<u16> = null, "scaleDownIncrement": SLOTS,
            "workers removed at a time (default: 1)";
        #[serde(with = "millis")]
        evaluation_interval: Duration = 2000, "evaluationInterval": Kind::TIME,
            "interval between two evaluations, at least a second";
        /// A fraction.
        tolerance: f64 = 0.1, "tolerance": Kind::Number { min: 0.0, max: 1.0 },
            "relative difference from a target that causes no change";
        memory_threshold: Option<f64> = null, "memoryThreshold": Kind::PERCENT,
            "percent of the memory budget above which workers are added (default: `scaleUpThreshold.memory`)";
        memory_target: Option<f64> = null, "memoryTarget": Kind::PERCENT,
            "the percentage that a step for memory aims at (default: the threshold)";
        requests_per_worker: Option<u32> = null, "requestsPerWorker": Kind::COUNT,
            "target number of requests in flight per worker";
        #[serde(with = "millis::optional")]
        response_time_threshold: Option<Duration> = null, "responseTimeThreshold": Kind::TIME,
            "the same as `scaleUpThreshold.responseTime`, which it overrides";
    }
    with {
        scale_up_threshold: ScaleUpThreshold = "scaleUpThreshold";
        scale_down_threshold: ScaleDownThreshold = "scaleDownThreshold";
    }
}

options! {
    /// Above any of these: more workers.
    ScaleUpThreshold in "autoScaling.scaleUpThreshold." {
        cpu: f64 = 75, "cpu": Kind::PERCENT,
            "percent: the larger of CPU and mean event-loop utilisation; a bare number as the threshold means this",
            also ["autoScaling.scaleUpThreshold"];
        memory: f64 = 80, "memory": Kind::PERCENT,
            "percent of the memory budget";
        #[serde(with = "millis")]
        response_time: Duration = 1500, "responseTime": Kind::TIME,
            "95th percentile of the response times";
        queue_length: u32 = 100, "queueLength": Kind::COUNT,
            "connections that wait";
        consecutive_checks: u32 = 2, "consecutiveChecks": Kind::COUNT,
            "evaluations in a row that must agree";
    }
}

options! {
    /// Below all of these: fewer workers.
    ScaleDownThreshold in "autoScaling.scaleDownThreshold." {
        cpu: f64 = 25, "cpu": Kind::PERCENT,
            "percent: the larger of CPU and mean event-loop utilisation; a bare number as the threshold means this",
            also ["autoScaling.scaleDownThreshold"];
        memory: f64 = 40, "memory": Kind::PERCENT,
            "percent of the memory budget";
        #[serde(with = "millis")]
        idle_time: Duration = 300000, "idleTime": Kind::FROM_ZERO,
            "how long the load must have been low; doubled after each flap, up to 16 times";
        consecutive_checks: u32 = 3, "consecutiveChecks": Kind::COUNT,
            "evaluations in a row that must agree";
    }
}
