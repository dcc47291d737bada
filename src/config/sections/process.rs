//! `processManagement`: how workers start, stop and are replaced.

use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::config::millis;
use crate::config::options::options;
use std::time::Duration;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[ProcessManagement::KEYS];

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

options! {
    /// How workers start, stop and are replaced.
    ProcessManagement in "processManagement." {
        respawn: bool = true, "respawn": Kind::Bool,
            "replace a worker that died, whatever killed it",
            also ["processManagement.autoRestart", "respawn", "autoRestart"];
        max_restarts: u32 = 3, "maxRestarts": Kind::Whole { min: 0, max: 1_000_000 },
            "unexpected deaths in `restartWindow` before the slot's restart circuit opens",
            also ["maxRestarts"];
        #[serde(with = "millis")]
        restart_window: Duration = 300000, "restartWindow": Kind::TIME,
            "the window in which restarts are counted",
            also ["restartWindow"];
        #[serde(with = "millis")]
        restart_delay: Duration = 2000, "restartDelay": Kind::FROM_ZERO,
            "the pause before each restart but the first in a window; doubled with jitter up to `maxRestartDelay`",
            also ["restartDelay"];
        /// At least `restart_delay`.
        #[serde(with = "millis")]
        max_restart_delay: Duration = 30000, "maxRestartDelay": Kind::FROM_ZERO,
            "the longest such pause; at least `restartDelay`",
            also ["maxRestartDelay"];
        graceful_shutdown: bool = true, "gracefulShutdown": Kind::Bool,
            "let a leaving worker finish its requests",
            also ["gracefulShutdown"];
        /// The whole budget of a stop.
        #[serde(with = "millis")]
        graceful_shutdown_timeout: Duration = 30000, "gracefulShutdownTimeout": Kind::TIME,
            "the whole budget of a stop: `shutdownDelay`, drain, hooks, and SIGTERM for the last `killTimeout` of it; its end is SIGKILL",
            also ["processManagement.shutdownTimeout", "gracefulShutdownTimeout", "shutdownTimeout"];
        #[serde(with = "millis")]
        shutdown_delay: Duration = 0, "shutdownDelay": Kind::FROM_ZERO,
            "how long `/ready` answers 503 while everything still serves, so that load balancers look away first",
            also ["shutdownDelay"];
        /// No longer than `graceful_shutdown_timeout`, at whose end it lies.
        #[serde(with = "millis")]
        kill_timeout: Duration = 5000, "killTimeout": Kind::FROM_ZERO,
            "how long before the end of the budget SIGTERM comes (unless given: at most half of the budget)",
            also ["killTimeout"];
        /// Zero: nobody waits for an empty event loop.
        #[serde(with = "millis")]
        linger_timeout: Duration = 5000, "lingerTimeout": Kind::FROM_ZERO,
            "how long a worker that has nothing left to do may wait for its event loop to become empty before it exits; 0: not at all",
            also ["lingerTimeout"];
        #[serde(with = "millis")]
        startup_timeout: Duration = 60000, "startupTimeout": Kind::TIME,
            "how long a worker may take to get ready",
            also ["startupTimeout"];
        ready: Ready = "listen", "ready": Kind::Choice(Ready::NAMES),
            "what makes a worker ready: it listens, it sends `process.send('ready')`, or its script has loaded; a replacement has, but for the second, also opened every address that its predecessor serves";
        /// Zero: off.
        #[serde(with = "millis")]
        hang_timeout: Duration = 10000, "hangTimeout": Kind::FROM_ZERO,
            "how long a ping may stay unanswered before the event loop counts as hung; 0 switches this off";
        zombie_detection: bool = true, "zombieDetection": Kind::Bool,
            "as PID 1 of a container, reap the orphans that the kernel gives to it; workers and the program's own children are reaped anyway";
        /// Bytes of resident memory.
        memory_threshold: Option<u64> = null, "memoryThreshold": Kind::MEMORY_LIMIT,
            "resident memory above which, in three samples, a worker is replaced gracefully";
        /// Percent of one core.
        cpu_threshold: Option<f64> = null, "cpuThreshold": Kind::CPU,
            "CPU, in percent of one core, above which, in three samples, a worker is replaced gracefully";
        standby_workers: u16 = 0, "standbyWorkers": Kind::Whole { min: 0, max: 1024 },
            "warm spares, loaded up to their `listen()`";
    }
}
