//! libuv handles on the runtime's own event loop, so that work taken by the loop proves that the worker is alive. The
//! functions are looked up at run time. Handles are closed by `Drop`; libuv frees their memory in a later iteration of
//! the loop. Nothing here is Send: a handle is used on its loop's thread.

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
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    poll_init: unsafe extern "C" fn(*mut c_void, Handle, c_int) -> c_int,
    poll_start: unsafe extern "C" fn(Handle, c_int, unsafe extern "C" fn(Handle, c_int, c_int)) -> c_int,
    poll_stop: unsafe extern "C" fn(Handle) -> c_int,
    timer_init: unsafe extern "C" fn(*mut c_void, Handle) -> c_int,
    timer_start: unsafe extern "C" fn(Handle, unsafe extern "C" fn(Handle), u64, u64) -> c_int,
    timer_stop: unsafe extern "C" fn(Handle) -> c_int,
    prepare_init: unsafe extern "C" fn(*mut c_void, Handle) -> c_int,
    prepare_start: unsafe extern "C" fn(Handle, unsafe extern "C" fn(Handle)) -> c_int,
    /// Of libuv 1.39 and later.
    idle_time: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
    set_data: unsafe extern "C" fn(Handle, *mut c_void),
    get_data: unsafe extern "C" fn(Handle) -> *mut c_void,
    add_ref: unsafe extern "C" fn(Handle),
    remove_ref: unsafe extern "C" fn(Handle),
    has_ref: unsafe extern "C" fn(Handle) -> c_int,
    close: unsafe extern "C" fn(Handle, unsafe extern "C" fn(Handle)),
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

/// The event loop of the calling thread, from Node-API's napi_get_uv_event_loop.
#[derive(Clone, Copy)]
pub struct Loop(NonNull<c_void>);

impl Loop {
    /// # Safety
    /// `raw` is null or the loop of the calling thread, and what is made of this is dropped before the loop goes.
    pub unsafe fn new(raw: *mut c_void) -> io::Result<Self> {
        NonNull::new(raw).map(Self).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// How long the loop has been idle so far, nanoseconds, if the runtime counts this (Node.js does).
    pub fn idle_time(self) -> Option<u64> {
        // SAFETY: a loop that lives, per the contract of `new`.
        symbols().ok()?.idle_time.map(|idle_time| unsafe { idle_time(self.0.as_ptr()) })
    }
}

/// Data that a handle owns until libuv has released it.
struct Context {
    callback: Box<dyn FnMut()>,
}

/// A handle in memory of libuv's size; freed, with its context, in the close callback.
struct Owned {
    handle: Handle,
    symbols: Symbols,
}

impl Owned {
    /// `init` initialises memory of the size of this handle type.
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
        // SAFETY: an initialised handle, of which nobody else knows.
        unsafe { (symbols.set_data)(handle, Box::into_raw(Box::new(context)).cast()) };
        Ok(Self { handle, symbols })
    }

    /// Calls a libuv function that takes only a handle.
    fn call<R>(&self, function: impl FnOnce(&Symbols) -> unsafe extern "C" fn(Handle) -> R) -> R {
        // SAFETY: the handle was initialised and is not closed before the drop; it is of this thread's loop, because
        // nothing here is Send.
        unsafe { function(&self.symbols)(self.handle) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: an initialised handle, which is closed here and nowhere else.
        unsafe { (self.symbols.close)(self.handle, closed) };
    }
}

/// # Safety
/// libuv calls it, with a handle of `Owned`.
unsafe extern "C" fn closed(handle: Handle) {
    let Ok(symbols) = symbols() else { return };
    // SAFETY: the data is the box made in `Owned::new`, and libuv calls this once, when it is done with both.
    unsafe {
        drop(Box::from_raw((symbols.get_data)(handle).cast::<Context>()));
        libc::free(handle);
    }
}

/// # Safety
/// A handle of `Owned`, in its callback.
unsafe fn run(handle: Handle) {
    let Ok(symbols) = symbols() else { return };
    // SAFETY: the context lives until `closed`, which libuv never calls from within this callback; libuv does
    // not call a handle's callback recursively, so the borrow is the only one.
    unsafe { ((*(symbols.get_data)(handle).cast::<Context>()).callback)() };
}

/// # Safety
/// libuv calls it, with a handle of `Owned`.
unsafe extern "C" fn polled(handle: Handle, _status: c_int, _events: c_int) {
    // The callback's read will report an error status again.
    // SAFETY: the caller's contract.
    unsafe { run(handle) };
}

/// # Safety
/// libuv calls it, with a handle of `Owned`.
unsafe extern "C" fn called(handle: Handle) {
    // SAFETY: the caller's contract.
    unsafe { run(handle) };
}

/// Calls back while a descriptor is readable (level-triggered). Keeps the loop alive while started and
/// referenced.
pub struct Poll {
    owned: Owned,
    /// Declared, and so dropped, after the handle: from uv_close on libuv does not use it, and a listener must be
    /// closed when its server emits 'close'.
    fd: OwnedFd,
}

impl Poll {
    /// Starts referenced or unreferenced, by `keep_alive`. The descriptor is closed with the handle.
    pub fn start(
        on: Loop,
        fd: OwnedFd,
        keep_alive: bool,
        callback: impl FnMut() + 'static,
    ) -> io::Result<Self> {
        let raw = fd.as_raw_fd();
        let context = Context { callback: Box::new(callback) };
        let owned = Owned::new(UV_POLL, context, |symbols, handle| {
            // SAFETY: memory of a uv_poll_t's size, this thread's loop, and a descriptor that the handle owns.
            unsafe { (symbols.poll_init)(on.0.as_ptr(), handle, raw) }
        })?;
        let poll = Self { owned, fd };
        if !keep_alive {
            poll.unref();
        }
        poll.resume()?;
        Ok(poll)
    }

    fn listen_for(&self, events: c_int) -> io::Result<()> {
        // SAFETY: an initialised uv_poll_t that is not closed, on its own thread.
        uv_error(unsafe { (self.owned.symbols.poll_start)(self.owned.handle, events, polled) })
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
        self.owned.call(|symbols| symbols.poll_stop);
    }

    /// For a listener: stops calling back but keeps the loop alive as before. It polls for urgent data, which a
    /// listener never has. (For a connection its end would still be reported again and again.)
    pub fn pause(&self) {
        let _ = self.listen_for(UV_PRIORITIZED);
    }

    pub fn reference(&self) {
        self.owned.call(|symbols| symbols.add_ref);
    }

    pub fn unref(&self) {
        self.owned.call(|symbols| symbols.remove_ref);
    }

    pub fn has_ref(&self) -> bool {
        self.owned.call(|symbols| symbols.has_ref) != 0
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Calls back once per iteration of the loop, before it polls for I/O; never wakes the loop or keeps it alive.
pub struct Prepare {
    _owned: Owned,
}

impl Prepare {
    pub fn start(on: Loop, callback: impl FnMut() + 'static) -> io::Result<Self> {
        let context = Context { callback: Box::new(callback) };
        let owned = Owned::new(UV_PREPARE, context, |symbols, handle| {
            // SAFETY: memory of a uv_prepare_t's size, and this thread's loop.
            unsafe { (symbols.prepare_init)(on.0.as_ptr(), handle) }
        })?;
        owned.call(|symbols| symbols.remove_ref);
        // SAFETY: an initialised uv_prepare_t that is not closed, on its own thread.
        uv_error(unsafe { (owned.symbols.prepare_start)(owned.handle, called) })?;
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
            unsafe { (symbols.timer_init)(on.0.as_ptr(), handle) }
        })?;
        owned.call(|symbols| symbols.remove_ref);
        Ok(Self { owned })
    }

    /// Sets the timer to `after` milliseconds, replacing the previous time.
    pub fn set(&self, after: u64) {
        // A handle that is not closing accepts any time.
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
