//! What a sample and an evaluation cost, by the number of workers.

use crate::drover::{self, sample};
use crate::policy::{Second, WorkerSecond};
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

const WORKERS: [usize; 6] = [1, 4, 16, 64, 256, 1024];
const EVALUATIONS: u32 = 2000;

/// Microseconds of one evaluation with the sample before it, in a full window.
pub fn by_workers() -> Map<String, Value> {
    WORKERS.into_iter().map(|workers| (workers.to_string(), cost(workers).into())).collect()
}

fn cost(count: usize) -> f64 {
    let mut autoscaler = drover::with(json!({ "enabled": true, "maxWorkers": 1024 }));
    let workers = vec![WorkerSecond { age: 100.0, ready_for: Some(90.0), busy: 0.5 }; count];
    let mut spent = Duration::ZERO;
    for second in 0..60 + EVALUATIONS {
        let at = f64::from(second);
        let seen =
            Second { at, workers: &workers, in_flight: 9, completed: 100, p95: [Some(9.0), Some(9.0)] };
        let taken = sample(&seen);
        let begun = Instant::now();
        autoscaler.sample(taken);
        black_box(autoscaler.evaluate(Duration::from_secs_f64(at), count as u32));
        if second >= 60 {
            spent += begun.elapsed();
        }
    }
    (spent.as_secs_f64() * 1e6 / f64::from(EVALUATIONS) * 100.0).round() / 100.0
}
