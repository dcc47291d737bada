//! Messages of a worker's program: to the primary's program over a separate channel, to other workers over the control
//! channel, where the primary's loop relays them even while its JavaScript is blocked.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use super::control_channel::ControlChannel;
use crate::error::Error;
use crate::ipc::control::Messages;
use crate::ipc::crypto::Pair;
use crate::ipc::endpoint::{Endpoint, Limits, Outgoing, Tally, gone};
use crate::ipc::frame::Frame;
use crate::ipc::message::{BESIDE, Message, Peer};
use crate::ipc::message_channel::{Ends, MessageChannel};
use crate::sys::uv::Loop;

/// Passes messages to the program.
pub type Deliver = Box<dyn Fn(&[Message])>;

/// What a worker inherits for messages.
pub struct Opening {
    pub limits: Messages,
    /// The channel to the primary's program, and its keys if it is encrypted.
    pub program: OwnedFd,
    pub keys: Option<Pair>,
}

pub struct MessageEndpoint {
    control: Rc<ControlChannel>,
    endpoint: RefCell<Option<Endpoint>>,
    /// To the primary's program; None when it has ended.
    channel: RefCell<Option<MessageChannel>>,
    /// A message for another worker was sent in this iteration of the loop: further ones wait for its end.
    corked: Cell<bool>,
    deliver: Deliver,
}

impl MessageEndpoint {
    /// The handles do not keep the loop alive. `tally` counts the messages, if metrics are enabled.
    pub fn start(
        uv: Loop,
        control: Rc<ControlChannel>,
        opening: Opening,
        tally: Option<Box<dyn Tally>>,
        deliver: Deliver,
    ) -> io::Result<Rc<Self>> {
        let Opening { limits: Messages { timeout_ms, most, max_pending, .. }, program, keys } = opening;
        let limits = Limits { timeout: Duration::from_millis(timeout_ms), max_message: most, max_pending };
        let messages = Rc::new(Self {
            control,
            endpoint: RefCell::default(),
            channel: RefCell::default(),
            corked: Cell::new(false),
            deliver,
        });
        let on = |act: fn(&Self)| {
            let messages = Rc::downgrade(&messages);
            move || {
                if let Some(messages) = messages.upgrade() {
                    act(&messages);
                }
            }
        };
        let ends = keys.as_ref().map(|keys| Ends { sends: &keys.to_primary, receives: &keys.to_worker });
        let channel = MessageChannel::start(uv, program, ends, most + BESIDE, on(Self::attend))?;
        *messages.channel.borrow_mut() = Some(channel);
        *messages.endpoint.borrow_mut() = Some(Endpoint::new(uv, limits, tally, on(Self::late))?);
        Ok(messages)
    }

    /// Closes the handles on the loop.
    pub fn close(&self) {
        self.channel.borrow_mut().take();
        self.endpoint.borrow_mut().take();
    }

    /// Sends a program's message, at the latest at the end of the loop's iteration. Returns the id of a request; 0
    /// otherwise.
    ///
    /// # Errors
    /// Why it is not sent.
    pub fn post(&self, outgoing: &Outgoing<'_>) -> Result<u32, Error> {
        let mut endpoint = self.endpoint.borrow_mut();
        let Some(endpoint) = endpoint.as_mut() else { return Err(gone(outgoing.to)) };
        let envelope = outgoing.envelope(outgoing.to);
        if outgoing.to != Peer::Primary {
            if self.control.is_gone() {
                return Err(gone(Peer::Primary));
            }
            let posted =
                endpoint.post(outgoing, envelope, self.control.queued(), |id, answers, head, body| {
                    self.control.post(id, answers, head, body);
                });
            if posted.is_ok() && !self.corked.replace(true) {
                self.control.flush();
            }
            return posted;
        }
        let mut channel = self.channel.borrow_mut();
        let Some(channel) = channel.as_mut() else { return Err(gone(Peer::Primary)) };
        endpoint.post(outgoing, envelope, channel.queued(), |id, answers, head, body| {
            channel.post(id, answers, head, body);
        })
    }

    /// Sends queued messages, at the end of the loop's iteration or of the process.
    pub fn flush(&self) {
        if self.corked.replace(false) && self.control.queued() > 0 {
            self.control.flush();
        }
        let ended = |channel: &mut MessageChannel| channel.is_corked() && channel.turn_over().is_err();
        let broken = self.channel.borrow_mut().as_mut().is_some_and(ended);
        if broken {
            self.channel_ended();
        }
    }

    fn attend(&self) {
        let mut frames = Vec::new();
        let open = match self.channel.borrow_mut().as_mut() {
            Some(channel) => channel.go_on().and_then(|()| channel.read(&mut frames)).unwrap_or(false),
            None => return,
        };
        if let Some(endpoint) = self.endpoint.borrow_mut().as_mut() {
            for message in frames.into_iter().filter_map(read) {
                endpoint.receive(Peer::Primary, message);
            }
        }
        if !open {
            self.channel_ended();
        }
        self.deliver();
    }

    /// The channel to the primary's program has ended. If the primary has ended, the control channel reports it.
    fn channel_ended(&self) {
        self.channel.borrow_mut().take();
        if let Some(endpoint) = self.endpoint.borrow_mut().as_mut() {
            endpoint.gone(Peer::Primary);
        }
    }

    /// Handles messages of other workers.
    pub fn receive(&self) {
        let messages = self.control.messages();
        if messages.is_empty() {
            return;
        }
        if let Some(endpoint) = self.endpoint.borrow_mut().as_mut() {
            for message in messages.into_iter().filter_map(read) {
                // The primary has set the sender.
                endpoint.receive(message.peer, message);
            }
        }
        self.deliver();
    }

    /// Ends the messages of this worker.
    pub fn end(&self) {
        if let Some(endpoint) = self.endpoint.borrow_mut().as_mut() {
            endpoint.end();
        }
        self.deliver();
    }

    /// Fails requests whose timeout has expired.
    fn late(&self) {
        if let Some(endpoint) = self.endpoint.borrow_mut().as_mut() {
            endpoint.woken();
        }
        self.deliver();
    }

    /// Passes received messages to the program.
    fn deliver(&self) {
        let frames = self.endpoint.borrow_mut().as_mut().map(Endpoint::take).unwrap_or_default();
        if !frames.is_empty() {
            (self.deliver)(&frames);
            // Send the responses that handlers gave synchronously.
            self.flush();
        }
    }

    /// Sets whether waiting for messages keeps the process alive.
    pub fn hold(&self, hold: bool) {
        if let Some(channel) = self.channel.borrow().as_ref() {
            channel.hold(hold);
        }
    }
}

/// Parses a message; invalid ones are dropped.
fn read(Frame { header, payload }: Frame) -> Option<Message> {
    Message::read(header.id, header.answers, payload)
}
