//! The handle of the accept thread: each method sends a command and wakes it. Dropping the handle ends and joins the
//! thread.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;

use super::accept_loop::AcceptLoop;
use super::command::{Command, ListenFailure, Listening, Report};
use super::settings::{Admission, Settings};
use crate::error::{Code, Error, Result};
use crate::ipc::control::{Address, Datagram, GroupId, ListenOptions, SocketId};
use crate::metrics::memory::{Page, SharedMemory};
use crate::model::WorkerId;

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
        let accept_loop =
            AcceptLoop::new(settings, theirs, received, Box::new(report), memory, seed).map_err(failed)?;
        let thread =
            std::thread::Builder::new().name("drover-accept".into()).spawn(move || accept_loop.run());
        let thread = thread.map_err(|error| Error::new(Code::ResourceExhausted, error.to_string()))?;
        Ok(Self { commands, wake, thread: Some(thread) })
    }

    fn send(&self, command: Command) {
        // A thread that has ended has reported why; workers get no more connections in any case.
        if self.commands.send(command).is_ok() {
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Sends a command with a reply.
    fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply));
        answer
    }

    pub fn listen(
        &self,
        address: Address,
        options: impl Into<ListenOptions>,
        requester: Option<WorkerId>,
    ) -> oneshot::Receiver<std::result::Result<Listening, ListenFailure>> {
        self.ask(|reply| Command::Listen { address, options: options.into(), requester, reply })
    }

    pub fn join(&self, worker: WorkerId, channel: OwnedFd, far_end: OwnedFd, page: Page) {
        self.send(Command::Join { worker, channel, far_end, page });
    }

    /// The next worker of the slot is ready, if it serves its predecessor's addresses: `Report::Succession` follows.
    pub fn succeed(&self, worker: WorkerId) {
        self.send(Command::Succeed { worker });
    }

    /// Every worker has started.
    pub fn started(&self) {
        self.send(Command::Started);
    }

    pub fn promote(&self, worker: WorkerId) {
        self.send(Command::Promote { worker });
    }

    pub fn serve(&self, worker: WorkerId, group: GroupId, plain_http: bool) {
        self.send(Command::Serve { worker, group, plain_http });
    }

    pub fn limit_connections(&self, worker: WorkerId, group: GroupId, upto: Option<u64>) {
        self.send(Command::ConnectionLimit { worker, group, upto });
    }

    pub fn close(&self, worker: WorkerId, group: GroupId) -> oneshot::Receiver<bool> {
        self.ask(|reply| Command::Close { worker, group, reply })
    }

    /// A datagram socket for the worker, shared with the others.
    pub fn bind(
        &self,
        worker: WorkerId,
        datagram: Datagram,
    ) -> oneshot::Receiver<std::result::Result<(SocketId, OwnedFd), ListenFailure>> {
        self.ask(|reply| Command::Bind { datagram, worker, reply })
    }

    /// The worker has closed it.
    pub fn unbind(&self, worker: WorkerId, socket: SocketId) -> oneshot::Receiver<()> {
        self.ask(|reply| Command::Unbind { socket, worker, reply })
    }

    /// Replies whether the worker is the first member of the group on this socket.
    pub fn join_multicast(
        &self,
        worker: WorkerId,
        socket: SocketId,
        membership: String,
    ) -> oneshot::Receiver<bool> {
        self.ask(|reply| Command::JoinMulticast { socket, membership, worker, reply })
    }

    /// The group was left in the kernel.
    pub fn multicast_left(&self, worker: WorkerId, socket: SocketId, membership: String) {
        self.send(Command::MulticastLeft { socket, membership, worker });
    }

    /// Replies whether the worker was the last member of the group.
    pub fn leave_multicast(
        &self,
        worker: WorkerId,
        socket: SocketId,
        membership: String,
    ) -> oneshot::Receiver<bool> {
        self.ask(|reply| Command::LeaveMulticast { socket, membership, worker, reply })
    }

    pub fn fd_pressure(&self, worker: WorkerId, fd_pressure: bool) {
        self.send(Command::FdPressure { worker, fd_pressure });
    }

    pub fn inspected(&self, worker: WorkerId) {
        self.send(Command::Inspected { worker });
    }

    pub fn exclude(&self, worker: WorkerId, exclude: bool) {
        self.send(Command::Exclude { worker, exclude });
    }

    /// The maximum number of connections of each worker from now on; None: none.
    pub fn limit_connections_per_worker(&self, most: Option<u32>) {
        self.send(Command::LimitConnections { most });
    }

    /// Adaptive admission from now on; None: off.
    pub fn set_admission(&self, admission: Option<Admission>) {
        self.send(Command::SetAdmission { admission });
    }

    pub fn relieve(&self, worker: WorkerId, relieved: bool) {
        self.send(Command::Relieve { worker, relieved });
    }

    pub fn drain(&self, worker: WorkerId) {
        self.send(Command::Drain { worker });
    }

    /// Done when the sender is dropped; nothing is ever sent.
    pub fn release(&self, group: GroupId) -> oneshot::Receiver<()> {
        self.ask(|gone| Command::Release { group, gone })
    }

    /// Done when the sender is dropped, because every address has closed; nothing is ever sent.
    pub fn retire(&self) -> oneshot::Receiver<()> {
        let (gone, end) = oneshot::channel();
        self.send(Command::Retire { gone });
        end
    }

    pub fn leave(&self, worker: WorkerId) {
        self.send(Command::Leave { worker });
    }

    pub fn dead(&self, worker: WorkerId) {
        self.send(Command::Dead { worker });
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.send(Command::Shutdown);
        if let Some(thread) = self.thread.take() {
            // The thread itself has printed a panic.
            let _ = thread.join();
        }
    }
}
