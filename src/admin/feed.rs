//! The cluster's events for whoever listens over the API, each with an id, so that who was away goes on where they were.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

/// Events that are kept for who comes back, and bytes of them.
const KEPT: usize = 1000;
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// One event as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub id: u64,
    /// As `type` says in it.
    pub kind: String,
    /// In JSON, with its timestamp.
    pub event: Arc<str>,
}

#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    /// Tells this cluster's ids from those of the one before it.
    epoch: u64,
    kept: Mutex<Kept>,
    /// The id of the last event.
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Told>,
    bytes: usize,
}

impl Kept {
    fn add(&mut self, told: Told) {
        self.bytes += told.event.len();
        self.events.push_back(told);
        while self.events.len() > KEPT || self.bytes > MOST_BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.event.len();
        }
    }
}

impl Feed {
    pub fn new(epoch: u64) -> Self {
        Self(Arc::new(Inner { epoch, kept: Mutex::default(), last: watch::Sender::new(0) }))
    }

    pub fn add(&self, event: &Value) {
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *self.0.last.borrow() + 1;
        kept.add(Told { id, kind, event: event.to_string().into() });
        drop(kept);
        self.0.last.send_replace(id);
    }

    /// Of the last events those after `id`, and how many there were besides them that are not kept any more.
    pub fn after(&self, id: u64) -> (Vec<Told>, u64) {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<Told> = kept.events.iter().filter(|told| told.id > id).cloned().collect();
        // What was too large to be kept is missing as well.
        let first = found.first().map_or(*self.0.last.borrow() + 1, |told| told.id);
        (found, first.saturating_sub(id + 1))
    }

    /// Kept events of one kind.
    pub fn of_kind(&self, kind: &str) -> Vec<Value> {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let events = kept.events.iter().filter(|told| told.kind == kind);
        events.filter_map(|told| serde_json::from_str(&told.event).ok()).collect()
    }

    /// The id of the last event; changes with each.
    pub fn last(&self) -> watch::Receiver<u64> {
        self.0.last.subscribe()
    }

    /// An id as others see it.
    pub fn name(&self, id: u64) -> String {
        format!("{}-{id}", self.0.epoch)
    }

    /// The id behind a name; of another cluster's, the beginning. None: that is no name.
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
    use serde_json::json;

    #[test]
    fn who_comes_back_goes_on_where_they_were() {
        let feed = Feed::new(77);
        for number in 0..5 {
            feed.add(&json!({ "type": "worker:ready", "number": number }));
        }
        let ids = |id| feed.after(id).0.iter().map(|told| told.id).collect::<Vec<_>>();
        assert_eq!(ids(3), [4, 5]);
        assert_eq!(ids(5), [0; 0]);
        assert_eq!(
            (feed.id("77-3"), feed.id("76-3"), feed.id("77-9"), feed.id("x")),
            (Some(3), Some(0), Some(0), None)
        );
        assert_eq!(feed.name(5), "77-5");
    }

    #[test]
    fn large_events_make_room_for_each_other_and_are_counted() {
        let feed = Feed::new(1);
        let large = json!({ "type": "metrics:updated", "metrics": "x".repeat(MOST_BYTES / 4) });
        (0..10).for_each(|_| feed.add(&large));
        let (found, lost) = feed.after(0);
        assert_eq!((found.len(), lost), (3, 7));
        feed.add(&json!({ "type": "metrics:updated", "metrics": "x".repeat(MOST_BYTES) }));
        assert_eq!(feed.after(10), (Vec::new(), 1));
    }

    #[test]
    fn what_is_not_kept_any_more_is_counted() {
        let feed = Feed::new(1);
        (0..KEPT + 10).for_each(|_| feed.add(&json!({ "type": "alert" })));
        let (found, lost) = feed.after(4);
        assert_eq!((found.len(), lost), (KEPT, 6));
        assert_eq!(feed.after(500).1, 0);
    }
}
