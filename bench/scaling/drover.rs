//! drover's autoscaler, as the primary drives it.

use crate::policy::{Policy, Second};
use crate::{MAX_WORKERS, MIN_WORKERS, TARGET, TARGET_LATENCY};
use drover::config::sections::scaling::{AutoScaling, ScaleDownThreshold, ScaleUpThreshold};
use drover::scaling::{Autoscaler, Percentiles, Sample, WorkerLoad};
use std::time::Duration;

pub struct Drover(Autoscaler);

/// The options' defaults, but for the bounds.
pub fn defaults() -> AutoScaling {
    AutoScaling {
        enabled: true,
        min_workers: MIN_WORKERS as u16,
        max_workers: MAX_WORKERS as u16,
        strategy: None,
        scale_up_cooldown: Duration::from_secs(60),
        scale_down_cooldown: Duration::from_secs(300),
        scale_up_increment: None,
        scale_down_increment: None,
        evaluation_interval: Duration::from_secs(2),
        tolerance: 0.1,
        memory_threshold: None,
        memory_target: None,
        requests_per_worker: None,
        response_time_threshold: None,
        scale_up_threshold: ScaleUpThreshold {
            cpu: 75.0,
            memory: 80.0,
            response_time: Duration::from_millis(1500),
            queue_length: 100,
            consecutive_checks: 2,
        },
        scale_down_threshold: ScaleDownThreshold {
            cpu: 25.0,
            memory: 40.0,
            idle_time: Duration::from_secs(300),
            consecutive_checks: 3,
        },
    }
}

impl Drover {
    pub fn with_defaults() -> Self {
        Self(Autoscaler::new(defaults()))
    }

    /// The same target as HPA's, the latency target as the threshold of response times, and shorter times than the
    /// defaults, of which a worker less every five minutes is the slowest. The same for all traces.
    pub fn tuned() -> Self {
        let mut policy = defaults();
        policy.scale_up_threshold.cpu = TARGET;
        policy.scale_up_threshold.response_time = Duration::from_secs_f64(TARGET_LATENCY / 1000.0);
        policy.scale_up_cooldown = Duration::from_secs(10);
        policy.scale_down_cooldown = Duration::from_secs(10);
        policy.scale_down_threshold.cpu = 60.0;
        policy.scale_down_threshold.idle_time = Duration::from_secs(60);
        Self(Autoscaler::new(policy))
    }
}

/// A second of the model as a sample.
pub fn sample(second: &Second<'_>) -> Sample {
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
        usable_cpus: f64::from(MAX_WORKERS),
        cpu_pressure: Some(0.0),
    }
}

impl Policy for Drover {
    fn decide(&mut self, second: &Second<'_>) -> u32 {
        let now = Duration::from_secs_f64(second.at);
        self.0.sample(sample(second));
        if self.0.is_due(now) { self.0.evaluate(now, second.size()).to } else { second.size() }
    }
}
