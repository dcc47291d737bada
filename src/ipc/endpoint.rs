//! The message endpoint of a process: its pending requests and its inbox. It does no I/O; the owner of the channels
//! passes received frames in and takes the program's messages out.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::message::{Body, Envelope, Format, Message, Peer, What};
use super::pending_requests::{Full, PendingRequests, Request};
use crate::error::{Code, Error};
use crate::sys::uv::{Loop, Timer};

/// Maximum bytes queued for a peer that does not read.
pub const MAX_WAITING: usize = 64 << 20;

/// The settings of `ipc`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Default timeout of requests.
    pub timeout: Duration,
    /// Maximum length of a body in bytes.
    pub max_message: usize,
    /// Maximum pending requests to one peer.
    pub max_pending: usize,
}

/// Counts messages by type and outcome.
pub trait Tally {
    fn sent(&mut self, kind: &str);
    fn received(&mut self, kind: &str);
    /// A request was settled, by a response or otherwise, after this time.
    fn settled(&mut self, kind: &str, failed: bool, waited: Duration);
}

/// An outgoing message.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub to: Peer,
    pub what: What,
    /// The id of the request that this message answers.
    pub answers: u32,
    /// The timeout, instead of the default.
    pub timeout: Option<Duration>,
    pub format: Format,
    pub kind: &'a str,
    pub body: Body<'a>,
}

impl Outgoing<'_> {
    /// `peer`: the peer in the envelope.
    pub fn envelope(&self, peer: Peer) -> Envelope<'_> {
        Envelope { peer, what: self.what, format: self.format, kind: self.kind }
    }
}

pub struct Endpoint {
    limits: Limits,
    pending: PendingRequests,
    clock: Instant,
    timer: Timer,
    /// No pending request times out before; None if there is none. The timer is set to it, unless it has fired.
    due: Option<Duration>,
    has_fired: bool,
    inbox: Vec<Message>,
    /// The type of the last request, which often is that of the next one too.
    last_kind: Rc<str>,
    /// None: messages are not counted.
    tally: Option<Box<dyn Tally>>,
}

impl Endpoint {
    /// `late` is called when a request may have timed out; it must call `woken` and take the inbox.
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
            due: None,
            has_fired: false,
            inbox: Vec::new(),
            last_kind: Rc::default(),
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

    /// Passes a message to `put`: its id, the id that it answers, the two parts of its envelope, and its body. `waiting`:
    /// bytes that are queued already. Returns the id of a request, 0 otherwise.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE`, `MESSAGE_QUEUE_FULL`; nothing is sent.
    pub fn post(
        &mut self,
        outgoing: &Outgoing<'_>,
        envelope: Envelope<'_>,
        waiting: usize,
        put: impl FnOnce(u32, u32, [&[u8]; 2], Body<'_>),
    ) -> Result<u32, Error> {
        self.admit(outgoing.body.bytes().len(), waiting)?;
        let id = match outgoing.what {
            What::Request => self.ask(outgoing.to, outgoing.kind, outgoing.timeout)?,
            What::Notify => {
                self.count(|tally| tally.sent(outgoing.kind));
                0
            }
            What::Answer | What::Failure => 0,
        };
        let (head, kind) = envelope.parts();
        put(id, outgoing.answers, [&head, kind], outgoing.body);
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
        if *self.last_kind != *kind {
            self.last_kind = kind.into();
        }
        let since = self.clock.elapsed();
        let until = since + timeout.unwrap_or(self.limits.timeout);
        let request = Request { peer, since, until, kind: self.last_kind.clone() };
        let id = self.pending.ask(request).map_err(|Full| queue_full())?;
        self.count(|tally| tally.sent(kind));
        if self.due.is_none_or(|due| until < due) {
            self.wake_at(Some(until));
        }
        Ok(id)
    }

    /// A message was received from `from`, regardless of its envelope; responses to unknown requests are dropped.
    pub fn receive(&mut self, from: Peer, mut message: Message) {
        match message.what {
            What::Notify | What::Request => {
                self.count(|tally| tally.received(message.kind()));
            }
            What::Answer | What::Failure => {
                let Some(request) = self.pending.answered(from, message.answers) else { return };
                self.settled(&request, message.what == What::Failure);
            }
        }
        message.peer = from;
        self.inbox.push(message);
    }

    fn settled(&mut self, request: &Request, failed: bool) {
        if let Some(tally) = &mut self.tally {
            tally.settled(&request.kind, failed, self.clock.elapsed().saturating_sub(request.since));
        }
    }

    /// The peer has ended and will not answer.
    pub fn gone(&mut self, peer: Peer) {
        let requests = self.pending.gone(peer);
        if requests.is_empty() {
            return;
        }
        let error = gone(peer);
        for (id, request) in requests {
            self.settled(&request, true);
            self.inbox.push(Message::failure(peer, id, &error));
        }
    }

    /// No peer will answer any more.
    pub fn end(&mut self) {
        self.pending.peers().into_iter().for_each(|peer| self.gone(peer));
    }

    /// The timer has fired, perhaps slightly early: the loop's clock is updated once per iteration.
    pub fn woken(&mut self) {
        self.has_fired = true;
    }

    /// Takes the inbox: received messages, and failures of requests.
    pub fn take(&mut self) -> Vec<Message> {
        if let Some(due) = self.due {
            self.look_for_late(due);
        }
        std::mem::take(&mut self.inbox)
    }

    fn look_for_late(&mut self, due: Duration) {
        if self.pending.is_empty() {
            return self.wake_at(None);
        }
        let now = self.clock.elapsed();
        if due <= now {
            let error = Error::new(Code::MessageTimeout, "No answer came in time");
            for (id, request) in self.pending.late(now) {
                self.settled(&request, true);
                self.inbox.push(Message::failure(Peer::Primary, id, &error));
            }
            self.wake_at(self.pending.next_due());
        } else if self.has_fired {
            self.wake_at(self.due);
        }
    }

    /// Sets the timer to the next possible timeout, and keeps the loop alive while requests are pending.
    fn wake_at(&mut self, due: Option<Duration>) {
        match due {
            Some(at) => {
                if self.due.is_none() {
                    self.timer.hold(true);
                }
                let left = at.saturating_sub(self.clock.elapsed());
                self.timer.set(left.as_millis() as u64 + 1);
            }
            None => {
                self.timer.stop();
                self.timer.hold(false);
            }
        }
        (self.due, self.has_fired) = (due, false);
    }
}

fn queue_full() -> Error {
    let text = "Too many messages wait for that process already (ipc.maxPending)";
    Error::new(Code::MessageQueueFull, text)
}

/// The error of a request to a peer that has ended.
pub fn gone(peer: Peer) -> Error {
    let who = match peer {
        Peer::Primary => "The primary".to_owned(),
        Peer::Worker(worker) => format!("Worker {worker}"),
    };
    Error::new(Code::WorkerGone, format!("{who} is gone"))
}
