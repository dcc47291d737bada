//! What is measured once a second.

use std::time::Duration;

/// The time between two samples.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// One worker that gets connections, or starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerLoad {
    /// How long it has been ready; None: it starts.
    pub ready_for: Option<Duration>,
    /// Percent of one CPU, since the previous sample.
    pub cpu: f64,
    /// Percent of the time in which its event loop was busy.
    pub utilization: f64,
    /// In bytes.
    pub memory: u64,
}

impl WorkerLoad {
    /// A worker whose start is part of this sample counts as starting: its CPU was for the start (kubernetes#28692).
    pub fn counts(&self) -> bool {
        self.ready_for.is_some_and(|ready| ready >= INTERVAL)
    }
}

/// 95th percentiles of the response times, in milliseconds; None: no response in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Percentiles {
    /// Of the last 60 s.
    pub stable: Option<f64>,
    /// Of the last 6 s.
    pub panic: Option<f64>,
}

/// The cluster in one second.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// On the caller's clock.
    pub at: Duration,
    pub workers: Vec<WorkerLoad>,
    /// Requests in flight in all workers.
    pub in_flight: u64,
    /// Connections that wait in drover's queue.
    pub queue_length: u64,
    /// Requests answered since the cluster started.
    pub completed: u64,
    pub p95: Percentiles,
    /// Memory of all processes of the workers, in bytes.
    pub memory: u64,
    /// The memory that they may use together; None: unknown.
    pub memory_budget: Option<u64>,
    /// What is left of it: other processes may use a part of it too.
    pub memory_free: Option<u64>,
    pub usable_cpus: f64,
    /// Percent of the last 10 s in which a task waited for a CPU; None: unknown.
    pub cpu_pressure: Option<f64>,
}
