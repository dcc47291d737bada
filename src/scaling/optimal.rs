//! The number of workers for a load: what `getOptimalWorkerCount()` returns.

use super::limits;
use super::signals;
use crate::config::sections::scaling::AutoScaling;
use crate::model::{ScalingInputs, ScalingRule};

/// A number of workers, and why that many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Optimal {
    pub workers: u32,
    pub reason: String,
}

/// For the load of the long window; without one the least that the configuration allows.
pub fn workers(policy: &AutoScaling, inputs: &ScalingInputs) -> Optimal {
    let load = &inputs.stable;
    let mut reason = format!("the load of the last minute keeps {:.1} workers busy", load.demand);
    // The response time says that there are too few workers, not how many there should be.
    let wanted = signals::of_load(policy, 1, load)
        .iter()
        .filter(|signal| matches!(signal.rule, ScalingRule::Cpu | ScalingRule::Requests))
        .map(|signal| signal.wanted)
        .fold(0.0, f64::max);
    let mut workers = (wanted - 1e-9).ceil().max(1.0) as u32;
    let mut limit = |most: u32, why: String| {
        let most = most.max(1);
        if workers > most {
            workers = most;
            reason = format!("{reason}; {why}");
        }
    };
    if limits::is_load_bound_by_cpu(policy, load) {
        let cpus = limits::usable_cpus(inputs);
        limit(cpus, format!("it is bound by CPU, and {:.1} CPUs are usable", inputs.usable_cpus));
    }
    if let Some(room) = limits::memory_room(inputs, 0) {
        let fit = inputs.ready.saturating_add(room);
        limit(fit, format!("{fit} workers fit into the memory budget"));
    }
    if policy.enabled {
        let (min, max) = (u32::from(policy.min_workers), u32::from(policy.max_workers));
        limit(max, format!("maxWorkers is {max}"));
        if workers < min {
            workers = min;
            reason = format!("{reason}; minWorkers is {min}");
        }
    }
    Optimal { workers, reason }
}
