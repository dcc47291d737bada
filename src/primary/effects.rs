//! What a part of the primary wants done. The part decides; the loop carries it out, in order (`cluster`).

use std::time::Duration;

use crate::error_groups::Occurrence;
use crate::event::Event;
use crate::ipc::control::{Protocol, ToWorker};
use crate::model::WorkerId;
use crate::supervisor::Fact;

pub(super) enum Effect {
    /// It happened: the log, the events and whoever is notified are told.
    Emit(Event),
    /// Something went wrong that is no event of the cluster's.
    Record(Occurrence),
    /// The supervisor has to know.
    Advance(Fact),
    Send(WorkerId, ToWorker),
    /// The worker is asked whether it is well; `protocol`: its server is asked too, in this protocol.
    Check {
        worker: WorkerId,
        number: u32,
        protocol: Option<Protocol>,
    },
    /// The worker is asked what its JavaScript is doing.
    AskForStack(WorkerId),
    /// The worker's event loop may stand still for so long: it was asked for something that takes it a while.
    Excuse(WorkerId, Duration),
    /// New connections go to the others, or to this worker again.
    Exclude {
        worker: WorkerId,
        excluded: bool,
    },
    /// A worker is left out because of what it answers, or is back.
    CircuitsChanged,
    /// Something is known that the cluster's health depends on.
    HealthChanged,
}

pub(super) type Effects = Vec<Effect>;

/// What parts are told of the moment in which they decide.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Since the loop's beginning: the supervisor's clock.
    pub now: Duration,
    /// Another worker follows one that ends now.
    pub replaces: bool,
}
