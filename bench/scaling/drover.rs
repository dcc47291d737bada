//! drover's autoscaler, as the primary drives it.

use crate::policy::{Bounds, Policy, Second};
use crate::{TARGET, TARGET_LATENCY};
use drover::config::{HostFacts, Input};
use drover::scaling::{Autoscaler, Percentiles, Sample, WorkerLoad};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub struct Drover {
    autoscaler: Autoscaler,
    bounds: Bounds,
}

/// With up to so many workers one at a time is removed, which is the default; with more, one for each so many of them.
const REMOVED_ONE_BY_ONE: u32 = 32;

/// drover with these options and the defaults of all others.
pub fn with(options: Value, bounds: Bounds) -> Autoscaler {
    let options = json!({ "autoScaling": options });
    let cpus = f64::from(bounds.max);
    let host = HostFacts { usable_cpus: cpus, available_memory: None, single_process_reason: None };
    let input = Input { options: &options, env: &BTreeMap::new(), host: &host };
    match drover::config::load_cluster(&input) {
        Ok(loaded) => Autoscaler::new(loaded.config.auto_scaling),
        Err(error) => panic!("{options}: {}", error.message),
    }
}

impl Drover {
    pub fn with_defaults(bounds: Bounds) -> Self {
        let options = json!({ "enabled": true, "minWorkers": bounds.min, "maxWorkers": bounds.max });
        Self { autoscaler: with(options, bounds), bounds }
    }

    /// The same target as HPA's, the latency target as the threshold of response times, and shorter times than the
    /// defaults, of which a worker less every five minutes is the slowest. The same for all traces, but for the number of
    /// workers that are removed at a time.
    pub fn tuned(bounds: Bounds) -> Self {
        let mut options = json!({
            "enabled": true, "minWorkers": bounds.min, "maxWorkers": bounds.max,
            "cooldownPeriod": 10_000,
            "scaleUpThreshold": { "cpu": TARGET, "responseTime": TARGET_LATENCY as u64 },
            "scaleDownThreshold": { "cpu": 60, "idleTime": 60_000 },
        });
        if bounds.max > REMOVED_ONE_BY_ONE {
            options["scaleDownIncrement"] = (bounds.max / REMOVED_ONE_BY_ONE).into();
        }
        Self { autoscaler: with(options, bounds), bounds }
    }
}

/// A second of the model as a sample.
pub fn sample(second: &Second<'_>, bounds: Bounds) -> Sample {
    let workers = second.workers.iter().map(|worker| WorkerLoad {
        ready_for: worker.ready_for.map(Duration::from_secs_f64),
        cpu: 100.0 * worker.busy,
        utilization: 100.0 * worker.busy,
        memory: 60_000_000,
    });
    let [panic, stable] = second.p95;
    Sample {
        at: Duration::from_secs_f64(second.at),
        workers: workers.collect(),
        in_flight: second.in_flight,
        queue_length: 0,
        completed: second.completed,
        p95: Percentiles { stable, panic },
        memory: 60_000_000 * u64::from(second.size()),
        memory_budget: None,
        memory_free: None,
        usable_cpus: f64::from(bounds.max),
        cpu_pressure: Some(0.0),
    }
}

impl Policy for Drover {
    fn decide(&mut self, second: &Second<'_>) -> u32 {
        let size = second.size();
        self.autoscaler.tick(sample(second, self.bounds), size).map_or(size, |evaluation| evaluation.to)
    }
}
