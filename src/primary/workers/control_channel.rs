//! One worker as the loop sees it: its control channel and its end. A task of its own carries bytes; it
//! decides nothing and ends with the process.

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
    /// Of another worker's program, with its envelope.
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

/// A worker that closed its channel and does not end has so long.
const EOF_TIMEOUT: Duration = Duration::from_secs(5);

impl ControlChannel {
    /// Starts the task. `inputs` gets the worker's messages, and its exit last.
    ///
    /// # Errors
    /// The channel or the process cannot be watched; the process is gone then.
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

    /// `answers`: the id of the worker's question.
    pub fn answer(&self, message: ToWorker, answers: u32, descriptor: Option<OwnedFd>) {
        // The task ends with the worker; a dead worker needs no message.
        let _ = self.outgoing.send(Outgoing::Control { message, answers, descriptor });
    }

    /// A message of `from`'s, another worker.
    pub fn carry(&self, message: Message, from: Peer) {
        let (id, answers) = (message.id, message.answers);
        let payload = message.into_payload(from);
        self.waiting.fetch_add(payload.len(), Ordering::Relaxed);
        let _ = self.outgoing.send(Outgoing::Message { id, answers, payload });
    }

    /// Bytes of messages that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Asks the worker what its JavaScript is doing; it answers on its channel. Only for one that has said that
    /// it can be asked: the signal would end any other.
    pub fn ask_for_stack(&self) -> io::Result<()> {
        stack::ask(self.pidfd.as_fd())
    }

    /// SIGTERM; `forced`: SIGKILL, for what it has started too.
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
    /// Of them, those in the sender's queue.
    queued: usize,
}

impl Task {
    async fn run(mut self, mut outgoing: UnboundedReceiver<Outgoing>) {
        let mut listening = true;
        loop {
            let wants_write = self.open && !self.sender.is_empty();
            tokio::select! {
                // In this order: a message that a worker sent before its end is told before its end.
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
                        // The loop ends last; if it has, nobody needs to know.
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
            // The worker is gone or going; its exit says the rest.
            Err(_) => self.open = false,
        }
        // Frames of a message add a little to what is queued.
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
                // Reset: the worker died with our words unread.
                Err(_) => self.open = false,
            }
        }
    }

    fn deliver(&mut self) -> io::Result<()> {
        while let Some((frame, _)) = self.receiver.next_frame()? {
            let worker = self.worker;
            // The loop ends last; if it has, nobody needs to know.
            let _ = match frame.header.kind {
                Kind::Control => {
                    let message: ToPrimary = decode(&frame.payload).map_err(io::Error::other)?;
                    self.inputs.send(Input::Message { worker, id: frame.header.id, message })
                }
                Kind::Message => self.inputs.send(Input::Wrote { worker, frame }),
                Kind::Keys => return Err(io::Error::other("a worker has no keys to give")),
            };
        }
        Ok(())
    }

    fn broken(&mut self, error: &io::Error) {
        self.open = false;
        let _ = self.inputs.send(Input::Broken { worker: self.worker, reason: error.to_string() });
    }
}
