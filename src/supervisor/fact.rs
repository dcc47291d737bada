//! The supervisor's inputs.

use std::time::Duration;

use crate::error::Error;
use crate::event::Exit;
use crate::model::{Limit, Scale, WorkerId};

/// A fact for the supervisor. Facts about a worker that no longer exists are ignored.
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
    /// The worker is ready except for these addresses, which its predecessor serves.
    Lacks {
        worker: WorkerId,
        addresses: Vec<String>,
    },
    /// The worker has warmed up, or the cluster is idle.
    Warm {
        worker: WorkerId,
    },
    /// Output of the worker before it was ready.
    Wrote {
        worker: WorkerId,
        text: String,
    },
    /// The worker drains on its own initiative and must be replaced. `signalled`: because of a signal, which may also
    /// be about to reach the primary.
    Leaving {
        worker: WorkerId,
        signalled: bool,
    },
    /// The worker reported an uncaught error. `reported`: the error is in its output too.
    Failed {
        worker: WorkerId,
        error: Error,
        reported: bool,
    },
    /// The worker violated the protocol; its channel is closed.
    Broken {
        worker: WorkerId,
        error: Error,
    },
    /// The worker fails its checks. Repeated as long as it does.
    Unhealthy {
        worker: WorkerId,
    },
    /// The worker's event loop is blocked.
    Hung {
        worker: WorkerId,
    },
    /// The worker has reached a limit: it is replaced gracefully.
    Expired {
        worker: WorkerId,
    },
    /// The worker is above a hard limit: it is killed.
    Exceeded {
        worker: WorkerId,
        limit: Limit,
    },
    /// The kernel's OOM killer has ended the worker; its exit follows.
    OutOfMemory {
        worker: WorkerId,
    },
    Exited {
        worker: WorkerId,
        exit: Exit,
    },
    /// The primary itself got a stop signal: workers that end now probably got it too.
    StopSignal,
    /// `limit`: the total time, if it is shorter than the configured one.
    Stop {
        graceful: bool,
        limit: Option<Duration>,
    },
    /// `requester`: the worker whose program sent the command, if any. The operation does not wait for that worker's end,
    /// because the worker may wait for the result before it ends.
    Scale {
        id: u32,
        target: Scale,
        requester: Option<WorkerId>,
    },
    /// Replaces the workers of all slots, or of one; `requester` as for a scale.
    Roll {
        id: u32,
        slot: Option<u16>,
        requester: Option<WorkerId>,
    },
    /// Time has passed.
    Tick,
}
