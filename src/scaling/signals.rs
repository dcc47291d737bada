//! The load compared with the thresholds of the configuration.

use crate::config::sections::scaling::{AutoScaling, Trigger};
use crate::model::{ScalingRule, WindowLoad};
use std::time::Duration;

/// What one figure says about the number of workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    pub rule: ScalingRule,
    /// The figure relative to its threshold, for the number of workers there is.
    pub ratio: f64,
    /// The number of workers with which it would be at its target.
    pub wanted: f64,
    /// It calls for more workers.
    pub is_over: bool,
}

/// Knative's `panic-threshold-percentage`.
const PANIC_RATIO: f64 = 2.0;

/// Whether the rules of this criterion apply: without `strategy` all do.
fn applies(policy: &AutoScaling, trigger: Trigger) -> bool {
    policy.strategy.is_none_or(|strategy| strategy == trigger)
}

/// How far above its target a figure may be without a change. Thresholds with fixed increments have no tolerance.
fn tolerance(policy: &AutoScaling) -> f64 {
    if policy.scale_up_increment.is_none() { policy.tolerance } else { 0.0 }
}

/// A load so many times what the workers are for is a panic: twice, less the tolerance. The short window still has a
/// part of the time before a load that is exactly twice.
pub fn panic_ratio(policy: &AutoScaling) -> f64 {
    PANIC_RATIO * (1.0 - policy.tolerance)
}

/// The threshold of the 95th percentile, in milliseconds.
pub fn response_time_limit(policy: &AutoScaling) -> f64 {
    let limit: Duration = policy.response_time_threshold.unwrap_or(policy.scale_up_threshold.response_time);
    limit.as_secs_f64() * 1000.0
}

/// The threshold of memory, in percent of the budget.
pub fn memory_limit(policy: &AutoScaling) -> f64 {
    policy.memory_threshold.unwrap_or(policy.scale_up_threshold.memory)
}

/// In percent.
pub fn busy_percent(load: &WindowLoad, size: u32) -> f64 {
    100.0 * load.demand / f64::from(size.max(1))
}

/// Requests in flight and to come.
pub fn requests(load: &WindowLoad) -> f64 {
    load.in_flight + load.queue_length
}

fn cpu(policy: &AutoScaling, size: u32, load: &WindowLoad) -> Signal {
    let wanted = load.demand / (policy.scale_up_threshold.cpu / 100.0).max(f64::MIN_POSITIVE);
    let ratio = wanted / f64::from(size.max(1));
    Signal { rule: ScalingRule::Cpu, ratio, wanted, is_over: ratio > 1.0 + tolerance(policy) }
}

fn requests_in_flight(policy: &AutoScaling, size: u32, load: &WindowLoad) -> Option<Signal> {
    let wanted = requests(load) / f64::from(policy.requests_per_worker?.max(1));
    let ratio = wanted / f64::from(size.max(1));
    Some(Signal { rule: ScalingRule::Requests, ratio, wanted, is_over: ratio > 1.0 + tolerance(policy) })
}

/// A response time is not proportional to the number of workers: it calls for what the event loops' load calls for, and
/// for one more at least.
fn response_time(policy: &AutoScaling, size: u32, load: &WindowLoad) -> Option<Signal> {
    let ratio = load.p95? / response_time_limit(policy).max(f64::MIN_POSITIVE);
    let wanted = cpu(policy, size, load).wanted.max(f64::from(size) + 1.0);
    Some(Signal { rule: ScalingRule::ResponseTime, ratio, wanted, is_over: ratio > 1.0 })
}

fn queue_length(policy: &AutoScaling, size: u32, load: &WindowLoad) -> Signal {
    let ratio = load.queue_length / f64::from(policy.scale_up_threshold.queue_length.max(1));
    let wanted = f64::from(size) * ratio;
    Signal { rule: ScalingRule::QueueLength, ratio, wanted, is_over: ratio > 1.0 }
}

/// What the load of a window says; memory apart.
pub fn of_load(policy: &AutoScaling, size: u32, load: &WindowLoad) -> Vec<Signal> {
    let mut signals = Vec::with_capacity(4);
    if applies(policy, Trigger::Cpu) {
        signals.push(cpu(policy, size, load));
    }
    if applies(policy, Trigger::Requests) {
        signals.extend(requests_in_flight(policy, size, load));
        signals.extend(response_time(policy, size, load));
        signals.push(queue_length(policy, size, load));
    }
    signals
}

/// What the memory says, in percent of the budget.
pub fn of_memory(policy: &AutoScaling, size: u32, percent: Option<f64>) -> Option<Signal> {
    let percent = percent.filter(|_| applies(policy, Trigger::Memory))?;
    let limit = memory_limit(policy).max(f64::MIN_POSITIVE);
    let target = policy.memory_target.unwrap_or(limit).max(f64::MIN_POSITIVE);
    let wanted = f64::from(size) * percent / target;
    Some(Signal { rule: ScalingRule::Memory, ratio: percent / limit, wanted, is_over: percent > limit })
}

/// Whether the load is below all thresholds of a step down to `smaller`. Requests in flight have no threshold of their
/// own for it: they are low when the smaller cluster has room for them.
pub fn is_low(
    policy: &AutoScaling,
    (size, smaller): (u32, u32),
    load: &WindowLoad,
    memory_percent: Option<f64>,
) -> bool {
    let down = &policy.scale_down_threshold;
    let is_below = busy_percent(load, size) < down.cpu;
    let is_low = match policy.strategy {
        Some(Trigger::Memory) => true,
        Some(Trigger::Requests) if policy.requests_per_worker.is_some() => would_fit(policy, smaller, load),
        None | Some(Trigger::Cpu | Trigger::Requests) => is_below,
    };
    let memory_is_low =
        !applies(policy, Trigger::Memory) || memory_percent.is_none_or(|percent| percent < down.memory);
    is_low && memory_is_low && of_load(policy, size, load).iter().all(|signal| !signal.is_over)
}

/// Whether a smaller cluster would stay below the thresholds of a step up; the busy event loops count under every
/// strategy. Requests in flight need the tolerance's room below their target too, because they have no threshold of
/// their own for a step down.
pub fn would_fit(policy: &AutoScaling, size: u32, load: &WindowLoad) -> bool {
    let of_strategy = of_load(policy, size, load);
    of_strategy.iter().chain([&cpu(policy, size, load)]).all(|signal| match signal.rule {
        ScalingRule::Requests => signal.ratio <= 1.0 - policy.tolerance,
        _ => signal.ratio <= 1.0,
    })
}
