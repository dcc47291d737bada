//! Pending commands: their askers, to which the result is sent, and their log lines.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::inputs::{CommandSource, Output};
use super::workers::Workers;
use crate::error::{Code, Error, Result};
use crate::event::{Event, Level, Subject};
use crate::ipc::control::ToWorker;
use crate::model::{Command, Scale};
use crate::supervisor::{Fact, OWN};

struct UnderWay {
    command: Command,
    source: CommandSource,
    since: Instant,
}

pub(super) struct Commands {
    last: u32,
    under_way: HashMap<u32, UnderWay>,
    output: Rc<dyn Fn(Output)>,
}

/// A finished operation.
pub(super) struct Ended {
    /// Who waits for its result; None: it was no command.
    pub source: Option<CommandSource>,
    /// Its log line.
    pub line: Option<Event>,
}

impl Commands {
    pub fn new(output: Rc<dyn Fn(Output)>) -> Self {
        Self { last: 0, under_way: HashMap::new(), output }
    }

    /// Registers a command and returns its fact for the supervisor.
    pub fn begin_scale(&mut self, target: Scale, source: CommandSource) -> Fact {
        let worker = source.worker();
        Fact::Scale { id: self.begin(Command::Scale(target), source), target, requester: worker }
    }

    pub fn begin_roll(&mut self, slot: Option<u16>, source: CommandSource) -> Fact {
        let worker = source.worker();
        Fact::Roll { id: self.begin(Command::Roll { slot }, source), slot, requester: worker }
    }

    fn begin(&mut self, command: Command, source: CommandSource) -> u32 {
        self.last += 1;
        self.under_way.insert(self.last, UnderWay { command, source, since: Instant::now() });
        self.last
    }

    /// An operation of the supervisor has ended.
    pub fn end(&mut self, id: u32, result: &Result<Vec<u16>>) -> Ended {
        match self.under_way.remove(&id) {
            Some(UnderWay { command, source, since }) => {
                Ended { source: Some(source), line: line(command.name(), since.elapsed(), result) }
            }
            // Nobody waits for the cluster's own operations, so that a failure is logged.
            None => {
                let failed = result.as_ref().err().filter(|_| id == OWN);
                let line = failed.map(|error| Event::notice(Level::Error, error.message.clone()));
                Ended { source: None, line }
            }
        }
    }

    /// Sends a command's result to its source.
    pub fn answer(&self, source: CommandSource, result: Result<Value>, workers: &Workers) {
        match source {
            CommandSource::Here(id) => (self.output)(Output::Done { id, result }),
            // A client that has disconnected gets no response.
            CommandSource::Api(answer) => drop(answer.send(result)),
            CommandSource::Worker(worker, id) => {
                let outcome = match result {
                    Ok(value) => json!({ "ok": value }),
                    Err(error) => json!({ "error": error }),
                };
                // A worker that requested its own end may be gone.
                workers.send(worker, ToWorker::CommandResult { id, outcome });
            }
        }
    }
}

/// The log line. A command that could not begin is reported only to its source.
fn line(command: &'static str, took: Duration, result: &Result<Vec<u16>>) -> Option<Event> {
    let (seconds, duration_ms) = (took.as_secs_f64(), took.as_millis() as u64);
    match result {
        Ok(_) => {
            let subject = Subject::CommandDone { command, duration_ms };
            Some(Event::notice(Level::Info, format!("{command}: done in {seconds:.1} s")).with(subject))
        }
        Err(Error { code: Code::WorkerStartupFailed, message, .. }) => {
            let text = format!("{command}: ended after {seconds:.1} s. {message}");
            let subject = Subject::CommandFailed { command, duration_ms };
            Some(Event::notice(Level::Error, text).with(subject))
        }
        Err(_) => None,
    }
}
