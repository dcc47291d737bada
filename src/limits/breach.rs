//! A limit that a worker has reached.

use serde::Serialize;

use crate::model::WorkerId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Resident memory, bytes.
    Memory,
    /// The memory of the whole cluster, bytes.
    TotalMemory,
    /// Percent of one core.
    Cpu,
    /// Milliseconds since its start.
    Age,
    /// Requests in its life.
    Requests,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A new worker is started, then this one drains.
    Replace,
    Kill,
    /// It gets fewer new connections.
    Relieve,
    /// Nothing that drover could do would help.
    Alert,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    pub worker: WorkerId,
    pub limit: Limit,
    pub action: Action,
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
