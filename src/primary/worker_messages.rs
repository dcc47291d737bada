//! What the workers and the accept thread tell the loop.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::inputs::{Asker, CommandRequest, Input};
use super::listen;
use super::run::Cluster;
use crate::component::Component;
use crate::dispatch::{ListenFailure, Listening, Report};
use crate::error::{Code, Error};
use crate::event::{Event, Level};
use crate::ipc::control::{ToPrimary, ToWorker, WorkerError};
use crate::model::WorkerId;
use crate::supervisor::Fact;
use serde_json::json;

/// So many different hints are written in the life of a cluster: their texts may hold what a program makes up.
const MAX_HINTS: usize = 500;

/// Work is given to others after 50 ms; on a busy machine that is daily business. An operator reads of it when
/// it lasts.
const WORTH_SAYING: Duration = Duration::from_secs(1);

impl Cluster {
    pub(super) fn on_message(&mut self, worker: WorkerId, id: u32, message: ToPrimary) {
        match message {
            ToPrimary::Listen { address, options } => {
                let inputs = self.inputs.clone();
                let opening = listen::open(self.dispatcher.clone(), address, options, Some(worker));
                tokio::spawn(async move {
                    let _ = inputs.send(Input::Listened { worker, question: id, result: opening.await });
                });
            }
            ToPrimary::Serving { group, plain_http } => {
                self.dispatcher.serve(worker, group, plain_http);
            }
            ToPrimary::ConnectionLimit { group, upto } => self.dispatcher.room(worker, group, upto),
            ToPrimary::Close { group } => {
                let (inputs, closed) = (self.inputs.clone(), self.dispatcher.close(worker, group));
                tokio::spawn(async move {
                    // An accept thread that is gone sends nothing any more either.
                    let others = closed.await.unwrap_or(false);
                    let _ = inputs.send(Input::Closed { worker, question: id, group, others });
                });
            }
            ToPrimary::Bind { datagram } => {
                let binding = listen::bind(self.dispatcher.clone(), datagram, worker);
                self.answer_later(worker, id, async {
                    match binding.await {
                        Ok((socket, descriptor)) => (ToWorker::Bound { socket }, Some(descriptor)),
                        Err(ListenFailure { errno, host, .. }) => {
                            (ToWorker::ListenFailed { errno, host }, None)
                        }
                    }
                });
            }
            ToPrimary::Unbind { socket } => {
                let unbound = self.dispatcher.unbind(worker, socket);
                self.answer_later(worker, id, async {
                    // An accept thread that is gone has nothing any more either.
                    let _ = unbound.await;
                    (ToWorker::Unbound, None)
                });
            }
            ToPrimary::Join { socket, membership } => {
                let joined = self.dispatcher.hear(worker, socket, membership);
                self.answer_later(worker, id, async {
                    (ToWorker::Joined { first: joined.await.unwrap_or(true) }, None)
                });
            }
            ToPrimary::Left { socket, membership } => {
                self.dispatcher.left(worker, socket, membership);
            }
            ToPrimary::Part { socket, membership } => {
                let parted = self.dispatcher.part(worker, socket, membership);
                self.answer_later(worker, id, async {
                    (ToWorker::Parted { last: parted.await.unwrap_or(true) }, None)
                });
            }
            ToPrimary::FdPressure => {
                self.dispatcher.fd_pressure(worker, true);
                self.say_once(format!(
                    "Worker {worker} is short of file descriptors: it takes fewer connections. Raise the limit of \
                     open files (ulimit -n)."
                ));
            }
            ToPrimary::FdRelief => self.dispatcher.fd_pressure(worker, false),
            ToPrimary::Ready => self.on_ready(worker),
            ToPrimary::Leaving { signalled } => {
                self.health.deregister(worker);
                self.dispatcher.leave(worker);
                self.advance(Fact::Leaving { worker, signalled });
            }
            ToPrimary::Wrote { text } => self.advance(Fact::Wrote { worker, text }),
            ToPrimary::Command { id, command } => {
                self.command(CommandRequest { command, asker: Asker::Worker(worker, id) });
            }
            ToPrimary::Slow(slow) => self.slow(worker, slow),
            ToPrimary::Hint { text, warns: true } => self.say_once(text),
            ToPrimary::Hint { text, warns: false } => self.note_once(text),
            ToPrimary::Lingered { left, waited_ms } => self.lingered(worker, &left, waited_ms),
            ToPrimary::Failed { error, reported } => {
                self.advance(Fact::Failed { worker, error: worker_error(error), reported });
            }
            ToPrimary::Rejected { error, suppressed } => self.rejected(worker.slot, error, suppressed),
            ToPrimary::Resigned => {
                self.leader.resigned(worker);
                self.lead();
            }
            ToPrimary::Follow { follows: true } => drop(self.followers.insert(worker)),
            ToPrimary::Follow { follows: false } => drop(self.followers.remove(&worker)),
            ToPrimary::Speaks { protocol } => self.health.speaks(worker, protocol),
            ToPrimary::Checked { number, failure, metrics } => self.checked(worker, number, failure, metrics),
            ToPrimary::Pong => self.hung.answered(worker),
            ToPrimary::Traceable { lacks } => self.hung.traceable(worker, lacks),
            ToPrimary::Inspected => {
                self.hung.standby(worker);
                self.dispatcher.inspected(worker);
            }
            ToPrimary::Diagnosed { id, bytes, failure } => {
                self.diagnosed(worker, id, failure.map_or(Ok(bytes), Err));
            }
            ToPrimary::Stack { text } => self.stack_came(worker, text),
        }
    }

    /// Answers a worker's question with what becomes of it.
    fn answer_later(
        &self,
        worker: WorkerId,
        question: u32,
        answer: impl Future<Output = (ToWorker, Option<OwnedFd>)> + Send + 'static,
    ) {
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let (answer, descriptor) = answer.await;
            // The loop ends last; if it has, nobody waits.
            let _ = inputs.send(Input::Answered { worker, question, answer, descriptor });
        });
    }

    pub(super) fn listened(
        &mut self,
        worker: WorkerId,
        question: u32,
        result: std::result::Result<Listening, ListenFailure>,
    ) {
        let Some(control) = self.workers.control(worker) else { return };
        match result {
            Ok(Listening { group, host, port, listener, own }) => {
                control.answer(ToWorker::Listening { group, host, port, own }, question, listener);
            }
            Err(ListenFailure { errno, host, .. }) => {
                control.answer(ToWorker::ListenFailed { errno, host }, question, None);
            }
        }
    }

    fn rejected(&mut self, slot: u16, error: WorkerError, suppressed: u64) {
        if suppressed > 0 {
            let text = format!(
                "Worker {slot}: {suppressed} more rejections were not handled since the last that was logged"
            );
            self.emit(Event::about(Component::Workers, Level::Error, text));
        }
        self.emit(Event::WorkerError {
            worker_id: slot.to_string(),
            error: worker_error(error),
            reported: false,
        });
    }

    fn lingered(&mut self, worker: WorkerId, left: &BTreeMap<String, u32>, waited_ms: Option<u64>) {
        let after = match waited_ms {
            Some(ms) => format!("{ms} ms after it had nothing left to do (processManagement.lingerTimeout)"),
            None => "because its time is up".to_owned(),
        };
        let left: Vec<String> = left.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let text = format!(
            "Worker {} exits {after}, although its event loop is not empty: {}",
            worker.slot,
            left.join(", ")
        );
        self.emit(Event::about(Component::Workers, Level::Info, text));
    }

    pub(super) fn say_once(&mut self, text: String) {
        self.say_at(Level::Warn, text);
    }

    pub(super) fn note_once(&mut self, text: String) {
        self.say_at(Level::Info, text);
    }

    fn say_at(&mut self, level: Level, text: String) {
        if self.hinted.len() == MAX_HINTS || !self.hinted.insert(text.clone()) {
            return;
        }
        self.emit(Event::notice(level, text));
        if self.hinted.len() == MAX_HINTS {
            let text = "There were so many different hints like this one that no further ones are written. What is \
                        refused among messages stands in security.auditLog.";
            self.emit(Event::notice(Level::Warn, text.to_owned()));
        }
    }

    pub(super) fn reported(&mut self, report: Report) {
        match report {
            Report::Notice(level, text) => self.emit(Event::about(Component::Dispatch, level, text)),
            Report::Port(port) => {
                self.emit(Event::about(Component::Dispatch, Level::Info, format!("Listening on port {port}")))
            }
            Report::Unresponsive { slot } => {
                let unresponsive = self.unresponsive.entry(slot).or_default();
                (unresponsive.now, unresponsive.times) = (true, unresponsive.times + 1);
                let (inputs, times) = (self.inputs.clone(), unresponsive.times);
                tokio::spawn(async move {
                    tokio::time::sleep(WORTH_SAYING).await;
                    let _ = inputs.send(Input::StillUnresponsive { slot, times });
                });
            }
            Report::Recovered { slot } => self.recovered(slot),
            Report::WarmedUp { worker } => self.advance(Fact::Warm { worker }),
            Report::Succession { worker, lacks } => self.lacks(worker, lacks),
            Report::Lost { address } => {
                let message = format!(
                    "No worker serves {address} any more; its connections wait until one does (loadBalancing.queueTimeout)"
                );
                self.emit(Event::Alert { severity: Level::Error, message });
            }
            Report::Regained { address, after } => {
                let text = format!("{address} is served again, after {} ms", after.as_millis());
                self.emit(Event::about(Component::Dispatch, Level::Info, text));
            }
        }
    }
}

/// What is known of a worker that was unresponsive.
#[derive(Default)]
pub(super) struct Unresponsive {
    now: bool,
    /// How often: tells one time from the next.
    times: u32,
    on_message: bool,
}

impl Cluster {
    pub(super) fn still_unresponsive(&mut self, slot: u16, times: u32) {
        let Some(unresponsive) = self
            .unresponsive
            .get_mut(&slot)
            .filter(|unresponsive| unresponsive.now && unresponsive.times == times)
        else {
            return;
        };
        unresponsive.on_message = true;
        let reason = "its event loop is blocked; new connections go to the others".to_owned();
        let worker_id = slot.to_string();
        self.emit(Event::WorkerUnhealthy { worker_id, reason, replaced: false, stack: None });
        self.publish_cluster_health();
    }

    fn recovered(&mut self, slot: u16) {
        let was_said = self.forget_unresponsive(slot);
        self.publish_cluster_health();
        if was_said {
            let text = format!("Worker {slot} takes connections again");
            self.emit(Event::about(Component::Health, Level::Info, text));
        }
    }

    /// Does work wait for the slot's worker, and its loop does not turn?
    pub(super) fn is_unresponsive(&self, slot: u16) -> bool {
        self.unresponsive.get(&slot).is_some_and(|unresponsive| unresponsive.now)
    }

    /// The slot's worker is not unresponsive (any more); was it said to be?
    pub(super) fn forget_unresponsive(&mut self, slot: u16) -> bool {
        self.unresponsive.get_mut(&slot).is_some_and(|unresponsive| {
            unresponsive.now = false;
            std::mem::take(&mut unresponsive.on_message)
        })
    }
}

fn worker_error(error: WorkerError) -> Error {
    let WorkerError { name, message, code, stack, origin } = error;
    Error::new(Code::WorkerStartupFailed, message)
        .with(json!({ "name": name, "code": code, "stack": stack, "origin": origin }))
}
