//! The parts of the API: the data that it reads, and the commands that it sends to the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::connection::Transport;
use crate::config::Secret;
use crate::error::Result;
use crate::ipc::control::Diagnosis;
use crate::log::Logs;
use crate::metrics::memory::SharedMemory;
use crate::model::{CacheStatistics, Command, FleetStatus};
use serde_json::Value;

use crate::observe::{ErrorGroups, EventLog, SharedHistory};

/// Sends a command to the cluster. The result is the slots that serve because of it.
pub type Commands = Box<dyn Fn(Command) -> oneshot::Receiver<Result<Value>> + Send + Sync>;

/// Figures of what is shared, beside those in the shared memory.
pub struct Figures {
    /// Of the shared cache, by namespace.
    pub cache: Box<dyn Fn() -> Vec<CacheStatistics> + Send + Sync>,
    /// None: there is no `redis` in the configuration.
    pub fleet: Box<dyn Fn() -> Option<FleetStatus> + Send + Sync>,
}

/// The parts of the API.
pub struct Api {
    pub memory: SharedMemory,
    pub history: SharedHistory,
    pub event_log: EventLog,
    pub listeners: Listeners,
    pub error_groups: ErrorGroups,
    pub logs: Logs,
    pub figures: Figures,
    pub commands: Commands,
    pub diagnose: Diagnose,
    /// The token that protected requests must send (see `guard`).
    pub token: Option<Secret>,
    /// The API's own host name, accepted in a Host header in addition to loopback names.
    pub host: String,
    /// The port can be reached only from this machine.
    pub is_local: bool,
    /// `/metrics` is served.
    pub exports: bool,
    /// The dashboard is served.
    pub dashboard: bool,
}

/// The file of a diagnosis.
pub struct Taken {
    pub file: String,
    pub bytes: u64,
}

/// Why a diagnosis failed.
pub enum Refused {
    NoSuchWorker,
    /// Another diagnosis of the worker is running.
    Busy,
    Failed(String),
}

/// Takes a diagnosis of the worker of this slot.
pub type Diagnose =
    Box<dyn Fn(u16, Diagnosis) -> oneshot::Receiver<std::result::Result<Taken, Refused>> + Send + Sync>;

/// Maximum number of concurrent event streams on the port, and on the control socket: other requests need connections
/// too.
pub const MAX_LISTENERS: usize = 32;

/// Counts the open event streams.
#[derive(Default)]
pub struct Listeners {
    port: Arc<AtomicUsize>,
    socket: Arc<AtomicUsize>,
}

/// An open event stream; dropping it frees its place.
pub struct Subscription(Arc<AtomicUsize>);

impl Listeners {
    pub fn take(&self, transport: Transport) -> Option<Subscription> {
        let taken = match transport {
            Transport::Port => &self.port,
            Transport::Socket => &self.socket,
        };
        let subscription = Subscription(taken.clone());
        (taken.fetch_add(1, Ordering::Relaxed) < MAX_LISTENERS).then_some(subscription)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_on_the_port_leaves_the_control_socket_its_places_and_who_leaves_makes_room() {
        let listeners = Listeners::default();
        let mut open: Vec<Subscription> =
            std::iter::from_fn(|| listeners.take(Transport::Port)).take(100).collect();
        assert_eq!(open.len(), MAX_LISTENERS);
        assert!(listeners.take(Transport::Socket).is_some());
        open.pop();
        assert!(listeners.take(Transport::Port).is_some());
    }
}
