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
use crate::ipc::desk::{Desk, Letter, Limits, Tally, gone};
use crate::ipc::line::{Ends, Line};
use crate::ipc::message::{BESIDE, Envelope, Peer};
use crate::metrics::memory::Meters;
use crate::metrics::messages::MessageTally;

/// What a worker has for messages.
pub struct Post {
    worker: Weak<Worker>,
    desk: RefCell<Option<Desk>>,
    /// To the primary's program; None when it has ended.
    line: RefCell<Option<Line>>,
    /// Something for other workers has gone out in this turn of the loop: what comes now waits for its end.
    corked: Cell<bool>,
}

impl Post {
    pub fn new(worker: Weak<Worker>) -> Self {
        Self { worker, desk: RefCell::default(), line: RefCell::default(), corked: Cell::new(false) }
    }
}

impl Worker {
    pub(super) fn open_post(&self, program: OwnedFd, keys: Option<&Pair>) -> io::Result<()> {
        let messages = self.welcome.messages;
        let limits = Limits {
            timeout: Duration::from_millis(messages.timeout_ms),
            most_message: messages.most,
            most_pending: messages.most_pending,
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
        let line = Line::start(self.uv, program, ends, messages.most + BESIDE, on(Worker::attend_line))?;
        *self.post.line.borrow_mut() = Some(line);
        let tally = self.welcome.measured.then(|| {
            Box::new(MessageTally::new(Meters::of_worker(&self.memory, self.welcome.worker)))
                as Box<dyn Tally>
        });
        *self.post.desk.borrow_mut() = Some(Desk::new(self.uv, limits, tally, on(Worker::late))?);
        Ok(())
    }

    pub(super) fn close_post(&self) {
        self.post.line.borrow_mut().take();
        self.post.desk.borrow_mut().take();
    }

    /// Sends a program's message, at the latest when the loop's turn ends. The id of a question; 0 for anything else.
    ///
    /// # Errors
    /// Why it is not sent.
    pub fn post(&self, letter: &Letter<'_>) -> Result<u32, Error> {
        let mut desk = self.post.desk.borrow_mut();
        let Some(desk) = desk.as_mut() else { return Err(gone(letter.to)) };
        let envelope = letter.envelope(letter.to);
        if letter.to != Peer::Primary {
            if self.link.is_gone() {
                return Err(gone(Peer::Primary));
            }
            let posted = desk.post(letter, envelope, self.link.queued(), |id, answers, parts| {
                self.link.post(id, answers, parts);
            });
            if posted.is_ok() && !self.post.corked.replace(true) {
                self.flush_link();
            }
            return posted;
        }
        let mut line = self.post.line.borrow_mut();
        let Some(line) = line.as_mut() else { return Err(gone(Peer::Primary)) };
        desk.post(letter, envelope, line.queued(), |id, answers, parts| line.post(id, answers, parts))
    }

    /// Sends what is queued: the loop's turn is over, or the process is.
    pub fn flush_messages(&self) {
        if self.post.corked.replace(false) && self.link.queued() > 0 {
            self.flush_link();
        }
        let ended = |line: &mut Line| line.is_corked() && line.turn_over().is_err();
        let broken = self.post.line.borrow_mut().as_mut().is_some_and(ended);
        if broken {
            self.line_ended();
        }
    }

    fn attend_line(&self) {
        let mut frames = Vec::new();
        let open = match self.post.line.borrow_mut().as_mut() {
            Some(line) => line.go_on().and_then(|()| line.read(&mut frames)).unwrap_or(false),
            None => return,
        };
        if let Some(desk) = self.post.desk.borrow_mut().as_mut() {
            for frame in frames {
                desk.receive(Peer::Primary, frame);
            }
        }
        if !open {
            self.line_ended();
        }
        self.deliver();
    }

    /// The primary's program hears nothing any more. If the primary is gone, the control channel says so.
    fn line_ended(&self) {
        self.post.line.borrow_mut().take();
        if let Some(desk) = self.post.desk.borrow_mut().as_mut() {
            desk.gone(Peer::Primary);
        }
    }

    /// Takes over what other workers have sent.
    pub(super) fn take_letters(&self) {
        let letters = self.link.letters();
        if letters.is_empty() {
            return;
        }
        if let Some(desk) = self.post.desk.borrow_mut().as_mut() {
            for frame in letters {
                // The primary says from whom it is.
                if let Some((Envelope { peer, .. }, _)) = Envelope::read(&frame.payload) {
                    desk.receive(peer, frame);
                }
            }
        }
        self.deliver();
    }

    /// Nothing is carried any more.
    pub(super) fn nobody_answers(&self) {
        if let Some(desk) = self.post.desk.borrow_mut().as_mut() {
            desk.end();
        }
        self.deliver();
    }

    /// The time of a question may be over.
    fn late(&self) {
        if let Some(desk) = self.post.desk.borrow_mut().as_mut() {
            desk.woken();
        }
        self.deliver();
    }

    /// Gives the program what has come for it.
    fn deliver(&self) {
        let frames = self.post.desk.borrow_mut().as_mut().map(Desk::take).unwrap_or_default();
        if !frames.is_empty() {
            (self.calls.messages)(&frames);
            // The answers that it gave at once.
            self.flush_messages();
        }
    }

    /// The program waits for messages: that alone keeps the process alive, or does no longer.
    pub fn hold_for_messages(&self, hold: bool) {
        if let Some(line) = self.post.line.borrow().as_ref() {
            line.hold(hold);
        }
    }
}
