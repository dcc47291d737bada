//! A process's channel to the fleet's thread, on its event loop. What is sent is written at the end of the loop's
//! iteration.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::ipc::frame::Frame;
use crate::ipc::message_channel::{Ends, MessageChannel};
use crate::sys::uv::{Loop, Prepare};

/// Bytes that wait for the thread.
const MAX_QUEUED: usize = 16 << 20;

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    TooLarge,
    /// The channel has ended.
    Closed,
    /// The thread does not read.
    Stuck,
}

/// Called with each frame; None: the channel has ended.
pub type Report = Box<dyn Fn(Option<&Frame>)>;

pub struct Client {
    /// None: it has ended.
    channel: RefCell<Option<MessageChannel>>,
    turn: RefCell<Option<Prepare>>,
    number: Cell<u32>,
    /// Maximum bytes of a frame.
    most: usize,
    report: Report,
}

impl Client {
    /// The handles do not keep the loop alive.
    ///
    /// # Errors
    /// The loop has no room for them.
    pub fn start(
        uv: Loop,
        socket: OwnedFd,
        keys: Option<Ends<'_>>,
        most: usize,
        report: Report,
    ) -> io::Result<Rc<Self>> {
        let client = Rc::new(Self {
            channel: RefCell::default(),
            turn: RefCell::default(),
            number: Cell::new(0),
            most,
            report,
        });
        let on = |act: fn(&Self)| {
            let client = Rc::downgrade(&client);
            move || {
                if let Some(client) = client.upgrade() {
                    act(&client);
                }
            }
        };
        *client.channel.borrow_mut() = Some(MessageChannel::start(uv, socket, keys, most, on(Self::attend))?);
        *client.turn.borrow_mut() = Some(Prepare::start(uv, on(Self::flush))?);
        Ok(client)
    }

    /// Sends a frame; returns its number. `answers`: the number of the frame that it answers, or 0.
    ///
    /// # Errors
    /// Why it is not sent.
    pub fn post(&self, answers: u32, bytes: &[u8]) -> Result<u32, Unsent> {
        if bytes.len() > self.most {
            return Err(Unsent::TooLarge);
        }
        let mut channel = self.channel.borrow_mut();
        let channel = channel.as_mut().ok_or(Unsent::Closed)?;
        if channel.queued() > MAX_QUEUED {
            return Err(Unsent::Stuck);
        }
        let number = self.number.get().wrapping_add(1).max(1);
        self.number.set(number);
        channel.post(number, answers, [bytes, &[]], crate::ipc::message::Body::Copied(&[]));
        Ok(number)
    }

    /// Writes what is queued.
    pub fn flush(&self) {
        let over = |channel: &mut MessageChannel| channel.is_corked() && channel.turn_over().is_err();
        if self.channel.borrow_mut().as_mut().is_some_and(over) {
            self.end();
        }
    }

    fn attend(&self) {
        let mut frames = Vec::new();
        let is_open = match self.channel.borrow_mut().as_mut() {
            Some(channel) => channel.go_on().and_then(|()| channel.read(&mut frames)).unwrap_or(false),
            None => return,
        };
        frames.iter().for_each(|frame| (self.report)(Some(frame)));
        if !is_open {
            self.end();
        }
    }

    fn end(&self) {
        if self.channel.take().is_some() {
            (self.report)(None);
        }
    }

    /// Sets whether waiting for answers keeps the process alive.
    pub fn hold(&self, hold: bool) {
        self.channel.borrow().iter().for_each(|channel| channel.hold(hold));
    }

    /// Writes what is queued, and closes the handles on the loop.
    pub fn close(&self) {
        self.flush();
        self.channel.take();
        self.turn.take();
    }
}
