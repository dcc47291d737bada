//! Decisions of the auto-scaling: what an evaluation saw, what it decided and why. The event `scaling:decision` and
//! `/cluster/scaling` show them as they are here.

use std::cmp::Ordering;

use serde::Serialize;

/// The load of the cluster in one window. Later samples weigh more (`scaling::window`).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowLoad {
    /// The number of workers that the load would keep busy all the time; the work that waits for saturated event loops
    /// included.
    pub demand: f64,
    /// Percent of the CPU that the workers can use.
    pub cpu: f64,
    /// Mean utilisation of the event loops, in percent.
    pub event_loop_utilization: f64,
    /// Requests in flight in the workers.
    pub in_flight: f64,
    /// Connections that wait in drover's own queue.
    pub queue_length: f64,
    /// 95th percentile of the response times, in milliseconds; None without a response.
    pub p95: Option<f64>,
}

/// What an evaluation saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingInputs {
    /// The number of workers that serve, without those that start.
    pub ready: u32,
    /// Workers that start: capacity to come, whose own CPU is no load.
    pub starting: u32,
    /// The window of 60 s.
    pub stable: WindowLoad,
    /// The window of 6 s.
    pub panic: WindowLoad,
    /// Memory of all workers, in bytes.
    pub memory: u64,
    /// The memory that they share; None: unknown.
    pub memory_budget: Option<u64>,
    /// What is left of it.
    pub memory_free: Option<u64>,
    /// Memory of one ready worker: the mean, in bytes.
    pub footprint: u64,
    pub usable_cpus: f64,
    /// Percent of the time in which a task waited for a CPU; None: the kernel does not say.
    pub cpu_pressure: Option<f64>,
    /// Milliseconds for which the load has been below all thresholds; None: it is not.
    pub idle_time: Option<u64>,
}

/// What called for the number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ScalingRule {
    /// `minWorkers` and `maxWorkers`.
    Bounds,
    /// The larger of CPU and event-loop utilisation.
    Cpu,
    Memory,
    /// Requests in flight.
    Requests,
    ResponseTime,
    QueueLength,
    /// The load is below all thresholds.
    Idle,
    /// Nothing: the load is within the thresholds, or there is no figure yet.
    None,
    /// A program or an operator asked for it.
    Manual,
    /// Auto-scaling is off.
    Off,
}

impl ScalingRule {
    const ALL: [Self; 10] = [
        Self::Manual,
        Self::Bounds,
        Self::Cpu,
        Self::Memory,
        Self::Requests,
        Self::ResponseTime,
        Self::QueueLength,
        Self::Idle,
        Self::None,
        Self::Off,
    ];

    /// A number for the shared memory; 0 is [`Self::Manual`].
    pub fn code(self) -> u64 {
        Self::ALL.iter().position(|rule| *rule == self).unwrap_or_default() as u64
    }

    /// The rule of a [`Self::code`].
    pub fn of_code(code: u64) -> Self {
        usize::try_from(code).ok().and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Self::Manual)
    }

    /// Why the size changed, in a few words.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Manual => "it was asked for",
            Self::Bounds => "autoScaling.minWorkers or maxWorkers",
            Self::Cpu => "the workers were too busy",
            Self::Memory => "memory was above its threshold",
            Self::Requests => "too many requests were in flight",
            Self::ResponseTime => "response times were above their threshold",
            Self::QueueLength => "too many connections waited",
            Self::Idle => "the load was low",
            Self::None => "nothing called for a change",
            Self::Off => "auto-scaling is off (autoScaling.enabled)",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Up,
    Down,
    None,
}

impl Direction {
    pub fn of(from: u32, to: u32) -> Self {
        match to.cmp(&from) {
            Ordering::Greater => Self::Up,
            Ordering::Less => Self::Down,
            Ordering::Equal => Self::None,
        }
    }
}

/// Why a change that a rule called for is not made, or made in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ScalingHold {
    /// Not enough evaluations in a row have agreed.
    Checks,
    Cooldown,
    MaxWorkers,
    MinWorkers,
    /// The load is bound by CPU, and there are as many workers as usable CPUs.
    UsableCpus,
    /// Tasks already wait for CPUs.
    CpuPressure,
    /// One more worker does not fit into the memory budget.
    MemoryBudget,
    /// The last step for memory lowered nothing, or is not measured yet.
    MemoryStep,
    /// The load has not been low for long enough.
    IdleTime,
    /// No worker is removed in a panic.
    Panic,
    /// Workers start.
    Starting,
    /// The rest would be too busy with the highest load of the last minute.
    Rest,
}

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    pub action: Direction,
    pub from: u32,
    pub to: u32,
    pub rule: ScalingRule,
    pub hold: Option<ScalingHold>,
    /// The window of 6 s decides: no cooldown, one evaluation is enough, and no worker is removed.
    pub panic: bool,
    /// The decision in a sentence for people.
    pub reason: String,
    pub inputs: ScalingInputs,
}

impl Evaluation {
    pub fn is_change(&self) -> bool {
        self.from != self.to
    }
}

/// A change of the cluster's size, or the auto-scaling's decision against one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ScalingDecision {
    Automatic {
        #[serde(flatten)]
        evaluation: Box<Evaluation>,
        /// Since 1970.
        timestamp: u64,
    },
    /// What is known of it in every process.
    Known { action: Direction, from: u32, to: u32, reason: &'static str, timestamp: u64 },
}

impl ScalingDecision {
    pub fn known(from: u32, to: u32, rule: ScalingRule, timestamp: u64) -> Self {
        Self::Known { action: Direction::of(from, to), from, to, reason: rule.summary(), timestamp }
    }

    pub fn to(&self) -> u32 {
        match self {
            Self::Automatic { evaluation, .. } => evaluation.to,
            Self::Known { to, .. } => *to,
        }
    }
}
