//! What the supervisor wants done.

use std::time::Duration;

use crate::error::Error;
use crate::event::Event;
use crate::model::WorkerId;

/// The id of operations that nobody has asked for; those of others begin with 1.
pub const OWN: u32 = 0;

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `standby`: it waits before it serves.
    Spawn {
        worker: WorkerId,
        standby: bool,
    },
    /// This worker is the one of its slot that gets connections from now on.
    Promote {
        worker: WorkerId,
    },
    /// The worker serves on, and tells who asks that it is about to leave.
    Unready {
        worker: WorkerId,
    },
    /// The cluster takes nothing new: its addresses close. Drains that are asked for beside this begin when they have.
    Retire,
    /// Ask the worker to finish what it has; `deadline` from now it is gone.
    Drain {
        worker: WorkerId,
        deadline: Duration,
    },
    Terminate {
        worker: WorkerId,
    },
    Kill {
        worker: WorkerId,
    },
    Emit(Event),
    /// `start` is settled: every worker is ready, or the cluster runs degraded, or nothing got ready.
    Started(Result<(), Error>),
    /// A scale or a roll is over: the slots that serve because of it. Id [`OWN`]: nobody had asked.
    Done {
        id: u32,
        result: Result<Vec<u16>, Error>,
    },
    /// Every worker is gone for good.
    Stopped,
}

/// What one fact makes the parts of the supervisor want done, in the order in which they say it.
#[derive(Debug, Default)]
pub struct Actions(Vec<Action>);

impl Actions {
    pub fn push(&mut self, action: Action) {
        self.0.push(action);
    }

    pub fn emit(&mut self, event: Event) {
        self.push(Action::Emit(event));
    }

    pub fn done(&mut self, id: u32, result: Result<Vec<u16>, Error>) {
        self.push(Action::Done { id, result });
    }

    pub fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.0)
    }
}
