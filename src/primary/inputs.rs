//! What goes into the loop and what comes out of it, as data.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::diagnostics::Request;
use crate::dispatch::{ListenFailure, Listening, Report};
use crate::error::{Error, Result};
use crate::event::{Event, Exit};
use crate::ipc::control::{Address, GroupId, ListenOptions, StopSignal, ToPrimary, ToWorker};
use crate::ipc::frame::Frame;
use crate::model::{Command, WorkerId};
use crate::process::spawner::Spawned;

/// A command, and where its result goes.
pub struct CommandRequest {
    pub command: Command,
    pub asker: Asker,
}

#[derive(Debug)]
pub enum Asker {
    /// The primary's own JavaScript; the number is the command's.
    Here(u32),
    Worker(WorkerId, u32),
    /// The monitoring API.
    Api(oneshot::Sender<Result<Vec<u16>>>),
}

impl Asker {
    /// The worker whose program asks.
    pub fn worker(&self) -> Option<WorkerId> {
        match self {
            Asker::Here(_) | Asker::Api(_) => None,
            Asker::Worker(worker, _) => Some(*worker),
        }
    }
}

/// Everything that can happen to a cluster.
pub enum Input {
    /// It is time to tell the cluster's metrics. The sender is dropped when that is done.
    Measured(oneshot::Sender<()>),
    /// The program was asked, and has measured.
    Customised {
        /// An object in JSON; None: nothing new.
        metrics: Option<String>,
    },
    /// It is time for the health report.
    Reported,
    Open {
        id: u32,
        address: Address,
        options: ListenOptions,
    },
    /// The address of this group is to be free; the cluster goes on.
    Release {
        id: u32,
        group: GroupId,
    },
    Released {
        id: u32,
    },
    /// The cluster stops, and every address has closed.
    Retired,
    Opened {
        id: u32,
        result: std::result::Result<Listening, ListenFailure>,
    },
    /// The program's environment, for workers to come.
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
    /// The command of this number was not one.
    Invalid {
        id: u32,
        error: Error,
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
    /// The answer to a worker's question.
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
    /// A worker's message that nobody waits for was refused.
    Refused {
        error: Error,
    },
    /// What a worker's server answered to the probe of a check.
    Probed {
        worker: WorkerId,
        number: u32,
        result: std::result::Result<u16, String>,
    },
}

/// What the loop tells its owner; called on the loop's thread.
#[derive(Debug)]
pub enum Output {
    /// `timestamp`: milliseconds since 1970.
    Event { event: Event, timestamp: u64 },
    /// A worker is being made: its program channel can be taken over.
    Channel { worker: WorkerId },
    /// The worker is gone.
    Gone { worker: WorkerId },
    /// It is time for the program to measure what it does by itself; answered with `Primary::customised`.
    Measure,
    /// A worker is about to be started: answered with `Primary::environment`.
    AskEnvironment,
    /// The command with this id is done.
    Done { id: u32, result: Result<Value> },
    /// Every worker is gone and the loop has ended: nothing more will come.
    Ended,
}
