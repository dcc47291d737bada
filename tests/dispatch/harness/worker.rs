//! A worker as the accept thread sees it: the peer of a connection channel, a page of the shared memory, listeners. It
//! sends one line, `<slot>.<generation>`, on each connection, and echoes what it reads.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use drover::ipc::control::GroupId;
use drover::ipc::fd_message::{self, FdHeader, FdMessage};
use drover::metrics::layout::page;
use drover::metrics::memory::{Page, SharedMemory};
use drover::model::WorkerId;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

/// A worker that the test steps by hand.
pub struct ManualWorker {
    pub id: WorkerId,
    pub channel: OwnedFd,
    page: Page,
}

impl ManualWorker {
    pub fn new(id: WorkerId, channel: OwnedFd, memory: &SharedMemory) -> Self {
        Self { id, channel, page: memory.page(id) }
    }

    /// One turn of the event loop: increments the heartbeat.
    pub fn beat(&self) {
        self.page.add(page::HEARTBEAT, 1);
    }

    /// Takes the next message, as a worker does.
    pub fn take(&self) -> Option<FdMessage> {
        match fd_message::receive(self.channel.as_fd()) {
            Ok(fd_message) => {
                let fd_message = fd_message?;
                self.beat();
                self.page.add(page::LOST, fd_message.lost as u64);
                self.page.add(page::PUSHED, (fd_message.fds.len() + fd_message.lost) as u64);
                Some(fd_message)
            }
            Err(Errno::AGAIN) => None,
            Err(errno) => panic!("the connection channel: {errno}"),
        }
    }

    /// Asks for new connections.
    pub fn ask(&self) {
        let header = FdHeader { asked: 1, ..FdHeader::of(0) };
        fd_message::send(self.channel.as_fd(), header, &[]).unwrap();
    }

    /// Waits until there is a message, without reading it.
    pub fn await_message(&self) {
        let mut polled = [PollFd::new(&self.channel, PollFlags::IN)];
        assert_eq!(poll(&mut polled, Some(&super::client::limit())).unwrap(), 1, "nothing was sent");
    }

    /// Counts `count` closed connections.
    fn close(&self, count: u64) {
        self.set(page::CLOSED, self.page.float(page::CLOSED) + count as f64);
    }

    pub fn set(&self, cell: usize, value: f64) {
        self.page.set(cell, value.to_bits());
    }

    /// Runs the worker in a thread.
    pub fn run(self) -> Worker {
        self.run_behind(Vec::new())
    }

    /// Runs the worker in a thread, with servers that are already open.
    pub fn run_behind(self, shares: Vec<(GroupId, Option<OwnedFd>)>) -> Worker {
        let (commands, received) = channel();
        let wakeup = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let (id, page) = (self.id, self.page.clone());
        let max_open = Arc::new(AtomicUsize::new(0));
        let body = Body {
            max_open: max_open.clone(),
            manual: self,
            commands: received,
            wakeup: wakeup.try_clone().unwrap(),
            shares,
            open: Vec::new(),
        };
        let thread = std::thread::spawn(move || body.run());
        let (release, thread) = (None, Some(thread));
        Worker { id, page, max_open, commands, wakeup, release, thread }
    }
}

enum Command {
    OpenShare(GroupId, Option<OwnedFd>),
    CloseShare(GroupId),
    /// Do nothing until released; die if the sender is gone.
    Block(Receiver<()>),
}

pub struct Worker {
    pub id: WorkerId,
    page: Page,
    max_open: Arc<AtomicUsize>,
    commands: Sender<(Command, Sender<()>)>,
    wakeup: OwnedFd,
    release: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn command(&self, command: Command) {
        let (done, confirmed) = channel();
        self.commands.send((command, done)).expect("a living worker");
        rustix::io::write(&self.wakeup, &1u64.to_ne_bytes()).unwrap();
        confirmed.recv().expect("a living worker");
    }

    pub fn open_share(&self, group: GroupId, listener: Option<OwnedFd>) {
        self.command(Command::OpenShare(group, listener));
    }

    pub fn close_share(&self, group: GroupId) {
        self.command(Command::CloseShare(group));
    }

    /// Blocks its event loop; it is blocked when this returns.
    pub fn block(&mut self) {
        let (release, wait) = channel();
        self.command(Command::Block(wait));
        self.release = Some(release);
    }

    pub fn unblock(&mut self) {
        let release = self.release.take().expect("it is blocked");
        release.send(()).expect("a living worker");
    }

    /// Ends the thread; all its descriptors are closed when this returns.
    pub fn die(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.release = None;
        // The thread ends when its command channel is closed.
        self.commands = channel().0;
        let _ = rustix::io::write(&self.wakeup, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }

    /// Connections received through its channel.
    pub fn pushed(&self) -> u64 {
        self.page.get(page::PUSHED)
    }

    /// Connections that it accepted itself.
    pub fn accepted(&self) -> u64 {
        self.page.get(page::ACCEPTED)
    }

    pub fn taken(&self) -> u64 {
        self.pushed() + self.accepted()
    }

    /// Its open connections.
    pub fn open(&self) -> u64 {
        self.page.connections()
    }

    /// The maximum number of connections that were open at the same time.
    pub fn max_open(&self) -> usize {
        self.max_open.load(Ordering::Relaxed)
    }

    /// Sets its measured response time, as the JavaScript of a worker does.
    pub fn answers_in(&self, microseconds: f64) {
        self.page.set(page::LATENCY, microseconds.to_bits());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// The state of the thread.
struct Body {
    manual: ManualWorker,
    max_open: Arc<AtomicUsize>,
    commands: Receiver<(Command, Sender<()>)>,
    wakeup: OwnedFd,
    shares: Vec<(GroupId, Option<OwnedFd>)>,
    open: Vec<OwnedFd>,
}

impl Body {
    fn run(mut self) {
        loop {
            let listeners = self.shares.iter().filter_map(|(_, listener)| listener.as_ref());
            let sources = [&self.wakeup, &self.manual.channel].into_iter().chain(listeners).chain(&self.open);
            let mut polled: Vec<_> = sources.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            poll(&mut polled, None).unwrap();
            self.manual.beat();
            if !self.take_commands() {
                return;
            }
            self.take_pushed();
            self.accept();
            self.answer();
        }
    }

    fn take_commands(&mut self) -> bool {
        let _ = rustix::io::read(&self.wakeup, &mut [0u8; 8]);
        loop {
            match self.commands.try_recv() {
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
                Ok((command, done)) => {
                    match command {
                        Command::OpenShare(group, listener) => self.shares.push((group, listener)),
                        Command::CloseShare(group) => {
                            self.take_pushed();
                            self.shares.retain(|(open, _)| *open != group);
                        }
                        Command::Block(release) => {
                            done.send(()).unwrap();
                            if release.recv().is_err() {
                                return false;
                            }
                            self.manual.beat();
                            continue;
                        }
                    }
                    done.send(()).unwrap();
                }
            }
        }
    }

    fn take_pushed(&mut self) {
        while let Some(fd_message) = self.manual.take() {
            fd_message.fds.into_iter().for_each(|fd| self.adopt(fd_message.header.group, fd));
        }
    }

    fn adopt(&mut self, group: GroupId, fd: OwnedFd) {
        let serves = self.shares.iter().any(|(open, _)| *open == group);
        let WorkerId { slot, generation } = self.manual.id;
        let greeting = if serves { format!("{slot}.{generation}\n") } else { "a closed server\n".into() };
        // The client may have disconnected.
        let _ = rustix::io::write(&fd, greeting.as_bytes());
        self.open.push(fd);
        self.max_open.fetch_max(self.open.len(), Ordering::Relaxed);
    }

    fn accept(&mut self) {
        let mut accepted = Vec::new();
        for (group, share) in &mut self.shares {
            let Some(listener) = share else { continue };
            loop {
                match accept_with(&*listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                    Ok(fd) => {
                        self.manual.page.add(page::ACCEPTED, 1);
                        accepted.push((*group, fd));
                    }
                    Err(errno) => {
                        // The primary has closed the address.
                        if errno == Errno::INVAL {
                            *share = None;
                        }
                        break;
                    }
                }
            }
        }
        accepted.into_iter().for_each(|(group, fd)| self.adopt(group, fd));
    }

    fn answer(&mut self) {
        let before = self.open.len();
        self.open.retain(|fd| {
            let mut bytes = [0u8; 64 * 1024];
            match rustix::io::read(fd, &mut bytes) {
                Ok(0) => false,
                Ok(read) => rustix::io::write(fd, &bytes[..read]) == Ok(read),
                Err(errno) => errno == Errno::AGAIN,
            }
        });
        self.manual.close((before - self.open.len()) as u64);
    }
}
