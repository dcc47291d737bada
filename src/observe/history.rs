use std::sync::{Arc, Mutex, PoisonError};

use crate::metrics::history::{History, Point};

/// The history of the cluster's metrics; written by the sampler, read by the API.
#[derive(Clone)]
pub struct SharedHistory(Arc<Mutex<History>>);

impl SharedHistory {
    pub fn new(seconds: u64) -> Self {
        Self(Arc::new(Mutex::new(History::new(seconds))))
    }

    pub fn add(&self, point: Point) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(point);
    }

    /// See [`History::range`].
    pub fn range(&self, series: &str, from: u64, step: u64) -> Option<Vec<(u64, f64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).range(series, from, step)
    }
}
