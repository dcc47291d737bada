//! `processManagement`: how workers start, stop and are replaced.

use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::config::millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub const KEYS: &[Key] = &[
    Key::new("processManagement.respawn", Kind::Bool, "replace a worker that died, whatever killed it")
        .also(&["processManagement.autoRestart", "respawn", "autoRestart"]),
    Key::new("processManagement.maxRestarts", Kind::Whole { min: 0, max: 1_000_000 }, "unexpected deaths in `restartWindow` before the slot's restart circuit opens")
        .also(&["maxRestarts"]),
    Key::new("processManagement.restartWindow", Kind::TIME, "the window in which restarts are counted")
        .also(&["restartWindow"]),
    Key::new("processManagement.restartDelay", Kind::FROM_ZERO, "the pause before each restart but the first in a window; doubled with jitter up to `maxRestartDelay`")
        .also(&["restartDelay"]),
    Key::new("processManagement.maxRestartDelay", Kind::FROM_ZERO, "the longest such pause; at least `restartDelay`")
        .also(&["maxRestartDelay"]),
    Key::new("processManagement.gracefulShutdown", Kind::Bool, "let a leaving worker finish its requests")
        .also(&["gracefulShutdown"]),
    Key::new("processManagement.gracefulShutdownTimeout", Kind::TIME, "the whole budget of a stop: `shutdownDelay`, drain, hooks, and SIGTERM for the last `killTimeout` of it; its end is SIGKILL")
        .also(&["processManagement.shutdownTimeout", "gracefulShutdownTimeout", "shutdownTimeout"]),
    Key::new("processManagement.shutdownDelay", Kind::FROM_ZERO, "how long `/ready` answers 503 while everything still serves, so that load balancers look away first")
        .also(&["shutdownDelay"]),
    Key::new("processManagement.killTimeout", Kind::FROM_ZERO, "how long before the end of the budget SIGTERM comes (unless given: at most half of the budget)")
        .also(&["killTimeout"]),
    Key::new("processManagement.lingerTimeout", Kind::FROM_ZERO, "how long a worker that has nothing left to do may wait for its event loop to become empty before it exits; 0: not at all")
        .also(&["lingerTimeout"]),
    Key::new("processManagement.startupTimeout", Kind::TIME, "how long a worker may take to get ready")
        .also(&["startupTimeout"]),
    Key::new("processManagement.ready", Kind::Choice(Ready::NAMES), "what makes a worker ready: it listens, it sends `process.send('ready')`, or its script has loaded; a replacement has, but for the second, also opened every address that its predecessor serves"),
    Key::new("processManagement.hangTimeout", Kind::FROM_ZERO, "how long a ping may stay unanswered before the event loop counts as hung; 0 switches this off"),
    Key::new("processManagement.zombieDetection", Kind::Bool, "as PID 1 of a container, reap the orphans that the kernel gives to it; workers and the program's own children are reaped anyway"),
    Key::new("processManagement.memoryThreshold", Kind::MEMORY_LIMIT, "resident memory above which, in three samples, a worker is replaced gracefully"),
    Key::new("processManagement.cpuThreshold", Kind::CPU, "CPU, in percent of one core, above which, in three samples, a worker is replaced gracefully"),
    Key::new("processManagement.standbyWorkers", Kind::Whole { min: 0, max: 1024 }, "warm spares, loaded up to their `listen()`"),
];

choices! {
    /// What makes a worker ready.
    Ready {
        Listen = "listen",
        /// `process.send('ready')`, as PM2's `wait_ready`.
        Message = "message",
        /// The script has loaded: for programs that never listen.
        Boot = "boot",
    }
}

/// How workers start, stop and are replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessManagement {
    pub respawn: bool,
    pub max_restarts: u32,
    #[serde(with = "millis")]
    pub restart_window: Duration,
    #[serde(with = "millis")]
    pub restart_delay: Duration,
    /// At least `restart_delay`.
    #[serde(with = "millis")]
    pub max_restart_delay: Duration,
    pub graceful_shutdown: bool,
    /// The whole budget of a stop.
    #[serde(with = "millis")]
    pub graceful_shutdown_timeout: Duration,
    #[serde(with = "millis")]
    pub shutdown_delay: Duration,
    /// No longer than `graceful_shutdown_timeout`, at whose end it lies.
    #[serde(with = "millis")]
    pub kill_timeout: Duration,
    /// Zero: nobody waits for an empty event loop.
    #[serde(with = "millis")]
    pub linger_timeout: Duration,
    #[serde(with = "millis")]
    pub startup_timeout: Duration,
    pub ready: Ready,
    /// Zero: off.
    #[serde(with = "millis")]
    pub hang_timeout: Duration,
    pub zombie_detection: bool,
    /// Bytes of resident memory.
    pub memory_threshold: Option<u64>,
    /// Percent of one core.
    pub cpu_threshold: Option<f64>,
    pub standby_workers: u16,
}
