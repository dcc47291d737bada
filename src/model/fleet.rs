//! The machines of a fleet, and what this one knows about it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a machine tells about itself with each heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Random, of this run of its primary.
    pub id: String,
    pub host: String,
    pub pid: u32,
    /// The program's name.
    pub script: String,
    /// Of drover.
    pub version: String,
    /// Milliseconds since 1970.
    pub started_at: u64,
    /// The summary of its cluster; null: it has none.
    #[serde(default)]
    pub figures: Value,
}

/// The fleet, as this machine knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetStatus {
    /// Of this machine.
    pub id: String,
    /// Redis does what is asked.
    pub available: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The id of the machine that leads; None: nobody, or it is not known.
    pub leader: Option<String>,
    /// The fencing token of its lease.
    pub token: Option<u64>,
    /// As of the last heartbeat that was answered.
    pub members: Vec<Member>,
    pub counts: FleetCounts,
}

/// What this machine has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetCounts {
    /// Times that Redis was lost.
    pub outages: u64,
    /// Operations on values in Redis, and those that failed.
    pub operations: u64,
    pub failures: u64,
    /// Messages to other machines, and from them.
    pub messages_sent: u64,
    pub messages_received: u64,
    /// Invalidations told to other machines, and by them.
    pub invalidations_sent: u64,
    pub invalidations_received: u64,
    /// Times that everything was invalidated, because invalidations may have been missed.
    pub resets: u64,
}
