//! One worker as the loop sees it: its control channel and its end. A task of its own carries bytes; it
//! decides nothing and ends with the process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::news::{Input, Name};
use crate::ipc::channel::{Receiver, Sender};
use crate::ipc::control::{ToPrimary, ToWorker, decode, encode};
use crate::ipc::frame::{Frame, Kind};
use crate::process::exit;
use crate::sys::async_fd::{self, Shared};
use crate::sys::stack;

struct Outgoing {
    message: ToWorker,
    answers: u32,
    descriptor: Option<OwnedFd>,
}

/// The loop's handle of a worker.
pub struct Link {
    outgoing: UnboundedSender<Outgoing>,
    pidfd: Arc<OwnedFd>,
}

/// A worker that closed its channel and does not end has so long.
const EOF_PATIENCE: Duration = Duration::from_secs(5);

impl Link {
    /// Starts the task. `inputs` gets the worker's messages, and its exit last.
    ///
    /// # Errors
    /// The channel or the process cannot be watched; the process is gone then.
    pub fn start(
        name: Name,
        pidfd: OwnedFd,
        socket: OwnedFd,
        sender: Sender,
        inputs: UnboundedSender<Input>,
    ) -> io::Result<Self> {
        let pidfd = Arc::new(pidfd);
        let (outgoing, received) = unbounded_channel();
        let watched = async_fd::watch(socket, Interest::READABLE | Interest::WRITABLE)
            .and_then(|socket| Ok((socket, async_fd::watch_shared(pidfd.clone(), Interest::READABLE)?)))
            .inspect_err(|_| exit::destroy(pidfd.as_fd()))?;
        let task = Task {
            name,
            socket: watched.0,
            pidfd: watched.1,
            sender,
            receiver: Receiver::default(),
            open: true,
            inputs,
        };
        tokio::spawn(task.run(received));
        Ok(Self { outgoing, pidfd })
    }

    pub fn send(&self, message: ToWorker) {
        self.answer(message, 0, None);
    }

    /// `answers`: the id of the worker's question.
    pub fn answer(&self, message: ToWorker, answers: u32, descriptor: Option<OwnedFd>) {
        // The task ends with the worker; a dead worker needs no message.
        let _ = self.outgoing.send(Outgoing { message, answers, descriptor });
    }

    /// Asks the worker what its JavaScript is doing; it answers on its channel. Only for one that has said that
    /// it can be asked: the signal would end any other.
    pub fn ask_for_stack(&self) -> io::Result<()> {
        stack::ask(self.pidfd.as_fd())
    }

    pub fn end(&self, forced: bool) {
        exit::end(self.pidfd.as_fd(), forced);
    }
}

struct Task {
    name: Name,
    socket: AsyncFd<OwnedFd>,
    pidfd: AsyncFd<Shared>,
    sender: Sender,
    receiver: Receiver,
    open: bool,
    inputs: UnboundedSender<Input>,
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
                        let Name { slot, generation } = self.name;
                        // The loop ends last; if it has, nobody needs to know.
                        let _ = self.inputs.send(Input::Exited { name: Name { slot, generation }, exit });
                        return;
                    }
                }
                () = tokio::time::sleep(EOF_PATIENCE), if !self.open => {
                    let error = io::Error::other("the worker closed its channel and did not end");
                    self.broken(&error);
                }
            }
        }
    }

    fn push(&mut self, Outgoing { message, answers, descriptor }: Outgoing) {
        let frame =
            Frame { kind: Kind::Control, id: 0, answers, descriptor: false, payload: encode(&message) };
        if let Err(error) = self.sender.push(frame, descriptor) {
            self.broken(&error);
        }
    }

    fn flush(&mut self) {
        match self.sender.flush(self.socket.get_ref().as_fd()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The worker is gone or going; its exit says the rest.
            Err(_) => self.open = false,
        }
    }

    fn read(&mut self) {
        while self.open {
            match self.receiver.fill(self.socket.get_ref().as_fd()) {
                Ok(true) => {
                    if let Err(error) = self.tell() {
                        return self.broken(&error);
                    }
                }
                Ok(false) => self.open = false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Reset: the worker died with our words unread.
                Err(_) => self.open = false,
            }
        }
    }

    fn tell(&mut self) -> io::Result<()> {
        while let Some((frame, _)) = self.receiver.next_frame()? {
            let message: ToPrimary = decode(&frame.payload).map_err(io::Error::other)?;
            let _ = self.inputs.send(Input::Said { name: self.name, id: frame.id, message });
        }
        Ok(())
    }

    fn broken(&mut self, error: &io::Error) {
        self.open = false;
        let _ = self.inputs.send(Input::Broken { name: self.name, reason: error.to_string() });
    }
}
