//! What the supervisor is told.

use std::time::Duration;

use crate::error::Error;
use crate::event::Exit;
use crate::model::{Scale, WorkerId};

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
