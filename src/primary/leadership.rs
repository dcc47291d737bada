//! Who leads.

use super::run::Cluster;
use crate::event::Event;
use crate::ipc::control::ToWorker;
use crate::supervisor::LeaderAction;

impl Cluster {
    /// After every fact: does somebody else lead?
    pub(super) fn lead(&mut self) {
        for action in self.leader.follow(&self.supervisor) {
            match action {
                LeaderAction::Lead(worker) => {
                    if let Some(control) = self.workers.control(worker) {
                        control.send(ToWorker::Lead { leads: true });
                    }
                }
                LeaderAction::Resign(worker) => {
                    if let Some(control) = self.workers.control(worker) {
                        control.send(ToWorker::Lead { leads: false });
                    }
                }
                LeaderAction::Changed { from, to } => {
                    let id = |slot: Option<u16>| slot.map(|slot| slot.to_string());
                    self.emit(Event::LeaderChanged { from: id(from), to: id(to) });
                }
            }
        }
    }
}
