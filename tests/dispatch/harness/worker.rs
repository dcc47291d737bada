//! A worker as the accept thread sees it: the far end of a connection channel, a page of numbers, listeners.
//! It greets each connection with one line, `<slot>.<generation>`, and says back what it reads.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use drover::ipc::control::GroupId;
use drover::ipc::parcel::{self, Parcel};
use drover::metrics::layout::page;
use drover::metrics::memory::{Page, SharedMemory};
use drover::model::WorkerId;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

/// The place of a worker: who holds it is its worker.
pub struct Seat {
    pub id: WorkerId,
    pub channel: OwnedFd,
    page: Page,
    memory: SharedMemory,
}

impl Seat {
    pub fn new(id: WorkerId, channel: OwnedFd, memory: &SharedMemory) -> Self {
        Self { id, channel, page: memory.page(id), memory: memory.clone() }
    }

    /// One turn of the loop.
    pub fn beat(&self) {
        self.page.add(page::BEAT, 1);
    }

    /// Takes the next message, as a worker does.
    pub fn take(&self) -> Option<Parcel> {
        match parcel::receive(self.channel.as_fd()) {
            Ok(parcel) => {
                let parcel = parcel?;
                self.beat();
                self.page.add(page::LOST, parcel.lost as u64);
                self.page.add(page::PUSHED, (parcel.fds.len() + parcel.lost) as u64);
                Some(parcel)
            }
            Err(Errno::AGAIN) => None,
            Err(errno) => panic!("the connection channel: {errno}"),
        }
    }

    /// Waits until there is a message; it stays where it is.
    pub fn await_message(&self) {
        let mut polled = [PollFd::new(&self.channel, PollFlags::IN)];
        assert_eq!(poll(&mut polled, Some(&super::client::limit())).unwrap(), 1, "nothing was sent");
    }

    /// Connections that are over.
    fn close(&self, count: u64) {
        self.set(page::CLOSED, self.page.float(page::CLOSED) + count as f64);
    }

    pub fn set(&self, cell: usize, value: f64) {
        self.memory.set(self.page.first_cell() + cell, value.to_bits());
    }

    /// A thread takes the seat.
    pub fn run(self) -> Worker {
        self.run_behind(Vec::new())
    }

    /// A thread takes the seat and finds its doors open.
    pub fn run_behind(self, doors: Vec<(GroupId, Option<OwnedFd>)>) -> Worker {
        let (orders, received) = channel();
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let (id, page) = (self.id, self.page.clone());
        let memory = self.memory.clone();
        let most_open = Arc::new(AtomicUsize::new(0));
        let body = Body {
            most_open: most_open.clone(),
            seat: self,
            orders: received,
            bell: bell.try_clone().unwrap(),
            doors,
            open: Vec::new(),
        };
        let thread = std::thread::spawn(move || body.run());
        let (release, thread) = (None, Some(thread));
        Worker { id, page, memory, most_open, orders, bell, release, thread }
    }
}

enum Order {
    OpenDoor(GroupId, Option<OwnedFd>),
    CloseDoor(GroupId),
    /// Do nothing until released; if nobody can release any more, die.
    Block(Receiver<()>),
}

pub struct Worker {
    pub id: WorkerId,
    page: Page,
    memory: SharedMemory,
    most_open: Arc<AtomicUsize>,
    orders: Sender<(Order, Sender<()>)>,
    bell: OwnedFd,
    release: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn order(&self, order: Order) {
        let (done, confirmed) = channel();
        self.orders.send((order, done)).expect("a living worker");
        rustix::io::write(&self.bell, &1u64.to_ne_bytes()).unwrap();
        confirmed.recv().expect("a living worker");
    }

    pub fn open_door(&self, group: GroupId, listener: Option<OwnedFd>) {
        self.order(Order::OpenDoor(group, listener));
    }

    pub fn close_door(&self, group: GroupId) {
        self.order(Order::CloseDoor(group));
    }

    /// Its loop is busy from the return of this on.
    pub fn block(&mut self) {
        let (release, wait) = channel();
        self.order(Order::Block(wait));
        self.release = Some(release);
    }

    pub fn unblock(&mut self) {
        let release = self.release.take().expect("it is blocked");
        release.send(()).expect("a living worker");
    }

    /// Everything it holds is closed when this returns.
    pub fn die(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.release = None;
        // Its thread ends when no order can come any more.
        self.orders = channel().0;
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }

    /// Connections that came through its channel.
    pub fn pushed(&self) -> u64 {
        self.page.get(page::PUSHED)
    }

    /// Connections that it accepted by itself.
    pub fn accepted(&self) -> u64 {
        self.page.get(page::ACCEPTED)
    }

    pub fn taken(&self) -> u64 {
        self.pushed() + self.accepted()
    }

    /// Connections that are open in it.
    pub fn open(&self) -> u64 {
        self.page.connections()
    }

    /// The most that were open in it at a time.
    pub fn most_open(&self) -> usize {
        self.most_open.load(Ordering::Relaxed)
    }

    /// Its measured response time, as its JavaScript writes it.
    pub fn answers_in(&self, microseconds: f64) {
        self.memory.set(self.page.first_cell() + page::LATENCY, microseconds.to_bits());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the thread owns.
struct Body {
    seat: Seat,
    most_open: Arc<AtomicUsize>,
    orders: Receiver<(Order, Sender<()>)>,
    bell: OwnedFd,
    doors: Vec<(GroupId, Option<OwnedFd>)>,
    open: Vec<OwnedFd>,
}

impl Body {
    fn run(mut self) {
        loop {
            let listeners = self.doors.iter().filter_map(|(_, listener)| listener.as_ref());
            let sources = [&self.bell, &self.seat.channel].into_iter().chain(listeners).chain(&self.open);
            let mut polled: Vec<_> = sources.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            poll(&mut polled, None).unwrap();
            self.seat.beat();
            if !self.obey() {
                return;
            }
            self.take_pushed();
            self.accept();
            self.answer();
        }
    }

    fn obey(&mut self) -> bool {
        let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
        loop {
            match self.orders.try_recv() {
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
                Ok((order, done)) => {
                    match order {
                        Order::OpenDoor(group, listener) => self.doors.push((group, listener)),
                        Order::CloseDoor(group) => {
                            self.take_pushed();
                            self.doors.retain(|(open, _)| *open != group);
                        }
                        Order::Block(release) => {
                            done.send(()).unwrap();
                            if release.recv().is_err() {
                                return false;
                            }
                            self.seat.beat();
                            continue;
                        }
                    }
                    done.send(()).unwrap();
                }
            }
        }
    }

    fn take_pushed(&mut self) {
        while let Some(parcel) = self.seat.take() {
            parcel.fds.into_iter().for_each(|fd| self.adopt(parcel.label.group, fd));
        }
    }

    fn adopt(&mut self, group: GroupId, fd: OwnedFd) {
        let serves = self.doors.iter().any(|(open, _)| *open == group);
        let WorkerId { slot, generation } = self.seat.id;
        let greeting = if serves { format!("{slot}.{generation}\n") } else { "a closed door\n".into() };
        // The client may be gone.
        let _ = rustix::io::write(&fd, greeting.as_bytes());
        self.open.push(fd);
        self.most_open.fetch_max(self.open.len(), Ordering::Relaxed);
    }

    fn accept(&mut self) {
        let mut accepted = Vec::new();
        for (group, share) in &mut self.doors {
            let Some(listener) = share else { continue };
            loop {
                match accept_with(&*listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                    Ok(fd) => {
                        self.seat.page.add(page::ACCEPTED, 1);
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
        self.seat.close((before - self.open.len()) as u64);
    }
}
