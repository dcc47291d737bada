//! A listener share: the part of a listener group on the worker's loop.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::virtual_listener::VirtualListener;
use crate::ipc::control::GroupId;
use crate::sys::uv::{Loop, Poll, Timer};

/// The delay of a timer that never fires, milliseconds.
const NEVER: u64 = 1 << 52;

/// The source of its connections.
pub enum Entrance {
    /// The slot's own listener, and the primary.
    Listener(Poll),
    /// The primary only: the timer just keeps the loop alive as a listener would, and uses no file descriptor.
    Primary(Timer),
    /// The runtime accepts by itself, and what it polls keeps its loop alive.
    VirtualListener(VirtualListener),
}

pub struct ListenerShare {
    pub group: GroupId,
    entrance: Entrance,
    /// Its server has a connection limit: only the primary accepts for it.
    limited: Cell<bool>,
}

impl ListenerShare {
    /// `called` when connections wait at the slot's own listener, if there is one.
    pub fn open(
        on: Loop,
        group: GroupId,
        listener: Option<OwnedFd>,
        called: impl FnMut() + 'static,
    ) -> io::Result<Self> {
        let entrance = match listener {
            Some(listener) => Entrance::Listener(Poll::start(on, listener, true, called)?),
            None => Self::without_listener(on, true)?,
        };
        Ok(Self { group, entrance, limited: Cell::new(false) })
    }

    /// The runtime has bound a socket to this virtual listener.
    pub fn through(virtual_listener: VirtualListener, group: GroupId) -> Self {
        Self { group, entrance: Entrance::VirtualListener(virtual_listener), limited: Cell::new(false) }
    }

    fn without_listener(on: Loop, holds: bool) -> io::Result<Entrance> {
        let timer = Timer::new(on, || {})?;
        timer.set(NEVER);
        timer.hold(holds);
        Ok(Entrance::Primary(timer))
    }

    /// Stops accepting: from now on only the primary sends connections. Keeps the loop alive as before.
    pub fn leave_listener(&mut self, on: Loop) -> io::Result<()> {
        match &self.entrance {
            Entrance::VirtualListener(virtual_listener) => virtual_listener.leave_listener(),
            Entrance::Listener(_) | Entrance::Primary(_) => {
                self.entrance = Self::without_listener(on, self.holds())?;
            }
        }
        Ok(())
    }

    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        match &self.entrance {
            Entrance::Listener(poll) => Some(poll.as_fd()),
            Entrance::Primary(_) | Entrance::VirtualListener(_) => None,
        }
    }

    pub fn into_virtual_listener(self) -> Option<VirtualListener> {
        match self.entrance {
            Entrance::VirtualListener(virtual_listener) => Some(virtual_listener),
            Entrance::Listener(_) | Entrance::Primary(_) => None,
        }
    }

    pub fn virtual_listener(&self) -> Option<&VirtualListener> {
        match &self.entrance {
            Entrance::VirtualListener(virtual_listener) => Some(virtual_listener),
            Entrance::Listener(_) | Entrance::Primary(_) => None,
        }
    }

    pub fn pause(&self) {
        match &self.entrance {
            Entrance::Listener(poll) => poll.pause(),
            Entrance::VirtualListener(virtual_listener) => virtual_listener.open(false),
            Entrance::Primary(_) => {}
        }
    }

    pub fn set_limited(&self, limited: bool) {
        self.limited.set(limited);
    }

    /// Resumes accepting, if allowed.
    pub fn resume(&self) {
        if self.limited.get() {
            return;
        }
        match &self.entrance {
            // A descriptor that cannot be polled has no more connections.
            Entrance::Listener(poll) => drop(poll.resume()),
            Entrance::VirtualListener(virtual_listener) => virtual_listener.open(true),
            Entrance::Primary(_) => {}
        }
    }

    /// Sets whether it keeps the loop alive.
    pub fn hold(&self, hold: bool) {
        match &self.entrance {
            Entrance::Listener(poll) => poll.hold(hold),
            Entrance::Primary(timer) => timer.hold(hold),
            Entrance::VirtualListener(_) => {}
        }
    }

    pub fn holds(&self) -> bool {
        match &self.entrance {
            Entrance::Listener(poll) => poll.has_ref(),
            Entrance::Primary(timer) => timer.holds(),
            Entrance::VirtualListener(_) => true,
        }
    }
}
