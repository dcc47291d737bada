//! What the primary's decisions cost, by the number of workers: a sample with an evaluation, and a look for leaks.

use crate::drover::{self, sample};
use crate::policy::{Bounds, Second, WorkerSecond};
use crate::random::Random;
use ::drover::memory::leak::{Detector, Floor, Load, POINTS, READINGS_PER_POINT, Reading};
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

const WORKERS: [usize; 6] = [1, 4, 16, 64, 256, 1024];
const EVALUATIONS: u32 = 2000;

/// Looks of the leak detector that are measured, at its default interval.
const LOOKS: usize = 10;
const LOOK_INTERVAL_S: usize = 30;
const MB: f64 = 1024.0 * 1024.0;

/// Microseconds of one evaluation with the sample before it, in a full window.
pub fn by_workers() -> Map<String, Value> {
    WORKERS.into_iter().map(|workers| (workers.to_string(), cost(workers).into())).collect()
}

fn cost(count: usize) -> f64 {
    let bounds = Bounds { min: 1, max: 1024 };
    let mut autoscaler = drover::with(json!({ "enabled": true, "maxWorkers": bounds.max }), bounds);
    let workers = vec![WorkerSecond { age: 100.0, ready_for: Some(90.0), busy: 0.5 }; count];
    let mut spent = Duration::ZERO;
    for second in 0..60 + EVALUATIONS {
        let at = f64::from(second);
        let seen =
            Second { at, workers: &workers, in_flight: 9, completed: 100, p95: [Some(9.0), Some(9.0)] };
        let taken = sample(&seen, bounds);
        let begun = Instant::now();
        autoscaler.sample(taken);
        black_box(autoscaler.evaluate(Duration::from_secs_f64(at), count as u32));
        if second >= 60 {
            spent += begun.elapsed();
        }
    }
    (spent.as_secs_f64() * 1e6 / f64::from(EVALUATIONS) * 100.0).round() / 100.0
}

/// Milliseconds of one look for leaks: a reading and a verdict of each worker, whose series are all full.
pub fn looks_by_workers() -> Map<String, Value> {
    WORKERS.into_iter().map(|workers| (workers.to_string(), look_cost(workers).into())).collect()
}

fn look_cost(count: usize) -> f64 {
    let mut random = Random::new(count as u64);
    let mut detector = Detector::default();
    let full = POINTS * READINGS_PER_POINT as usize;
    // Each grows a little under noise, so that no series is passed over.
    let mut reading = |look: usize| {
        let grown = 80.0 * MB + look as f64 * 0.01 * MB;
        Reading {
            at: Duration::from_secs((look * LOOK_INTERVAL_S) as u64),
            resident: (grown + random.uniform() * 10.0 * MB) as u64,
            floor: Some(Floor {
                bytes: (grown / 2.0 + random.uniform() * MB) as u64,
                collections: look as u64 + 1,
            }),
            load: Load::default(),
        }
    };
    for look in 0..full {
        (0..count).for_each(|worker| detector.observe(worker, reading(look)));
    }
    let mut spent = Duration::ZERO;
    for look in full..full + LOOKS {
        let readings: Vec<Reading> = (0..count).map(|_| reading(look)).collect();
        let begun = Instant::now();
        for (worker, reading) in readings.into_iter().enumerate() {
            detector.observe(worker, reading);
            black_box(detector.verdict(&worker, None));
        }
        spent += begun.elapsed();
    }
    (spent.as_secs_f64() * 1e3 / LOOKS as f64 * 100.0).round() / 100.0
}
