//! Leader election: at most one worker is the leader. PURE. Leadership moves only when the old leader has resigned or
//! has been reaped: a leader that is stopped or hung may act as leader until then.

use super::reconcile::Supervisor;
use super::slot::{Role, Slot};
use super::worker::Stage;
use crate::model::WorkerId;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Nobody,
    Leads(WorkerId),
    /// It was told to resign.
    Resigning(WorkerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell the worker that it is the leader.
    Lead(WorkerId),
    /// Tell it to resign; `Leader::resigned` when it has.
    Resign(WorkerId),
    /// Publish the change; slots, None for no leader.
    Changed { from: Option<u16>, to: Option<u16> },
}

#[derive(Debug, Default)]
pub struct Leader {
    state: State,
    /// The leader that was last published.
    announced: Option<u16>,
}

impl Leader {
    /// Updates the leadership for the current workers.
    pub fn follow(&mut self, supervisor: &Supervisor) -> Vec<Action> {
        let slots = supervisor.slots();
        let mut actions = Vec::new();
        if let State::Leads(id) | State::Resigning(id) = self.state {
            match (standing(slots, id), self.state) {
                (Standing::Gone, _) => self.state = State::Nobody,
                (Standing::Leaves, State::Leads(_)) => {
                    self.state = State::Resigning(id);
                    actions.push(Action::Resign(id));
                }
                (Standing::Stays | Standing::Leaves, _) => {}
            }
        }
        if self.state == State::Nobody {
            let next = if supervisor.is_stopping() { None } else { choose(slots) };
            if let Some(id) = next {
                self.state = State::Leads(id);
                actions.push(Action::Lead(id));
            }
            let (from, to) = (self.announced, next.map(|next| next.slot));
            if from != to || next.is_some() {
                self.announced = to;
                actions.push(Action::Changed { from, to });
            }
        }
        actions
    }

    /// The slot of the leader.
    pub fn leads(&self) -> Option<u16> {
        match self.state {
            State::Leads(id) => Some(id.slot),
            State::Resigning(_) | State::Nobody => None,
        }
    }

    /// The worker has resigned.
    pub fn resigned(&mut self, id: WorkerId) {
        if self.state == State::Resigning(id) {
            self.state = State::Nobody;
        }
    }
}

enum Standing {
    Stays,
    Leaves,
    Gone,
}

fn standing(slots: &[Slot], id: WorkerId) -> Standing {
    let Some(slot) = slots.get(usize::from(id.slot)) else { return Standing::Gone };
    if !slot.workers().any(|worker| worker.id == id) {
        return Standing::Gone;
    }
    let is_active = slot.active_worker().is_some_and(|worker| worker.id == id);
    if is_active && may_lead(slot) { Standing::Stays } else { Standing::Leaves }
}

/// Whether the slot's active worker runs and is to stay.
fn may_lead(slot: &Slot) -> bool {
    let runs = slot.active_worker().is_some_and(|worker| match worker.stage {
        Stage::Ready { .. } => true,
        // `runOnce` tasks before any worker serves run while the workers start.
        Stage::Starting { pid, .. } => pid.is_some(),
        Stage::Draining { .. } | Stage::Terminating { .. } | Stage::Killed { .. } => false,
    });
    slot.role == Role::Serving && runs
}

/// Prefers a ready worker to a starting one, then the lowest slot.
fn choose(slots: &[Slot]) -> Option<WorkerId> {
    let fit = slots.iter().filter(|slot| may_lead(slot));
    let first = fit.min_by_key(|slot| (!slot.is_ready(), slot.number))?;
    first.active_worker().map(|worker| worker.id)
}
