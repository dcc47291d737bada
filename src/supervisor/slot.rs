//! One slot: its active worker, the next one, and draining ones. `WorkerState` is its public view.

use std::time::Duration;

use super::budget::{Budget, Verdict};
use super::policy::Policy;
use super::worker::{Stage, Worker};
use crate::model::{WorkerId, WorkerState};

/// The active worker of a slot, or what takes its place.
#[derive(Clone, Debug)]
pub enum ActiveWorker {
    /// No worker, and no start is due.
    Vacant,
    Running(Worker),
    /// The next worker starts at `until`; `announced`: whether this was published. `planned`: no worker has died.
    Waiting {
        until: Duration,
        announced: bool,
        planned: bool,
    },
    /// Too many deaths; the next trial start is at `until`.
    CircuitOpen {
        until: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The worker serves connections.
    Serving,
    /// The worker is loaded and waits to serve.
    Standby,
    /// The cluster has been scaled down: the current worker is not replaced.
    Retired,
}

/// The planned replacement of a running but unhealthy worker, and its time.
#[derive(Clone, Copy, Debug)]
pub struct PendingReplacement {
    id: WorkerId,
    until: Duration,
}

#[derive(Clone, Debug)]
pub struct Slot {
    pub number: u16,
    pub role: Role,
    pub active: ActiveWorker,
    /// Starts while the active worker still serves, and becomes the active one when it is ready.
    pub next: Option<Worker>,
    /// Draining workers.
    pub leaving: Vec<Worker>,
    /// The generation of the latest worker. 0 before the first.
    pub generation: u32,
    /// Deaths after which a new worker was started.
    pub restarts: u32,
    /// Planned replacements: a roll, a limit, a failed check, or at the request of the worker's program.
    pub replacements: u32,
    pub budget: Budget,
    /// The active worker is unhealthy and will be replaced.
    pub pending_replacement: Option<PendingReplacement>,
    /// The slot's budget of replacements is used up, and the worker is unhealthy again.
    restarts_exhausted: bool,
    /// No worker has been ready here since the slot was added.
    pub fresh: bool,
    /// The current start is a trial: another death opens the circuit again at once.
    pub trial: bool,
}

impl Slot {
    pub fn new(number: u16, role: Role) -> Self {
        Self {
            number,
            role,
            active: ActiveWorker::Vacant,
            next: None,
            leaving: Vec::new(),
            generation: 0,
            restarts: 0,
            replacements: 0,
            budget: Budget::default(),
            pending_replacement: None,
            restarts_exhausted: false,
            fresh: true,
            trial: false,
        }
    }

    /// Creates a worker of the next generation.
    pub fn new_worker(&mut self, now: Duration) -> Worker {
        self.generation += 1;
        Worker::new(WorkerId { slot: self.number, generation: self.generation }, now)
    }

    /// Reuses a vacant slot, of whose previous state only the counters are kept.
    pub fn reopen(&mut self, role: Role) {
        self.role = role;
        (self.trial, self.restarts_exhausted, self.pending_replacement, self.fresh) =
            (false, false, None, true);
        self.budget = Budget::default();
    }

    /// The active worker is unhealthy: it is replaced as soon as the slot's budget allows. Such replacements use the
    /// same budget as deaths, because a cause that makes every new worker unhealthy is not fixed by more replacements.
    /// True if the budget has just run out.
    pub fn note_unhealthy(&mut self, id: WorkerId, policy: &Policy, now: Duration) -> bool {
        if !self.may_be_replaced(id) || self.pending_replacement.is_some() {
            return false;
        }
        let verdict = self.budget.death(policy, self.number, true, now);
        let delay = match verdict {
            Verdict::RestartAfter(delay) => delay,
            Verdict::Open => policy.reset_timeout,
        };
        self.pending_replacement = Some(PendingReplacement { id, until: now + delay });
        let is_exhausted = verdict == Verdict::Open;
        let was_exhausted = std::mem::replace(&mut self.restarts_exhausted, is_exhausted);
        is_exhausted && !was_exhausted
    }

    /// Whether the unhealthy worker has to be replaced now; false if it is not due or no longer necessary.
    pub fn take_due_replacement(&mut self, now: Duration) -> bool {
        let due = self.pending_replacement.take_if(|pending_replacement| pending_replacement.until <= now);
        due.is_some_and(|pending_replacement| self.may_be_replaced(pending_replacement.id))
    }

    fn may_be_replaced(&self, id: WorkerId) -> bool {
        let is_active = |worker: &Worker| worker.id == id && worker.is_ready();
        self.role == Role::Serving && self.next.is_none() && self.active_worker().is_some_and(is_active)
    }

    /// Cancels a pending start.
    pub fn cancel_start(&mut self) {
        if matches!(self.active, ActiveWorker::Waiting { .. } | ActiveWorker::CircuitOpen { .. }) {
            self.active = ActiveWorker::Vacant;
        }
    }

    pub fn active_worker(&self) -> Option<&Worker> {
        match &self.active {
            ActiveWorker::Running(worker) => Some(worker),
            ActiveWorker::Vacant | ActiveWorker::Waiting { .. } | ActiveWorker::CircuitOpen { .. } => None,
        }
    }

    /// The worker that represents the slot: the active one, else the last draining one.
    pub fn shown(&self) -> Option<&Worker> {
        self.active_worker().or(self.leaving.last())
    }

    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.active_worker().into_iter().chain(&self.next).chain(&self.leaving)
    }

    pub fn worker(&mut self, id: WorkerId) -> Option<&mut Worker> {
        let active_worker = match &mut self.active {
            ActiveWorker::Running(worker) => Some(worker),
            ActiveWorker::Vacant | ActiveWorker::Waiting { .. } | ActiveWorker::CircuitOpen { .. } => None,
        };
        let mut all = active_worker.into_iter().chain(&mut self.next).chain(&mut self.leaving);
        all.find(|worker| worker.id == id)
    }

    /// There is no worker, and none is planned.
    pub fn is_vacant(&self) -> bool {
        self.role == Role::Retired && !self.has_workers()
    }

    /// A process exists or is about to.
    pub fn has_workers(&self) -> bool {
        self.workers().next().is_some()
    }

    /// Whether this worker will replace a serving one.
    pub fn takes_over(&self, id: WorkerId) -> bool {
        let is_next = self.next.as_ref().is_some_and(|next| next.id == id);
        is_next && self.is_ready() && self.role == Role::Serving
    }

    pub fn is_ready(&self) -> bool {
        self.active_worker().is_some_and(Worker::is_ready)
    }

    /// The start does not have to wait for this slot: it is ready, has used up its budget, or will be vacant.
    pub fn is_settled(&self) -> bool {
        self.is_ready()
            || self.trial
            || matches!(self.active, ActiveWorker::CircuitOpen { .. } | ActiveWorker::Vacant)
    }

    /// A missing worker in this slot does not count for the cluster's health.
    pub fn is_extra(&self) -> bool {
        self.fresh || self.role != Role::Serving
    }

    pub fn view(&self) -> WorkerState {
        let worker = match &self.active {
            ActiveWorker::Running(worker) => worker,
            ActiveWorker::Waiting { .. } => return WorkerState::Waiting,
            ActiveWorker::CircuitOpen { .. } => return WorkerState::CircuitOpen,
            ActiveWorker::Vacant => match self.leaving.last() {
                Some(leaving) => leaving,
                None => return WorkerState::Vacant,
            },
        };
        match worker.stage {
            Stage::Starting { .. } => WorkerState::Starting,
            Stage::Ready { .. } if self.role == Role::Standby => WorkerState::Standby,
            Stage::Ready { .. } => WorkerState::Ready,
            Stage::Draining { .. } => WorkerState::Draining,
            Stage::Terminating { .. } | Stage::Killed { .. } => WorkerState::Stopping,
        }
    }

    /// When this slot has to be checked again.
    pub fn due(&self, startup_timeout: Duration) -> Option<Duration> {
        let active = match self.active {
            ActiveWorker::Waiting { until, .. } | ActiveWorker::CircuitOpen { until } => Some(until),
            ActiveWorker::Vacant | ActiveWorker::Running(_) => None,
        };
        let pending_replacement =
            self.pending_replacement.map(|pending_replacement| pending_replacement.until);
        self.workers()
            .filter_map(|worker| worker.due(startup_timeout))
            .chain(active)
            .chain(pending_replacement)
            .min()
    }
}
