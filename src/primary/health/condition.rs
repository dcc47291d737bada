//! The cluster's health as last published: the unhealthy workers and the resulting status.

use crate::event::{AlertCause, Event, Level};
use crate::metrics::memory::SharedMemory;
use crate::metrics::view;
use crate::model::{ClusterStatus, Condition};

#[derive(Default)]
pub struct ClusterCondition {
    published: Option<Condition>,
    is_stale: bool,
}

impl ClusterCondition {
    /// Something that it depends on may have changed.
    pub fn invalidate(&mut self) {
        self.is_stale = true;
    }

    /// The events of a change, if the health has changed.
    pub fn look(&mut self, memory: &SharedMemory) -> Vec<Event> {
        if !std::mem::take(&mut self.is_stale) {
            return Vec::new();
        }
        let now = view::condition(memory);
        let before = self.published.replace(now.clone());
        if before.as_ref() == Some(&now) || (before.is_none() && now.status == ClusterStatus::Healthy) {
            return Vec::new();
        }
        let mut events = Vec::new();
        let was_critical = before.is_some_and(|before| before.status == ClusterStatus::Critical);
        if now.status == ClusterStatus::Critical && !was_critical {
            let message = now.critical_message();
            let cause = AlertCause::ClusterCritical;
            events.push(Event::Alert { severity: Level::Error, message, cause });
        }
        events.push(Event::HealthChanged { status: now.status, details: view::health(memory) });
        events
    }
}
