//! The message endpoint of the primary's program. It runs on the program's thread: a worker's program channel is read
//! by the event loop there. Messages between workers are handled elsewhere (`relay`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::inputs::Input;
use super::workers::{PendingChannel, PendingChannels};
use crate::error::Error;
use crate::ipc::endpoint::{Endpoint, Limits, Outgoing, Tally, gone};
use crate::ipc::frame::Frame;
use crate::ipc::message::{BESIDE, Body, Message, Peer, What};
use crate::ipc::message_channel::{Ends, MessageChannel};
use crate::ipc::message_policy::MessagePolicy;
use crate::metrics::memory::MetricStore;
use crate::metrics::messages::MessageTally;
use crate::model::WorkerId;
use crate::sys::uv::{Loop, Prepare};

/// Called with the messages for the program.
pub type Deliver = Box<dyn Fn(&[Message])>;

pub struct ProgramMessages {
    uv: Loop,
    endpoint: RefCell<Endpoint>,
    channels: RefCell<HashMap<WorkerId, MessageChannel>>,
    /// Channels that were used in this iteration of the loop.
    dirty: RefCell<Vec<WorkerId>>,
    turn: RefCell<Option<Prepare>>,
    pending_channels: PendingChannels,
    message_policy: Arc<MessagePolicy>,
    inputs: UnboundedSender<Input>,
    deliver: Deliver,
    this: Weak<ProgramMessages>,
}

/// The parts that the primary's handle provides for the program's thread.
#[derive(Clone)]
pub struct ProgramMessagesParts {
    pub limits: Limits,
    pub pending_channels: PendingChannels,
    pub message_policy: Arc<MessagePolicy>,
    pub inputs: UnboundedSender<Input>,
    /// Counts the program's messages; None: they are not counted.
    pub metric_store: Option<MetricStore>,
}

impl ProgramMessages {
    /// # Errors
    /// This runtime has no event loop of libuv's.
    pub fn start(uv: Loop, parts: ProgramMessagesParts, deliver: Deliver) -> io::Result<Rc<Self>> {
        let ProgramMessagesParts { limits, pending_channels, message_policy, inputs, metric_store } = parts;
        let tally =
            metric_store.map(|metric_store| Box::new(MessageTally::new(metric_store)) as Box<dyn Tally>);
        // The endpoint's own timer calls back into it.
        let late: Rc<RefCell<Weak<ProgramMessages>>> = Rc::default();
        let target = late.clone();
        let endpoint = Endpoint::new(uv, limits, tally, move || {
            if let Some(endpoint) = target.borrow().upgrade() {
                endpoint.endpoint.borrow_mut().woken();
                endpoint.deliver();
            }
        })?;
        let made = Rc::new_cyclic(|this| Self {
            uv,
            endpoint: RefCell::new(endpoint),
            channels: RefCell::default(),
            dirty: RefCell::default(),
            turn: RefCell::default(),
            pending_channels,
            message_policy,
            inputs,
            deliver,
            this: this.clone(),
        });
        *late.borrow_mut() = Rc::downgrade(&made);
        let this = Rc::downgrade(&made);
        let over = move || {
            if let Some(endpoint) = this.upgrade() {
                endpoint.flush();
            }
        };
        *made.turn.borrow_mut() = Some(Prepare::start(uv, over)?);
        Ok(made)
    }

    /// Takes over a worker's program channel.
    pub fn open(&self, worker: WorkerId) {
        let Some(PendingChannel { socket, keys }) = self.pending_channels.take(worker) else { return };
        let this = self.this.clone();
        let ready = move || {
            if let Some(endpoint) = this.upgrade() {
                endpoint.attend(worker);
                endpoint.deliver();
            }
        };
        let ends = keys.as_ref().map(|keys| Ends { sends: &keys.to_worker, receives: &keys.to_primary });
        let most = self.endpoint.borrow().limits().max_message + BESIDE;
        match MessageChannel::start(self.uv, socket, ends, most, ready) {
            Ok(channel) => drop(self.channels.borrow_mut().insert(worker, channel)),
            Err(error) => self.broken(worker, &error),
        }
    }

    /// Reads everything that workers have sent, before an event or the end of a worker is published.
    pub fn read_all(&self) {
        let workers: Vec<WorkerId> = self.channels.borrow().keys().copied().collect();
        workers.into_iter().for_each(|worker| self.attend(worker));
        self.deliver();
    }

    /// The worker has ended: reads its last messages, and fails pending requests to it.
    pub fn gone(&self, worker: WorkerId) {
        self.attend(worker);
        self.end(worker);
        self.deliver();
    }

    /// Sends a program's message, at the latest at the end of the loop's iteration. Returns the id of a request; 0
    /// otherwise.
    ///
    /// # Errors
    /// Why it is not sent.
    pub fn post(&self, outgoing: &Outgoing<'_>) -> Result<u32, Error> {
        let Peer::Worker(worker) = outgoing.to else { return Err(gone(outgoing.to)) };
        let mut channels = self.channels.borrow_mut();
        let channel = channels.get_mut(&worker).ok_or_else(|| gone(outgoing.to))?;
        // On this channel the envelope names the sender.
        let envelope = outgoing.envelope(Peer::Primary);
        self.message_policy.pass(Peer::Primary, outgoing.to, &envelope, outgoing.body.bytes())?;
        let is_clean = !channel.is_corked();
        let waiting = channel.queued();
        let posted =
            self.endpoint.borrow_mut().post(outgoing, envelope, waiting, |id, answers, head, body| {
                channel.post(id, answers, head, body);
            });
        if is_clean && posted.is_ok() {
            self.dirty.borrow_mut().push(worker);
        }
        posted
    }

    /// Sends queued messages at the end of the loop's iteration.
    fn flush(&self) {
        if self.dirty.borrow().is_empty() {
            return;
        }
        for worker in self.dirty.take() {
            let flushed = self.channels.borrow_mut().get_mut(&worker).map(MessageChannel::turn_over);
            if let Some(Err(_)) = flushed {
                // The worker's end will follow and fails pending requests.
                self.end(worker);
            }
        }
    }

    fn attend(&self, worker: WorkerId) {
        let mut frames = Vec::new();
        let read = match self.channels.borrow_mut().get_mut(&worker) {
            Some(channel) => channel.go_on().and_then(|()| channel.read(&mut frames)),
            None => return,
        };
        for frame in frames {
            if let Err(error) = self.receive(worker, frame) {
                return self.broken(worker, &error);
            }
        }
        match read {
            Ok(true) => {}
            Ok(false) => self.end(worker),
            Err(error) => self.broken(worker, &error),
        }
    }

    fn receive(&self, worker: WorkerId, Frame { header, payload }: Frame) -> io::Result<()> {
        let Some(message) = Message::read(header.id, header.answers, payload) else {
            return Err(io::Error::other("what it sent is no message"));
        };
        let envelope = message.envelope();
        let passed = self.message_policy.pass(worker.into(), Peer::Primary, &envelope, message.body());
        if let Err(error) = passed {
            if let (What::Request, Some(channel)) =
                (message.what, self.channels.borrow_mut().get_mut(&worker))
            {
                let refusal = Message::failure(Peer::Primary, message.id, &error);
                let envelope = refusal.envelope();
                let (head, kind) = envelope.parts();
                channel.post(0, refusal.answers, [&head, kind], Body::Copied(refusal.body()));
                return channel.flush();
            }
            // There is no pending response: it is logged for the operator.
            let _ = self.inputs.send(Input::Refused { error });
            return Ok(());
        }
        self.endpoint.borrow_mut().receive(worker.into(), message);
        Ok(())
    }

    /// The channel has ended.
    fn end(&self, worker: WorkerId) {
        self.channels.borrow_mut().remove(&worker);
        self.endpoint.borrow_mut().gone(worker.into());
    }

    /// The worker has violated the protocol: the loop ends it.
    fn broken(&self, worker: WorkerId, error: &io::Error) {
        let _ = self.inputs.send(Input::Broken { worker, reason: error.to_string() });
        self.end(worker);
    }

    fn deliver(&self) {
        let frames = self.endpoint.borrow_mut().take();
        if !frames.is_empty() {
            (self.deliver)(&frames);
            // Send the responses that handlers gave synchronously.
            self.flush();
        }
    }

    /// The cluster has ended.
    pub fn close(&self) {
        self.turn.borrow_mut().take();
        self.channels.borrow_mut().clear();
        self.endpoint.borrow_mut().end();
        self.deliver();
    }
}
