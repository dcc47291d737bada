//! The current JavaScript stack, listed by V8 without running JavaScript, which V8 forbids in an interrupt. V8's
//! functions are looked up by their mangled C++ names.

use std::ffi::{c_int, c_void};
use std::fmt::Write;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::dynamic::function;

pub type Isolate = *mut c_void;

/// A `v8::Local`: the address of a slot of the open handle scope, or null when it is empty. It is passed and returned
/// as that one word, and is `this` of the object's members.
type Local = *mut c_void;

/// `v8::Location`, counted from 0.
#[repr(C)]
#[derive(Clone, Copy)]
struct Location {
    line: c_int,
    column: c_int,
}

/// More frames than V8's default of ten, for code that is slow deep in a library.
const MAX_FRAMES: c_int = 50;

/// `v8::StackTrace::StackTraceOptions`: kDetailed and kExposeFramesAcrossSecurityOrigins.
const OPTIONS: c_int = 127 | 256;

#[derive(Clone, Copy)]
pub struct Symbols {
    current: unsafe extern "C" fn(Isolate, c_int, c_int) -> Local,
    frame_count: unsafe extern "C" fn(Local) -> c_int,
    frame: unsafe extern "C" fn(Local, Isolate, u32) -> Local,
    location: unsafe extern "C" fn(Local) -> Location,
    script: unsafe extern "C" fn(Local) -> Local,
    function: unsafe extern "C" fn(Local) -> Local,
    is_constructor: unsafe extern "C" fn(Local) -> bool,
    is_wasm: unsafe extern "C" fn(Local) -> bool,
}

impl Symbols {
    /// None if the runtime is not V8 or has other names.
    pub fn find() -> Option<Self> {
        // SAFETY: V8's header declares these as `static Local<StackTrace> StackTrace::CurrentStackTrace(Isolate*, int,
        // StackTraceOptions)`, `int GetFrameCount() const`, `Local<StackFrame> GetFrame(Isolate*, uint32_t) const`,
        // `Location GetLocation() const`, `Local<String> GetScriptNameOrSourceURL() const`, `Local<String>
        // GetFunctionName() const` and `bool Is...() const`, none of them virtual. The C++ ABIs of Linux call a member
        // like a function of C whose first argument is `this`, and return what can be copied as bytes like a struct
        // of C; the mangled names hold the types of the arguments.
        unsafe {
            Some(Self {
                current: function(
                    c"_ZN2v810StackTrace17CurrentStackTraceEPNS_7IsolateEiNS0_17StackTraceOptionsE",
                )?,
                frame_count: function(c"_ZNK2v810StackTrace13GetFrameCountEv")?,
                frame: function(c"_ZNK2v810StackTrace8GetFrameEPNS_7IsolateEj")?,
                location: function(c"_ZNK2v810StackFrame11GetLocationEv")?,
                script: function(c"_ZNK2v810StackFrame24GetScriptNameOrSourceURLEv")?,
                function: function(c"_ZNK2v810StackFrame15GetFunctionNameEv")?,
                is_constructor: function(c"_ZNK2v810StackFrame13IsConstructorEv")?,
                is_wasm: function(c"_ZNK2v810StackFrame6IsWasmEv")?,
            })
        }
    }
}

/// A V8 string. Its address is a Node-API value.
pub struct Text<'scope> {
    slot: NonNull<c_void>,
    scope: PhantomData<&'scope ()>,
}

impl Text<'_> {
    pub fn as_ptr(&self) -> *mut c_void {
        self.slot.as_ptr()
    }
}

/// An isolate of this thread during an interrupt.
pub struct Interrupted<'scope> {
    isolate: Isolate,
    symbols: Symbols,
    scope: PhantomData<&'scope ()>,
}

impl Interrupted<'_> {
    /// # Safety
    /// `isolate` is in an interrupt on this thread, with a handle scope open, for as long as the value lives.
    pub unsafe fn new(isolate: Isolate, symbols: Symbols) -> Self {
        Self { isolate, symbols, scope: PhantomData }
    }

    /// The frames, innermost first, one line each, in the form of an error's `stack` but without the types of
    /// receivers: ` at function (file:line:column)`. At most `max` bytes, in whole lines. `read` appends a string's
    /// UTF-8; it must not call into JavaScript. None: V8 has no stack.
    pub fn stack(&self, max: usize, read: impl Fn(&Text<'_>, &mut String)) -> Option<String> {
        let Symbols { current, frame_count, frame, .. } = self.symbols;
        // SAFETY: the isolate is this thread's and in an interrupt, where V8 may allocate and may not run JavaScript,
        // and this runs none. The handle stays while the scope is open.
        let trace = NonNull::new(unsafe { current(self.isolate, MAX_FRAMES, OPTIONS) })?.as_ptr();
        // SAFETY: a StackTrace of this scope.
        let count = unsafe { frame_count(trace) };
        let mut stack = String::new();
        for index in 0..u32::try_from(count).unwrap_or(0) {
            // SAFETY: a StackTrace of this scope, which has a frame of this number.
            let Some(frame) = NonNull::new(unsafe { frame(trace, self.isolate, index) }) else { break };
            let line = self.line(frame, &read);
            let separator = usize::from(!stack.is_empty());
            if stack.len() + separator + line.len() > max {
                break;
            }
            if separator > 0 {
                stack.push('\n');
            }
            stack.push_str(&line);
        }
        Some(stack)
    }

    fn line(&self, frame: NonNull<c_void>, read: &impl Fn(&Text<'_>, &mut String)) -> String {
        let frame = frame.as_ptr();
        let symbols = &self.symbols;
        // SAFETY: a StackFrame of this scope.
        let (function, script, location, is_constructor, is_wasm) = unsafe {
            (
                (symbols.function)(frame),
                (symbols.script)(frame),
                (symbols.location)(frame),
                (symbols.is_constructor)(frame),
                (symbols.is_wasm)(frame),
            )
        };
        let text = |string: Local| {
            let mut text = String::new();
            if let Some(slot) = NonNull::new(string) {
                read(&Text { slot, scope: PhantomData }, &mut text);
            }
            // Function names of a program may have any characters.
            text.replace(char::is_control, " ")
        };
        let called = Called { function: text(function), script: text(script), is_constructor, is_wasm };
        called.line(location)
    }
}

struct Called {
    function: String,
    script: String,
    is_constructor: bool,
    is_wasm: bool,
}

impl Called {
    /// As V8 writes it.
    fn line(self, Location { line, column }: Location) -> String {
        let Self { function, mut script, is_constructor, is_wasm } = self;
        let anonymous = "<anonymous>";
        if script.is_empty() {
            script.push_str(anonymous);
        }
        // In WebAssembly the column is a byte offset.
        let written = match is_wasm {
            true => write!(script, ":{column:#x}"),
            false => write!(script, ":{}:{}", line + 1, column + 1),
        };
        // Writing to a String cannot fail.
        debug_assert!(written.is_ok());
        match (is_constructor, function.is_empty()) {
            (true, true) => format!("    at new {anonymous} ({script})"),
            (true, false) => format!("    at new {function} ({script})"),
            (false, true) => format!("    at {script}"),
            (false, false) => format!("    at {function} ({script})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_written_as_v8_writes_it() {
        for (function, script, is_constructor, is_wasm, expected) in [
            ("report", "/app/report.js", false, false, "    at report (/app/report.js:3:7)"),
            ("", "/app/report.js", false, false, "    at /app/report.js:3:7"),
            ("Report", "file:///app/a.mjs", true, false, "    at new Report (file:///app/a.mjs:3:7)"),
            ("", "/app/report.js", true, false, "    at new <anonymous> (/app/report.js:3:7)"),
            ("eval", "", false, false, "    at eval (<anonymous>:3:7)"),
            ("spin", "wasm://wasm/a1b2", false, true, "    at spin (wasm://wasm/a1b2:0x6)"),
        ] {
            let (function, script) = (function.to_owned(), script.to_owned());
            let called = Called { function, script, is_constructor, is_wasm };
            assert_eq!(called.line(Location { line: 2, column: 6 }), expected);
        }
    }
}
