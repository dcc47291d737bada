//! The supervisor's configuration.

use std::time::Duration;

use crate::config::sections::process::Ready;

/// The options that concern supervision.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Serving workers.
    pub workers: u16,
    /// Additional standby workers.
    pub standby: u16,
    pub respawn: bool,
    /// Deaths in `restart_window` before a slot's circuit opens.
    pub max_restarts: u32,
    pub restart_window: Duration,
    pub restart_delay: Duration,
    pub max_restart_delay: Duration,
    /// Between two trial starts of a slot whose circuit is open.
    pub reset_timeout: Duration,
    pub startup_timeout: Duration,
    /// What makes a worker ready.
    pub ready: Ready,
    /// false: workers are killed at a stop.
    pub graceful: bool,
    /// From the start of a stop to SIGKILL.
    pub graceful_timeout: Duration,
    /// The first part of `graceful_timeout`, in which a stopping cluster still serves.
    pub shutdown_delay: Duration,
    /// The last part of `graceful_timeout`, which begins with SIGTERM.
    pub kill_timeout: Duration,
    /// The script's name in errors.
    pub script: String,
}
