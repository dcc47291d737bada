//! Orders under way: who asked for what, so that the answer finds its way and the log says what became of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::command_arguments;
use super::inputs::{Asker, Order};
use super::run::Cluster;
use crate::error::{Code, Error, Result};
use crate::event::{Event, Level};
use crate::ipc::control::ToWorker;
use crate::supervisor::OWN;

struct UnderWay {
    verb: String,
    asker: Asker,
    since: Instant,
}

#[derive(Default)]
pub(super) struct Orders {
    last: u32,
    under_way: HashMap<u32, UnderWay>,
}

impl Cluster {
    pub(super) fn ordered(&mut self, Order { verb, argument, asker }: Order) {
        self.orders.last += 1;
        let id = self.orders.last;
        if verb == "leader" {
            // Whatever was decided before this answer was told before it.
            return self.answer(asker, Ok(self.leader.leads().into_iter().collect()));
        }
        let worker = match &asker {
            Asker::Here(_) | Asker::Api(_) => None,
            Asker::Worker(worker, _) => Some(*worker),
        };
        match command_arguments::fact(id, &verb, &argument, worker) {
            Ok(fact) => {
                self.orders.under_way.insert(id, UnderWay { verb, asker, since: Instant::now() });
                self.advance(fact);
            }
            Err(error) => self.answer(asker, Err(error)),
        }
    }

    pub(super) fn carried_out(&mut self, id: u32, result: Result<Vec<u16>>) {
        if let (OWN, Err(error)) = (id, &result) {
            self.emit(Event::notice(Level::Error, error.message.clone()));
        }
        let Some(UnderWay { verb, asker, since }) = self.orders.under_way.remove(&id) else { return };
        if let Some((level, line)) = line(&verb, since.elapsed(), &result) {
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
                control.send(ToWorker::Ordered {
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
