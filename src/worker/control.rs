//! The worker's end of the control channel: messages out, questions with an answer, notices in.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::Value;
use zeroize::Zeroize;

use crate::ipc::channel::{Receiver, Sender};
use crate::ipc::control::{Diagnose, Drain, Protocol, ToPrimary, ToWorker, decode, encode};
use crate::ipc::crypto::WorkerKeys;
use crate::ipc::frame::{Frame, Kind};

/// The primary's Rust side answers in microseconds, whatever its JavaScript does. So long without an answer
/// and it is stopped or broken.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What JavaScript is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Finish and exit; how, the link has.
    Drain,
    /// The slot is this worker's from now on; nothing for JavaScript to do.
    Promoted,
    /// What the program asked of the cluster is settled; the number is the command's.
    CommandResult,
    /// A stop is announced.
    Unready,
    /// It is not ready so many milliseconds after its start.
    Late,
    /// So many idle connections are wanted for other workers; comes on the connection channel.
    Asked,
    /// The time to drain is over.
    TimeUp,
    /// The primary ends in order; the number is the time to drain in milliseconds.
    ShutdownNotice,
    /// The primary is gone.
    Gone,
    /// It leads from now on (1), or is to lead no more (0).
    Lead,
    /// An event of the cluster is there to be read.
    Event,
    /// It is asked whether it is well; the number is the check's.
    Check,
    /// A diagnosis is asked for; the number is its id.
    Diagnose,
    /// The server of a group is to close; the number is the group's.
    CloseServer,
}

/// What a check brings: what the first HTTP server is asked in, and the connection for that.
#[derive(Debug)]
pub struct Check {
    pub number: u32,
    pub door: Option<(Protocol, OwnedFd)>,
}

pub struct ControlChannel {
    socket: OwnedFd,
    sender: RefCell<Sender>,
    receiver: RefCell<Receiver>,
    /// Notices that were read while waiting for an answer.
    inbox: RefCell<VecDeque<(Notice, u32)>>,
    /// Other workers' messages.
    messages: RefCell<Vec<Frame>>,
    /// Events of the cluster, as JSON.
    events: RefCell<VecDeque<Value>>,
    /// Checks that were not begun.
    checks: RefCell<VecDeque<Check>>,
    diagnoses: RefCell<VecDeque<Diagnose>>,
    /// How this worker is to leave.
    drain: Cell<Option<Drain>>,
    /// By command: what became of it.
    results: RefCell<HashMap<u32, Value>>,
    gone: Cell<bool>,
}

impl ControlChannel {
    pub fn new(socket: OwnedFd) -> Self {
        let mut receiver = Receiver::default();
        receiver.await_keys(true);
        Self {
            socket,
            sender: RefCell::default(),
            receiver: RefCell::new(receiver),
            inbox: RefCell::default(),
            messages: RefCell::default(),
            events: RefCell::default(),
            checks: RefCell::default(),
            diagnoses: RefCell::default(),
            drain: Cell::default(),
            results: RefCell::default(),
            gone: Cell::new(false),
        }
    }

    /// A second descriptor of the socket, for the loop to poll.
    pub fn to_poll(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Sends a message; waits for a full socket, which a living primary empties at once.
    pub fn send(&self, message: &ToPrimary) -> io::Result<u32> {
        let mut sender = self.sender.borrow_mut();
        let id = sender.push(Kind::Control, 0, encode(message), None)?;
        loop {
            match sender.flush(self.socket.as_fd()) {
                // What other workers are told can wait for the loop.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && sender.has_sent_control() => {
                    return Ok(id);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::OUT, TIMEOUT)?
                }
                flushed => return flushed.map(|()| id),
            }
        }
    }

    /// Queues a message for another worker; `flush` sends it.
    pub fn post(&self, id: u32, answers: u32, parts: &[&[u8]]) {
        self.sender.borrow_mut().push_message(id, answers, parts);
    }

    /// Bytes of messages that wait.
    pub fn queued(&self) -> usize {
        self.sender.borrow().queued()
    }

    /// Sends what the socket takes. Does more wait?
    pub fn flush(&self) -> bool {
        match self.sender.borrow_mut().flush(self.socket.as_fd()) {
            Ok(()) => false,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Sends a question and waits for its answer; notices that come meanwhile are kept for `inbox`.
    ///
    /// # Errors
    /// TimedOut, or the primary is gone.
    pub fn ask(&self, question: &ToPrimary) -> io::Result<(ToWorker, Option<OwnedFd>)> {
        let id = self.send(question)?;
        let until = Instant::now() + TIMEOUT;
        loop {
            if let Some(answer) = self.read_until(id)? {
                return Ok(answer);
            }
            if self.is_gone() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            self.wait(PollFlags::IN, until.saturating_duration_since(Instant::now()))?;
        }
    }

    /// The first message and the descriptor beside it; they are in the channel before this process runs.
    pub fn first(&self) -> io::Result<(ToWorker, Option<OwnedFd>)> {
        let (frame, descriptor) = self.next()?;
        Ok((decode(&frame.payload).map_err(io::Error::other)?, descriptor))
    }

    /// The keys, which follow a hello that says so; from here on this channel is sealed.
    pub fn keys(&self) -> io::Result<WorkerKeys> {
        let (mut frame, _) = self.next()?;
        let keys = WorkerKeys::read(&frame.payload).filter(|_| frame.header.kind == Kind::Keys);
        frame.payload.zeroize();
        let keys = keys.ok_or_else(|| io::Error::other("the second message holds no keys"))?;
        self.sender.borrow_mut().seal_with(&keys.control.to_primary)?;
        self.receiver.borrow_mut().open_with(&keys.control.to_worker)?;
        Ok(keys)
    }

    /// The hello is read, and the keys if there are any. Whole messages of other workers may be so long.
    pub fn greeted(&self, max_message: usize) {
        let mut receiver = self.receiver.borrow_mut();
        receiver.await_keys(false);
        receiver.allow(max_message);
    }

    fn next(&self) -> io::Result<(Frame, Option<OwnedFd>)> {
        loop {
            if let Some(next) = self.receiver.borrow_mut().next_frame()? {
                return Ok(next);
            }
            self.wait(PollFlags::IN, TIMEOUT)?;
            self.fill()?;
            if self.is_gone() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
    }

    fn wait(&self, flags: PollFlags, time: Duration) -> io::Result<()> {
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        match poll(&mut [PollFd::new(&self.socket, flags)], Some(&timeout)) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn fill(&self) -> io::Result<()> {
        match self.receiver.borrow_mut().fill(self.socket.as_fd()) {
            Ok(0) => {
                self.gone.set(true);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(())
            }
            Err(error) => {
                self.gone.set(true);
                Err(error)
            }
        }
    }

    /// Reads what is there; the answer to `id` if it is among it.
    fn read_until(&self, id: u32) -> io::Result<Option<(ToWorker, Option<OwnedFd>)>> {
        self.fill()?;
        let mut receiver = self.receiver.borrow_mut();
        while let Some((frame, descriptor)) = receiver.next_frame()? {
            if frame.header.kind == Kind::Message {
                self.messages.borrow_mut().push(frame);
                continue;
            }
            let message: ToWorker = decode(&frame.payload).map_err(io::Error::other)?;
            if frame.header.answers == id && id != 0 {
                return Ok(Some((message, descriptor)));
            }
            match message {
                ToWorker::Ping => {
                    // A primary that is gone judges nobody; what it said last is still to be read.
                    let _ = self.send(&ToPrimary::Pong);
                }
                ToWorker::Check { number, protocol } => {
                    let check = Check { number, door: protocol.zip(descriptor) };
                    self.checks.borrow_mut().push_back(check);
                    self.inbox.borrow_mut().push_back((Notice::Check, number));
                }
                message => self.keep(&message),
            }
        }
        Ok(None)
    }

    fn keep(&self, message: &ToWorker) {
        let number = |ms: &u64| u32::try_from(*ms).unwrap_or(u32::MAX);
        let notice = match message {
            ToWorker::Drain(drain) => {
                self.drain.set(Some(*drain));
                (Notice::Drain, 0)
            }
            ToWorker::Promoted => (Notice::Promoted, 0),
            ToWorker::CloseServer { group } => (Notice::CloseServer, *group),
            ToWorker::Unready => (Notice::Unready, 0),
            ToWorker::Late { after_ms } => (Notice::Late, number(after_ms)),
            ToWorker::TimeUp => (Notice::TimeUp, 0),
            ToWorker::ShutdownNotice { grace_ms } => (Notice::ShutdownNotice, number(grace_ms)),
            ToWorker::CommandResult { id, outcome } => {
                self.results.borrow_mut().insert(*id, outcome.clone());
                (Notice::CommandResult, *id)
            }
            ToWorker::Diagnose(asked) => {
                self.diagnoses.borrow_mut().push_back(asked.clone());
                (Notice::Diagnose, asked.id)
            }
            ToWorker::Lead { leads } => (Notice::Lead, u32::from(*leads)),
            ToWorker::Event { event } => {
                self.events.borrow_mut().push_back(event.clone());
                (Notice::Event, 0)
            }
            // Answered already, and answers that nobody waits for any more.
            ToWorker::Ping
            | ToWorker::Check { .. }
            | ToWorker::Hello(_)
            | ToWorker::Listening { .. }
            | ToWorker::ListenFailed { .. }
            | ToWorker::Closed { .. }
            | ToWorker::Bound { .. }
            | ToWorker::Unbound
            | ToWorker::Joined { .. }
            | ToWorker::Parted { .. } => return,
        };
        self.inbox.borrow_mut().push_back(notice);
    }

    /// Reads what has come and returns the notices in it, and `Gone` once at the end of the channel. A broken
    /// channel is an ended one.
    pub fn inbox(&self) -> Vec<(Notice, u32)> {
        let was_gone = self.is_gone();
        if !was_gone && self.read_until(0).is_err() {
            self.gone.set(true);
        }
        let mut notices: Vec<(Notice, u32)> = self.inbox.borrow_mut().drain(..).collect();
        if self.is_gone() && !was_gone {
            notices.push((Notice::Gone, 0));
        }
        notices
    }

    /// How this worker is to leave, once it is told.
    pub fn drain(&self) -> Option<Drain> {
        self.drain.get()
    }

    /// The result of a command, once.
    pub fn result_of(&self, command: u32) -> Option<Value> {
        self.results.borrow_mut().remove(&command)
    }

    /// The next event of the cluster.
    pub fn event(&self) -> Option<Value> {
        self.events.borrow_mut().pop_front()
    }

    /// The next diagnosis.
    pub fn diagnosis(&self) -> Option<Diagnose> {
        self.diagnoses.borrow_mut().pop_front()
    }

    /// The next check to begin.
    pub fn check(&self) -> Option<Check> {
        self.checks.borrow_mut().pop_front()
    }

    /// What other workers have sent.
    pub fn messages(&self) -> Vec<Frame> {
        std::mem::take(&mut *self.messages.borrow_mut())
    }

    pub fn has_notices(&self) -> bool {
        !self.inbox.borrow().is_empty() || !self.messages.borrow().is_empty()
    }
}
