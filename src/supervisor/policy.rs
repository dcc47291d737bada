//! What the supervisor is configured with.

use std::time::Duration;

use crate::config::sections::process::Ready;

/// What the configuration says about the workers' lives.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Serving workers.
    pub workers: u16,
    /// Warm spares besides.
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
    /// From the request to SIGKILL.
    pub graceful_timeout: Duration,
    /// The part of `graceful_timeout`, at its beginning, in which a cluster that stops still serves everything.
    pub shutdown_delay: Duration,
    /// The part of `graceful_timeout`, at its end, that begins with SIGTERM.
    pub kill_timeout: Duration,
    /// Names the script in errors.
    pub script: String,
}
