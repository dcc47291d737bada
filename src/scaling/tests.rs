//! The autoscaler on a simulated clock: promises by name, then any load.

mod any_load;
mod steps;

use super::*;
use crate::config::sections::scaling::{AutoScaling, ScaleDownThreshold, ScaleUpThreshold, Trigger};
use crate::model::{Evaluation, ScalingHold, ScalingRule};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const MB: u64 = 1_000_000;

/// The defaults, with auto-scaling on and up to 16 workers.
fn policy() -> AutoScaling {
    AutoScaling {
        enabled: true,
        min_workers: 1,
        max_workers: 16,
        strategy: None,
        scale_up_cooldown: s(60),
        scale_down_cooldown: s(300),
        scale_up_increment: None,
        scale_down_increment: None,
        evaluation_interval: s(2),
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
            idle_time: s(300),
            consecutive_checks: 3,
        },
    }
}

/// The load of a cluster, and what the machine has.
#[derive(Clone, Copy)]
struct Load {
    /// Workers that it would keep busy; what the workers cannot do waits.
    busy: f64,
    /// The part of the busy time that is CPU time.
    cpu: f64,
    in_flight: u64,
    queue_length: u64,
    p95: Option<f64>,
    /// Per worker.
    memory: u64,
    budget: Option<u64>,
    usable_cpus: f64,
    cpu_pressure: Option<f64>,
}

const IDLE: Load = Load {
    busy: 0.0,
    cpu: 1.0,
    in_flight: 0,
    queue_length: 0,
    p95: None,
    memory: 50 * MB,
    budget: Some(10_000 * MB),
    usable_cpus: 16.0,
    cpu_pressure: Some(0.0),
};

/// Time that a request takes in a worker.
const REQUEST: f64 = 0.02;

/// A cluster that does what the autoscaler decides. A worker that it adds serves after `start_up` seconds.
struct World {
    autoscaler: Autoscaler,
    now: Duration,
    /// When each worker became or becomes ready.
    workers: Vec<Duration>,
    start_up: u64,
    /// Work that waits, in seconds of a worker.
    backlog: f64,
    completed: f64,
    changes: Vec<Evaluation>,
}

impl World {
    fn new(policy: AutoScaling, workers: usize) -> Self {
        let now = s(1000);
        Self {
            autoscaler: Autoscaler::new(policy),
            now,
            workers: vec![now - s(10); workers],
            start_up: 2,
            backlog: 0.0,
            completed: 0.0,
            changes: Vec::new(),
        }
    }

    fn size(&self) -> u32 {
        u32::try_from(self.workers.len()).unwrap()
    }

    fn sample(&mut self, load: &Load) {
        let now = self.now;
        let ready = self.workers.iter().filter(|at| **at <= now).count() as f64;
        let work = load.busy + self.backlog;
        let done = work.min(ready);
        self.backlog = (work - done).min(1e6);
        self.completed += done / REQUEST;
        let busy = 100.0 * done / ready.max(1.0);
        let worker = |at: &Duration| {
            if *at > now {
                return WorkerLoad {
                    ready_for: None,
                    cpu: 100.0,
                    utilization: 100.0,
                    memory: load.memory / 2,
                };
            }
            let cpu = busy * load.cpu;
            WorkerLoad { ready_for: Some(now - *at), cpu, utilization: busy, memory: load.memory }
        };
        let workers: Vec<WorkerLoad> = self.workers.iter().map(worker).collect();
        let memory = workers.iter().map(|worker| worker.memory).sum();
        self.autoscaler.sample(Sample {
            at: now,
            memory,
            memory_free: load.budget.map(|budget| budget.saturating_sub(memory)),
            workers,
            in_flight: load.in_flight + (self.backlog / REQUEST) as u64,
            queue_length: load.queue_length,
            completed: self.completed as u64,
            p95: Percentiles { stable: load.p95, panic: load.p95 },
            memory_budget: load.budget,
            usable_cpus: load.usable_cpus,
            cpu_pressure: load.cpu_pressure,
        });
    }

    fn evaluate(&mut self) -> Evaluation {
        let evaluation = self.autoscaler.evaluate(self.now, self.size());
        let ready = self.now + s(self.start_up);
        self.workers.resize(evaluation.to as usize, ready);
        if evaluation.is_change() {
            self.changes.push(evaluation.clone());
        }
        evaluation
    }

    /// A second under this load; the evaluation, if one was due.
    fn tick(&mut self, load: &Load) -> Option<Evaluation> {
        self.now += s(1);
        self.sample(load);
        self.autoscaler.is_due(self.now).then(|| self.evaluate())
    }

    /// The evaluations of so many seconds.
    fn run(&mut self, seconds: u64, load: &Load) -> Vec<Evaluation> {
        (0..seconds).filter_map(|_| self.tick(load)).collect()
    }

    /// The numbers of workers after the changes so far.
    fn sizes(&self) -> Vec<u32> {
        self.changes.iter().map(|change| change.to).collect()
    }
}

/// The number of workers after a time under a load, and the last evaluation.
fn after(policy: AutoScaling, workers: usize, seconds: u64, load: Load) -> (u32, Evaluation) {
    let mut world = World::new(policy, workers);
    let last = world.run(seconds, &load).pop().unwrap();
    (world.size(), last)
}
