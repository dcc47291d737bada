//! Inputs and outputs of the loop, as data.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::diagnostics::Request;
use crate::dispatch::Report;
use crate::error::{Error, Result};
use crate::event::{Event, Exit};
use crate::ipc::control::{Address, GroupId, ListenOptions, StopSignal, ToPrimary, ToWorker};
use crate::ipc::frame::Frame;
use crate::model::{Command, Observation, WorkerId};
use crate::process::spawner::Spawned;

/// A command, and the receiver of its result.
pub struct CommandRequest {
    pub command: Command,
    pub source: CommandSource,
}

#[derive(Debug)]
pub enum CommandSource {
    /// The primary's own JavaScript, with the number of the command.
    Here(u32),
    Worker(WorkerId, u32),
    /// The monitoring API.
    Api(oneshot::Sender<Result<Value>>),
}

impl CommandSource {
    /// The worker whose program sent the command.
    pub fn worker(&self) -> Option<WorkerId> {
        match self {
            CommandSource::Here(_) | CommandSource::Api(_) => None,
            CommandSource::Worker(worker, _) => Some(*worker),
        }
    }
}

/// Everything that can happen to a cluster.
pub enum Input {
    /// The cluster was sampled: once a second.
    Sampled(Box<Observation>),
    /// The cluster's metrics are due to be published. The sender is dropped when that is done.
    Measured(oneshot::Sender<()>),
    /// The program's custom metrics.
    Customised {
        /// An object in JSON; None: nothing new.
        metrics: Option<String>,
    },
    /// The health report is due.
    Reported,
    Open {
        id: u32,
        address: Address,
        options: ListenOptions,
    },
    /// Close the address of this group; the cluster keeps running.
    Release {
        id: u32,
        group: GroupId,
    },
    /// The cluster stops, and every address has closed.
    Retired,
    /// The program's environment, for new workers.
    Environment(BTreeMap<String, String>),
    Start {
        id: u32,
    },
    Stop {
        id: u32,
        graceful: bool,
        /// See `Fact::Stop`.
        limit: Option<Duration>,
    },
    Command(CommandRequest),
    /// This call of the program has its result: nothing else is to be done for it.
    Settled {
        id: u32,
        result: Result<Value>,
    },
    Diagnose(Request),
    StopSignal(StopSignal),
    ShutdownNotice {
        written: Sender<()>,
    },
    Spawned {
        worker: WorkerId,
        result: io::Result<Spawned>,
    },
    Message {
        worker: WorkerId,
        id: u32,
        message: ToPrimary,
    },
    /// A message of a worker's program for another worker.
    Wrote {
        worker: WorkerId,
        frame: Frame,
    },
    /// The reply to a worker's request.
    Answered {
        worker: WorkerId,
        question: u32,
        answer: ToWorker,
        descriptor: Option<OwnedFd>,
    },
    Broken {
        worker: WorkerId,
        reason: String,
    },
    Exited {
        worker: WorkerId,
        exit: Exit,
    },
    Dispatch(Report),
    /// What other parts of the primary have to tell.
    Publish(Event),
    /// A worker's message without a pending response was refused.
    Refused {
        error: Error,
    },
    /// The result of the probe of a worker's server.
    Probed {
        worker: WorkerId,
        number: u32,
        result: std::result::Result<u16, String>,
    },
}

/// An output of the loop to its owner; passed on the loop's thread.
#[derive(Debug)]
pub enum Output {
    /// `timestamp`: milliseconds since 1970.
    Event { event: Event, timestamp: u64 },
    /// A worker is being spawned: its program channel can be taken over.
    Channel { worker: WorkerId },
    /// The worker has ended.
    Gone { worker: WorkerId },
    /// The program's custom metrics are needed; answered with `Primary::customised`.
    Measure,
    /// A worker is about to be started: answered with `Primary::environment`.
    AskEnvironment,
    /// The command with this id is done.
    Done { id: u32, result: Result<Value> },
    /// Every worker and the loop have ended: no further output follows.
    Ended,
}

/// Spawns a task whose result becomes an input. The loop ends last: after its end the input is no longer needed
/// (`Output::Ended` settles everything).
pub(super) fn later(inputs: &UnboundedSender<Input>, input: impl Future<Output = Input> + Send + 'static) {
    let inputs = inputs.clone();
    tokio::spawn(async move {
        let _ = inputs.send(input.await);
    });
}
