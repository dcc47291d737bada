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
            "replace a worker that died, whatever the reason",
            also ["processManagement.autoRestart", "respawn", "autoRestart"];
        max_restarts: u32 = 3, "maxRestarts": Kind::Whole { min: 0, max: 1_000_000 },
            "unexpected deaths within `restartWindow`; more of them open the slot's restart circuit",
            also ["maxRestarts"];
        #[serde(with = "millis")]
        restart_window: Duration = 300000, "restartWindow": Kind::TIME,
            "the time window in which deaths are counted",
            also ["restartWindow"];
        #[serde(with = "millis")]
        restart_delay: Duration = 2000, "restartDelay": Kind::FROM_ZERO,
            "delay before each restart except the first in a window; doubled, with jitter, up to `maxRestartDelay`",
            also ["restartDelay"];
        /// At least `restart_delay`.
        #[serde(with = "millis")]
        max_restart_delay: Duration = 30000, "maxRestartDelay": Kind::FROM_ZERO,
            "maximum delay before a restart; at least `restartDelay`",
            also ["maxRestartDelay"];
        graceful_shutdown: bool = true, "gracefulShutdown": Kind::Bool,
            "let a worker finish its requests before it ends",
            also ["gracefulShutdown"];
        /// The total time of a stop.
        #[serde(with = "millis")]
        graceful_shutdown_timeout: Duration = 30000, "gracefulShutdownTimeout": Kind::TIME,
            "total time of a stop: `shutdownDelay`, drain and hooks; SIGTERM is sent `killTimeout` before its end, SIGKILL at its end",
            also ["processManagement.shutdownTimeout", "gracefulShutdownTimeout", "shutdownTimeout"];
        #[serde(with = "millis")]
        shutdown_delay: Duration = 0, "shutdownDelay": Kind::FROM_ZERO,
            "how long `/ready` responds 503 while everything still serves, so that load balancers stop routing first",
            also ["shutdownDelay"];
        /// At most `graceful_shutdown_timeout`, of which it is the last part.
        #[serde(with = "millis")]
        kill_timeout: Duration = 5000, "killTimeout": Kind::FROM_ZERO,
            "how long before the end of `gracefulShutdownTimeout` SIGTERM is sent (if not given, at most half of that time)",
            also ["killTimeout"];
        /// Zero: a worker does not wait for an empty event loop.
        #[serde(with = "millis")]
        linger_timeout: Duration = 5000, "lingerTimeout": Kind::FROM_ZERO,
            "how long a worker that has nothing left to do waits for its event loop to become empty before it exits; 0: not at all",
            also ["lingerTimeout"];
        #[serde(with = "millis")]
        startup_timeout: Duration = 60000, "startupTimeout": Kind::TIME,
            "how long a worker may take to become ready",
            also ["startupTimeout"];
        ready: Ready = "listen", "ready": Kind::Choice(Ready::NAMES),
            "what makes a worker ready: it listens, it calls `process.send('ready')`, or its script has loaded; with 'listen' and 'boot' a replacement must also have opened every address that its predecessor serves";
        /// Zero: off.
        #[serde(with = "millis")]
        hang_timeout: Duration = 10000, "hangTimeout": Kind::FROM_ZERO,
            "how long a ping may stay unanswered before the event loop counts as hung; 0 switches this off";
        zombie_detection: bool = true, "zombieDetection": Kind::Bool,
            "as PID 1 of a container, reap orphaned processes; workers and the program's own children are always reaped";
        /// Bytes of resident memory.
        memory_threshold: Option<u64> = null, "memoryThreshold": Kind::MEMORY_LIMIT,
            "a worker whose resident memory exceeds this in three samples is replaced gracefully";
        /// Percent of one core.
        cpu_threshold: Option<f64> = null, "cpuThreshold": Kind::CPU,
            "a worker whose CPU usage, in percent of one core, exceeds this in three samples is replaced gracefully";
        standby_workers: u16 = 0, "standbyWorkers": Kind::Whole { min: 0, max: 1024 },
            "number of standby workers, loaded up to their `listen()`";
    }
}
