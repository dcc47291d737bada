//! Which workers should exist and what to do next. PURE: facts and the time go in, actions come out; no
//! process, socket, clock or random number may come in here. `slot` holds what is true of one slot,
//! `budget` counts deaths, `reconcile` is the machine, `ending` its way
//! out.

mod budget;
mod ending;
mod reconcile;
mod slot;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::error::Error;
use crate::event::{Event, Exit};

pub use reconcile::Supervisor;
pub use slot::State;

/// What the configuration says about the workers' lives.
#[derive(Clone, Debug)]
pub struct Policy {
    pub workers: u16,
    pub respawn: bool,
    /// Deaths in `restart_window` before a slot's circuit opens.
    pub max_restarts: u32,
    pub restart_window: Duration,
    pub restart_delay: Duration,
    pub max_restart_delay: Duration,
    /// Between two trial starts of a slot whose circuit is open.
    pub reset_timeout: Duration,
    pub startup_timeout: Duration,
    /// false: workers are killed at a stop.
    pub graceful: bool,
    /// From the request to SIGKILL.
    pub graceful_timeout: Duration,
    /// The part of `graceful_timeout`, at its end, that begins with SIGTERM.
    pub kill_timeout: Duration,
    /// Names the script in errors.
    pub script: String,
}

/// A fact for the supervisor. `generation` tells a slot's workers apart; facts of an earlier one are stale.
#[derive(Clone, Debug)]
pub enum Fact {
    Start,
    Spawned {
        slot: u16,
        generation: u32,
        pid: u32,
    },
    SpawnFailed {
        slot: u16,
        generation: u32,
        error: Error,
    },
    Ready {
        slot: u16,
        generation: u32,
    },
    /// The worker drains by itself and is to be replaced.
    Leaving {
        slot: u16,
        generation: u32,
    },
    /// The worker told of an uncaught error of its own.
    Failed {
        slot: u16,
        generation: u32,
        error: Error,
    },
    /// The worker broke the protocol; its channel is closed.
    Broken {
        slot: u16,
        generation: u32,
        error: Error,
    },
    Exited {
        slot: u16,
        generation: u32,
        exit: Exit,
    },
    /// The primary itself got a signal to stop: workers that end now were probably meant too.
    StopSignal,
    Stop {
        graceful: bool,
    },
    /// Time has passed.
    Tick,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Spawn {
        slot: u16,
        generation: u32,
    },
    /// Ask the worker to finish what it has; `deadline` from now it is gone.
    Drain {
        slot: u16,
        generation: u32,
        deadline: Duration,
    },
    Terminate {
        slot: u16,
        generation: u32,
    },
    Kill {
        slot: u16,
        generation: u32,
    },
    Emit(Event),
    /// `start` is settled: every worker is ready, or the cluster runs degraded, or nothing got ready.
    Started(Result<(), Error>),
    /// Every worker is gone for good.
    Stopped,
}
