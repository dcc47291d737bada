//! Messages of a worker's program: to the primary's program over a channel of their own, to other workers over the
//! control channel, where the primary's loop carries them on whatever its program does.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Weak;
use std::time::Duration;

use super::attach::Worker;
use crate::error::Error;
use crate::ipc::crypto::Pair;
use crate::ipc::endpoint::{Endpoint, Limits, Outgoing, Tally, gone};
use crate::ipc::message::{BESIDE, Envelope, Peer};
use crate::ipc::message_channel::{Ends, MessageChannel};
use crate::metrics::memory::MetricStore;
use crate::metrics::messages::MessageTally;

/// What a worker has for messages.
pub struct MessageEndpoint {
    worker: Weak<Worker>,
    endpoint: RefCell<Option<Endpoint>>,
    /// To the primary's program; None when it has ended.
    channel: RefCell<Option<MessageChannel>>,
    /// Something for other workers has gone out in this turn of the loop: what comes now waits for its end.
    corked: Cell<bool>,
}

impl MessageEndpoint {
    pub fn new(worker: Weak<Worker>) -> Self {
        Self { worker, endpoint: RefCell::default(), channel: RefCell::default(), corked: Cell::new(false) }
    }
}

impl Worker {
    pub(super) fn open_messages(&self, program: OwnedFd, keys: Option<&Pair>) -> io::Result<()> {
        let messages = self.hello.messages;
        let limits = Limits {
            timeout: Duration::from_millis(messages.timeout_ms),
            max_message: messages.most,
            max_pending: messages.max_pending,
        };
        let on = |act: fn(&Worker)| {
            let worker = self.post.worker.clone();
            move || {
                if let Some(worker) = worker.upgrade() {
                    act(&worker);
                }
            }
        };
        let ends = keys.map(|keys| Ends { sends: &keys.to_primary, receives: &keys.to_worker });
        let channel =
            MessageChannel::start(self.uv, program, ends, messages.most + BESIDE, on(Worker::attend_line))?;
        *self.post.channel.borrow_mut() = Some(channel);
        let tally = self.hello.measured.then(|| {
            Box::new(MessageTally::new(MetricStore::of_worker(&self.memory, self.hello.worker)))
                as Box<dyn Tally>
        });
        *self.post.endpoint.borrow_mut() = Some(Endpoint::new(self.uv, limits, tally, on(Worker::late))?);
        Ok(())
    }

    pub(super) fn close_messages(&self) {
        self.post.channel.borrow_mut().take();
        self.post.endpoint.borrow_mut().take();
    }

    /// Sends a program's message, at the latest when the loop's turn ends. The id of a question; 0 for anything else.
    ///
    /// # Errors
    /// Why it is not sent.
    pub fn post(&self, outgoing: &Outgoing<'_>) -> Result<u32, Error> {
        let mut endpoint = self.post.endpoint.borrow_mut();
        let Some(endpoint) = endpoint.as_mut() else { return Err(gone(outgoing.to)) };
        let envelope = outgoing.envelope(outgoing.to);
        if outgoing.to != Peer::Primary {
            if self.control.is_gone() {
                return Err(gone(Peer::Primary));
            }
            let posted = endpoint.post(outgoing, envelope, self.control.queued(), |id, answers, parts| {
                self.control.post(id, answers, parts);
            });
            if posted.is_ok() && !self.post.corked.replace(true) {
                self.flush_control();
            }
            return posted;
        }
        let mut channel = self.post.channel.borrow_mut();
        let Some(channel) = channel.as_mut() else { return Err(gone(Peer::Primary)) };
        endpoint
            .post(outgoing, envelope, channel.queued(), |id, answers, parts| channel.post(id, answers, parts))
    }

    /// Sends what is queued: the loop's turn is over, or the process is.
    pub fn flush_messages(&self) {
        if self.post.corked.replace(false) && self.control.queued() > 0 {
            self.flush_control();
        }
        let ended = |channel: &mut MessageChannel| channel.is_corked() && channel.turn_over().is_err();
        let broken = self.post.channel.borrow_mut().as_mut().is_some_and(ended);
        if broken {
            self.line_ended();
        }
    }

    fn attend_line(&self) {
        let mut frames = Vec::new();
        let open = match self.post.channel.borrow_mut().as_mut() {
            Some(channel) => channel.go_on().and_then(|()| channel.read(&mut frames)).unwrap_or(false),
            None => return,
        };
        if let Some(endpoint) = self.post.endpoint.borrow_mut().as_mut() {
            for frame in frames {
                endpoint.receive(Peer::Primary, frame);
            }
        }
        if !open {
            self.line_ended();
        }
        self.deliver();
    }

    /// The primary's program hears nothing any more. If the primary is gone, the control channel says so.
    fn line_ended(&self) {
        self.post.channel.borrow_mut().take();
        if let Some(endpoint) = self.post.endpoint.borrow_mut().as_mut() {
            endpoint.gone(Peer::Primary);
        }
    }

    /// Takes over what other workers have sent.
    pub(super) fn take_messages(&self) {
        let messages = self.control.messages();
        if messages.is_empty() {
            return;
        }
        if let Some(endpoint) = self.post.endpoint.borrow_mut().as_mut() {
            for frame in messages {
                // The primary says from whom it is.
                if let Some((Envelope { peer, .. }, _)) = Envelope::read(&frame.payload) {
                    endpoint.receive(peer, frame);
                }
            }
        }
        self.deliver();
    }

    /// Nothing is carried any more.
    pub(super) fn nobody_answers(&self) {
        if let Some(endpoint) = self.post.endpoint.borrow_mut().as_mut() {
            endpoint.end();
        }
        self.deliver();
    }

    /// The time of a question may be over.
    fn late(&self) {
        if let Some(endpoint) = self.post.endpoint.borrow_mut().as_mut() {
            endpoint.woken();
        }
        self.deliver();
    }

    /// Gives the program what has come for it.
    fn deliver(&self) {
        let frames = self.post.endpoint.borrow_mut().as_mut().map(Endpoint::take).unwrap_or_default();
        if !frames.is_empty() {
            (self.calls.messages)(&frames);
            // The answers that it gave at once.
            self.flush_messages();
        }
    }

    /// The program waits for messages: that alone keeps the process alive, or does no longer.
    pub fn hold_for_messages(&self, hold: bool) {
        if let Some(channel) = self.post.channel.borrow().as_ref() {
            channel.hold(hold);
        }
    }
}
