//! The scaler of Watt (@platformatic/runtime, `workers.dynamic`, version 1) as documented, with its defaults: the mean
//! event-loop utilisation above 0.8 for 10 s adds a worker, below 0.2 for 60 s removes one; looked at every 60 s, and
//! at once when a worker is above 0.8; a cooldown of 20 s; workers count after a grace period of 30 s.
//! <https://docs.platformatic.dev/docs/guides/dynamic-workers>

use crate::policy::{Bounds, Mean, Policy, Second};

const UP: f64 = 0.8;
const DOWN: f64 = 0.2;
const PERIOD: f64 = 60.0;
const COOLDOWN: f64 = 20.0;
const GRACE: f64 = 30.0;

pub struct Watt {
    bounds: Bounds,
    short: Mean,
    long: Mean,
    evaluated_at: f64,
    scaled_at: f64,
}

impl Watt {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, short: Mean::new(10), long: Mean::new(60), evaluated_at: 0.0, scaled_at: -COOLDOWN }
    }
}

impl Policy for Watt {
    fn decide(&mut self, second: &Second<'_>) -> u32 {
        let size = second.size();
        let counted: Vec<f64> =
            second.workers.iter().filter(|worker| worker.age >= GRACE).map(|worker| worker.busy).collect();
        if counted.is_empty() {
            return size;
        }
        let mean = counted.iter().sum::<f64>() / counted.len() as f64;
        self.short.add(mean);
        self.long.add(mean);
        let is_due = second.at >= self.evaluated_at + PERIOD || counted.iter().any(|busy| *busy > UP);
        if !is_due || second.at < self.scaled_at + COOLDOWN {
            return size;
        }
        self.evaluated_at = second.at;
        let next = match (self.short.get() > UP, self.long.get() < DOWN) {
            (_, true) => size - 1,
            (true, false) => size + 1,
            (false, false) => size,
        };
        let next = next.clamp(self.bounds.min, self.bounds.max);
        if next != size {
            self.scaled_at = second.at;
        }
        next
    }
}
