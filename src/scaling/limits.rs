//! How far a step up may go.

use crate::config::sections::scaling::AutoScaling;
use crate::model::{ScalingHold, ScalingInputs, ScalingRule, WindowLoad};

/// Percent of the time in which a task waited for a CPU, above which no worker is added to a load bound by CPU.
const MAX_CPU_PRESSURE: f64 = 60.0;

/// A load of event loops is bound by CPU when so much of their busy time is CPU time.
const CPU_BOUND: f64 = 0.5;

/// Whether further CPUs, and not only further workers, are what the load needs.
fn is_bound_by_cpu(policy: &AutoScaling, rule: ScalingRule, load: &WindowLoad) -> bool {
    match rule {
        ScalingRule::Cpu => load.cpu >= CPU_BOUND * load.event_loop_utilization,
        _ => load.cpu >= policy.scale_up_threshold.cpu,
    }
}

/// How many further workers fit into the memory budget; None: no figure for it.
pub fn memory_room(inputs: &ScalingInputs, growth_of_starting: u64) -> Option<u32> {
    let free = inputs.memory_free?.saturating_sub(growth_of_starting);
    let room = free.checked_div(inputs.footprint)?;
    Some(u32::try_from(room).unwrap_or(u32::MAX))
}

/// The number of workers that the usable CPUs allow a load bound by CPU.
pub fn usable_cpus(inputs: &ScalingInputs) -> u32 {
    // At most the number of the machine's CPUs.
    (inputs.usable_cpus.floor() as u32).max(1)
}

/// What of a step up is allowed, and what stands in the way of the rest. Never less than there are.
pub fn within(
    policy: &AutoScaling,
    rule: ScalingRule,
    (from, to): (u32, u32),
    inputs: &ScalingInputs,
    load: &WindowLoad,
    memory_room: Option<u32>,
) -> (u32, Option<ScalingHold>) {
    let mut allowed = to;
    let mut hold = None;
    let mut limit = |most: u32, why: ScalingHold| {
        let most = most.max(from);
        if most < allowed {
            allowed = most;
            hold = Some(why);
        }
    };
    limit(u32::from(policy.max_workers), ScalingHold::MaxWorkers);
    if is_bound_by_cpu(policy, rule, load) {
        limit(usable_cpus(inputs), ScalingHold::UsableCpus);
        if inputs.cpu_pressure.is_some_and(|pressure| pressure > MAX_CPU_PRESSURE) {
            limit(from, ScalingHold::CpuPressure);
        }
    }
    if let Some(room) = memory_room {
        limit(from.saturating_add(room), ScalingHold::MemoryBudget);
    }
    (allowed, hold)
}

/// A size outside of `minWorkers` and `maxWorkers`, brought within them as far as the memory budget allows.
pub fn into_bounds(
    (min, max): (u32, u32),
    size: u32,
    memory_room: Option<u32>,
) -> (u32, Option<ScalingHold>) {
    let wanted = size.min(max).max(min);
    let most = memory_room.map_or(u32::MAX, |room| size.saturating_add(room));
    if wanted > most { (most, Some(ScalingHold::MemoryBudget)) } else { (wanted, None) }
}

/// Whether there is a load, and CPUs are what it needs.
pub fn is_load_bound_by_cpu(policy: &AutoScaling, load: &WindowLoad) -> bool {
    load.demand > 0.0 && is_bound_by_cpu(policy, ScalingRule::Cpu, load)
}
