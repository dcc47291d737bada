//! Descriptors watched by the loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::handle::{Loop, symbols};
use super::native_poll::NativePoll;
use super::watched_poll::WatchedPoll;

/// Calls back while a descriptor is readable (level-triggered). Keeps the loop alive while started and referenced.
pub struct Poll(Way);

enum Way {
    Native(NativePoll),
    Watched(WatchedPoll),
}

impl Poll {
    /// Starts referenced or unreferenced, by `keep_alive`. The descriptor is closed with the handle.
    pub fn start(
        on: Loop,
        fd: OwnedFd,
        keep_alive: bool,
        callback: impl FnMut() + 'static,
    ) -> io::Result<Self> {
        match symbols()?.poll {
            Some(poll) => {
                NativePoll::start(on, poll, fd, keep_alive, callback).map(|poll| Self(Way::Native(poll)))
            }
            None => WatchedPoll::start(on, fd, keep_alive, callback).map(|poll| Self(Way::Watched(poll))),
        }
    }

    /// Resumes polling after `pause` or `stop`.
    pub fn resume(&self) -> io::Result<()> {
        match &self.0 {
            Way::Native(poll) => poll.resume(),
            Way::Watched(poll) => poll.resume(),
        }
    }

    /// Sets whether to call back also while the descriptor is writable.
    pub fn want_write(&self, wanted: bool) -> io::Result<()> {
        match &self.0 {
            Way::Native(poll) => poll.want_write(wanted),
            Way::Watched(poll) => poll.want_write(wanted),
        }
    }

    /// Stops polling; the descriptor stays open, and the loop is not kept alive.
    pub fn stop(&self) {
        match &self.0 {
            Way::Native(poll) => poll.stop(),
            Way::Watched(poll) => poll.stop(),
        }
    }

    /// For a listener: stops calling back but keeps the loop alive as before. It polls for urgent data, which a
    /// listener never has. (The end of a connection would still be reported repeatedly.)
    pub fn pause(&self) {
        match &self.0 {
            Way::Native(poll) => poll.pause(),
            Way::Watched(poll) => poll.pause(),
        }
    }

    /// Sets whether polling keeps the loop alive.
    pub fn hold(&self, holds: bool) {
        match &self.0 {
            Way::Native(poll) => poll.hold(holds),
            Way::Watched(poll) => poll.hold(holds),
        }
    }

    pub fn has_ref(&self) -> bool {
        match &self.0 {
            Way::Native(poll) => poll.has_ref(),
            Way::Watched(poll) => poll.has_ref(),
        }
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Way::Native(poll) => poll.as_fd(),
            Way::Watched(poll) => poll.as_fd(),
        }
    }
}
