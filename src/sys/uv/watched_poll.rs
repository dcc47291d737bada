//! A descriptor watched by a thread, for loops without poll handles.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::handle::{Context, Loop, Owned, UV_ASYNC, called};
use super::watcher::Watcher;

const READABLE: EventFlags = EventFlags::IN;
const WRITABLE: EventFlags = EventFlags::IN.union(EventFlags::OUT);
const URGENT: EventFlags = EventFlags::PRI;

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

struct Watched {
    watcher: &'static Watcher,
    fd: OwnedFd,
    id: Cell<u64>,
    /// The events that are polled for; empty when stopped.
    events: Cell<EventFlags>,
    /// Keeps the loop alive unless it is stopped.
    holds: Cell<bool>,
}

impl Watched {
    fn arm(&self) -> io::Result<()> {
        if self.events.get().is_empty() {
            return Ok(());
        }
        self.watcher.arm(self.id.get(), self.fd.as_fd(), self.events.get())
    }

    /// Whether a polled event is present now: what the thread saw may be outdated.
    fn is_ready(&self) -> bool {
        let wanted = self.events.get();
        let flags = PollFlags::from_bits_truncate(wanted.bits() as u16);
        let mut fds = [PollFd::new(&self.fd, flags)];
        !wanted.is_empty() && poll(&mut fds, Some(&AT_ONCE)).is_ok_and(|ready| ready > 0)
    }
}

pub(super) struct WatchedPoll {
    wake_handle: Owned,
    watched: Rc<Watched>,
}

impl WatchedPoll {
    /// As [`super::Poll::start`].
    pub fn start(
        on: Loop,
        fd: OwnedFd,
        keep_alive: bool,
        mut callback: impl FnMut() + 'static,
    ) -> io::Result<Self> {
        let watched = Rc::new(Watched {
            watcher: Watcher::get()?,
            fd,
            id: Cell::new(0),
            events: Cell::new(EventFlags::empty()),
            holds: Cell::new(keep_alive),
        });
        let shared = watched.clone();
        let on_wake = move || {
            if shared.is_ready() {
                callback();
            }
            // Rearming cannot fail for a watched descriptor.
            let _ = shared.arm();
        };
        let wake_handle =
            Owned::new(UV_ASYNC, Context { callback: Box::new(on_wake) }, |symbols, handle| {
                // SAFETY: memory of a uv_async_t's size, and this thread's loop.
                unsafe { (symbols.async_init)(on.raw(), handle, called) }
            })?;
        watched.id.set(watched.watcher.add(watched.fd.as_fd(), &wake_handle)?);
        let poll = Self { wake_handle, watched };
        poll.wait_for(READABLE)?;
        Ok(poll)
    }

    fn wait_for(&self, events: EventFlags) -> io::Result<()> {
        self.watched.events.set(events);
        self.settle();
        self.watched.arm()
    }

    /// A stopped handle does not keep the loop alive.
    fn settle(&self) {
        let holds = self.watched.holds.get() && !self.watched.events.get().is_empty();
        self.wake_handle.call(|symbols| if holds { symbols.add_ref } else { symbols.remove_ref });
    }

    pub fn resume(&self) -> io::Result<()> {
        self.wait_for(READABLE)
    }

    pub fn want_write(&self, wanted: bool) -> io::Result<()> {
        self.wait_for(if wanted { WRITABLE } else { READABLE })
    }

    pub fn stop(&self) {
        let _ = self.wait_for(EventFlags::empty());
    }

    pub fn pause(&self) {
        let _ = self.wait_for(URGENT);
    }

    pub fn hold(&self, holds: bool) {
        self.watched.holds.set(holds);
        self.settle();
    }

    pub fn has_ref(&self) -> bool {
        self.watched.holds.get()
    }
}

impl Drop for WatchedPoll {
    fn drop(&mut self) {
        self.watched.events.set(EventFlags::empty());
        self.watched.watcher.forget(self.watched.id.get(), self.watched.fd.as_fd());
    }
}

impl AsFd for WatchedPoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.fd.as_fd()
    }
}
