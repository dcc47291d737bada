//! A limit that a worker has reached.

use crate::model::{Limit, LimitAction, WorkerId};

#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    pub worker: WorkerId,
    pub limit: Limit,
    pub action: LimitAction,
    /// In the limit's unit, like the next two.
    pub value: f64,
    pub threshold: f64,
    /// The last samples, the latest one last.
    pub samples: Vec<f64>,
    /// A sentence for people: what was reached, the option, and what is done.
    pub message: String,
}

/// Bytes, for people.
pub fn megabytes(bytes: f64) -> String {
    format!("{:.0} MB", bytes / f64::from(1 << 20))
}
