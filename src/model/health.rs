//! Health of a worker and of a cluster. PURE. The only place that decides it, for messages, metrics, the API and the
//! placement of connections.

use serde::Serialize;

use super::{WorkerId, WorkerState};

/// The health of a worker by its checks and its responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// No check has ended yet.
    Unknown = 0,
    Healthy = 1,
    /// It failed its latest checks, but fewer than the maximum.
    Failing = 2,
    Unhealthy = 3,
    /// It is excluded temporarily because of its 5xx responses.
    Ejected = 4,
}

impl CheckStatus {
    pub const ALL: [CheckStatus; 5] = [
        CheckStatus::Unknown,
        CheckStatus::Healthy,
        CheckStatus::Failing,
        CheckStatus::Unhealthy,
        CheckStatus::Ejected,
    ];

    pub fn from_cell(cell: u64) -> Self {
        Self::ALL.get(cell as usize).copied().unwrap_or(CheckStatus::Unknown)
    }

    /// Whether the worker may get new connections, as far as the checks are concerned.
    pub fn is_good(self) -> bool {
        match self {
            CheckStatus::Unknown | CheckStatus::Healthy | CheckStatus::Failing => true,
            CheckStatus::Unhealthy | CheckStatus::Ejected => false,
        }
    }
}

/// Whether a worker is healthy, and if not why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerHealth {
    Well,
    /// It does not serve: starting, waiting for its start, stopping.
    NotServing(WorkerState),
    /// It has unread work, and its event loop does not run.
    Unresponsive,
    /// Its checks fail, or its responses do.
    Failing(CheckStatus),
}

impl WorkerHealth {
    /// The only place that decides it. A draining worker is healthy: it finishes its requests.
    pub fn of(state: WorkerState, is_unresponsive: bool, checks: CheckStatus) -> Self {
        match state {
            WorkerState::Ready | WorkerState::Standby | WorkerState::Draining if is_unresponsive => {
                WorkerHealth::Unresponsive
            }
            WorkerState::Ready | WorkerState::Standby | WorkerState::Draining if checks.is_good() => {
                WorkerHealth::Well
            }
            WorkerState::Ready | WorkerState::Standby | WorkerState::Draining => {
                WorkerHealth::Failing(checks)
            }
            WorkerState::Vacant
            | WorkerState::Starting
            | WorkerState::Stopping
            | WorkerState::Waiting
            | WorkerState::CircuitOpen => WorkerHealth::NotServing(state),
        }
    }

    pub fn is_well(self) -> bool {
        self == WorkerHealth::Well
    }

    /// A sentence for people; None: it is healthy. `checker_reason`: the result of the checks.
    pub fn reason(self, checker_reason: Option<&str>) -> Option<String> {
        match self {
            WorkerHealth::Well => None,
            WorkerHealth::NotServing(state) => Some(format!("it is not serving: {}", state.detail())),
            WorkerHealth::Unresponsive => Some("its event loop does not turn".to_owned()),
            WorkerHealth::Failing(CheckStatus::Ejected) => {
                Some(checker_reason.unwrap_or("it answers with errors").to_owned())
            }
            WorkerHealth::Failing(_) => {
                Some(checker_reason.unwrap_or("it fails its health checks").to_owned())
            }
        }
    }
}

/// The health of the cluster as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterStatus {
    Healthy,
    /// Some workers are not healthy.
    Degraded,
    /// Fewer than half of the workers are healthy.
    Critical,
}

impl ClusterStatus {
    /// `well` of `all` configured workers serve and are healthy. A cluster without workers is critical.
    pub fn of(well: usize, all: usize) -> Self {
        match well {
            _ if all == 0 || well * 2 < all => ClusterStatus::Critical,
            _ if well < all => ClusterStatus::Degraded,
            _ => ClusterStatus::Healthy,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            ClusterStatus::Healthy => "healthy",
            ClusterStatus::Degraded => "degraded",
            ClusterStatus::Critical => "critical",
        }
    }
}

/// The health of the cluster in a few numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub status: ClusterStatus,
    pub well: usize,
    pub all: usize,
    /// Configured workers that are not healthy or do not serve.
    pub unhealthy: Vec<WorkerId>,
}

impl Condition {
    /// Computes it for the configured workers. A worker counts if it serves and is healthy.
    pub fn of(workers: impl Iterator<Item = (WorkerId, WorkerState, WorkerHealth)>) -> Self {
        let (mut well, mut all, mut unhealthy) = (0, 0, Vec::new());
        for (worker, state, health) in workers {
            all += 1;
            if state == WorkerState::Ready && health.is_well() {
                well += 1;
            } else {
                unhealthy.push(worker);
            }
        }
        Self { status: ClusterStatus::of(well, all), well, all, unhealthy }
    }

    /// The sentence for people when the cluster is critical.
    pub fn critical_message(&self) -> String {
        format!("Fewer than half of the workers are healthy: {} of {}", self.well, self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_survives_its_cell() {
        for status in CheckStatus::ALL {
            assert_eq!(CheckStatus::from_cell(status as u64), status);
        }
        assert_eq!(CheckStatus::from_cell(99), CheckStatus::Unknown);
    }

    #[test]
    fn a_worker_is_well_when_it_is_there_its_loop_turns_and_its_checks_do_not_fail() {
        use WorkerHealth::{Failing, NotServing, Unresponsive, Well};
        for state in [WorkerState::Ready, WorkerState::Standby, WorkerState::Draining] {
            for (is_unresponsive, checks, health) in [
                (false, CheckStatus::Unknown, Well),
                (false, CheckStatus::Healthy, Well),
                (false, CheckStatus::Failing, Well),
                (false, CheckStatus::Unhealthy, Failing(CheckStatus::Unhealthy)),
                (false, CheckStatus::Ejected, Failing(CheckStatus::Ejected)),
                (true, CheckStatus::Healthy, Unresponsive),
                (true, CheckStatus::Unhealthy, Unresponsive),
            ] {
                assert_eq!(WorkerHealth::of(state, is_unresponsive, checks), health, "{state:?}");
            }
        }
        for state in [
            WorkerState::Vacant,
            WorkerState::Starting,
            WorkerState::Stopping,
            WorkerState::Waiting,
            WorkerState::CircuitOpen,
        ] {
            assert_eq!(WorkerHealth::of(state, false, CheckStatus::Healthy), NotServing(state));
        }
    }

    #[test]
    fn less_than_half_well_is_critical_and_less_than_all_degraded() {
        for (well, all, status) in [
            (0, 0, ClusterStatus::Critical),
            (0, 1, ClusterStatus::Critical),
            (1, 1, ClusterStatus::Healthy),
            (1, 2, ClusterStatus::Degraded),
            (1, 3, ClusterStatus::Critical),
            (3, 4, ClusterStatus::Degraded),
        ] {
            assert_eq!(ClusterStatus::of(well, all), status, "{well} of {all}");
        }
    }
}
