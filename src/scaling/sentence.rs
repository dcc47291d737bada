//! An evaluation in a sentence for people.

use super::memory_step::Effect;
use super::signals;
use super::window::Span;
use crate::config::sections::scaling::AutoScaling;
use crate::model::{ScalingHold, ScalingInputs, ScalingRule};
use std::time::Duration;

/// The figures of a hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detail {
    None,
    /// Evaluations that agreed, and how many must.
    Checks(u32, u32),
    Time(Duration),
    MemoryStep(Effect),
    /// The number of workers that was called for.
    Asked(u32),
}

pub fn reason(
    policy: &AutoScaling,
    (from, to): (u32, u32),
    rule: ScalingRule,
    hold: Option<ScalingHold>,
    (panics, span): (bool, Span),
    inputs: &ScalingInputs,
    detail: Detail,
) -> String {
    let cause = cause(policy, from, rule, span, inputs);
    let verdict = if from == to {
        format!("{} stay", count(from, "worker"))
    } else {
        format!("{from} to {}", count(to, "worker"))
    };
    let is_of_load = !matches!(rule, ScalingRule::Memory | ScalingRule::Bounds);
    let panic = if panics && to > from && is_of_load {
        format!(", at once because the load reached {} times what they are for", panic_ratio(policy))
    } else {
        String::new()
    };
    match hold.map(|hold| obstacle(policy, hold, detail, inputs)) {
        None => format!("{verdict}: {cause}{panic}"),
        Some(obstacle) if to == from => format!("{verdict}: {cause}, but {obstacle}"),
        Some(obstacle) => format!("{verdict}: {cause}{panic}; not more because {obstacle}"),
    }
}

fn count(number: u32, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 && seconds.fract() > 0.05 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.0} s")
    }
}

/// With two digits at most.
fn panic_ratio(policy: &AutoScaling) -> f64 {
    (100.0 * signals::panic_ratio(policy)).round() / 100.0
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn cause(policy: &AutoScaling, size: u32, rule: ScalingRule, span: Span, inputs: &ScalingInputs) -> String {
    let (load, window) = match span {
        Span::Stable => (&inputs.stable, "60 s"),
        Span::Panic => (&inputs.panic, "6 s"),
    };
    let busy = signals::busy_percent(load, size);
    match rule {
        ScalingRule::Bounds => {
            format!("minWorkers is {} and maxWorkers {}", policy.min_workers, policy.max_workers)
        }
        ScalingRule::Cpu => format!(
            "the load of the last {window} is {busy:.0} % of the workers' time (threshold {} %)",
            policy.scale_up_threshold.cpu
        ),
        ScalingRule::Memory => format!(
            "memory is {:.0} % of the budget (threshold {} %)",
            100.0 * inputs.memory as f64 / inputs.memory_budget.unwrap_or(u64::MAX).max(1) as f64,
            signals::memory_limit(policy)
        ),
        ScalingRule::Requests => format!(
            "{:.1} requests were in flight in the last {window}, {:.1} per worker (target {})",
            signals::requests(load),
            signals::requests(load) / f64::from(size.max(1)),
            policy.requests_per_worker.unwrap_or_default()
        ),
        ScalingRule::ResponseTime => format!(
            "the 95th percentile of response times in the last {window} is {:.0} ms (threshold {:.0} ms)",
            load.p95.unwrap_or_default(),
            signals::response_time_limit(policy)
        ),
        ScalingRule::QueueLength => format!(
            "{:.0} connections waited in the last {window} (threshold {})",
            load.queue_length, policy.scale_up_threshold.queue_length
        ),
        ScalingRule::Idle => {
            format!(
                "the load is below the thresholds ({:.0} % busy)",
                signals::busy_percent(&inputs.stable, size)
            )
        }
        ScalingRule::None if inputs.ready == 0 => "there are no figures yet".to_owned(),
        ScalingRule::None => format!("the load is within the thresholds ({busy:.0} % busy)"),
        ScalingRule::Manual | ScalingRule::Off => rule.summary().to_owned(),
    }
}

/// What stands in the way of a change.
fn obstacle(policy: &AutoScaling, hold: ScalingHold, detail: Detail, inputs: &ScalingInputs) -> String {
    match (hold, detail) {
        (ScalingHold::Checks, Detail::Checks(agreed, needed)) => {
            format!("{agreed} of {needed} evaluations in a row agree so far")
        }
        (ScalingHold::Checks, _) => "too few evaluations in a row agree".to_owned(),
        (ScalingHold::Cooldown, Detail::Time(left)) => {
            format!("the cooldown after the last change lasts {} more", seconds(left))
        }
        (ScalingHold::Cooldown, _) => "the cooldown after the last change lasts".to_owned(),
        (ScalingHold::MaxWorkers, _) => format!("maxWorkers is {}", policy.max_workers),
        (ScalingHold::MinWorkers, _) => format!("minWorkers is {}", policy.min_workers),
        (ScalingHold::UsableCpus, _) => {
            format!("the load is bound by CPU, and {:.1} CPUs are usable", inputs.usable_cpus)
        }
        (ScalingHold::CpuPressure, _) => format!(
            "the load is bound by CPU, and tasks waited for a CPU {:.0} % of the time",
            inputs.cpu_pressure.unwrap_or_default()
        ),
        (ScalingHold::MemoryBudget, _) => format!(
            "a worker takes {}, and {} of the memory budget of {} are free",
            megabytes(inputs.footprint),
            megabytes(inputs.memory_free.unwrap_or_default()),
            megabytes(inputs.memory_budget.unwrap_or_default())
        ),
        (ScalingHold::MemoryStep, Detail::MemoryStep(Effect::None { before, now })) => {
            format!("the last step for memory did not help ({before:.0} % before it, {now:.0} % now)")
        }
        (ScalingHold::MemoryStep, _) => "the effect of the last step for memory is not known yet".to_owned(),
        (ScalingHold::IdleTime, Detail::Time(needed)) => format!(
            "it must have been for {} (so far {})",
            seconds(needed),
            seconds(Duration::from_millis(inputs.idle_time.unwrap_or_default()))
        ),
        (ScalingHold::IdleTime, _) => "not for long enough yet".to_owned(),
        (ScalingHold::Panic, _) => {
            format!(
                "the load reached {} times what the workers are for within the last minute",
                panic_ratio(policy)
            )
        }
        (ScalingHold::Starting, _) => "workers are starting".to_owned(),
        (ScalingHold::Rest, Detail::Asked(left)) => {
            format!("the highest load of the last minute would be above them with {}", count(left, "worker"))
        }
        (ScalingHold::Rest, _) => "the highest load of the last minute would be above them".to_owned(),
    }
}
