//! What the workers and the accept thread tell the loop.

use super::listen;
use super::news::{Input, Name};
use super::run::Cluster;
use crate::dispatch::{ListenFailure, Listening, Report};
use crate::error::{Code, Error};
use crate::event::{Event, Level};
use crate::ipc::control::{ToPrimary, ToWorker, WorkerError};
use crate::supervisor::Fact;
use serde_json::json;

impl Cluster {
    pub(super) fn said(&mut self, name: Name, id: u32, message: ToPrimary) {
        let Name { slot, generation } = name;
        match message {
            ToPrimary::Listen { address, backlog } => {
                let inputs = self.inputs.clone();
                let opening = listen::open(self.dispatcher.clone(), address, backlog, Some(slot));
                tokio::spawn(async move {
                    let _ = inputs.send(Input::Listened { name, question: id, result: opening.await });
                });
            }
            ToPrimary::Serving { group, plain_http } => {
                self.dispatcher.serve(slot, generation, group, plain_http);
            }
            ToPrimary::Close { group } => {
                let (inputs, closed) = (self.inputs.clone(), self.dispatcher.close(slot, generation, group));
                tokio::spawn(async move {
                    // An accept thread that is gone sends nothing any more either.
                    let _ = closed.await;
                    let _ = inputs.send(Input::Closed { name, question: id, group });
                });
            }
            ToPrimary::Scarce => {
                self.dispatcher.scarce(slot, generation, true);
                self.say_once(format!(
                    "Worker {slot} is short of file descriptors: it takes fewer connections. Raise the limit of \
                     open files (ulimit -n)."
                ));
            }
            ToPrimary::Plenty => self.dispatcher.scarce(slot, generation, false),
            ToPrimary::Ready => self.advance(Fact::Ready { slot, generation }),
            ToPrimary::Leaving => {
                self.dispatcher.leave(slot, generation);
                self.advance(Fact::Leaving { slot, generation });
            }
            ToPrimary::Hint { text } => self.say_once(text),
            ToPrimary::Failed(error) => {
                self.advance(Fact::Failed { slot, generation, error: worker_error(error) });
            }
        }
    }

    pub(super) fn listened(
        &mut self,
        name: Name,
        question: u32,
        result: std::result::Result<Listening, ListenFailure>,
    ) {
        let Some(link) = self.crew.link(name) else { return };
        match result {
            Ok(Listening { group, host, port, listener, own }) => {
                link.answer(ToWorker::Listening { group, host, port, own }, question, listener);
            }
            Err(ListenFailure { errno, host, .. }) => {
                link.answer(ToWorker::ListenFailed { errno, host }, question, None);
            }
        }
    }

    fn say_once(&mut self, text: String) {
        if self.hinted.insert(text.clone()) {
            self.emit(Event::notice(Level::Warn, text));
        }
    }

    pub(super) fn reported(&mut self, report: Report) {
        match report {
            Report::Notice(level, text) => self.emit(Event::notice(level, text)),
            Report::Port(port) => self.emit(Event::notice(Level::Info, format!("Listening on port {port}"))),
            Report::Stuck { slot } => {
                let reason = "its event loop is blocked; new connections go to the others".to_owned();
                self.emit(Event::WorkerUnhealthy { worker_id: slot.to_string(), reason });
            }
            Report::Recovered { slot } => {
                self.emit(Event::notice(Level::Info, format!("Worker {slot} takes connections again")));
            }
        }
    }
}

fn worker_error(error: WorkerError) -> Error {
    let WorkerError { name, message, code, stack } = error;
    Error::new(Code::WorkerStartupFailed, message).with(json!({ "name": name, "code": code, "stack": stack }))
}
