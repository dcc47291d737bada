//! The supervisor's actions.

use std::time::Duration;

use crate::error::Error;
use crate::event::Event;
use crate::model::WorkerId;

/// The id of the supervisor's own operations; ids of commands begin with 1.
pub const OWN: u32 = 0;

/// An action that the driver carries out.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `standby`: it waits until it is promoted.
    Spawn {
        worker: WorkerId,
        standby: bool,
    },
    /// This worker becomes the active one of its slot and gets its connections.
    Promote {
        worker: WorkerId,
    },
    /// The worker keeps serving, and its `/ready` reports that it is about to drain.
    Unready {
        worker: WorkerId,
    },
    /// The cluster closes its addresses. Drains in the same actions begin when they are closed.
    Retire,
    /// Tells the worker to finish its requests and exit within `deadline` from now.
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
    /// Settles `start`: every worker is ready, or the cluster runs degraded, or no worker became ready.
    Started(Result<(), Error>),
    /// A scale or a roll has ended, with the slots that serve because of it. Id [`OWN`]: the supervisor's own.
    Done {
        id: u32,
        result: Result<Vec<u16>, Error>,
    },
    /// Every worker has ended, and none will be started.
    Stopped,
}

/// The actions that result from one fact, in order.
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
