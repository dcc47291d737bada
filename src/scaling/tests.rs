//! The autoscaler on a simulated clock: promises by name, then any load.

mod any_load;
mod steps;

use super::*;
use crate::config::sections::scaling::{AutoScaling, Trigger};
use crate::config::{self, HostFacts, Input};
use crate::model::{Evaluation, ScalingHold, ScalingRule};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const MB: u64 = 1_000_000;

/// The defaults, with auto-scaling on and up to 16 workers.
fn policy() -> AutoScaling {
    let options = json!({ "autoScaling": { "enabled": true, "maxWorkers": 16 } });
    let host = HostFacts { usable_cpus: 16.0, available_memory: None, single_process_reason: None };
    let input = Input { options: &options, env: &BTreeMap::new(), host: &host };
    config::load_cluster(&input).unwrap().config.auto_scaling
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

    fn sample(&mut self, load: &Load) -> Sample {
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
        Sample {
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
        }
    }

    /// A second under this load; the evaluation, if one was due.
    fn tick(&mut self, load: &Load) -> Option<Evaluation> {
        self.now += s(1);
        let sample = self.sample(load);
        let evaluation = self.autoscaler.tick(sample, self.size())?;
        let ready = self.now + s(self.start_up);
        self.workers.resize(evaluation.to as usize, ready);
        if evaluation.is_change() {
            self.changes.push(evaluation.clone());
        }
        Some(evaluation)
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
