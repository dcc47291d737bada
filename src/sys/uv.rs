//! libuv handles on the runtime's own event loop: "the loop took it" then means "the worker is alive". The
//! functions are looked up at run time. Handles are closed by `Drop`; libuv gives the memory
//! back on a later turn of the loop. Nothing here is Send: a handle lives on its loop's thread.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;

use super::dynamic::function;

const UV_PREPARE: c_int = 9;
const UV_POLL: c_int = 8;
const UV_TIMER: c_int = 13;
const UV_READABLE: c_int = 1;
const UV_WRITABLE: c_int = 2;
const UV_PRIORITIZED: c_int = 8;

type Handle = *mut c_void;

#[derive(Clone, Copy)]
struct Symbols {
    handle_size: extern "C" fn(c_int) -> usize,
    poll_init: extern "C" fn(*mut c_void, Handle, c_int) -> c_int,
    poll_start: extern "C" fn(Handle, c_int, extern "C" fn(Handle, c_int, c_int)) -> c_int,
    poll_stop: extern "C" fn(Handle) -> c_int,
    timer_init: extern "C" fn(*mut c_void, Handle) -> c_int,
    timer_start: extern "C" fn(Handle, extern "C" fn(Handle), u64, u64) -> c_int,
    timer_stop: extern "C" fn(Handle) -> c_int,
    prepare_init: extern "C" fn(*mut c_void, Handle) -> c_int,
    prepare_start: extern "C" fn(Handle, extern "C" fn(Handle)) -> c_int,
    /// Of libuv 1.39 and later.
    idle_time: Option<extern "C" fn(*mut c_void) -> u64>,
    set_data: extern "C" fn(Handle, *mut c_void),
    get_data: extern "C" fn(Handle) -> *mut c_void,
    add_ref: extern "C" fn(Handle),
    remove_ref: extern "C" fn(Handle),
    has_ref: extern "C" fn(Handle) -> c_int,
    close: extern "C" fn(Handle, extern "C" fn(Handle)),
}

fn symbols() -> io::Result<Symbols> {
    static FOUND: OnceLock<Option<Symbols>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            // SAFETY: these are libuv's documented signatures; libuv keeps them for the whole of version 1.
            unsafe {
                Some(Symbols {
                    handle_size: function(c"uv_handle_size")?,
                    poll_init: function(c"uv_poll_init")?,
                    poll_start: function(c"uv_poll_start")?,
                    poll_stop: function(c"uv_poll_stop")?,
                    timer_init: function(c"uv_timer_init")?,
                    timer_start: function(c"uv_timer_start")?,
                    timer_stop: function(c"uv_timer_stop")?,
                    prepare_init: function(c"uv_prepare_init")?,
                    prepare_start: function(c"uv_prepare_start")?,
                    idle_time: function(c"uv_metrics_idle_time"),
                    set_data: function(c"uv_handle_set_data")?,
                    get_data: function(c"uv_handle_get_data")?,
                    add_ref: function(c"uv_ref")?,
                    remove_ref: function(c"uv_unref")?,
                    has_ref: function(c"uv_has_ref")?,
                    close: function(c"uv_close")?,
                })
            }
        })
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "this runtime has no libuv"))
}

fn uv_error(code: c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

/// The event loop of the calling thread, as Node-API's napi_get_uv_event_loop gives it.
#[derive(Clone, Copy)]
pub struct Loop(NonNull<c_void>);

impl Loop {
    pub fn new(raw: *mut c_void) -> io::Result<Self> {
        NonNull::new(raw).map(Self).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// How long the loop has waited for events so far, nanoseconds, where the runtime has that counted (Node.js does).
    pub fn idle_time(self) -> Option<u64> {
        symbols().ok()?.idle_time.map(|idle_time| idle_time(self.0.as_ptr()))
    }
}

/// What a handle owns until libuv has let go of it.
struct Context {
    callback: Box<dyn FnMut()>,
}

/// A handle in memory of libuv's size; freed, with its context, in the close callback.
struct Owned {
    handle: Handle,
    symbols: Symbols,
}

impl Owned {
    fn new(kind: c_int, context: Context, init: impl FnOnce(&Symbols, Handle) -> c_int) -> io::Result<Self> {
        let symbols = symbols()?;
        // SAFETY: calloc of the size libuv asks for; libuv initialises it below.
        let handle = unsafe { libc::calloc(1, (symbols.handle_size)(kind)) };
        if handle.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if let Err(error) = uv_error(init(&symbols, handle)) {
            // SAFETY: libuv refused the handle, so nobody but us knows this memory.
            unsafe { libc::free(handle) };
            return Err(error);
        }
        (symbols.set_data)(handle, Box::into_raw(Box::new(context)).cast());
        Ok(Self { handle, symbols })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        (self.symbols.close)(self.handle, closed);
    }
}

extern "C" fn closed(handle: Handle) {
    let Ok(symbols) = symbols() else { return };
    let context = (symbols.get_data)(handle).cast::<Context>();
    // SAFETY: `context` is the box made in `Owned::new`, and libuv calls this once, when it is done with both.
    unsafe {
        drop(Box::from_raw(context));
        libc::free(handle);
    }
}

fn run(handle: Handle) {
    let Ok(symbols) = symbols() else { return };
    let context = (symbols.get_data)(handle).cast::<Context>();
    // SAFETY: the context lives until `closed`, which libuv never calls from within this callback; libuv does
    // not call a handle's callback recursively, so the borrow is the only one.
    unsafe { ((*context).callback)() };
}

extern "C" fn polled(handle: Handle, _status: c_int, _events: c_int) {
    // An error status is met again by the read that the callback does.
    run(handle);
}

extern "C" fn called(handle: Handle) {
    run(handle);
}

/// Calls back while a descriptor is readable (level-triggered). Keeps the loop alive while started and
/// referenced.
pub struct Poll {
    owned: Owned,
    /// Declared, and so dropped, after the handle: from uv_close on libuv does not touch it, and a listener
    /// must be gone when its server says that it has closed.
    fd: OwnedFd,
}

impl Poll {
    /// Starts unreferenced or referenced as `keep_alive` says. The descriptor is closed with the handle.
    pub fn start(
        on: Loop,
        fd: OwnedFd,
        keep_alive: bool,
        callback: impl FnMut() + 'static,
    ) -> io::Result<Self> {
        let raw = fd.as_raw_fd();
        let context = Context { callback: Box::new(callback) };
        let owned =
            Owned::new(UV_POLL, context, |symbols, handle| (symbols.poll_init)(on.0.as_ptr(), handle, raw))?;
        let poll = Self { owned, fd };
        if !keep_alive {
            poll.unref();
        }
        poll.resume()?;
        Ok(poll)
    }

    /// Polls again after `pause` or `stop`.
    pub fn resume(&self) -> io::Result<()> {
        uv_error((self.owned.symbols.poll_start)(self.owned.handle, UV_READABLE, polled))
    }

    /// Calls back while it is writable as well, or no longer.
    pub fn want_write(&self, wanted: bool) -> io::Result<()> {
        let events = if wanted { UV_READABLE | UV_WRITABLE } else { UV_READABLE };
        uv_error((self.owned.symbols.poll_start)(self.owned.handle, events, polled))
    }

    /// Polls no more; the descriptor stays open, and the loop is not kept alive.
    pub fn stop(&self) {
        (self.owned.symbols.poll_stop)(self.owned.handle);
    }

    /// For a listener: calls back no more but keeps the loop alive as before. It asks for urgent data, which a
    /// listener never has. (The end of a connection would be told all the same, again and again.)
    pub fn pause(&self) {
        let _ = uv_error((self.owned.symbols.poll_start)(self.owned.handle, UV_PRIORITIZED, polled));
    }

    pub fn reference(&self) {
        (self.owned.symbols.add_ref)(self.owned.handle);
    }

    pub fn unref(&self) {
        (self.owned.symbols.remove_ref)(self.owned.handle);
    }

    pub fn has_ref(&self) -> bool {
        (self.owned.symbols.has_ref)(self.owned.handle) != 0
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Calls back once a turn of the loop, before it polls for I/O; never wakes or holds the loop.
pub struct Prepare {
    _owned: Owned,
}

impl Prepare {
    pub fn start(on: Loop, callback: impl FnMut() + 'static) -> io::Result<Self> {
        let context = Context { callback: Box::new(callback) };
        let owned =
            Owned::new(UV_PREPARE, context, |symbols, handle| (symbols.prepare_init)(on.0.as_ptr(), handle))?;
        (owned.symbols.remove_ref)(owned.handle);
        uv_error((owned.symbols.prepare_start)(owned.handle, called))?;
        Ok(Self { _owned: owned })
    }
}

/// Calls back once at a time; does not keep the loop alive unless it is told to.
pub struct Timer {
    owned: Owned,
}

impl Timer {
    pub fn new(on: Loop, callback: impl FnMut() + 'static) -> io::Result<Self> {
        let context = Context { callback: Box::new(callback) };
        let owned =
            Owned::new(UV_TIMER, context, |symbols, handle| (symbols.timer_init)(on.0.as_ptr(), handle))?;
        (owned.symbols.remove_ref)(owned.handle);
        Ok(Self { owned })
    }

    /// In `after` milliseconds, instead of whenever it was set to before.
    pub fn set(&self, after: u64) {
        // A handle that is not closing takes any time.
        let _ = uv_error((self.owned.symbols.timer_start)(self.owned.handle, called, after, 0));
    }

    pub fn stop(&self) {
        (self.owned.symbols.timer_stop)(self.owned.handle);
    }

    pub fn holds(&self) -> bool {
        (self.owned.symbols.has_ref)(self.owned.handle) != 0
    }

    /// Keeps the loop alive while it is set, or does not.
    pub fn hold(&self, hold: bool) {
        let change = if hold { self.owned.symbols.add_ref } else { self.owned.symbols.remove_ref };
        change(self.owned.handle);
    }
}
