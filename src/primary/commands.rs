//! Commands under way: who asked for what, so that the result finds its way and the log says what became of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::inputs::{Asker, CommandRequest};
use super::run::Cluster;
use crate::error::{Code, Error, Result};
use crate::event::{Event, Level};
use crate::ipc::control::ToWorker;
use crate::model::Command;
use crate::supervisor::{Fact, OWN};

struct UnderWay {
    command: Command,
    asker: Asker,
    since: Instant,
}

#[derive(Default)]
pub(super) struct Commands {
    last: u32,
    under_way: HashMap<u32, UnderWay>,
}

impl Cluster {
    pub(super) fn command(&mut self, CommandRequest { command, asker }: CommandRequest) {
        self.commands.last += 1;
        let id = self.commands.last;
        let worker = match &asker {
            Asker::Here(_) | Asker::Api(_) => None,
            Asker::Worker(worker, _) => Some(*worker),
        };
        let fact = match command {
            // Whatever was decided before this answer was published before it.
            Command::Leader => return self.answer(asker, Ok(self.leader.leads().into_iter().collect())),
            Command::Scale(target) => Fact::Scale { id, target, asker: worker },
            Command::Roll { slot } => Fact::Roll { id, slot, asker: worker },
        };
        self.commands.under_way.insert(id, UnderWay { command, asker, since: Instant::now() });
        self.advance(fact);
    }

    pub(super) fn carried_out(&mut self, id: u32, result: Result<Vec<u16>>) {
        if let (OWN, Err(error)) = (id, &result) {
            self.emit(Event::notice(Level::Error, error.message.clone()));
        }
        let Some(UnderWay { command, asker, since }) = self.commands.under_way.remove(&id) else { return };
        if let Some((level, line)) = line(command.name(), since.elapsed(), &result) {
            self.emit(Event::notice(level, line));
        }
        self.answer(asker, result);
    }

    fn answer(&self, asker: Asker, result: Result<Vec<u16>>) {
        match asker {
            Asker::Here(id) => self.done(id, result.map(|slots| json!(slots))),
            // A client that has left hears nothing.
            Asker::Api(answer) => drop(answer.send(result)),
            Asker::Worker(worker, id) => {
                // A worker that asked for its own end hears no answer.
                let Some(control) = self.workers.control(worker) else { return };
                control.send(ToWorker::CommandResult {
                    id,
                    outcome: match result {
                        Ok(slots) => json!({ "ok": slots }),
                        Err(error) => json!({ "error": error }),
                    },
                });
            }
        }
    }
}

/// What the log says. An order that could not even begin concerns its asker alone.
fn line(verb: &str, took: Duration, result: &Result<Vec<u16>>) -> Option<(Level, String)> {
    let seconds = took.as_secs_f64();
    match result {
        Ok(_) => Some((Level::Info, format!("{verb}: done in {seconds:.1} s"))),
        Err(Error { code: Code::WorkerStartupFailed, message, .. }) => {
            Some((Level::Error, format!("{verb}: ended after {seconds:.1} s. {message}")))
        }
        Err(_) => None,
    }
}
