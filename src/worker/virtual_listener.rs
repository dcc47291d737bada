//! A virtual listener: what a runtime that accepts by itself gets in place of a listening socket. Connections come through it from the
//! slot's own listener, and from the primary.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};

use crate::ipc::fd_message::IdleKeepAlive;
use crate::sys::socket_calls::SocketName;

/// Connections that the runtime gets in one iteration of its loop, so that others are served too.
const ROUND: u32 = 64;

/// The runtime needs no data of an event.
const NO_DATA: EventData = EventData::new_u64(0);

/// A connection that the primary has sent.
pub struct Pushed {
    pub connection: OwnedFd,
    /// Another worker has served it.
    pub keep_alive: Option<IdleKeepAlive>,
    /// It returns to the primary after each response.
    pub per_request: bool,
    /// A health check of the primary, which is not counted.
    pub is_probe: bool,
}

/// A descriptor that is always readable, for all virtual listeners of the process.
fn bell() -> io::Result<&'static OwnedFd> {
    static BELL: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(bell) = BELL.get() {
        return Ok(bell);
    }
    let bell = eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    Ok(BELL.get_or_init(|| bell))
}

pub struct VirtualListener {
    /// Readable while a connection waits: it polls the listener, and the bell while the primary has sent connections. The
    /// runtime has a duplicate.
    poll: OwnedFd,
    /// The slot's own listener; None: only the primary sends connections.
    listener: RefCell<Option<OwnedFd>>,
    /// The runtime accepts on the listener too.
    is_open: Cell<bool>,
    address: SocketName,
    bell: &'static OwnedFd,
    /// `poll` polls the bell.
    is_ringing: Cell<bool>,
    /// Connections of the primary that were received.
    pushed: RefCell<VecDeque<Pushed>>,
    /// Connections of the primary are next in the channel.
    is_offered: Cell<bool>,
    /// How many the runtime has got in this iteration.
    taken: Cell<u32>,
}

impl VirtualListener {
    /// `address`: what the runtime sees as its address.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(listener: Option<OwnedFd>, address: SocketName) -> io::Result<Self> {
        let bell = bell()?;
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&poll, bell, NO_DATA, EventFlags::empty())?;
        Ok(Self {
            poll,
            listener: RefCell::new(listener),
            is_open: Cell::new(false),
            address,
            bell,
            is_ringing: Cell::new(false),
            pushed: RefCell::default(),
            is_offered: Cell::new(false),
            taken: Cell::new(0),
        })
    }

    /// What the runtime polls.
    pub fn poll(&self) -> io::Result<OwnedFd> {
        self.poll.try_clone()
    }

    pub fn address(&self) -> SocketName {
        self.address
    }

    /// Sets whether the runtime accepts on the slot's own listener.
    pub fn open(&self, open: bool) {
        let listener = self.listener.borrow();
        let Some(listener) = listener.as_ref() else { return };
        if self.is_open.replace(open) == open {
            return;
        }
        // A descriptor that cannot be polled brings no connections.
        let _ = if open {
            epoll::add(&self.poll, listener, NO_DATA, EventFlags::IN)
        } else {
            epoll::delete(&self.poll, listener)
        };
    }

    /// Stops accepting on the listener for good.
    pub fn leave_listener(&self) {
        self.open(false);
        self.listener.borrow_mut().take();
    }

    /// Calls `act` with the listener if the runtime may accept on it.
    pub fn with_listener<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
        let listener = self.listener.borrow();
        listener.as_ref().filter(|_| self.is_open.get()).map(|listener| act(listener.as_fd()))
    }

    /// Connections of the primary for the runtime's next calls.
    pub fn push(&self, connections: Vec<Pushed>) {
        self.pushed.borrow_mut().extend(connections);
        self.ring();
    }

    /// Sets whether connections of the primary are next in the channel: the runtime is called, and they are received when
    /// it accepts.
    pub fn offer(&self, is_offered: bool) {
        self.is_offered.set(is_offered);
        self.ring();
    }

    /// Whether the runtime's next connection has to be received first.
    pub fn awaits_offered(&self) -> bool {
        self.is_offered.get() && !self.has_pushed()
    }

    /// The next connection that the primary has sent.
    pub fn take_pushed(&self) -> Option<Pushed> {
        let connection = self.pushed.borrow_mut().pop_front();
        self.ring();
        connection
    }

    /// All of them that the runtime has not got.
    pub fn take_all_pushed(&self) -> Vec<Pushed> {
        let pushed = std::mem::take(&mut *self.pushed.borrow_mut());
        self.ring();
        pushed.into()
    }

    pub fn has_pushed(&self) -> bool {
        !self.pushed.borrow().is_empty()
    }

    /// How many of them the runtime has not got.
    pub fn count_pushed(&self) -> usize {
        self.pushed.borrow().iter().filter(|pushed| !pushed.is_probe).count()
    }

    /// Rings the bell while the primary has sent connections.
    fn ring(&self) {
        let rings = self.is_offered.get() || self.has_pushed();
        if self.is_ringing.replace(rings) != rings {
            let events = if rings { EventFlags::IN } else { EventFlags::empty() };
            // The entry is there, so this takes no memory and cannot fail.
            let _ = epoll::modify(&self.poll, self.bell, NO_DATA, events);
        }
    }

    /// Whether the runtime gets another connection in this iteration of its loop.
    pub fn begin_take(&self) -> bool {
        let taken = self.taken.get();
        self.taken.set(if taken < ROUND { taken + 1 } else { 0 });
        taken < ROUND
    }

    /// The runtime has got all that was there.
    pub fn end_take(&self) {
        self.taken.set(0);
    }
}

impl Drop for VirtualListener {
    /// The runtime's duplicate outlives this until the runtime closes it, and must not be readable then.
    fn drop(&mut self) {
        self.leave_listener();
        let _ = epoll::delete(&self.poll, self.bell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::net::{TcpListener, TcpStream};

    fn is_readable(fd: &OwnedFd) -> bool {
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }

    fn pushed() -> Pushed {
        let connection = std::os::unix::net::UnixStream::pair().unwrap().0.into();
        Pushed { connection, keep_alive: None, per_request: false, is_probe: false }
    }

    fn virtual_listener() -> (VirtualListener, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let listener = OwnedFd::from(listener);
        let address = SocketName::of(&listener).unwrap();
        (VirtualListener::new(Some(listener), address).unwrap(), client)
    }

    #[test]
    fn what_the_runtime_polls_is_readable_while_a_connection_waits() {
        let (virtual_listener, _client) = virtual_listener();
        let polled = virtual_listener.poll().unwrap();
        assert!(!is_readable(&polled), "closed");
        virtual_listener.open(true);
        assert!(is_readable(&polled));
        virtual_listener.open(false);
        assert!(!is_readable(&polled));
        virtual_listener.push(vec![pushed(), pushed()]);
        assert!(virtual_listener.take_pushed().is_some() && is_readable(&polled));
        assert!(virtual_listener.take_pushed().is_some() && !is_readable(&polled));
        virtual_listener.push(vec![pushed()]);
        assert_eq!(virtual_listener.take_all_pushed().len(), 1);
        assert!(!is_readable(&polled));
        virtual_listener.offer(true);
        assert!(is_readable(&polled) && virtual_listener.awaits_offered());
        virtual_listener.push(vec![pushed()]);
        virtual_listener.offer(false);
        assert!(is_readable(&polled) && virtual_listener.take_pushed().is_some() && !is_readable(&polled));
    }

    #[test]
    fn a_dropped_virtual_listener_does_not_wake_the_runtime() {
        let (virtual_listener, _client) = virtual_listener();
        let polled = virtual_listener.poll().unwrap();
        virtual_listener.open(true);
        virtual_listener.push(vec![pushed()]);
        drop(virtual_listener);
        assert!(!is_readable(&polled));
    }

    #[test]
    fn a_round_ends_and_the_next_one_begins() {
        let (virtual_listener, _client) = virtual_listener();
        for _ in 0..2 {
            (0..ROUND).for_each(|_| assert!(virtual_listener.begin_take()));
            assert!(!virtual_listener.begin_take());
        }
    }
}
