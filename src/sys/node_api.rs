//! The two Node-API calls that take raw pointers and that no safe wrapper offers: a view over shared memory,
//! and a call into JavaScript from a libuv callback that runs ticks and microtasks afterwards. Environment
//! and values are opaque pointers here; `bindings` passes them in and no other module may.

use std::ffi::{CStr, c_char, c_void};
use std::io;
use std::ptr::null_mut;
use std::sync::Arc;

use super::dynamic::function;
use super::memory::Mapping;

type Value = *mut c_void;
type Status = i32;
type Finalize = extern "C" fn(*mut c_void, *mut c_void, *mut c_void);

/// # Safety
/// As [`function`].
unsafe fn required<F: Copy>(name: &CStr) -> io::Result<F> {
    // SAFETY: the caller's contract.
    let found = unsafe { function(name) };
    found.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, format!("{name:?} is missing")))
}

fn checked(what: &str, status: Status) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::other(format!("{what}: Node-API status {status}"))) }
}

/// Sets `object[name]` to an ArrayBuffer over `bytes` bytes of `mapping` from `cell` on. The view keeps the mapping as
/// long as JavaScript holds it.
///
/// `env` and `object` are a live Node-API environment and object of the calling thread.
pub fn set_shared_buffer(
    env: *mut c_void,
    object: Value,
    name: &CStr,
    mapping: Arc<Mapping>,
    cell: usize,
    bytes: usize,
) -> io::Result<()> {
    extern "C" fn let_go(_: *mut c_void, _: *mut c_void, mapping: *mut c_void) {
        // SAFETY: the pointer is the one that `into_raw` gave below, and this is called once for it.
        drop(unsafe { Arc::from_raw(mapping.cast_const().cast::<Mapping>()) });
    }
    let address = mapping.address_of(cell).as_ptr().cast::<c_void>();
    let mut view: Value = null_mut();
    // SAFETY: the symbols have these signatures (Node-API is ABI-stable); `env` and `object` are live per the
    // contract; the memory stays mapped because the view has a reference of its own, which `let_go` drops.
    unsafe {
        type Create =
            extern "C" fn(*mut c_void, *mut c_void, usize, Finalize, *mut c_void, *mut Value) -> Status;
        type Set = extern "C" fn(*mut c_void, Value, *const c_char, Value) -> Status;
        let create: Create = required(c"napi_create_external_arraybuffer")?;
        let set: Set = required(c"napi_set_named_property")?;
        let kept = Arc::into_raw(mapping).cast_mut().cast::<c_void>();
        if let Err(error) =
            checked("external ArrayBuffer", create(env, address, bytes, let_go, kept, &raw mut view))
        {
            drop(Arc::from_raw(kept.cast_const().cast::<Mapping>()));
            return Err(error);
        }
        checked("property", set(env, object, name.as_ptr(), view))?;
    }
    Ok(())
}

/// Appends a text in UTF-8, or the bytes of a Buffer, to `out`.
///
/// `env` and `value` are a live Node-API environment and value of the calling thread.
pub fn append_bytes(env: *mut c_void, value: Value, is_text: bool, out: &mut Vec<u8>) -> io::Result<()> {
    type Text16 = extern "C" fn(*mut c_void, Value, *mut u16, usize, *mut usize) -> Status;
    type Text8 = extern "C" fn(*mut c_void, Value, *mut c_char, usize, *mut usize) -> Status;
    type Buffer = extern "C" fn(*mut c_void, Value, *mut *mut c_void, *mut usize) -> Status;
    let symbols = ReadSymbols::find()?;
    if is_text {
        let (text16, text8): (Text16, Text8) = (symbols.text16, symbols.text8);
        // The length in UTF-16 is known without a look at the text, and three bytes hold any of its units.
        let (mut units, mut written) = (0, 0);
        checked("length", text16(env, value, null_mut(), 0, &raw mut units))?;
        let start = out.len();
        out.reserve(units * 3 + 1);
        let room = out.spare_capacity_mut();
        checked("text", text8(env, value, room.as_mut_ptr().cast(), room.len(), &raw mut written))?;
        // SAFETY: Node-API has written so many bytes there, and a NUL behind them.
        unsafe { out.set_len(start + written) };
        return Ok(());
    }
    let buffer: Buffer = symbols.buffer;
    let (mut data, mut length) = (null_mut(), 0);
    checked("buffer", buffer(env, value, &raw mut data, &raw mut length))?;
    if length > 0 {
        // SAFETY: the buffer is alive as long as `value` is, and no JavaScript runs meanwhile.
        out.extend_from_slice(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) });
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct ReadSymbols {
    text16: extern "C" fn(*mut c_void, Value, *mut u16, usize, *mut usize) -> Status,
    text8: extern "C" fn(*mut c_void, Value, *mut c_char, usize, *mut usize) -> Status,
    buffer: extern "C" fn(*mut c_void, Value, *mut *mut c_void, *mut usize) -> Status,
}

impl ReadSymbols {
    fn find() -> io::Result<Self> {
        static FOUND: std::sync::OnceLock<Option<ReadSymbols>> = std::sync::OnceLock::new();
        // SAFETY: Node-API is ABI-stable; the fields have the documented signatures of the named functions.
        let look_up = || unsafe {
            Some(Self {
                text16: function(c"napi_get_value_string_utf16")?,
                text8: function(c"napi_get_value_string_utf8")?,
                buffer: function(c"napi_get_buffer_info")?,
            })
        };
        FOUND
            .get_or_init(look_up)
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "Node-API is incomplete"))
    }
}

/// One value for JavaScript.
pub enum Item<'a> {
    Number(f64),
    Text(&'a [u8]),
    /// A copy of them, in a Buffer.
    Bytes(&'a [u8]),
}

/// A JavaScript function that libuv callbacks of this thread call, with two numbers as arguments.
pub struct Callback {
    env: *mut c_void,
    function: *mut c_void,
    receiver: *mut c_void,
}

type CallFunction = extern "C" fn(*mut c_void, Value, Value, usize, *const Value, *mut Value) -> Status;
type MakeCallback =
    extern "C" fn(*mut c_void, *mut c_void, Value, Value, usize, *const Value, *mut Value) -> Status;

impl Callback {
    /// Keeps `function` and `receiver` alive for the life of the environment.
    ///
    /// `env`, `function` and `receiver` are live Node-API values of the calling thread.
    pub fn new(env: *mut c_void, function: Value, receiver: Value) -> io::Result<Self> {
        type Create = extern "C" fn(*mut c_void, Value, u32, *mut *mut c_void) -> Status;
        // SAFETY: the documented signature of that function.
        let create: Create = unsafe { required(c"napi_create_reference")? };
        let keep = |value: Value| {
            let mut kept = null_mut();
            checked("reference", create(env, value, 1, &raw mut kept)).map(|()| kept)
        };
        Ok(Self { env, function: keep(function)?, receiver: keep(receiver)? })
    }

    /// Calls the function as Node calls one for an event: ticks and microtasks run before this returns, and
    /// an exception becomes an 'uncaughtException'.
    pub fn call(&self, first: u32, second: u32) -> io::Result<()> {
        let symbols = CallSymbols::find()?;
        // SAFETY: called on the environment's own thread from a libuv callback (Callback is not Send), where a
        // handle scope may be opened; each handle is used only inside that scope.
        unsafe {
            let mut scope = null_mut();
            checked("handle scope", (symbols.open_scope)(self.env, &raw mut scope))?;
            let result = self.call_in_scope(&symbols, first, second);
            (symbols.close_scope)(self.env, scope);
            result
        }
    }

    /// Calls the function as `call` does, with these values as its arguments.
    pub fn call_with<'a>(&self, items: impl Iterator<Item = Item<'a>>) -> io::Result<()> {
        let symbols = CallSymbols::find()?;
        // SAFETY: as in `call`.
        unsafe {
            let mut scope = null_mut();
            checked("handle scope", (symbols.open_scope)(self.env, &raw mut scope))?;
            let result = self.values(&symbols, items).and_then(|values| self.make(&symbols, &values));
            (symbols.close_scope)(self.env, scope);
            result
        }
    }

    /// # Safety
    /// A handle scope of this thread's environment is open.
    unsafe fn values<'a>(
        &self,
        symbols: &CallSymbols,
        items: impl Iterator<Item = Item<'a>>,
    ) -> io::Result<Vec<Value>> {
        let mut values = Vec::with_capacity(4);
        for item in items {
            let mut value = null_mut();
            let status = match item {
                Item::Number(number) => (symbols.double)(self.env, number, &raw mut value),
                // Half the way of UTF-8, which V8 would have to look through first.
                Item::Text(text) if text.is_ascii() => {
                    (symbols.latin1)(self.env, text.as_ptr().cast(), text.len(), &raw mut value)
                }
                Item::Text(text) => {
                    (symbols.utf8)(self.env, text.as_ptr().cast(), text.len(), &raw mut value)
                }
                Item::Bytes(bytes) => {
                    let from = bytes.as_ptr().cast();
                    (symbols.buffer)(self.env, bytes.len(), from, null_mut(), &raw mut value)
                }
            };
            checked("value", status)?;
            values.push(value);
        }
        Ok(values)
    }

    /// Calls the function, which takes nothing and returns a text, in the midst of other JavaScript: no tick or
    /// microtask runs. At most `most` bytes of the text. An exception is an error and goes no further.
    pub fn text(&self, most: usize) -> io::Result<String> {
        let symbols = CallSymbols::find()?;
        // SAFETY: as in `call`; V8 runs interrupts where JavaScript may be called.
        unsafe {
            let mut scope = null_mut();
            checked("handle scope", (symbols.open_scope)(self.env, &raw mut scope))?;
            let result = self.text_in_scope(&symbols, most);
            (symbols.close_scope)(self.env, scope);
            result
        }
    }

    /// # Safety
    /// A handle scope of this thread's environment is open.
    unsafe fn text_in_scope(&self, symbols: &CallSymbols, most: usize) -> io::Result<String> {
        let (mut function, mut receiver, mut result) = (null_mut(), null_mut(), null_mut());
        checked("function", (symbols.deref)(self.env, self.function, &raw mut function))?;
        checked("receiver", (symbols.deref)(self.env, self.receiver, &raw mut receiver))?;
        let call = symbols.call_function;
        let status = call(self.env, receiver, function, 0, std::ptr::null(), &raw mut result);
        if status == NAPI_PENDING_EXCEPTION {
            let mut exception = null_mut();
            checked("exception", (symbols.take_exception)(self.env, &raw mut exception))?;
        }
        checked("call", status)?;
        // Node-API ends the text with a NUL, within the size that it is given.
        let mut bytes = vec![0u8; most + 1];
        let mut length = 0;
        let text =
            (symbols.string)(self.env, result, bytes.as_mut_ptr().cast(), bytes.len(), &raw mut length);
        checked("text", text)?;
        bytes.truncate(length);
        String::from_utf8(bytes).map_err(io::Error::other)
    }

    /// # Safety
    /// A handle scope of this thread's environment is open.
    unsafe fn call_in_scope(&self, symbols: &CallSymbols, first: u32, second: u32) -> io::Result<()> {
        let mut arguments: [Value; 2] = [null_mut(); 2];
        checked("number", (symbols.number)(self.env, first, &raw mut arguments[0]))?;
        checked("number", (symbols.number)(self.env, second, &raw mut arguments[1]))?;
        // SAFETY: the caller's contract.
        unsafe { self.make(symbols, &arguments) }
    }

    /// # Safety
    /// A handle scope of this thread's environment is open, and the arguments were made in it.
    unsafe fn make(&self, symbols: &CallSymbols, arguments: &[Value]) -> io::Result<()> {
        let (mut function, mut receiver, mut result) = (null_mut(), null_mut(), null_mut());
        checked("function", (symbols.deref)(self.env, self.function, &raw mut function))?;
        checked("receiver", (symbols.deref)(self.env, self.receiver, &raw mut receiver))?;
        let status = (symbols.make_callback)(
            self.env,
            null_mut(),
            receiver,
            function,
            arguments.len(),
            arguments.as_ptr(),
            &raw mut result,
        );
        if status == NAPI_PENDING_EXCEPTION {
            let mut exception = null_mut();
            checked("exception", (symbols.take_exception)(self.env, &raw mut exception))?;
            return checked("uncaught exception", (symbols.fatal_exception)(self.env, exception));
        }
        checked("callback", status)
    }
}

const NAPI_PENDING_EXCEPTION: Status = 10;

#[derive(Clone, Copy)]
struct CallSymbols {
    open_scope: extern "C" fn(*mut c_void, *mut *mut c_void) -> Status,
    close_scope: extern "C" fn(*mut c_void, *mut c_void) -> Status,
    deref: extern "C" fn(*mut c_void, *mut c_void, *mut Value) -> Status,
    number: extern "C" fn(*mut c_void, u32, *mut Value) -> Status,
    make_callback: MakeCallback,
    call_function: CallFunction,
    string: extern "C" fn(*mut c_void, Value, *mut c_char, usize, *mut usize) -> Status,
    double: extern "C" fn(*mut c_void, f64, *mut Value) -> Status,
    latin1: extern "C" fn(*mut c_void, *const c_char, usize, *mut Value) -> Status,
    utf8: extern "C" fn(*mut c_void, *const c_char, usize, *mut Value) -> Status,
    buffer: extern "C" fn(*mut c_void, usize, *const c_void, *mut *mut c_void, *mut Value) -> Status,
    take_exception: extern "C" fn(*mut c_void, *mut Value) -> Status,
    fatal_exception: extern "C" fn(*mut c_void, Value) -> Status,
}

impl CallSymbols {
    fn find() -> io::Result<Self> {
        static FOUND: std::sync::OnceLock<Option<CallSymbols>> = std::sync::OnceLock::new();
        FOUND
            .get_or_init(Self::look_up)
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "Node-API is incomplete"))
    }

    fn look_up() -> Option<Self> {
        // SAFETY: Node-API is ABI-stable; the fields have the documented signatures of the named functions.
        unsafe {
            Some(Self {
                open_scope: function(c"napi_open_handle_scope")?,
                close_scope: function(c"napi_close_handle_scope")?,
                deref: function(c"napi_get_reference_value")?,
                number: function(c"napi_create_uint32")?,
                make_callback: function(c"napi_make_callback")?,
                call_function: function(c"napi_call_function")?,
                string: function(c"napi_get_value_string_utf8")?,
                double: function(c"napi_create_double")?,
                latin1: function(c"napi_create_string_latin1")?,
                utf8: function(c"napi_create_string_utf8")?,
                buffer: function(c"napi_create_buffer_copy")?,
                take_exception: function(c"napi_get_and_clear_last_exception")?,
                fatal_exception: function(c"napi_fatal_exception")?,
            })
        }
    }
}
