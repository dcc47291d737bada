//! The handle of the accept thread: each verb sends a command and wakes it. Dropping the handle ends and
//! joins the thread.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;

use super::accept::Floor;
use super::command::{Command, ListenFailure, Listening, Report, Settings};
use crate::error::{Code, Error, Result};
use crate::ipc::control::{Address, Datagram, GroupId, ListenOptions, SocketId};
use crate::metrics::memory::{Page, SharedMemory};

pub struct Dispatcher {
    commands: Sender<Command>,
    wake: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Dispatcher {
    /// Starts the thread. `report` is called on it and must not block.
    pub fn start(
        settings: Settings,
        memory: SharedMemory,
        seed: u32,
        report: impl Fn(Report) + Send + 'static,
    ) -> Result<Self> {
        let (commands, received) = channel();
        let failed = |error: rustix::io::Errno| Error::system("eventfd", &error.into());
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
        let theirs = rustix::io::fcntl_dupfd_cloexec(&wake, 0).map_err(failed)?;
        let floor = Floor::new(settings, theirs, received, Box::new(report), memory, seed).map_err(failed)?;
        let thread = std::thread::Builder::new().name("drover-accept".into()).spawn(move || floor.run());
        let thread = thread.map_err(|error| Error::new(Code::ResourceExhausted, error.to_string()))?;
        Ok(Self { commands, wake, thread: Some(thread) })
    }

    fn tell(&self, command: Command) {
        // A thread that has ended has said why; its workers get no more connections either way.
        if self.commands.send(command).is_ok() {
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Sends a command that is answered.
    fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply));
        answer
    }

    pub fn listen(
        &self,
        address: Address,
        options: impl Into<ListenOptions>,
        asker: Option<(u16, u32)>,
    ) -> oneshot::Receiver<std::result::Result<Listening, ListenFailure>> {
        self.ask(|reply| Command::Listen { address, options: options.into(), asker, reply })
    }

    pub fn join(&self, slot: u16, generation: u32, channel: OwnedFd, far_end: OwnedFd, page: Page) {
        self.tell(Command::Join { slot, generation, channel, far_end, page });
    }

    /// The next worker of the slot is ready but for what its predecessor serves: `Report::Succession` tells.
    pub fn succeed(&self, slot: u16, generation: u32) {
        self.tell(Command::Succeed { slot, generation });
    }

    /// Every worker has started.
    pub fn started(&self) {
        self.tell(Command::Started);
    }

    pub fn promote(&self, slot: u16, generation: u32) {
        self.tell(Command::Promote { slot, generation });
    }

    pub fn serve(&self, slot: u16, generation: u32, group: GroupId, plain_http: bool) {
        self.tell(Command::Serve { slot, generation, group, plain_http });
    }

    pub fn room(&self, slot: u16, generation: u32, group: GroupId, upto: Option<u64>) {
        self.tell(Command::Room { slot, generation, group, upto });
    }

    pub fn close(&self, slot: u16, generation: u32, group: GroupId) -> oneshot::Receiver<bool> {
        self.ask(|reply| Command::Close { slot, generation, group, reply })
    }

    /// A datagram socket for the worker, shared with the others.
    pub fn bind(
        &self,
        slot: u16,
        generation: u32,
        datagram: Datagram,
    ) -> oneshot::Receiver<std::result::Result<(SocketId, OwnedFd), ListenFailure>> {
        self.ask(|reply| Command::Bind { datagram, slot, generation, reply })
    }

    /// The worker has closed it.
    pub fn unbind(&self, slot: u16, generation: u32, socket: SocketId) -> oneshot::Receiver<()> {
        self.ask(|reply| Command::Unbind { socket, slot, generation, reply })
    }

    /// Answers whether the worker is the first that hears the group on this socket.
    pub fn hear(
        &self,
        slot: u16,
        generation: u32,
        socket: SocketId,
        membership: String,
    ) -> oneshot::Receiver<bool> {
        self.ask(|reply| Command::Hear { socket, membership, slot, generation, reply })
    }

    /// The kernel knows that nobody hears the group any more.
    pub fn left(&self, slot: u16, generation: u32, socket: SocketId, membership: String) {
        self.tell(Command::Left { socket, membership, slot, generation });
    }

    /// Answers whether no worker wants to hear the group any more.
    pub fn part(
        &self,
        slot: u16,
        generation: u32,
        socket: SocketId,
        membership: String,
    ) -> oneshot::Receiver<bool> {
        self.ask(|reply| Command::Part { socket, membership, slot, generation, reply })
    }

    pub fn scarce(&self, slot: u16, generation: u32, scarce: bool) {
        self.tell(Command::Scarce { slot, generation, scarce });
    }

    pub fn inspected(&self, slot: u16, generation: u32) {
        self.tell(Command::Inspected { slot, generation });
    }

    pub fn avoid(&self, slot: u16, generation: u32, avoid: bool) {
        self.tell(Command::Avoid { slot, generation, avoid });
    }

    pub fn drain(&self, slot: u16, generation: u32) {
        self.tell(Command::Drain { slot, generation });
    }

    /// The receiver hears the end of the sender, and never a word.
    pub fn release(&self, group: GroupId) -> oneshot::Receiver<()> {
        self.ask(|gone| Command::Release { group, gone })
    }

    /// The receiver hears the end of the sender, and never a word: every address has closed.
    pub fn retire(&self) -> oneshot::Receiver<()> {
        let (gone, end) = oneshot::channel();
        self.tell(Command::Retire { gone });
        end
    }

    pub fn leave(&self, slot: u16, generation: u32) {
        self.tell(Command::Leave { slot, generation });
    }

    pub fn dead(&self, slot: u16, generation: u32) {
        self.tell(Command::Dead { slot, generation });
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.tell(Command::Shutdown);
        if let Some(thread) = self.thread.take() {
            // A panic there was printed by the thread itself.
            let _ = thread.join();
        }
    }
}
