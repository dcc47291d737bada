//! One slot: its state owns what is true only in that state. Rich inside; `SlotState` is the view outside.

use std::time::Duration;

use super::budget::Budget;
use crate::error::Error;
use crate::event::{ExitReason, SlotState};

/// All times are the supervisor's clock, since its start.
#[derive(Clone, Debug)]
pub enum State {
    /// No worker, none due.
    Vacant,
    /// Asked for; `pid` is known once it is spawned.
    Starting {
        pid: Option<u32>,
        since: Duration,
    },
    Ready {
        pid: u32,
    },
    /// Asked to finish; SIGTERM at `terminate`, SIGKILL at `kill`.
    Draining {
        pid: u32,
        terminate: Duration,
        kill: Duration,
    },
    /// SIGTERM is sent.
    Terminating {
        pid: u32,
        kill: Duration,
    },
    /// SIGKILL is sent; `reason` is why.
    Killed {
        pid: u32,
        reason: ExitReason,
    },
    /// The next worker starts at `until`.
    Waiting {
        until: Duration,
    },
    /// Too many deaths; the next trial start is at `until`.
    CircuitOpen {
        until: Duration,
    },
}

#[derive(Clone, Debug)]
pub struct Slot {
    pub number: u16,
    pub state: State,
    /// Of the present or, between two workers, the last worker. 0 before the first.
    pub generation: u32,
    pub restarts: u32,
    pub budget: Budget,
    /// The present start is a trial: another death opens the circuit again at once.
    pub trial: bool,
    /// The present worker was ready once.
    pub has_been_ready: bool,
    /// The present worker's own account of its end, if it gave one.
    pub error: Option<Error>,
}

impl Slot {
    pub fn new(number: u16) -> Self {
        Self {
            number,
            state: State::Vacant,
            generation: 0,
            restarts: 0,
            budget: Budget::default(),
            trial: false,
            has_been_ready: false,
            error: None,
        }
    }

    pub fn pid(&self) -> Option<u32> {
        match self.state {
            State::Starting { pid, .. } => pid,
            State::Ready { pid }
            | State::Draining { pid, .. }
            | State::Terminating { pid, .. }
            | State::Killed { pid, .. } => Some(pid),
            State::Vacant | State::Waiting { .. } | State::CircuitOpen { .. } => None,
        }
    }

    /// A process exists or is about to.
    pub fn occupied(&self) -> bool {
        !matches!(self.state, State::Vacant | State::Waiting { .. } | State::CircuitOpen { .. })
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// `start` need not wait for this slot: it is ready or has used up its budget.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Ready { .. } | State::CircuitOpen { .. } | State::Vacant) || self.trial
    }

    pub fn view(&self) -> SlotState {
        match self.state {
            State::Vacant => SlotState::Vacant,
            State::Starting { .. } => SlotState::Starting,
            State::Ready { .. } => SlotState::Ready,
            State::Draining { .. } => SlotState::Draining,
            State::Terminating { .. } | State::Killed { .. } => SlotState::Stopping,
            State::Waiting { .. } => SlotState::Waiting,
            State::CircuitOpen { .. } => SlotState::CircuitOpen,
        }
    }

    /// When this slot wants to be looked at again.
    pub fn due(&self, startup_timeout: Duration) -> Option<Duration> {
        match self.state {
            State::Starting { pid: Some(_), since } => Some(since + startup_timeout),
            State::Draining { terminate, .. } => Some(terminate),
            State::Terminating { kill, .. } => Some(kill),
            State::Waiting { until } | State::CircuitOpen { until } => Some(until),
            State::Starting { pid: None, .. }
            | State::Vacant
            | State::Ready { .. }
            | State::Killed { .. } => None,
        }
    }
}
