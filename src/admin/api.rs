//! What the API is made of: what it reads, and what it may ask of the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::connection::Way;
use crate::config::Secret;
use crate::error::Result;
use crate::ipc::control::Diagnosis;
use crate::log::Logs;
use crate::metrics::memory::SharedMemory;
use crate::model::Command;
use crate::observe::{ErrorGroups, EventLog, SharedHistory};

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
    pub diagnose: Diagnose,
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

/// What was taken.
pub struct Taken {
    pub file: String,
    pub bytes: u64,
}

/// Why nothing was.
pub enum Refused {
    NoSuchWorker,
    /// It is taken one at a time.
    Busy,
    Failed(String),
}

/// Takes a diagnosis of the worker of this slot.
pub type Diagnose =
    Box<dyn Fn(u16, Diagnosis) -> oneshot::Receiver<std::result::Result<Taken, Refused>> + Send + Sync>;

/// Who may listen at the same time on the port, and as many on the control socket: the others need connections too.
pub const MAX_LISTENERS: usize = 32;

/// Who listens now.
#[derive(Default)]
pub struct Listeners {
    port: Arc<AtomicUsize>,
    socket: Arc<AtomicUsize>,
}

/// A listener's place, free again when this is dropped.
pub struct Seat(Arc<AtomicUsize>);

impl Listeners {
    pub fn take(&self, way: Way) -> Option<Seat> {
        let taken = match way {
            Way::Port => &self.port,
            Way::Socket => &self.socket,
        };
        let seat = Seat(taken.clone());
        (taken.fetch_add(1, Ordering::Relaxed) < MAX_LISTENERS).then_some(seat)
    }
}

impl Drop for Seat {
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
        let mut crowd: Vec<Seat> = std::iter::from_fn(|| listeners.take(Way::Port)).take(100).collect();
        assert_eq!(crowd.len(), MAX_LISTENERS);
        assert!(listeners.take(Way::Socket).is_some());
        crowd.pop();
        assert!(listeners.take(Way::Port).is_some());
    }
}
