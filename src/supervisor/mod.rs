//! Which workers should exist and what to do next. PURE: facts and the time go in, actions come out; no
//! process, socket, clock or random number may come in here. `worker` is one process, `slot` who sits in it and
//! who comes next, `budget` counts deaths, `pending_replacement` is about workers that are alive and not well; `reconcile` is the machine, `death` and `ending` how workers go,
//! `operation` what somebody asked the cluster to become; `hang` judges event loops apart from all that.

mod budget;
mod death;
mod ending;
pub mod hang;
mod leader;
mod operation;
mod reconcile;
mod slot;
#[cfg(test)]
mod tests;
mod unhealthy;
mod worker;

use std::time::Duration;

use crate::config::sections::process::Ready;
use crate::error::Error;
use crate::event::{Event, Exit};
use crate::model::{Scale, WorkerId};

pub use leader::{Action as LeaderAction, Leader};
pub use reconcile::Supervisor;
pub use slot::{ActiveWorker, Role, Slot};
pub use unhealthy::OWN;
pub use worker::{Stage, Worker};

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

/// A fact for the supervisor. Facts of a worker that is not there any more are stale.
#[derive(Clone, Debug)]
pub enum Fact {
    Start,
    Spawned {
        worker: WorkerId,
        pid: u32,
    },
    SpawnFailed {
        worker: WorkerId,
        error: Error,
    },
    Ready {
        worker: WorkerId,
    },
    /// It would be ready, if it served these addresses as its predecessor does.
    Lacks {
        worker: WorkerId,
        addresses: Vec<String>,
    },
    /// The worker has served for a while, or there is nothing to serve.
    Warm {
        worker: WorkerId,
    },
    /// What the worker wrote before it was ready.
    Wrote {
        worker: WorkerId,
        text: String,
    },
    /// The worker drains by itself and is to be replaced. `signalled`: a signal asked it to, which may be on its
    /// way to the primary too.
    Leaving {
        worker: WorkerId,
        signalled: bool,
    },
    /// The worker told of an uncaught error of its own. `reported`: its output says so too.
    Failed {
        worker: WorkerId,
        error: Error,
        reported: bool,
    },
    /// The worker broke the protocol; its channel is closed.
    Broken {
        worker: WorkerId,
        error: Error,
    },
    /// It fails its checks. Said again as long as it does.
    Unhealthy {
        worker: WorkerId,
    },
    /// Its event loop does not turn any more.
    Hung {
        worker: WorkerId,
    },
    Exited {
        worker: WorkerId,
        exit: Exit,
    },
    /// The primary itself got a signal to stop: workers that end now were probably meant too.
    StopSignal,
    /// `limit`: the whole budget, where it is shorter than the configured one.
    Stop {
        graceful: bool,
        limit: Option<Duration>,
    },
    /// `asker`: the worker whose program waits for it, if it was one's. Nobody waits for its end then: it may be
    /// waiting for this answer before it ends.
    Scale {
        id: u32,
        target: Scale,
        asker: Option<WorkerId>,
    },
    /// New workers for all slots, or for one; `asker` as for a scale.
    Roll {
        id: u32,
        slot: Option<u16>,
        asker: Option<WorkerId>,
    },
    /// Time has passed.
    Tick,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `standby`: it waits before it serves.
    Spawn {
        worker: WorkerId,
        standby: bool,
    },
    /// This worker is the one of its slot that gets connections from now on.
    Promote {
        worker: WorkerId,
    },
    /// The worker serves on, and tells who asks that it is about to leave.
    Unready {
        worker: WorkerId,
    },
    /// The cluster takes nothing new: its addresses close. Drains that are asked for beside this begin when they have.
    Retire,
    /// Ask the worker to finish what it has; `deadline` from now it is gone.
    Drain {
        worker: WorkerId,
        deadline: Duration,
    },
    Terminate {
        worker: WorkerId,
    },
    Kill {
        worker: WorkerId,
    },
    Emit(Event),
    /// `start` is settled: every worker is ready, or the cluster runs degraded, or nothing got ready.
    Started(Result<(), Error>),
    /// A scale or a roll is over: the slots that serve because of it. Id [`OWN`]: nobody had asked.
    Done {
        id: u32,
        result: Result<Vec<u16>, Error>,
    },
    /// Every worker is gone for good.
    Stopped,
}
