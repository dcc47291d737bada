//! What happens in the cluster and in the program, and what the program asks for.

use std::collections::BTreeMap;
use std::io;

use serde_json::Value;

use super::attach::Worker;
use crate::ipc::control::{Drain, ToPrimary, WorkerError};
use crate::metrics::view;
use crate::model::Command;

impl Worker {
    /// The next event of the cluster that `Notice::Event` told of.
    pub fn event(&self) -> Option<Value> {
        let mut event = self.control.event()?;
        // The primary does not send what every process can read, and what may be longer than a message.
        if event["event"]["type"] == "metrics:updated" {
            let now = event["timestamp"].as_u64().unwrap_or(0);
            event["event"]["metrics"] = serde_json::json!(view::metrics(&self.memory, now));
        }
        Some(event)
    }

    /// Tells the primary of an uncaught error; the process ends by itself. `reported`: the log has its report.
    pub fn failed(&self, error: WorkerError, reported: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Failed { error: error.bounded(), reported }).map(|_| ())
    }

    /// Tells the primary of a rejection that ends nothing.
    pub fn rejected(&self, error: WorkerError, suppressed: u64) -> io::Result<()> {
        self.control.send(&ToPrimary::Rejected { error: error.bounded(), suppressed }).map(|_| ())
    }

    /// How this worker is to leave, as `Notice::Drain` told.
    pub fn drain(&self) -> Option<Drain> {
        self.control.drain()
    }

    /// Tells the primary what keeps the event loop from being empty; the process exits all the same.
    pub fn lingered(&self, left: BTreeMap<String, u32>, waited_ms: Option<u64>) -> io::Result<()> {
        self.control.send(&ToPrimary::Lingered { left, waited_ms }).map(|_| ())
    }

    /// Asks the cluster to become something else; `Notice::CommandResult` says that it is settled.
    pub fn command(&self, id: u32, command: Command) -> io::Result<()> {
        self.control.send(&ToPrimary::Command { id, command }).map(|_| ())
    }

    /// What became of a command, once: `{ ok }` or `{ error }`.
    pub fn result_of(&self, command: u32) -> Option<Value> {
        self.control.result_of(command)
    }
}
