//! Callbacks once per iteration of the loop, and timers.

use std::io;

use super::handle::{Context, Loop, Owned, UV_CHECK, UV_PREPARE, UV_TIMER, called, uv_error};

/// Calls back once per iteration of the loop, before it polls for I/O; never wakes the loop or keeps it alive.
pub struct Prepare {
    _owned: Owned,
}

impl Prepare {
    pub fn start(on: Loop, callback: impl FnMut() + 'static) -> io::Result<Self> {
        let context = Context { callback: Box::new(callback) };
        let owned = Owned::new(UV_PREPARE, context, |symbols, handle| {
            // SAFETY: memory of a uv_prepare_t's size, and this thread's loop.
            unsafe { (symbols.prepare_init)(on.raw(), handle) }
        })?;
        owned.call(|symbols| symbols.remove_ref);
        // SAFETY: an initialised uv_prepare_t that is not closed, on its own thread.
        uv_error(unsafe { (owned.symbols.prepare_start)(owned.handle, called) })?;
        Ok(Self { _owned: owned })
    }
}

/// Calls back once per iteration of the loop, after it has polled for I/O; never wakes the loop or keeps it alive.
pub(super) struct Check {
    _owned: Owned,
}

impl Check {
    pub fn start(on: Loop, callback: impl FnMut() + 'static) -> io::Result<Self> {
        let context = Context { callback: Box::new(callback) };
        let owned = Owned::new(UV_CHECK, context, |symbols, handle| {
            // SAFETY: memory of a uv_check_t's size, and this thread's loop.
            unsafe { (symbols.check_init)(on.raw(), handle) }
        })?;
        owned.call(|symbols| symbols.remove_ref);
        // SAFETY: an initialised uv_check_t that is not closed, on its own thread.
        uv_error(unsafe { (owned.symbols.check_start)(owned.handle, called) })?;
        Ok(Self { _owned: owned })
    }
}

/// A one-shot timer; does not keep the loop alive unless `hold` is set.
pub struct Timer {
    owned: Owned,
}

impl Timer {
    pub fn new(on: Loop, callback: impl FnMut() + 'static) -> io::Result<Self> {
        let context = Context { callback: Box::new(callback) };
        let owned = Owned::new(UV_TIMER, context, |symbols, handle| {
            // SAFETY: memory of a uv_timer_t's size, and this thread's loop.
            unsafe { (symbols.timer_init)(on.raw(), handle) }
        })?;
        owned.call(|symbols| symbols.remove_ref);
        Ok(Self { owned })
    }

    /// Sets the timer to `after` milliseconds, replacing the previous time.
    pub fn set(&self, after: u64) {
        // Cannot fail: the handle is not closing.
        // SAFETY: an initialised uv_timer_t that is not closed, on its own thread.
        let _ = uv_error(unsafe { (self.owned.symbols.timer_start)(self.owned.handle, called, after, 0) });
    }

    pub fn stop(&self) {
        self.owned.call(|symbols| symbols.timer_stop);
    }

    pub fn holds(&self) -> bool {
        self.owned.call(|symbols| symbols.has_ref) != 0
    }

    /// Sets whether the timer keeps the loop alive.
    pub fn hold(&self, hold: bool) {
        self.owned.call(|symbols| if hold { symbols.add_ref } else { symbols.remove_ref });
    }
}
