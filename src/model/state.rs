use serde::{Serialize, Serializer};

/// The public state of a slot; `supervisor` has the internal one. As text it is `WorkerInfo.detail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    Vacant = 0,
    Starting = 1,
    Ready = 2,
    Draining = 3,
    Stopping = 4,
    Waiting = 5,
    CircuitOpen = 6,
    /// Loaded, and waiting to serve.
    Standby = 7,
}

/// The five documented states: `WorkerInfo.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PublicState {
    Starting,
    Running,
    Stopping,
    Stopped,
    Error,
}

impl WorkerState {
    pub const ALL: [WorkerState; 8] = [
        WorkerState::Vacant,
        WorkerState::Starting,
        WorkerState::Ready,
        WorkerState::Draining,
        WorkerState::Stopping,
        WorkerState::Waiting,
        WorkerState::CircuitOpen,
        WorkerState::Standby,
    ];

    pub fn from_cell(cell: u64) -> Self {
        Self::ALL.get(cell as usize).copied().unwrap_or(WorkerState::Vacant)
    }

    pub fn public(self) -> PublicState {
        match self {
            WorkerState::Starting | WorkerState::Waiting | WorkerState::Standby => PublicState::Starting,
            WorkerState::Ready => PublicState::Running,
            WorkerState::Draining | WorkerState::Stopping => PublicState::Stopping,
            WorkerState::Vacant => PublicState::Stopped,
            WorkerState::CircuitOpen => PublicState::Error,
        }
    }

    pub fn detail(self) -> &'static str {
        match self {
            WorkerState::Vacant => "vacant",
            WorkerState::Starting => "starting",
            WorkerState::Ready => "ready",
            WorkerState::Draining => "draining",
            WorkerState::Stopping => "stopping",
            WorkerState::Waiting => "waiting",
            WorkerState::CircuitOpen => "circuit-open",
            WorkerState::Standby => "standby",
        }
    }
}

impl Serialize for WorkerState {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.detail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_its_cell() {
        for state in WorkerState::ALL {
            assert_eq!(WorkerState::from_cell(state as u64), state);
        }
        assert_eq!(WorkerState::from_cell(99), WorkerState::Vacant);
    }
}
