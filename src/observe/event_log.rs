//! The cluster's events for clients of the API, each with an id, so that a client can resume after a disconnection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::event::Event;
use crate::model::ScalingDecision;

/// Maximum number of events kept for resuming clients, and of their bytes.
const KEPT: usize = 1000;
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Maximum number of decisions about the cluster's size that are kept.
const MAX_SCALINGS: usize = 100;

/// One event as it is published.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEvent {
    pub id: u64,
    /// The event's `type`.
    pub kind: String,
    /// In JSON, with its timestamp.
    pub event: Arc<str>,
}

#[derive(Clone)]
pub struct EventLog(Arc<Inner>);

struct Inner {
    /// Distinguishes this cluster's ids from those of an earlier one.
    epoch: u64,
    kept: Mutex<Kept>,
    /// The id of the last event.
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<LoggedEvent>,
    bytes: usize,
    /// The last decisions about the cluster's size, independent of other events.
    scalings: VecDeque<ScalingDecision>,
    /// The options of the auto-scaling; None: it is off.
    auto_scaling: Option<Value>,
}

/// Events since a given one.
#[derive(Debug, PartialEq)]
pub struct Since {
    pub found: Vec<LoggedEvent>,
    /// Number of further events that are no longer kept, or never were.
    pub lost: u64,
    /// The id of the last one.
    pub newest: u64,
}

impl Kept {
    fn add(&mut self, logged: LoggedEvent) {
        // It would displace all the others.
        if logged.event.len() > MAX_BYTES {
            return;
        }
        self.bytes += logged.event.len();
        self.events.push_back(logged);
        while self.events.len() > KEPT || self.bytes > MAX_BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.event.len();
        }
    }
}

impl EventLog {
    pub fn new(epoch: u64) -> Self {
        Self(Arc::new(Inner { epoch, kept: Mutex::default(), last: watch::Sender::new(0) }))
    }

    pub fn add(&self, event: &Event, timestamp: u64) {
        let mut json = json!(event);
        json["timestamp"] = timestamp.into();
        let kind = json["type"].as_str().unwrap_or_default().to_owned();
        let mut kept = self.kept();
        let id = *self.0.last.borrow() + 1;
        kept.add(LoggedEvent { id, kind, event: json.to_string().into() });
        self.0.last.send_replace(id);
    }

    /// Stored events after `id`.
    pub fn after(&self, id: u64) -> Since {
        let kept = self.kept();
        let found: Vec<LoggedEvent> = kept.events.iter().filter(|logged| logged.id > id).cloned().collect();
        let newest = *self.0.last.borrow();
        Since { lost: newest.saturating_sub(id + found.len() as u64), found, newest }
    }

    /// Adds a decision about the cluster's size.
    pub fn add_scaling(&self, decision: ScalingDecision) {
        let mut kept = self.kept();
        kept.scalings.push_back(decision);
        let over = kept.scalings.len().saturating_sub(MAX_SCALINGS);
        kept.scalings.drain(..over);
    }

    /// The options of the auto-scaling from now on; None: it is off.
    pub fn set_auto_scaling(&self, options: Option<Value>) {
        self.kept().auto_scaling = options;
    }

    pub fn auto_scaling(&self) -> Option<Value> {
        self.kept().auto_scaling.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last decisions about the cluster's size, the oldest first.
    pub fn scalings(&self) -> Vec<ScalingDecision> {
        self.kept().scalings.iter().cloned().collect()
    }

    /// The id of the last event; changes with each.
    pub fn last(&self) -> watch::Receiver<u64> {
        self.0.last.subscribe()
    }

    /// The public form of an id.
    pub fn name(&self, id: u64) -> String {
        format!("{}-{id}", self.0.epoch)
    }

    /// The id of a public form; for another cluster's, the beginning. None: invalid.
    pub fn id(&self, name: &str) -> Option<u64> {
        let (epoch, id) = name.split_once('-')?;
        let (epoch, id): (u64, u64) = (epoch.parse().ok()?, id.parse().ok()?);
        let is_ours = epoch == self.0.epoch && id <= *self.0.last.borrow();
        Some(if is_ours { id } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AlertCause, Level};
    use crate::model::ScalingRule;

    fn alert(bytes: usize) -> Event {
        Event::Alert {
            severity: Level::Error,
            message: "x".repeat(bytes),
            cause: AlertCause::ClusterCritical,
        }
    }

    #[test]
    fn who_comes_back_goes_on_where_they_were() {
        let event_log = EventLog::new(77);
        for number in 0..5 {
            event_log.add(&alert(1), number);
        }
        let ids = |id| event_log.after(id).found.iter().map(|logged| logged.id).collect::<Vec<_>>();
        assert_eq!(ids(3), [4, 5]);
        assert_eq!(ids(5), [0; 0]);
        assert_eq!(
            (event_log.id("77-3"), event_log.id("76-3"), event_log.id("77-9"), event_log.id("x")),
            (Some(3), Some(0), Some(0), None)
        );
        assert_eq!(event_log.name(5), "77-5");
    }

    #[test]
    fn large_events_make_room_for_each_other_and_are_counted() {
        let event_log = EventLog::new(1);
        let large = alert(MAX_BYTES / 4);
        (0..10).for_each(|_| event_log.add(&large, 0));
        let since = event_log.after(0);
        assert_eq!((since.found.len(), since.lost, since.newest), (3, 7, 10));
    }

    #[test]
    fn an_event_that_is_too_large_costs_no_other_and_is_missed() {
        let event_log = EventLog::new(1);
        event_log.add(&alert(1), 0);
        event_log.add(&alert(MAX_BYTES), 0);
        assert_eq!(event_log.after(1), Since { found: Vec::new(), lost: 1, newest: 2 });
        event_log.add(&alert(1), 0);
        let Since { found, lost, newest } = event_log.after(0);
        assert_eq!(
            (found.iter().map(|logged| logged.id).collect::<Vec<_>>(), lost, newest),
            (vec![1, 3], 1, 3)
        );
    }

    #[test]
    fn what_is_not_kept_any_more_is_counted() {
        let event_log = EventLog::new(1);
        (0..KEPT + 10).for_each(|_| event_log.add(&alert(1), 0));
        let Since { found, lost, .. } = event_log.after(4);
        assert_eq!((found.len(), lost), (KEPT, 6));
        assert_eq!(event_log.after(500).lost, 0);
    }

    #[test]
    fn changes_of_size_outlast_everything_else() {
        let event_log = EventLog::new(1);
        (0..MAX_SCALINGS as u32 + 2).for_each(|count| {
            event_log.add_scaling(ScalingDecision::known(0, count, ScalingRule::Manual, 0))
        });
        (0..KEPT).for_each(|_| event_log.add(&alert(1), 0));
        let counts: Vec<u32> = event_log.scalings().iter().map(ScalingDecision::to).collect();
        assert_eq!(counts, (2..MAX_SCALINGS as u32 + 2).collect::<Vec<_>>());
    }
}
