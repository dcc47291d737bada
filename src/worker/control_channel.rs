//! The worker's end of the control channel: outgoing messages, requests with a reply, incoming messages. Their content
//! is handled elsewhere, except `Ping`, which is answered here.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use zeroize::Zeroize;

use crate::ipc::channel::{Receiver, Sender};

use crate::ipc::control::{Service, ToPrimary, ToWorker, decode, encode};
use crate::ipc::crypto::WorkerKeys;
use crate::ipc::frame::{Frame, Kind};
use crate::ipc::message::Body;
use crate::sys::uv::{Loop, Poll};

/// Timeout of a reply. The primary's Rust side replies within microseconds, even while its JavaScript is blocked; after
/// this time it is stopped or broken.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A message of the primary, and the descriptor that accompanies it.
pub type Incoming = (ToWorker, Option<OwnedFd>);

pub struct ControlChannel {
    socket: OwnedFd,
    sender: RefCell<Sender>,
    receiver: RefCell<Receiver>,
    /// Unhandled messages of the primary, which may have been read while a reply was awaited.
    inbox: RefCell<VecDeque<Incoming>>,
    /// Unhandled messages of other workers.
    messages: RefCell<Vec<Frame>>,
    /// On the runtime's loop.
    poll: RefCell<Option<Poll>>,
    waits_to_write: Cell<bool>,
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
            poll: RefCell::default(),
            waits_to_write: Cell::new(false),
            gone: Cell::new(false),
        }
    }

    /// `ready` is called on the loop when the channel is readable, or writable if messages are queued. The handle does
    /// not keep the loop alive.
    pub fn watch(&self, uv: Loop, ready: impl FnMut() + 'static) -> io::Result<()> {
        let poll = Poll::start(uv, self.socket.try_clone()?, false, ready)?;
        *self.poll.borrow_mut() = Some(poll);
        Ok(())
    }

    /// Closes the handle on the loop. A level-triggered poll of an ended channel would spin.
    pub fn unwatch(&self) {
        self.poll.borrow_mut().take();
    }

    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Sends a message; blocks while the socket is full, which a running primary empties at once.
    pub fn send(&self, message: &ToPrimary) -> io::Result<()> {
        self.send_with_id(message).map(|_| ())
    }

    fn send_with_id(&self, message: &ToPrimary) -> io::Result<u32> {
        let mut sender = self.sender.borrow_mut();
        let id = sender.push(Kind::Control, 0, encode(message), None)?;
        loop {
            match sender.flush(self.socket.as_fd()) {
                // Messages for other workers can wait for the loop.
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
    pub fn post(&self, id: u32, answers: u32, head: [&[u8]; 2], body: Body<'_>) {
        self.sender.borrow_mut().push_parts(id, answers, head, body);
    }

    /// Bytes of queued messages.
    pub fn queued(&self) -> usize {
        self.sender.borrow().queued()
    }

    /// Sends what fits into the socket; `ready` is called when there is room for more.
    pub fn flush(&self) {
        let waits = match self.sender.borrow_mut().flush(self.socket.as_fd()) {
            Ok(()) => false,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if let Some(poll) = self.poll.borrow().as_ref()
            && self.waits_to_write.replace(waits) != waits
        {
            // A handle that is not closing accepts any set of events.
            let _ = poll.want_write(waits);
        }
    }

    /// Sends a request and blocks for its reply; messages that arrive meanwhile are kept for `next`.
    ///
    /// # Errors
    /// TimedOut, or the primary has ended.
    pub fn ask(&self, question: &ToPrimary) -> io::Result<Incoming> {
        let id = self.send_with_id(question)?;
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

    /// A channel to a service of the primary.
    ///
    /// # Errors
    /// It refuses, does not answer, or this process has no descriptor for it.
    pub fn open(&self, service: Service) -> io::Result<OwnedFd> {
        match self.ask(&ToPrimary::Open { service })? {
            (ToWorker::Opened { refusal: None }, Some(socket)) => Ok(socket),
            (ToWorker::Opened { refusal: Some(refusal) }, _) => Err(io::Error::other(refusal)),
            // The process had no free file descriptor for it.
            _ => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        }
    }

    /// The first message and its descriptor; they are in the channel before this process runs.
    pub fn first(&self) -> io::Result<Incoming> {
        let (frame, descriptor) = self.wait_for_frame()?;
        Ok((decode(&frame.payload).map_err(io::Error::other)?, descriptor))
    }

    /// The keys, which follow a hello that announces them; from here on this channel is encrypted.
    pub fn keys(&self) -> io::Result<WorkerKeys> {
        let (mut frame, _) = self.wait_for_frame()?;
        let keys = WorkerKeys::read(&frame.payload).filter(|_| frame.header.kind == Kind::Keys);
        frame.payload.zeroize();
        let keys = keys.ok_or_else(|| io::Error::other("the second message has no keys"))?;
        self.sender.borrow_mut().seal_with(&keys.control.to_primary)?;
        self.receiver.borrow_mut().open_with(&keys.control.to_worker)?;
        Ok(keys)
    }

    /// Called when the hello and the keys, if any, have been read. `max_message`: maximum bytes of another worker's
    /// message.
    pub fn greeted(&self, max_message: usize) {
        let mut receiver = self.receiver.borrow_mut();
        receiver.await_keys(false);
        receiver.allow(max_message);
    }

    fn wait_for_frame(&self) -> io::Result<(Frame, Option<OwnedFd>)> {
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

    /// Reads available messages; returns the reply to `id` if it is one of them.
    fn read_until(&self, id: u32) -> io::Result<Option<Incoming>> {
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
            if matches!(message, ToWorker::Ping) {
                // If the primary has ended, no ping matters; its last messages still have to be read.
                let _ = self.send(&ToPrimary::Pong);
            } else {
                self.inbox.borrow_mut().push_back((message, descriptor));
            }
        }
        Ok(None)
    }

    /// Reads available messages. A broken channel counts as ended.
    pub fn receive(&self) {
        if !self.is_gone() && self.read_until(0).is_err() {
            self.gone.set(true);
        }
    }

    /// The next message that is not an awaited reply.
    pub fn next(&self) -> Option<Incoming> {
        self.inbox.borrow_mut().pop_front()
    }

    /// Messages of other workers.
    pub fn messages(&self) -> Vec<Frame> {
        std::mem::take(&mut *self.messages.borrow_mut())
    }

    /// Whether there are unhandled messages.
    pub fn has_unread(&self) -> bool {
        !self.inbox.borrow().is_empty() || !self.messages.borrow().is_empty()
    }
}
