//! Messages of the primary's program. It lives on the program's thread: a worker's program channel is read when the
//! loop there is free to handle what comes. Messages between workers do not come here (`relay`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::arrivals::{Arrival, Arrivals};
use super::news::Input;
use crate::error::Error;
use crate::ipc::desk::{Desk, Letter, Limits, Tally, gone};
use crate::ipc::frame::Frame;
use crate::ipc::gate::Gate;
use crate::ipc::line::{Ends, Line};
use crate::ipc::message::{BESIDE, Envelope, Peer, What, readdress};
use crate::metrics::memory::Meters;
use crate::metrics::messages::MessageTally;
use crate::model::WorkerId;
use crate::sys::uv::{Loop, Prepare};

/// Called with what has come for the program.
pub type Deliver = Box<dyn Fn(&[Frame])>;

pub struct PrimaryDesk {
    uv: Loop,
    desk: RefCell<Desk>,
    lines: RefCell<HashMap<WorkerId, Line>>,
    /// Lines that were used in this turn of the loop.
    dirty: RefCell<Vec<WorkerId>>,
    turn: RefCell<Option<Prepare>>,
    arrivals: Arrivals,
    gate: Arc<Gate>,
    inputs: UnboundedSender<Input>,
    deliver: Deliver,
    this: Weak<PrimaryDesk>,
}

/// What a handle of the primary has for its program's thread.
#[derive(Clone)]
pub struct DeskParts {
    pub limits: Limits,
    pub arrivals: Arrivals,
    pub gate: Arc<Gate>,
    pub inputs: UnboundedSender<Input>,
    /// Where the program's messages are counted; None: nowhere.
    pub meters: Option<Meters>,
}

impl PrimaryDesk {
    /// # Errors
    /// This runtime has no event loop of libuv's.
    pub fn start(uv: Loop, parts: DeskParts, deliver: Deliver) -> io::Result<Rc<Self>> {
        let DeskParts { limits, arrivals, gate, inputs, meters } = parts;
        let tally = meters.map(|meters| Box::new(MessageTally::new(meters)) as Box<dyn Tally>);
        // The desk's own timer calls back into it.
        let late: Rc<RefCell<Weak<PrimaryDesk>>> = Rc::default();
        let target = late.clone();
        let desk = Desk::new(uv, limits, tally, move || {
            if let Some(desk) = target.borrow().upgrade() {
                desk.desk.borrow_mut().woken();
                desk.deliver();
            }
        })?;
        let made = Rc::new_cyclic(|this| Self {
            uv,
            desk: RefCell::new(desk),
            lines: RefCell::default(),
            dirty: RefCell::default(),
            turn: RefCell::default(),
            arrivals,
            gate,
            inputs,
            deliver,
            this: this.clone(),
        });
        *late.borrow_mut() = Rc::downgrade(&made);
        let this = Rc::downgrade(&made);
        let over = move || {
            if let Some(desk) = this.upgrade() {
                desk.flush();
            }
        };
        *made.turn.borrow_mut() = Some(Prepare::start(uv, over)?);
        Ok(made)
    }

    /// Takes over a worker's program channel.
    pub fn open(&self, worker: WorkerId) {
        let Some(Arrival { socket, keys }) = self.arrivals.take(worker) else { return };
        let this = self.this.clone();
        let ready = move || {
            if let Some(desk) = this.upgrade() {
                desk.attend(worker);
                desk.deliver();
            }
        };
        let ends = keys.as_ref().map(|keys| Ends { sends: &keys.to_worker, receives: &keys.to_primary });
        let most = self.desk.borrow().limits().most_message + BESIDE;
        match Line::start(self.uv, socket, ends, most, ready) {
            Ok(line) => drop(self.lines.borrow_mut().insert(worker, line)),
            Err(error) => self.broken(worker, &error),
        }
    }

    /// Reads what a worker has sent, before an event of its is told or its end.
    pub fn read_all(&self) {
        let names: Vec<WorkerId> = self.lines.borrow().keys().copied().collect();
        names.into_iter().for_each(|worker| self.attend(worker));
        self.deliver();
    }

    /// The worker is gone: what it sent last is read, and what waits for it fails.
    pub fn gone(&self, worker: WorkerId) {
        self.attend(worker);
        self.end(worker);
        self.deliver();
    }

    /// Sends a program's message, at the latest when the loop's turn ends. The id of a question; 0 for anything else.
    ///
    /// # Errors
    /// Why it is not sent.
    pub fn post(&self, letter: &Letter<'_>) -> Result<u32, Error> {
        let Peer::Worker(worker) = letter.to else { return Err(gone(letter.to)) };
        let mut lines = self.lines.borrow_mut();
        let line = lines.get_mut(&worker).ok_or_else(|| gone(letter.to))?;
        // From whom it is says the envelope on this channel.
        let envelope = letter.envelope(Peer::Primary);
        self.gate.pass(Peer::Primary, letter.to, &envelope, letter.body)?;
        let is_clean = !line.is_corked();
        let posted = self.desk.borrow_mut().post(letter, envelope, line.queued(), |id, answers, parts| {
            line.post(id, answers, parts);
        });
        if is_clean && posted.is_ok() {
            self.dirty.borrow_mut().push(worker);
        }
        posted
    }

    /// Sends what is queued: the loop's turn is over.
    fn flush(&self) {
        if self.dirty.borrow().is_empty() {
            return;
        }
        for worker in self.dirty.take() {
            let flushed = self.lines.borrow_mut().get_mut(&worker).map(Line::turn_over);
            if let Some(Err(_)) = flushed {
                // Its end is on the way, and tells what was not answered.
                self.end(worker);
            }
        }
    }

    fn attend(&self, worker: WorkerId) {
        let mut frames = Vec::new();
        let read = match self.lines.borrow_mut().get_mut(&worker) {
            Some(line) => line.go_on().and_then(|()| line.read(&mut frames)),
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

    fn receive(&self, worker: WorkerId, mut frame: Frame) -> io::Result<()> {
        let Some((envelope, body)) = Envelope::read(&frame.payload) else {
            return Err(io::Error::other("what it sent is no message"));
        };
        let what = envelope.what;
        let passed = self.gate.pass(worker.into(), Peer::Primary, &envelope, body);
        if let Err(error) = passed {
            let refusal = Frame::failure(Peer::Primary, frame.header.id, &error);
            if let (What::Ask, Some(line)) = (what, self.lines.borrow_mut().get_mut(&worker)) {
                line.post(0, refusal.header.answers, &[&refusal.payload]);
                return line.flush();
            }
            // Nobody waits for an answer: the operator hears of it.
            let _ = self.inputs.send(Input::Refused { error });
            return Ok(());
        }
        readdress(&mut frame.payload, worker.into());
        self.desk.borrow_mut().receive(worker.into(), frame);
        Ok(())
    }

    /// Nothing more comes from there.
    fn end(&self, worker: WorkerId) {
        self.lines.borrow_mut().remove(&worker);
        self.desk.borrow_mut().gone(worker.into());
    }

    /// It does not keep to what was agreed on: the loop ends it.
    fn broken(&self, worker: WorkerId, error: &io::Error) {
        let _ = self.inputs.send(Input::Broken { worker, reason: error.to_string() });
        self.end(worker);
    }

    fn deliver(&self) {
        let frames = self.desk.borrow_mut().take();
        if !frames.is_empty() {
            (self.deliver)(&frames);
            // The answers that it gave at once.
            self.flush();
        }
    }

    /// The cluster has ended.
    pub fn close(&self) {
        self.turn.borrow_mut().take();
        self.lines.borrow_mut().clear();
        self.desk.borrow_mut().end();
        self.deliver();
    }
}
