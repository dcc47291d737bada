//! One slot: who sits in it, who comes next, who is leaving. Rich inside; `SlotState` is the view outside.

use std::time::Duration;

use super::ailing::Ailing;
use super::budget::Budget;
use super::worker::{Stage, Worker};
use crate::event::SlotState;
use crate::model::WorkerId;

/// Who has the slot now.
#[derive(Clone, Debug)]
pub enum Seat {
    /// Nobody, and nobody is due.
    Vacant,
    Occupied(Worker),
    /// The next worker starts at `until`; was that told already? `planned`: nobody has died.
    Waiting {
        until: Duration,
        told: bool,
        planned: bool,
    },
    /// Too many deaths; the next trial start is at `until`.
    CircuitOpen {
        until: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its worker gets connections.
    Serving,
    /// Its worker is loaded and waits to serve.
    Spare,
    /// The cluster has become smaller: nobody comes after the present worker.
    Retired,
}

#[derive(Clone, Debug)]
pub struct Slot {
    pub number: u16,
    pub role: Role,
    pub seat: Seat,
    /// Starts while the one in the seat still serves; it takes the seat when it is ready.
    pub next: Option<Worker>,
    /// Old ones that finish what they have.
    pub leaving: Vec<Worker>,
    /// The number of the last worker that was asked for. 0 before the first.
    pub generation: u32,
    /// Deaths that another worker has followed.
    pub restarts: u32,
    /// Workers that another has followed as was planned: a roll, a limit, a failed check, a wish of its program's.
    pub replacements: u32,
    pub budget: Budget,
    /// The one that sits is not well, and is to be replaced.
    pub ailing: Option<Ailing>,
    /// It was replaced as often as is allowed, and is not well again.
    pub hopeless: bool,
    /// Nobody was ready here since the cluster has this slot.
    pub fresh: bool,
    /// The present start is a trial: another death opens the circuit again at once.
    pub trial: bool,
}

impl Slot {
    pub fn new(number: u16, role: Role) -> Self {
        Self {
            number,
            role,
            seat: Seat::Vacant,
            next: None,
            leaving: Vec::new(),
            generation: 0,
            restarts: 0,
            replacements: 0,
            budget: Budget::default(),
            ailing: None,
            hopeless: false,
            fresh: true,
            trial: false,
        }
    }

    /// A worker of the next generation.
    pub fn conceive(&mut self, now: Duration) -> Worker {
        self.generation += 1;
        Worker::new(WorkerId { slot: self.number, generation: self.generation }, now)
    }

    /// A start that was due later is not due any more.
    pub fn expect_nobody(&mut self) {
        if matches!(self.seat, Seat::Waiting { .. } | Seat::CircuitOpen { .. }) {
            self.seat = Seat::Vacant;
        }
    }

    pub fn sitting(&self) -> Option<&Worker> {
        match &self.seat {
            Seat::Occupied(worker) => Some(worker),
            Seat::Vacant | Seat::Waiting { .. } | Seat::CircuitOpen { .. } => None,
        }
    }

    /// The one that the slot is known by: who sits there, else who leaves last.
    pub fn shown(&self) -> Option<&Worker> {
        self.sitting().or(self.leaving.last())
    }

    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.sitting().into_iter().chain(&self.next).chain(&self.leaving)
    }

    pub fn worker(&mut self, id: WorkerId) -> Option<&mut Worker> {
        let sitting = match &mut self.seat {
            Seat::Occupied(worker) => Some(worker),
            Seat::Vacant | Seat::Waiting { .. } | Seat::CircuitOpen { .. } => None,
        };
        let mut all = sitting.into_iter().chain(&mut self.next).chain(&mut self.leaving);
        all.find(|worker| worker.id == id)
    }

    /// A process exists or is about to.
    pub fn is_inhabited(&self) -> bool {
        self.workers().next().is_some()
    }

    /// This worker is to take over from one that serves.
    pub fn takes_over(&self, id: WorkerId) -> bool {
        let is_next = self.next.as_ref().is_some_and(|next| next.id == id);
        is_next && self.is_ready() && self.role == Role::Serving
    }

    pub fn is_ready(&self) -> bool {
        self.sitting().is_some_and(Worker::is_ready)
    }

    /// Nobody need wait for this slot: it is ready, has used up its budget, or is to be empty.
    pub fn is_settled(&self) -> bool {
        self.is_ready() || self.trial || matches!(self.seat, Seat::CircuitOpen { .. } | Seat::Vacant)
    }

    /// Nobody misses a worker that serves here.
    pub fn is_extra(&self) -> bool {
        self.fresh || self.role != Role::Serving
    }

    pub fn view(&self) -> SlotState {
        let worker = match &self.seat {
            Seat::Occupied(worker) => worker,
            Seat::Waiting { .. } => return SlotState::Waiting,
            Seat::CircuitOpen { .. } => return SlotState::CircuitOpen,
            Seat::Vacant => match self.leaving.last() {
                Some(leaving) => leaving,
                None => return SlotState::Vacant,
            },
        };
        match worker.stage {
            Stage::Starting { .. } => SlotState::Starting,
            Stage::Ready { .. } if self.role == Role::Spare => SlotState::Standby,
            Stage::Ready { .. } => SlotState::Ready,
            Stage::Draining { .. } => SlotState::Draining,
            Stage::Terminating { .. } | Stage::Killed { .. } => SlotState::Stopping,
        }
    }

    /// When this slot wants to be looked at again.
    pub fn due(&self, startup_timeout: Duration) -> Option<Duration> {
        let seat = match self.seat {
            Seat::Waiting { until, .. } | Seat::CircuitOpen { until } => Some(until),
            Seat::Vacant | Seat::Occupied(_) => None,
        };
        let ailing = self.ailing.map(|ailing| ailing.until);
        self.workers().filter_map(|worker| worker.due(startup_timeout)).chain(seat).chain(ailing).min()
    }
}
