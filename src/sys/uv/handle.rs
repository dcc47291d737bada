//! libuv's functions, looked up at run time, and a handle in memory of the size that libuv requires.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::sys::dynamic::{function, versioned};

pub(super) const UV_ASYNC: c_int = 1;
pub(super) const UV_CHECK: c_int = 2;
pub(super) const UV_POLL: c_int = 8;
pub(super) const UV_PREPARE: c_int = 9;
pub(super) const UV_TIMER: c_int = 13;

/// A `uv_handle_t *` of any kind.
pub(super) type Handle = *mut c_void;
/// A `uv_loop_t *`.
pub(super) type RawLoop = *mut c_void;
/// A callback of libuv.
pub(super) type Callback = unsafe extern "C" fn(Handle);

/// The functions that every supported runtime implements.
pub(super) struct Symbols {
    pub handle_size: unsafe extern "C" fn(c_int) -> usize,
    pub timer_init: unsafe extern "C" fn(RawLoop, Handle) -> c_int,
    pub timer_start: unsafe extern "C" fn(Handle, Callback, u64, u64) -> c_int,
    pub timer_stop: unsafe extern "C" fn(Handle) -> c_int,
    pub prepare_init: unsafe extern "C" fn(RawLoop, Handle) -> c_int,
    pub prepare_start: unsafe extern "C" fn(Handle, Callback) -> c_int,
    pub check_init: unsafe extern "C" fn(RawLoop, Handle) -> c_int,
    pub check_start: unsafe extern "C" fn(Handle, Callback) -> c_int,
    pub async_init: unsafe extern "C" fn(RawLoop, Handle, Callback) -> c_int,
    pub async_send: unsafe extern "C" fn(Handle) -> c_int,
    pub set_data: unsafe extern "C" fn(Handle, *mut c_void),
    pub get_data: unsafe extern "C" fn(Handle) -> *mut c_void,
    pub add_ref: unsafe extern "C" fn(Handle),
    pub remove_ref: unsafe extern "C" fn(Handle),
    pub has_ref: unsafe extern "C" fn(Handle) -> c_int,
    pub close: unsafe extern "C" fn(Handle, Callback),
    /// None if the runtime does not implement it (Bun).
    pub poll: Option<PollSymbols>,
    /// libuv 1.39 and later, in Node.js only.
    pub idle_time: Option<unsafe extern "C" fn(RawLoop) -> u64>,
}

#[derive(Clone, Copy)]
pub(super) struct PollSymbols {
    pub init: unsafe extern "C" fn(RawLoop, Handle, c_int) -> c_int,
    pub start: unsafe extern "C" fn(Handle, c_int, unsafe extern "C" fn(Handle, c_int, c_int)) -> c_int,
    pub stop: unsafe extern "C" fn(Handle) -> c_int,
}

/// Bun exports all of libuv's names, but a function that it does not implement aborts the process when called. Bun's
/// symbols are versioned.
fn is_bun() -> bool {
    versioned(c"uv_poll_init", c"BUN_1.2").is_some()
}

pub(super) fn symbols() -> io::Result<&'static Symbols> {
    static FOUND: OnceLock<Option<Symbols>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let is_whole = !is_bun();
            // SAFETY: these are libuv's documented signatures; libuv keeps them for the whole of version 1.
            unsafe {
                let poll = || {
                    Some(PollSymbols {
                        init: function(c"uv_poll_init")?,
                        start: function(c"uv_poll_start")?,
                        stop: function(c"uv_poll_stop")?,
                    })
                };
                Some(Symbols {
                    handle_size: function(c"uv_handle_size")?,
                    timer_init: function(c"uv_timer_init")?,
                    timer_start: function(c"uv_timer_start")?,
                    timer_stop: function(c"uv_timer_stop")?,
                    prepare_init: function(c"uv_prepare_init")?,
                    prepare_start: function(c"uv_prepare_start")?,
                    check_init: function(c"uv_check_init")?,
                    check_start: function(c"uv_check_start")?,
                    async_init: function(c"uv_async_init")?,
                    async_send: function(c"uv_async_send")?,
                    set_data: function(c"uv_handle_set_data")?,
                    get_data: function(c"uv_handle_get_data")?,
                    add_ref: function(c"uv_ref")?,
                    remove_ref: function(c"uv_unref")?,
                    has_ref: function(c"uv_has_ref")?,
                    close: function(c"uv_close")?,
                    poll: if is_whole { Some(poll()?) } else { None },
                    idle_time: if is_whole { function(c"uv_metrics_idle_time") } else { None },
                })
            }
        })
        .as_ref()
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "this runtime has no libuv"))
}

pub(super) fn uv_error(code: c_int) -> io::Result<()> {
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

    pub(super) fn raw(self) -> RawLoop {
        self.0.as_ptr()
    }
}

/// Data that a handle owns until libuv has released it.
pub(super) struct Context {
    pub callback: Box<dyn FnMut()>,
}

/// A handle in memory of libuv's size; freed, with its context, in the close callback.
pub(super) struct Owned {
    pub handle: Handle,
    pub symbols: &'static Symbols,
}

impl Owned {
    /// `init` initialises memory of the size of this handle type.
    pub fn new(
        kind: c_int,
        context: Context,
        init: impl FnOnce(&Symbols, Handle) -> c_int,
    ) -> io::Result<Self> {
        let symbols = symbols()?;
        // SAFETY: calloc of the size libuv asks for; libuv initialises it below.
        let handle = unsafe { libc::calloc(1, (symbols.handle_size)(kind)) };
        if handle.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if let Err(error) = uv_error(init(symbols, handle)) {
            // SAFETY: libuv refused the handle, so nobody but us knows this memory.
            unsafe { libc::free(handle) };
            return Err(error);
        }
        // SAFETY: an initialised handle, of which nobody else knows.
        unsafe { (symbols.set_data)(handle, Box::into_raw(Box::new(context)).cast()) };
        Ok(Self { handle, symbols })
    }

    /// Calls a libuv function that takes only a handle.
    pub fn call<R>(&self, function: impl FnOnce(&Symbols) -> unsafe extern "C" fn(Handle) -> R) -> R {
        // SAFETY: the handle was initialised and is not closed before the drop; it is of this thread's loop, because
        // nothing here is Send.
        unsafe { function(self.symbols)(self.handle) }
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
pub(super) unsafe fn run(handle: Handle) {
    let Ok(symbols) = symbols() else { return };
    // SAFETY: the context lives until `closed`, which libuv never calls from within this callback; libuv does
    // not call a handle's callback recursively, so the borrow is the only one.
    unsafe { ((*(symbols.get_data)(handle).cast::<Context>()).callback)() };
}

/// # Safety
/// libuv calls it, with a handle of `Owned`.
pub(super) unsafe extern "C" fn called(handle: Handle) {
    // SAFETY: the caller's contract.
    unsafe { run(handle) };
}
