//! The monitoring API: what the cluster's shared memory says, over HTTP, on threads of drover's own, so that it answers
//! while the program's JavaScript is busy. `routes` has what can be asked, `guard` who may, `server` the connections;
//! `dashboard` is a page that asks; `socket` is the way in for this user alone, `private` the folders for it.

mod dashboard;
pub mod diagnostics;
mod events;
mod exposition;
mod guard;
mod logs;
mod openapi;
pub mod private;
mod routes;
mod server;
pub mod socket;

use tokio::sync::oneshot;

use crate::config::Secret;
use crate::error::Result;
use crate::log::Logs;
use crate::metrics::memory::SharedMemory;
use crate::model::Command;
use crate::observe::{ErrorGroups, EventLog, SharedHistory};

pub use events::Listeners;
pub use server::{bind, serve, serve_socket};

/// A command to the cluster. Answered with the slots that serve because of it.
pub type Commands = Box<dyn Fn(Command) -> oneshot::Receiver<Result<Vec<u16>>> + Send + Sync>;

/// What the API is made of.
pub struct Api {
    pub memory: SharedMemory,
    pub history: SharedHistory,
    pub event_log: EventLog,
    pub listeners: Listeners,
    pub error_groups: ErrorGroups,
    pub logs: Logs,
    pub commands: Commands,
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
