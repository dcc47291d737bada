//! A listener share: what a server of this worker has of a listener group on the worker's loop.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::ipc::control::GroupId;
use crate::sys::uv::{Loop, Poll, Timer};

/// A timer that never comes, milliseconds.
const NEVER: u64 = 1 << 52;

/// Where its connections come from.
pub enum Entrance {
    /// The slot's own listener, and the primary.
    Listener(Poll),
    /// The primary alone: this only keeps the loop alive as a listener would, and costs no descriptor.
    Primary(Timer),
}

pub struct ListenerShare {
    pub group: GroupId,
    entrance: Entrance,
    /// Its server has a limit of connections: the primary alone accepts for it.
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

    fn without_listener(on: Loop, holds: bool) -> io::Result<Entrance> {
        let timer = Timer::new(on, || {})?;
        timer.set(NEVER);
        timer.hold(holds);
        Ok(Entrance::Primary(timer))
    }

    /// From now on the primary alone brings connections. It keeps the loop alive as before.
    pub fn leave_listener(&mut self, on: Loop) -> io::Result<()> {
        self.entrance = Self::without_listener(on, self.holds())?;
        Ok(())
    }

    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        match &self.entrance {
            Entrance::Listener(poll) => Some(poll.as_fd()),
            Entrance::Primary(_) => None,
        }
    }

    pub fn pause(&self) {
        if let Entrance::Listener(poll) = &self.entrance {
            poll.pause();
        }
    }

    pub fn set_limited(&self, limited: bool) {
        self.limited.set(limited);
    }

    /// Accepts again, if it may.
    pub fn resume(&self) {
        if let Entrance::Listener(poll) = &self.entrance
            && !self.limited.get()
        {
            // A descriptor that cannot be polled any more brings nothing.
            let _ = poll.resume();
        }
    }

    /// Keeps the loop alive, or does not.
    pub fn hold(&self, hold: bool) {
        match &self.entrance {
            Entrance::Listener(poll) if hold => poll.reference(),
            Entrance::Listener(poll) => poll.unref(),
            Entrance::Primary(timer) => timer.hold(hold),
        }
    }

    pub fn holds(&self) -> bool {
        match &self.entrance {
            Entrance::Listener(poll) => poll.has_ref(),
            Entrance::Primary(timer) => timer.holds(),
        }
    }
}
