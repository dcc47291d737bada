use serde::Serialize;

/// What of a worker, or of all workers, has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// Resident memory of a worker, bytes.
    Memory,
    /// The memory of all workers together, bytes.
    TotalMemory,
    /// Percent of one core.
    Cpu,
    /// Milliseconds since the worker's start.
    Age,
    /// Requests in the worker's life.
    Requests,
    /// Open connections of a worker.
    Connections,
}

/// What is done about a worker at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitAction {
    /// A new worker is started, then this one drains.
    Replace,
    Kill,
    /// It gets fewer new connections.
    Relieve,
    /// It gets no new connections until it has room: they go to other workers, or wait.
    Wait,
    /// Nothing that drover could do would help.
    Alert,
}
