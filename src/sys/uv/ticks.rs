//! Callbacks once per iteration of the loop, and timers.

use std::ffi::c_int;
use std::io;

use super::handle::{
    Callback, Context, Handle, Loop, Owned, RawLoop, Symbols, UV_CHECK, UV_PREPARE, UV_TIMER, called,
    uv_error,
};

/// Calls back once per iteration of the loop, before it polls for I/O; never wakes the loop or keeps it alive.
pub struct Prepare {
    _owned: Owned,
}

impl Prepare {
    pub fn start(on: Loop, callback: impl FnMut() + 'static) -> io::Result<Self> {
        let functions = |symbols: &Symbols| (symbols.prepare_init, symbols.prepare_start);
        Ok(Self { _owned: each_iteration(on, UV_PREPARE, functions, callback)? })
    }
}

/// Calls back once per iteration of the loop, after it has polled for I/O; never wakes the loop or keeps it alive.
pub(super) struct Check {
    _owned: Owned,
}

impl Check {
    pub fn start(on: Loop, callback: impl FnMut() + 'static) -> io::Result<Self> {
        let functions = |symbols: &Symbols| (symbols.check_init, symbols.check_start);
        Ok(Self { _owned: each_iteration(on, UV_CHECK, functions, callback)? })
    }
}

type Init = unsafe extern "C" fn(RawLoop, Handle) -> c_int;
type Start = unsafe extern "C" fn(Handle, Callback) -> c_int;

/// A handle of a kind that needs no more than a callback: `functions` are those that initialise and start it.
fn each_iteration(
    on: Loop,
    kind: c_int,
    functions: impl Fn(&Symbols) -> (Init, Start),
    callback: impl FnMut() + 'static,
) -> io::Result<Owned> {
    let context = Context { callback: Box::new(callback) };
    let owned = Owned::new(kind, context, |symbols, handle| {
        // SAFETY: memory of the size of this kind, and this thread's loop.
        unsafe { functions(symbols).0(on.raw(), handle) }
    })?;
    owned.call(|symbols| symbols.remove_ref);
    // SAFETY: an initialised handle of this kind that is not closed, on its own thread.
    uv_error(unsafe { functions(owned.symbols).1(owned.handle, called) })?;
    Ok(owned)
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
