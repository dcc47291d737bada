//! Errors and open circuits: written by the primary's loop, read by the API.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};

use crate::error_groups::{Groups, Noted, Occurrence};

/// A circuit that is not closed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Circuit {
    pub worker_id: String,
    /// `ejection`: no new connections for that worker; `restart`: no new worker for that slot.
    pub kind: &'static str,
    /// `open`, or `half-open`: on trial.
    pub state: &'static str,
    /// When that changes, milliseconds since 1970; None if unknown.
    pub until: Option<u64>,
}

#[derive(Clone)]
pub struct ErrorGroups(Arc<Mutex<(Groups, Vec<Circuit>)>>);

impl ErrorGroups {
    /// `most`: maximum number of error groups.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new((Groups::new(most), Vec::new()))))
    }

    pub fn note(&self, occurrence: &Occurrence, now_ms: u64) -> Noted {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.note(occurrence, now_ms)
    }

    pub fn set_circuits(&self, circuits: Vec<Circuit>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = circuits;
    }

    pub fn view(&self, now_ms: u64) -> Value {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (groups, circuits) = &*inner;
        json!({ "errors": groups.list(now_ms), "circuits": circuits, "dropped": groups.dropped() })
    }
}
