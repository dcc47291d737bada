//! Who leads, and who hears of events: what the loop tells workers beside their orders.

use serde_json::json;

use super::news::Name;
use super::run::Cluster;
use crate::event::Event;
use crate::ipc::control::ToWorker;
use crate::supervisor::LeaderAction;

impl Cluster {
    /// After every fact: does somebody else lead?
    pub(super) fn lead(&mut self) {
        for action in self.leader.follow(&self.supervisor) {
            match action {
                LeaderAction::Lead((slot, generation)) => {
                    if let Some(link) = self.crew.link(Name { slot, generation }) {
                        link.send(ToWorker::Lead { leads: true });
                    }
                }
                LeaderAction::Resign((slot, generation)) => {
                    if let Some(link) = self.crew.link(Name { slot, generation }) {
                        link.send(ToWorker::Lead { leads: false });
                    }
                }
                LeaderAction::Changed { from, to } => {
                    let id = |slot: Option<u16>| slot.map(|slot| slot.to_string());
                    self.emit(Event::LeaderChanged { from: id(from), to: id(to) });
                }
            }
        }
    }

    /// An event for the workers whose programs listen.
    pub(super) fn tell_followers(&self, event: &Event, timestamp: u64) {
        if self.followers.is_empty() {
            return;
        }
        let told = json!({ "event": event, "timestamp": timestamp });
        for link in self.followers.iter().filter_map(|name| self.crew.link(*name)) {
            link.send(ToWorker::Event { event: told.clone() });
        }
    }
}
