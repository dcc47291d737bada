//! libuv's own poll handle.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::handle::{Context, Handle, Loop, Owned, PollSymbols, UV_POLL, run, uv_error};

const UV_READABLE: c_int = 1;
const UV_WRITABLE: c_int = 2;
const UV_PRIORITIZED: c_int = 8;

/// # Safety
/// libuv calls it, with a handle of `Owned`.
unsafe extern "C" fn polled(handle: Handle, _status: c_int, _events: c_int) {
    // The read in the callback returns the same error.
    // SAFETY: the caller's contract.
    unsafe { run(handle) };
}

/// libuv's own handle.
pub(super) struct NativePoll {
    owned: Owned,
    poll: PollSymbols,
    /// Declared, and so dropped, after the handle: from uv_close on libuv does not use it, and a listener must be
    /// closed when its server emits 'close'.
    fd: OwnedFd,
}

impl NativePoll {
    /// Starts referenced or unreferenced, by `keep_alive`. The descriptor is closed with the handle.
    pub fn start(
        on: Loop,
        poll: PollSymbols,
        fd: OwnedFd,
        keep_alive: bool,
        callback: impl FnMut() + 'static,
    ) -> io::Result<Self> {
        let raw = fd.as_raw_fd();
        let context = Context { callback: Box::new(callback) };
        let owned = Owned::new(UV_POLL, context, |_, handle| {
            // SAFETY: memory of a uv_poll_t's size, this thread's loop, and a descriptor that the handle owns.
            unsafe { (poll.init)(on.raw(), handle, raw) }
        })?;
        let started = Self { owned, poll, fd };
        if !keep_alive {
            started.hold(false);
        }
        started.resume()?;
        Ok(started)
    }

    fn listen_for(&self, events: c_int) -> io::Result<()> {
        // SAFETY: an initialised uv_poll_t that is not closed, on its own thread.
        uv_error(unsafe { (self.poll.start)(self.owned.handle, events, polled) })
    }

    /// Resumes polling after `pause` or `stop`.
    pub fn resume(&self) -> io::Result<()> {
        self.listen_for(UV_READABLE)
    }

    /// Sets whether to call back also while the descriptor is writable.
    pub fn want_write(&self, wanted: bool) -> io::Result<()> {
        self.listen_for(if wanted { UV_READABLE | UV_WRITABLE } else { UV_READABLE })
    }

    /// Stops polling; the descriptor stays open, and the loop is not kept alive.
    pub fn stop(&self) {
        self.owned.call(|_| self.poll.stop);
    }

    /// For a listener: stops calling back but keeps the loop alive as before. It polls for urgent data, which a
    /// listener never has. (The end of a connection would still be reported repeatedly.)
    pub fn pause(&self) {
        let _ = self.listen_for(UV_PRIORITIZED);
    }

    pub fn hold(&self, holds: bool) {
        self.owned.call(|symbols| if holds { symbols.add_ref } else { symbols.remove_ref });
    }

    pub fn has_ref(&self) -> bool {
        self.owned.call(|symbols| symbols.has_ref) != 0
    }
}

impl AsFd for NativePoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
