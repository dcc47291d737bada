//! What a policy sees once a second, and what it answers.

use std::collections::VecDeque;

/// One worker in the last second.
#[derive(Clone, Copy)]
pub struct WorkerSecond {
    /// Seconds since it was started.
    pub age: f64,
    /// Seconds since it became ready; None: it starts.
    pub ready_for: Option<f64>,
    /// Fraction of the second in which it was busy; a starting worker is busy with its start.
    pub busy: f64,
}

pub struct Second<'a> {
    /// Seconds since the beginning.
    pub at: f64,
    /// The workers that get requests, or will.
    pub workers: &'a [WorkerSecond],
    pub in_flight: u64,
    /// Since the beginning.
    pub completed: u64,
    /// The 95th percentiles of the last 6 and 60 s, in milliseconds.
    pub p95: [Option<f64>; 2],
}

impl Second<'_> {
    pub fn size(&self) -> u32 {
        u32::try_from(self.workers.len()).unwrap_or(u32::MAX)
    }
}

/// How many workers a policy may run.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub min: u32,
    pub max: u32,
}

pub trait Policy {
    /// The number of workers from now on.
    fn decide(&mut self, second: &Second<'_>) -> u32;
}

pub struct Fixed(pub u32);

impl Policy for Fixed {
    fn decide(&mut self, _: &Second<'_>) -> u32 {
        self.0
    }
}

/// The mean over the last `length` values.
pub struct Mean {
    length: usize,
    values: VecDeque<f64>,
}

impl Mean {
    pub fn new(length: usize) -> Self {
        Self { length, values: VecDeque::new() }
    }

    pub fn add(&mut self, value: f64) {
        self.values.push_back(value);
        if self.values.len() > self.length {
            self.values.pop_front();
        }
    }

    pub fn get(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len().max(1) as f64
    }
}
