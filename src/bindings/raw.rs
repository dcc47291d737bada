//! Node-API where napi has no safe wrapper: views of shared memory, strings and bytes read into a buffer of the caller,
//! a function that is cheap to call, calls into JavaScript from libuv callbacks, V8's strings in an interrupt, the event
//! loop. The only place outside `sys` with hand-written unsafe code; its public interface is safe.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_void};
use std::io;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::Arc;

use napi::bindgen_prelude::{Env, FromNapiValue, JsValue, Object, Unknown};
use napi::sys::{self, Status, napi_callback_info, napi_env, napi_ref, napi_status, napi_value};

use crate::sys::memory::Mapping;
use crate::sys::stack_trace::Text;
use crate::sys::uv::Loop;

fn checked(what: &str, status: napi_status) -> io::Result<()> {
    if status == Status::napi_ok {
        Ok(())
    } else {
        Err(io::Error::other(format!("{what}: Node-API status {status}")))
    }
}

/// The event loop of the calling thread.
pub fn event_loop(env: &Env) -> io::Result<Loop> {
    let raw = env.get_uv_event_loop().map_err(|error| io::Error::other(error.reason.clone()))?;
    // SAFETY: the loop of the environment's own thread; the environment's cleanup hooks drop what was made of it.
    unsafe { Loop::new(raw.cast()) }
}

/// Sets `object[name]` to an ArrayBuffer over `bytes` bytes of `mapping` from `cell` on. The view keeps the mapping as
/// long as JavaScript holds it.
pub fn set_shared_buffer(
    object: &Object<'_>,
    name: &CStr,
    mapping: Arc<Mapping>,
    cell: usize,
    bytes: usize,
) -> io::Result<()> {
    let raw = object.value();
    // SAFETY: environment and object live as long as the borrowed value does.
    unsafe { share(raw.env, raw.value, name, mapping, cell, bytes) }
}

/// # Safety
/// The environment and its object are alive, and a handle scope is open.
unsafe fn share(
    env: napi_env,
    object: napi_value,
    name: &CStr,
    mapping: Arc<Mapping>,
    cell: usize,
    bytes: usize,
) -> io::Result<()> {
    /// # Safety
    /// Node-API calls it, once for each view.
    unsafe extern "C" fn release(_: napi_env, _: *mut c_void, mapping: *mut c_void) {
        // SAFETY: the pointer is the one that `into_raw` gave below, and this is called once for it.
        drop(unsafe { Arc::from_raw(mapping.cast_const().cast::<Mapping>()) });
    }
    assert!(cell + bytes.div_ceil(8) <= mapping.count(), "a view beyond the mapping");
    let address = mapping.address_of(cell).as_ptr().cast::<c_void>();
    let kept = Arc::into_raw(mapping).cast_mut().cast::<c_void>();
    let mut view = null_mut();
    // SAFETY: the caller's contract; the memory stays mapped, because the view has a reference of its own, which `release`
    // drops, or this function when there is no view.
    unsafe {
        let made =
            sys::napi_create_external_arraybuffer(env, address, bytes, Some(release), kept, &raw mut view);
        if let Err(error) = checked("external ArrayBuffer", made) {
            drop(Arc::from_raw(kept.cast_const().cast::<Mapping>()));
            return Err(error);
        }
        checked("property", sys::napi_set_named_property(env, object, name.as_ptr(), view))
    }
}

/// Space reserved for a short text, in bytes of UTF-8.
const SHORT: usize = 256;
/// Maximum bytes of a character in UTF-8.
const MAX_CHARACTER: usize = 4;

/// Appends a text in UTF-8 to `out`. A short text needs one call less than with `append_bytes`.
pub fn append_short_text<'a>(value: &impl JsValue<'a>, out: &mut Vec<u8>) -> io::Result<()> {
    let raw = value.value();
    let start = out.len();
    out.reserve(SHORT);
    let room = out.spare_capacity_mut();
    let mut written = 0;
    // SAFETY: environment and value live as long as the borrowed value does; Node-API writes so many bytes at most, says
    // how many, and puts a NUL behind them.
    let status = unsafe {
        let (to, size) = (room.as_mut_ptr().cast(), room.len());
        sys::napi_get_value_string_utf8(raw.env, raw.value, to, size, &raw mut written)
    };
    checked("text", status)?;
    // Only whole characters are written: if one did not fit, less room would be left.
    if written + MAX_CHARACTER < room.len() {
        // SAFETY: so many bytes were written.
        unsafe { out.set_len(start + written) };
        return Ok(());
    }
    append_bytes(value, true, out)
}

/// Appends a text in UTF-8, or the bytes of a Buffer, to `out`.
pub fn append_bytes<'a>(value: &impl JsValue<'a>, is_text: bool, out: &mut Vec<u8>) -> io::Result<()> {
    let raw = value.value();
    let (env, value) = (raw.env, raw.value);
    if is_text {
        // The length in UTF-16 is known without reading the text, and three bytes hold any of its units.
        let (mut units, mut written) = (0, 0);
        // SAFETY: environment and value live as long as the borrowed value does; nothing is written without a buffer.
        checked("length", unsafe {
            sys::napi_get_value_string_utf16(env, value, null_mut(), 0, &raw mut units)
        })?;
        let start = out.len();
        out.reserve(units * 3 + 1);
        let room = out.spare_capacity_mut();
        // SAFETY: as above; Node-API writes so many bytes at most, says how many, and puts a NUL behind them.
        unsafe {
            let (to, size) = (room.as_mut_ptr().cast(), room.len());
            checked("text", sys::napi_get_value_string_utf8(env, value, to, size, &raw mut written))?;
            out.set_len(start + written);
        }
        return Ok(());
    }
    let (mut data, mut length) = (null_mut(), 0);
    // SAFETY: as above.
    checked("buffer", unsafe { sys::napi_get_buffer_info(env, value, &raw mut data, &raw mut length) })?;
    if length > 0 {
        // SAFETY: the buffer is alive as long as `value` is, and no JavaScript runs meanwhile.
        out.extend_from_slice(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) });
    }
    Ok(())
}

/// Units reserved for a short text.
const SHORT_UNITS: usize = 512;

/// Appends a text to `out` in latin1, or in UTF-16 if it has other characters; returns whether it has.
pub fn append_units<'a>(value: &impl JsValue<'a>, out: &mut Vec<u8>) -> io::Result<bool> {
    let raw = value.value();
    let (env, value) = (raw.env, raw.value);
    UNITS.with_borrow_mut(|units| {
        units.clear();
        units.reserve(SHORT_UNITS);
        for _ in 0..2 {
            let room = units.spare_capacity_mut();
            let (to, size) = (room.as_mut_ptr().cast(), room.len());
            let mut written = 0;
            // SAFETY: environment and value live as long as the borrowed value does; Node-API writes so many units at
            // most, a 0 behind them included, and says how many.
            checked("text", unsafe {
                sys::napi_get_value_string_utf16(env, value, to, size, &raw mut written)
            })?;
            if written + 1 < size {
                // SAFETY: so many units were written.
                unsafe { units.set_len(written) };
                break;
            }
            let mut length = 0;
            // SAFETY: as above; nothing is written without a buffer.
            checked("length", unsafe {
                sys::napi_get_value_string_utf16(env, value, null_mut(), 0, &raw mut length)
            })?;
            // Room for one more tells that the text is whole.
            units.reserve(length + 2);
        }
        let is_wide = units.iter().any(|unit| *unit > 0xff);
        if is_wide {
            out.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        } else {
            out.extend(units.iter().map(|unit| *unit as u8));
        }
        if units.capacity() > KEPT_UNITS {
            *units = Vec::new();
        }
        Ok(is_wide)
    })
}

/// Maximum capacity that is kept for the next text.
const KEPT_UNITS: usize = 64 * 1024;

thread_local! {
    static UNITS: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
}

/// Arguments of a call from JavaScript that are read.
const MAX_ARGUMENTS: usize = 10;

/// The arguments of a call from JavaScript; those that were not given are `undefined`.
pub struct Arguments<'a> {
    env: napi_env,
    values: &'a [napi_value; MAX_ARGUMENTS],
}

impl Arguments<'_> {
    pub fn number(&self, at: usize) -> io::Result<f64> {
        let mut number = 0.0;
        // SAFETY: environment and values live as long as the call does, which `Arguments` does not outlive.
        checked("number", unsafe { sys::napi_get_value_double(self.env, self.values[at], &raw mut number) })?;
        Ok(number)
    }

    pub fn value(&self, at: usize) -> napi::Result<Unknown<'_>> {
        // SAFETY: as above.
        unsafe { Unknown::from_napi_value(self.env, self.values[at]) }
    }
}

/// A JavaScript function that calls `act` with its arguments and returns the result. It is for functions called once per
/// message: those that napi generates keep a record of the borrowed values of each call, which costs as much as the rest
/// of the core's work for a message.
pub fn function<'env, F>(env: &'env Env, name: &CStr, act: F) -> napi::Result<Unknown<'env>>
where
    F: Fn(&Arguments<'_>) -> f64 + 'static,
{
    /// # Safety
    /// Node-API calls it for the function that was made with an `F`.
    unsafe extern "C" fn call<F: Fn(&Arguments<'_>) -> f64>(
        env: napi_env,
        info: napi_callback_info,
    ) -> napi_value {
        let (mut count, mut values, mut act) = (MAX_ARGUMENTS, [null_mut(); MAX_ARGUMENTS], null_mut());
        let mut result = null_mut();
        // SAFETY: the environment and the call are Node-API's own; at most `count` values are written. `act` points to
        // an `F` that lives as long as the function.
        unsafe {
            let (first, this) = (values.as_mut_ptr(), null_mut());
            let status = sys::napi_get_cb_info(env, info, &raw mut count, first, this, &raw mut act);
            if status != Status::napi_ok {
                return null_mut();
            }
            let act = &*act.cast_const().cast::<F>();
            // This fails only in an environment that is ending; the function then returns `undefined`.
            sys::napi_create_double(env, act(&Arguments { env, values: &values }), &raw mut result);
        }
        result
    }
    /// # Safety
    /// Node-API calls it, once for each function that was made with an `F`.
    unsafe extern "C" fn let_go<F>(_: napi_env, act: *mut c_void, _: *mut c_void) {
        // SAFETY: the pointer is the one that `into_raw` gave below, and this is called once for it.
        drop(unsafe { Box::from_raw(act.cast::<F>()) });
    }
    let kept = Box::into_raw(Box::new(act)).cast::<c_void>();
    let (raw, length) = (env.raw(), name.count_bytes() as isize);
    let mut function = null_mut();
    // SAFETY: a live environment; `kept` lives until the function is collected, which calls `let_go`.
    let made = unsafe {
        let made =
            sys::napi_create_function(raw, name.as_ptr(), length, Some(call::<F>), kept, &raw mut function);
        checked("function", made).and_then(|()| {
            let hint = null_mut();
            let added = sys::napi_add_finalizer(raw, function, kept, Some(let_go::<F>), hint, null_mut());
            checked("finalizer", added)
        })
    };
    if let Err(error) = made {
        // SAFETY: as above; a function without a finalizer is not passed to JavaScript.
        drop(unsafe { Box::from_raw(kept.cast::<F>()) });
        return Err(napi::Error::from_reason(error.to_string()));
    }
    // SAFETY: the function was made in this environment's scope.
    unsafe { Unknown::from_napi_value(raw, function) }
}

/// A Node-API environment for callbacks of its event loop, until the environment ends.
#[derive(Clone)]
struct Alive {
    env: napi_env,
    lives: Rc<Cell<bool>>,
}

impl Alive {
    fn new(env: &Env) -> io::Result<Self> {
        let lives = Rc::new(Cell::new(true));
        let ended = lives.clone();
        env.add_env_cleanup_hook((), move |()| ended.set(false))
            .map_err(|error| io::Error::other(error.reason.clone()))?;
        Ok(Self { env: env.raw(), lives })
    }

    /// The environment, on its own thread: nothing here is Send.
    fn get(&self) -> io::Result<napi_env> {
        if self.lives.get() { Ok(self.env) } else { Err(io::Error::other("the environment has ended")) }
    }
}

/// One value for JavaScript.
pub enum Item<'a> {
    Number(f64),
    Text(&'a [u8]),
    /// A copy of the bytes, in a Buffer.
    Bytes(&'a [u8]),
}

/// A JavaScript function that libuv callbacks of this thread call.
pub struct Callback {
    env: Alive,
    function: napi_ref,
    receiver: napi_ref,
}

impl Callback {
    /// Keeps `function` and `receiver` for the life of the environment.
    pub fn new<'a>(env: &Env, function: &impl JsValue<'a>, receiver: &impl JsValue<'a>) -> io::Result<Self> {
        let keep = |value: napi_value| {
            let mut kept = null_mut();
            // SAFETY: environment and value live as long as what was borrowed does.
            let made = unsafe { sys::napi_create_reference(env.raw(), value, 1, &raw mut kept) };
            checked("reference", made).map(|()| kept)
        };
        let (function, receiver) = (keep(function.value().value)?, keep(receiver.value().value)?);
        Ok(Self { env: Alive::new(env)?, function, receiver })
    }

    /// Calls the function with two numbers, as Node calls one for an event: ticks and microtasks run before this
    /// returns, and an exception becomes an 'uncaughtException'.
    pub fn call(&self, first: u32, second: u32) -> io::Result<()> {
        self.in_scope(|env| {
            let mut arguments: [napi_value; 2] = [null_mut(); 2];
            for (argument, number) in arguments.iter_mut().zip([first, second]) {
                // SAFETY: `in_scope` gives a live environment.
                checked("number", unsafe { sys::napi_create_uint32(env, number, argument) })?;
            }
            // SAFETY: `in_scope` gives a live environment, and the arguments were made in its scope.
            unsafe { self.make(env, &arguments) }
        })
    }

    /// Calls the function as `call` does, with these values as its arguments.
    pub fn call_with<'a>(&self, items: impl Iterator<Item = Item<'a>>) -> io::Result<()> {
        self.in_scope(|env| {
            let mut values = Vec::with_capacity(4);
            for item in items {
                let mut value = null_mut();
                // SAFETY: `in_scope` gives a live environment; the bytes are copied. A text is never so long that its
                // length has no sign.
                let status = unsafe {
                    match item {
                        Item::Number(number) => sys::napi_create_double(env, number, &raw mut value),
                        // Faster than UTF-8, which V8 would have to scan first.
                        Item::Text(text) if text.is_ascii() => {
                            let (from, length) = (text.as_ptr().cast(), text.len() as isize);
                            sys::napi_create_string_latin1(env, from, length, &raw mut value)
                        }
                        Item::Text(text) => {
                            let (from, length) = (text.as_ptr().cast(), text.len() as isize);
                            sys::napi_create_string_utf8(env, from, length, &raw mut value)
                        }
                        Item::Bytes(bytes) => {
                            let from = bytes.as_ptr().cast();
                            sys::napi_create_buffer_copy(env, bytes.len(), from, null_mut(), &raw mut value)
                        }
                    }
                };
                checked("value", status)?;
                values.push(value);
            }
            // SAFETY: `in_scope` gives a live environment, and the arguments were made in its scope.
            unsafe { self.make(env, &values) }
        })
    }

    /// Sets `receiver[name]` to an ArrayBuffer over all of the mapping: see [`set_shared_buffer`].
    pub fn set_shared_buffer(&self, name: &CStr, mapping: Arc<Mapping>) -> io::Result<()> {
        self.in_scope(|env| {
            let mut receiver = null_mut();
            let bytes = mapping.count() * 8;
            // SAFETY: `in_scope` gives a live environment; the reference lives as long as it.
            unsafe {
                checked("receiver", sys::napi_get_reference_value(env, self.receiver, &raw mut receiver))?;
                share(env, receiver, name, mapping, 0, bytes)
            }
        })
    }

    fn in_scope(&self, act: impl FnOnce(napi_env) -> io::Result<()>) -> io::Result<()> {
        let env = self.env.get()?;
        let mut scope = null_mut();
        // SAFETY: a live environment on its own thread, in a libuv callback, where a handle scope may be opened.
        checked("handle scope", unsafe { sys::napi_open_handle_scope(env, &raw mut scope) })?;
        let result = act(env);
        // SAFETY: the scope that was opened last; no handle of it is used any more.
        unsafe { sys::napi_close_handle_scope(env, scope) };
        result
    }

    /// # Safety
    /// `env` is this callback's, alive, with a handle scope open in which the arguments were made.
    unsafe fn make(&self, env: napi_env, arguments: &[napi_value]) -> io::Result<()> {
        let (mut function, mut receiver, mut result) = (null_mut(), null_mut(), null_mut());
        // SAFETY: the caller's contract; the references live as long as the environment.
        let status = unsafe {
            checked("function", sys::napi_get_reference_value(env, self.function, &raw mut function))?;
            checked("receiver", sys::napi_get_reference_value(env, self.receiver, &raw mut receiver))?;
            let (count, first) = (arguments.len(), arguments.as_ptr());
            sys::napi_make_callback(env, null_mut(), receiver, function, count, first, &raw mut result)
        };
        if status == Status::napi_pending_exception {
            let mut exception = null_mut();
            // SAFETY: the caller's contract.
            return unsafe {
                checked("exception", sys::napi_get_and_clear_last_exception(env, &raw mut exception))?;
                checked("uncaught exception", sys::napi_fatal_exception(env, exception))
            };
        }
        checked("callback", status)
    }
}

/// Reads V8's strings in an interrupt: it creates no handles and calls no JavaScript.
pub struct TextReader(Alive);

/// Longer names and paths are cut.
const MAX_TEXT: usize = 1024;

impl TextReader {
    pub fn new(env: &Env) -> io::Result<Self> {
        Alive::new(env).map(Self)
    }

    /// Appends the text, unless the environment has ended.
    pub fn append(&self, text: &Text<'_>, to: &mut String) {
        let Ok(env) = self.0.get() else { return };
        let mut bytes = [0u8; MAX_TEXT];
        let mut written = 0;
        // SAFETY: a live environment on its own thread, and a value of an open handle scope: a napi_value is the
        // address of the slot. Node-API writes whole characters and a NUL within the size.
        let status = unsafe {
            let (text, into) = (text.as_ptr().cast(), bytes.as_mut_ptr().cast());
            sys::napi_get_value_string_utf8(env, text, into, MAX_TEXT, &raw mut written)
        };
        if status == Status::napi_ok {
            to.push_str(&String::from_utf8_lossy(&bytes[..written]));
        }
    }
}
