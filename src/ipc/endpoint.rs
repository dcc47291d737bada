//! A process's own side of messages: its questions that wait for an answer, and what has come for its program. It
//! moves nothing; whoever owns the channels hands frames in and takes what is for the program out.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use super::frame::Frame;
use super::message::{Envelope, Format, Peer, What};
use super::pending_requests::{Full, PendingRequests};
use crate::error::{Code, Error};
use crate::sys::uv::{Loop, Timer};

/// Bytes that may wait for a peer that does not read.
pub const MAX_WAITING: usize = 64 << 20;

/// What `ipc` says.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an answer may take, unless its asker says otherwise.
    pub timeout: Duration,
    /// Of a body, in bytes.
    pub max_message: usize,
    /// Questions to one peer that may wait.
    pub max_pending: usize,
}

/// Where it is counted what becomes of messages, by type.
pub trait Tally {
    fn sent(&mut self, kind: &str);
    fn received(&mut self, kind: &str);
    /// A question is settled, by an answer or otherwise, after so long.
    fn settled(&mut self, kind: &str, failed: bool, waited: Duration);
}

/// What a program sends.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub to: Peer,
    pub what: What,
    /// The id of the question, for an answer.
    pub answers: u32,
    /// Instead of the limits' own.
    pub timeout: Option<Duration>,
    pub format: Format,
    pub kind: &'a str,
    pub body: &'a [u8],
}

impl Outgoing<'_> {
    /// `peer`: what the wire says of the other end.
    pub fn envelope(&self, peer: Peer) -> Envelope<'_> {
        Envelope { peer, what: self.what, format: self.format, kind: self.kind }
    }
}

pub struct Endpoint {
    limits: Limits,
    pending: PendingRequests,
    clock: Instant,
    timer: Timer,
    /// For which time the timer is set.
    set_for: Option<Duration>,
    inbox: Vec<Frame>,
    /// The type and the time of each question that waits.
    asked: HashMap<u32, (String, Duration)>,
    /// None: nobody wants to know.
    tally: Option<Box<dyn Tally>>,
}

impl Endpoint {
    /// `late` is called when the time of a question is over; it is to call `woken` and take what has come.
    pub fn new(
        on: Loop,
        limits: Limits,
        tally: Option<Box<dyn Tally>>,
        late: impl FnMut() + 'static,
    ) -> io::Result<Self> {
        Ok(Self {
            limits,
            pending: PendingRequests::new(limits.max_pending),
            clock: Instant::now(),
            timer: Timer::new(on, late)?,
            set_for: None,
            inbox: Vec::new(),
            asked: HashMap::new(),
            tally,
        })
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    fn count(&mut self, act: impl FnOnce(&mut dyn Tally)) {
        if let Some(tally) = &mut self.tally {
            act(&mut **tally);
        }
    }

    /// Hands a message to `put` as id, id that it answers, and parts. `waiting`: bytes that its way has not carried
    /// off yet. The id of a question; 0 for anything else.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE`, `MESSAGE_QUEUE_FULL`; nothing is sent.
    pub fn post(
        &mut self,
        outgoing: &Outgoing<'_>,
        envelope: Envelope<'_>,
        waiting: usize,
        put: impl FnOnce(u32, u32, &[&[u8]]),
    ) -> Result<u32, Error> {
        self.admit(outgoing.body.len(), waiting)?;
        let id = match outgoing.what {
            What::Request => self.ask(outgoing.to, outgoing.kind, outgoing.timeout)?,
            What::Notify => {
                self.count(|tally| tally.sent(outgoing.kind));
                0
            }
            What::Answer | What::Failure => 0,
        };
        put(id, outgoing.answers, &[&envelope.write(), outgoing.body]);
        Ok(id)
    }

    fn admit(&self, size: usize, waiting: usize) -> Result<(), Error> {
        let most = self.limits.max_message;
        if size > most {
            let text = format!("A message of {size} bytes is larger than ipc.maxMessageSize ({most})");
            return Err(Error::new(Code::MessageTooLarge, text));
        }
        if waiting > MAX_WAITING { Err(queue_full()) } else { Ok(()) }
    }

    fn ask(&mut self, peer: Peer, kind: &str, timeout: Option<Duration>) -> Result<u32, Error> {
        let now = self.clock.elapsed();
        let until = now + timeout.unwrap_or(self.limits.timeout);
        let id = self.pending.ask(peer, until).map_err(|Full| queue_full())?;
        self.asked.insert(id, (kind.to_owned(), now));
        self.count(|tally| tally.sent(kind));
        self.set_timer();
        Ok(id)
    }

    /// A message from `from`; answers to questions that nobody asked are dropped.
    pub fn receive(&mut self, from: Peer, frame: Frame) {
        let Some((envelope, _)) = Envelope::read(&frame.payload) else { return };
        match envelope.what {
            What::Notify | What::Request => {
                self.count(|tally| tally.received(envelope.kind));
            }
            What::Answer | What::Failure => {
                if !self.pending.answered(from, frame.header.answers) {
                    return;
                }
                let failed = envelope.what == What::Failure;
                self.settled(frame.header.answers, failed);
            }
        }
        self.inbox.push(frame);
    }

    fn settled(&mut self, id: u32, failed: bool) {
        let Some((kind, since)) = self.asked.remove(&id) else { return };
        let waited = self.clock.elapsed().saturating_sub(since);
        self.count(|tally| tally.settled(&kind, failed, waited));
    }

    /// The peer will answer nothing any more.
    pub fn gone(&mut self, peer: Peer) {
        let ids = self.pending.gone(peer);
        if ids.is_empty() {
            return;
        }
        let error = gone(peer);
        for id in ids {
            self.settled(id, true);
            self.inbox.push(Frame::failure(peer, id, &error));
        }
    }

    /// Nobody will answer anything any more.
    pub fn end(&mut self) {
        self.pending.peers().into_iter().for_each(|peer| self.gone(peer));
    }

    /// The timer has fired, perhaps a moment early: the loop's clock is as old as its turn.
    pub fn woken(&mut self) {
        self.set_for = None;
    }

    /// What has come for the program, and what will not come any more.
    pub fn take(&mut self) -> Vec<Frame> {
        let late = self.pending.late(self.clock.elapsed());
        if !late.is_empty() {
            let error = Error::new(Code::MessageTimeout, "No answer came in time");
            for id in late {
                self.settled(id, true);
                self.inbox.push(Frame::failure(Peer::Primary, id, &error));
            }
        }
        self.set_timer();
        std::mem::take(&mut self.inbox)
    }

    /// Wakes the loop for the next question whose time is over, and keeps it alive as long as one waits.
    fn set_timer(&mut self) {
        let due = self.pending.next_due();
        if due == self.set_for {
            return;
        }
        match due {
            Some(due) => {
                if self.set_for.is_none() {
                    self.timer.hold(true);
                }
                let left = due.saturating_sub(self.clock.elapsed());
                self.timer.set(left.as_millis() as u64 + 1);
            }
            None => {
                self.timer.stop();
                self.timer.hold(false);
            }
        }
        self.set_for = due;
    }
}

fn queue_full() -> Error {
    let text = "Too many messages wait for that process already (ipc.maxPending)";
    Error::new(Code::MessageQueueFull, text)
}

/// Why a peer that is gone does not answer.
pub fn gone(peer: Peer) -> Error {
    let who = match peer {
        Peer::Primary => "The primary".to_owned(),
        Peer::Worker(worker) => format!("Worker {worker}"),
    };
    Error::new(Code::WorkerGone, format!("{who} is gone"))
}
