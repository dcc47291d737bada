//! The effects that a part of the primary requests. The part decides; the loop carries them out, in order (`cluster`).

use std::time::Duration;

use crate::error_groups::Occurrence;
use crate::event::Event;
use crate::ipc::control::{Protocol, ToWorker};
use crate::model::WorkerId;
use crate::supervisor::Fact;

pub(super) enum Effect {
    /// Publish an event: to the log, to listeners and to notifications.
    Emit(Event),
    /// Record an error that is not an event of the cluster.
    Record(Occurrence),
    /// Pass a fact to the supervisor.
    Advance(Fact),
    Send(WorkerId, ToWorker),
    /// Start a health check of the worker; `protocol`: probe its server too, in this protocol.
    Check {
        worker: WorkerId,
        number: u32,
        protocol: Option<Protocol>,
    },
    /// Request the worker's JavaScript stack.
    AskForStack(WorkerId),
    /// The worker's event loop may be blocked for this long, because of a request of the primary.
    Excuse(WorkerId, Duration),
    /// Exclude the worker from new connections, or include it again.
    Exclude {
        worker: WorkerId,
        excluded: bool,
    },
    /// Give the worker fewer new connections, or as many as the others again.
    Relieve {
        worker: WorkerId,
        relieved: bool,
    },
    /// A worker was ejected because of its responses, or is included again.
    CircuitsChanged,
    /// Something that the cluster's health depends on has changed.
    HealthChanged,
}

pub(super) type Effects = Vec<Effect>;

/// The time and context of a decision.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Since the start of the loop: the supervisor's clock.
    pub now: Duration,
    /// A worker that ends now is replaced.
    pub replaces: bool,
}
