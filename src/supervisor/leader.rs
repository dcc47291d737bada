//! Who leads: at most one worker at a time. PURE. Leadership moves only when the old leader has said that it leads no
//! more, or is gone: one that is stopped or hung may believe in itself until it is reaped.

use super::reconcile::Supervisor;
use super::slot::{Role, Slot};
use super::worker::Stage;
use crate::model::WorkerId;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Nobody,
    Leads(WorkerId),
    /// It was asked to lead no more.
    Resigning(WorkerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell the worker that it leads.
    Lead(WorkerId),
    /// Ask it to lead no more; `Leader::resigned` when it has answered.
    Resign(WorkerId),
    /// Tell everybody; slots, None for nobody.
    Changed { from: Option<u16>, to: Option<u16> },
}

#[derive(Debug, Default)]
pub struct Leader {
    state: State,
    /// Who was told to everybody last.
    announced: Option<u16>,
}

impl Leader {
    /// Looks at the workers as they are now.
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

    /// The slot of who leads.
    pub fn leads(&self) -> Option<u16> {
        match self.state {
            State::Leads(id) => Some(id.slot),
            State::Resigning(_) | State::Nobody => None,
        }
    }

    /// The worker leads no more.
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

/// Who sits there runs and is to stay.
fn may_lead(slot: &Slot) -> bool {
    let runs = slot.active_worker().is_some_and(|worker| match worker.stage {
        Stage::Ready { .. } => true,
        // Work that is to be done once before anybody serves is done while the workers start.
        Stage::Starting { pid, .. } => pid.is_some(),
        Stage::Draining { .. } | Stage::Terminating { .. } | Stage::Killed { .. } => false,
    });
    slot.role == Role::Serving && runs
}

/// One that is ready before one that starts; the lowest slot.
fn choose(slots: &[Slot]) -> Option<WorkerId> {
    let fit = slots.iter().filter(|slot| may_lead(slot));
    let first = fit.min_by_key(|slot| (!slot.is_ready(), slot.number))?;
    first.active_worker().map(|worker| worker.id)
}
