//! The monitoring API: what the cluster's shared memory says, over HTTP, on threads of drover's own, so that it answers
//! while the program's JavaScript is busy. `routes` has what can be asked, `guard` who may, `server` the connections;
//! `dashboard` is a page that asks; `socket` is the way in for this user alone, `private` the folders for it.

mod dashboard;
pub mod diagnostics;
mod error_groups;
mod event_log;
mod events;
mod exposition;
mod guard;
mod logs;
mod openapi;
pub mod private;
mod routes;
mod server;
pub mod socket;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::oneshot;

use crate::config::Secret;
use crate::error::Result;
use crate::log::Logs;
use crate::metrics::history::{History, Point};
use crate::metrics::memory::SharedMemory;

pub use error_groups::{Circuit, ErrorGroups};
pub use event_log::EventLog;
pub use events::Listeners;
pub use server::{bind, serve, serve_socket};

/// An order to the cluster: a verb and its argument. Answered with the slots that serve because of it.
pub type Orders = Box<dyn Fn(&str, Value) -> oneshot::Receiver<Result<Vec<u16>>> + Send + Sync>;

/// What the API is made of.
pub struct Api {
    pub memory: SharedMemory,
    pub history: SharedHistory,
    pub event_log: EventLog,
    pub listeners: Listeners,
    pub error_groups: ErrorGroups,
    pub logs: Logs,
    pub orders: Orders,
    pub diagnose: diagnostics::Diagnose,
    /// What must be shown for what is not open (see `guard`).
    pub token: Option<Secret>,
    /// Names in a Host header that are this API's, besides loopback's.
    pub host: String,
    /// The port is reached from this machine alone.
    pub is_local: bool,
    /// `/metrics` is served.
    pub exports: bool,
    /// The dashboard is served.
    pub dashboard: bool,
}

/// What the cluster's numbers were; written by the sampler, read by the API.
#[derive(Clone)]
pub struct SharedHistory(Arc<Mutex<History>>);

impl SharedHistory {
    pub fn new(seconds: u64) -> Self {
        Self(Arc::new(Mutex::new(History::new(seconds))))
    }

    pub fn add(&self, point: Point) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(point);
    }

    /// See [`History::range`].
    pub fn range(&self, series: &str, from: u64, step: u64) -> Option<Vec<(u64, f64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).range(series, from, step)
    }
}
