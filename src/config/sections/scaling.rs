//! `autoScaling`: when the number of workers changes by itself.

use super::worker::MAX_WORKERS;
use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::config::millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const SLOTS: Kind = Kind::Whole { min: 1, max: MAX_WORKERS as u64 };

pub const KEYS: &[Key] = &[
    Key::new("autoScaling.enabled", Kind::Bool, "change the number of workers by load"),
    Key::new("autoScaling.minWorkers", SLOTS, "never fewer workers"),
    Key::new("autoScaling.maxWorkers", SLOTS, "never more workers (default: usable CPUs)"),
    Key::new(
        "autoScaling.strategy",
        Kind::Choice(Trigger::NAMES),
        "what is looked at (default: whichever triggers)",
    ),
    Key::new(
        "autoScaling.scaleUpThreshold.cpu",
        Kind::PERCENT,
        "percent of the usable CPUs; a bare number as the threshold means this",
    )
    .also(&["autoScaling.scaleUpThreshold"]),
    Key::new("autoScaling.scaleUpThreshold.memory", Kind::PERCENT, "percent of the memory limit"),
    Key::new("autoScaling.scaleUpThreshold.responseTime", Kind::TIME, "mean response time"),
    Key::new("autoScaling.scaleUpThreshold.queueLength", Kind::COUNT, "connections that wait"),
    Key::new(
        "autoScaling.scaleUpThreshold.consecutiveChecks",
        Kind::COUNT,
        "evaluations in a row that must agree",
    ),
    Key::new(
        "autoScaling.scaleDownThreshold.cpu",
        Kind::PERCENT,
        "percent of the usable CPUs; a bare number as the threshold means this",
    )
    .also(&["autoScaling.scaleDownThreshold"]),
    Key::new("autoScaling.scaleDownThreshold.memory", Kind::PERCENT, "percent of the memory limit"),
    Key::new(
        "autoScaling.scaleDownThreshold.idleTime",
        Kind::FROM_ZERO,
        "how long the load must have been low",
    ),
    Key::new(
        "autoScaling.scaleDownThreshold.consecutiveChecks",
        Kind::COUNT,
        "evaluations in a row that must agree",
    ),
    Key::new(
        "autoScaling.cooldownPeriod",
        Kind::FROM_ZERO,
        "`scaleUpCooldown` and `scaleDownCooldown` in one",
    ),
    Key::new(
        "autoScaling.scaleUpCooldown",
        Kind::FROM_ZERO,
        "the pause after a change before more workers are added",
    ),
    Key::new(
        "autoScaling.scaleDownCooldown",
        Kind::FROM_ZERO,
        "the pause after a change before workers are taken away",
    ),
    Key::new("autoScaling.scaleStep", SLOTS, "`scaleUpIncrement` and `scaleDownIncrement` in one"),
    Key::new("autoScaling.scaleUpIncrement", SLOTS, "workers added at a time"),
    Key::new("autoScaling.scaleDownIncrement", SLOTS, "workers taken away at a time"),
    Key::new("autoScaling.evaluationInterval", Kind::TIME, "the pause between two evaluations"),
    Key::new(
        "autoScaling.tolerance",
        Kind::Number { min: 0.0, max: 1.0 },
        "the relative distance from a target that is left alone",
    ),
    Key::new(
        "autoScaling.memoryThreshold",
        Kind::PERCENT,
        "for `strategy: 'memory'`: percent of the limit above which workers are added",
    ),
    Key::new("autoScaling.memoryTarget", Kind::PERCENT, "for `strategy: 'memory'`: the percent aimed at"),
    Key::new(
        "autoScaling.requestsPerWorker",
        Kind::COUNT,
        "for `strategy: 'requests'`: requests at a time a worker should have",
    ),
    Key::new(
        "autoScaling.responseTimeThreshold",
        Kind::TIME,
        "for `strategy: 'requests'`: response time above which workers are added",
    ),
];

choices! {
    /// What scaling looks at.
    Trigger { Cpu = "cpu", Memory = "memory", Requests = "requests" }
}

/// When the number of workers changes by itself; CPU and memory in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AutoScaling {
    pub enabled: bool,
    pub min_workers: u16,
    pub max_workers: u16,
    /// None: whichever triggers.
    pub strategy: Option<Trigger>,
    pub scale_up_threshold: ScaleUpThreshold,
    pub scale_down_threshold: ScaleDownThreshold,
    #[serde(with = "millis")]
    pub scale_up_cooldown: Duration,
    #[serde(with = "millis")]
    pub scale_down_cooldown: Duration,
    pub scale_up_increment: u16,
    pub scale_down_increment: u16,
    #[serde(with = "millis")]
    pub evaluation_interval: Duration,
    /// A fraction.
    pub tolerance: f64,
    pub memory_threshold: Option<f64>,
    pub memory_target: Option<f64>,
    pub requests_per_worker: Option<u32>,
    #[serde(with = "millis::optional")]
    pub response_time_threshold: Option<Duration>,
}

/// Above any of these: more workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleUpThreshold {
    pub cpu: f64,
    pub memory: f64,
    #[serde(with = "millis")]
    pub response_time: Duration,
    pub queue_length: u32,
    pub consecutive_checks: u32,
}

/// Below all of these: fewer workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleDownThreshold {
    pub cpu: f64,
    pub memory: f64,
    #[serde(with = "millis")]
    pub idle_time: Duration,
    pub consecutive_checks: u32,
}
