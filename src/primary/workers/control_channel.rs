//! The loop's view of one worker: its control channel and its exit. A separate task transfers the bytes; it makes no
//! decisions and ends with the process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::inputs::Input;
use crate::ipc::channel::{Receiver, Sender};
use crate::ipc::control::{ToPrimary, ToWorker, decode, encode};
use crate::ipc::frame::Kind;
use crate::ipc::message::{Message, Peer, SHARED};
use crate::model::WorkerId;
use crate::process::exit;
use crate::sys::async_fd::{self, Shared};
use crate::sys::stack;

enum Outgoing {
    Control {
        message: ToWorker,
        answers: u32,
        descriptor: Option<OwnedFd>,
    },
    /// A message of another worker's program, with its envelope.
    Message {
        id: u32,
        answers: u32,
        payload: Vec<u8>,
    },
}

/// The loop's handle of a worker.
pub struct ControlChannel {
    outgoing: UnboundedSender<Outgoing>,
    pid: u32,
    pidfd: Arc<OwnedFd>,
    /// Bytes of messages that wait for the worker to read.
    waiting: Arc<AtomicUsize>,
}

/// Both halves of a worker's control channel in the primary.
pub struct Ends {
    pub socket: OwnedFd,
    pub sender: Sender,
    pub receiver: Receiver,
}

/// How long a worker that has closed its channel may take to exit.
const EOF_TIMEOUT: Duration = Duration::from_secs(5);

impl ControlChannel {
    /// Starts the task. `inputs` gets the worker's messages, and its exit last.
    ///
    /// # Errors
    /// The channel or the process cannot be watched; then the process has been killed.
    pub fn start(
        worker: WorkerId,
        pid: u32,
        pidfd: OwnedFd,
        Ends { socket, sender, receiver }: Ends,
        inputs: UnboundedSender<Input>,
    ) -> io::Result<Self> {
        let pidfd = Arc::new(pidfd);
        let (outgoing, received) = unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let watched = async_fd::watch(socket, Interest::READABLE | Interest::WRITABLE)
            .and_then(|socket| Ok((socket, async_fd::watch_shared(pidfd.clone(), Interest::READABLE)?)))
            .inspect_err(|_| exit::destroy(pidfd.as_fd()))?;
        let task = Task {
            worker,
            socket: watched.0,
            pidfd: watched.1,
            sender,
            receiver,
            open: true,
            inputs,
            waiting: waiting.clone(),
            queued: 0,
        };
        tokio::spawn(task.run(received));
        Ok(Self { outgoing, pid, pidfd, waiting })
    }

    /// `answers`: the id of the worker's request.
    pub fn answer(&self, message: ToWorker, answers: u32, descriptor: Option<OwnedFd>) {
        // The task ends with the worker; a dead worker needs no message.
        let _ = self.outgoing.send(Outgoing::Control { message, answers, descriptor });
    }

    /// Sends a message of another worker, `from`.
    pub fn carry(&self, message: Message, from: Peer) {
        let (id, answers) = (message.id, message.answers);
        let payload = message.into_payload(from);
        self.waiting.fetch_add(payload.len(), Ordering::Relaxed);
        let _ = self.outgoing.send(Outgoing::Message { id, answers, payload });
    }

    /// The worker's process; None: it was reaped, and another one may have its number.
    pub fn pid(&self) -> Option<u32> {
        // The task ends when it has reaped the process.
        (!self.outgoing.is_closed()).then_some(self.pid)
    }

    /// Bytes of queued messages.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Requests the worker's JavaScript stack, which it sends on its channel. Only for a worker that has reported
    /// support: the signal would kill any other.
    pub fn ask_for_stack(&self) -> io::Result<()> {
        stack::ask(self.pidfd.as_fd())
    }

    /// SIGTERM; `forced`: SIGKILL, also for the processes of its group.
    pub fn end(&self, forced: bool) {
        if forced {
            exit::kill_with_children(self.pidfd.as_fd(), self.pid);
        } else {
            exit::end(self.pidfd.as_fd(), false);
        }
    }
}

struct Task {
    worker: WorkerId,
    socket: AsyncFd<OwnedFd>,
    pidfd: AsyncFd<Shared>,
    sender: Sender,
    receiver: Receiver,
    open: bool,
    inputs: UnboundedSender<Input>,
    waiting: Arc<AtomicUsize>,
    /// Those of them in the sender's queue.
    queued: usize,
}

impl Task {
    async fn run(mut self, mut outgoing: UnboundedReceiver<Outgoing>) {
        let mut listening = true;
        loop {
            let wants_write = self.open && !self.sender.is_empty();
            tokio::select! {
                // In this order: messages that a worker sent before its exit are handled before the exit.
                biased;
                ready = self.socket.readable(), if self.open => {
                    match ready {
                        Ok(mut guard) => {
                            guard.clear_ready();
                            drop(guard);
                            self.read();
                        }
                        Err(error) => self.broken(&error),
                    }
                }
                ready = self.socket.writable(), if wants_write => {
                    if let Ok(mut guard) = ready {
                        guard.clear_ready();
                    }
                    self.flush();
                }
                next = outgoing.recv(), if listening => match next {
                    Some(next) => {
                        self.push(next);
                        self.flush();
                    }
                    None => listening = false,
                },
                _ = self.pidfd.readable() => {
                    if let Some(exit) = exit::reap(self.pidfd.get_ref().0.as_fd()) {
                        self.read();
                        let worker = self.worker;
                        // The loop ends last; if it has ended, the input is not needed.
                        let _ = self.inputs.send(Input::Exited { worker, exit });
                        return;
                    }
                }
                () = tokio::time::sleep(EOF_TIMEOUT), if !self.open => {
                    let error = io::Error::other("the worker closed its channel and did not end");
                    self.broken(&error);
                }
            }
        }
    }

    fn push(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Control { message, answers, descriptor } => {
                let pushed = self.sender.push(Kind::Control, answers, encode(&message), descriptor);
                if let Err(error) = pushed {
                    self.broken(&error);
                }
            }
            Outgoing::Message { id, answers, payload } => {
                self.queued += payload.len();
                if payload.len() < SHARED {
                    self.sender.push_message(id, answers, &[&payload]);
                } else {
                    self.sender.push_shared(id, answers, &[], &payload.into());
                }
            }
        }
    }

    fn flush(&mut self) {
        match self.sender.flush(self.socket.get_ref().as_fd()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The worker has ended or is ending; its exit follows.
            Err(_) => self.open = false,
        }
        // Frame headers add a little to the queued bytes.
        let left = self.sender.queued().min(self.queued);
        self.waiting.fetch_sub(self.queued - left, Ordering::Relaxed);
        self.queued = left;
    }

    fn read(&mut self) {
        while self.open {
            match self.receiver.fill(self.socket.get_ref().as_fd()) {
                Ok(0) => self.open = false,
                Ok(_) => {
                    if let Err(error) = self.deliver() {
                        return self.broken(&error);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Reset: the worker died with unread messages.
                Err(_) => self.open = false,
            }
        }
    }

    fn deliver(&mut self) -> io::Result<()> {
        while let Some((frame, _)) = self.receiver.next_frame()? {
            let worker = self.worker;
            // The loop ends last; if it has ended, the input is not needed.
            let _ = match frame.header.kind {
                Kind::Control => {
                    let message: ToPrimary = decode(&frame.payload).map_err(io::Error::other)?;
                    self.inputs.send(Input::Message { worker, id: frame.header.id, message })
                }
                Kind::Message => self.inputs.send(Input::Wrote { worker, frame }),
                Kind::Keys => return Err(io::Error::other("a worker must not send keys")),
            };
        }
        Ok(())
    }

    fn broken(&mut self, error: &io::Error) {
        self.open = false;
        let _ = self.inputs.send(Input::Broken { worker: self.worker, reason: error.to_string() });
    }
}
