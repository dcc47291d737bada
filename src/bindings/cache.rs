//! The shared cache in this process: its memory, and the functions with which JavaScript reaches the writer.
//!
//! An opened cache has two ArrayBuffers, `cache` (read-only) and `hints`, as [`crate::cache::layout`] describes them, and
//! these functions:
//!
//! - `post(what, key, value, expires, grace, early, added, tags, expected)` sends a request (see
//!   [`crate::cache::request`]) and returns its number, or a negative number from [`Unsent`]. `what`: the operation, plus
//!   the kind of the value << 8, the [`flag`]s << 16 and the kind of the expected value << 24. Texts of values are
//!   strings, other values Buffers; `tags` is a string in which each tag is followed by a 0.
//! - `add(cell, generation, by)` adds to a counter and returns the count; NaN: the counter is gone, Infinity: the count
//!   would be out of range. `count(cell, generation)` returns the count; NaN: the counter is gone.
//! - `note(cell, by)` adds to a figure of the statistics (see [`crate::cache::layout`]); `figure(cell)` returns it.
//! - `catchUp()` reads whether there is another memory; 1: `cache` and `hints` are ArrayBuffers of it from now on.
//! - `flush()` writes what is queued; `hold(on)` sets whether waiting for answers keeps the process alive.

use std::cell::RefCell;
use std::ffi::CStr;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use napi::bindgen_prelude::{Env, Function, JsObjectValue, Object};
use napi_derive::napi;
use serde_json::{Value, json};

use super::raw::{Arguments, Callback, Item, append_bytes, append_units, function, set_shared_buffer};
use super::worker::worker;
use super::{entropy, event_loop, outcome};
use crate::cache::client::{Client, Incoming, Mapped, Opened, Unsent};
use crate::cache::counters::{Counter, NotCounted};
use crate::cache::layout::{Key, Kind};
use crate::cache::request::{Operation, Request};
use crate::cache::service::Settings;
use crate::cache::store::Limits;
use crate::config::units::milliseconds;
use crate::error::{Error, Result};
use crate::event::Level;
use crate::primary::SharedCache;
use crate::sys::memory::Mapping;

/// Flags of `what`.
pub mod flag {
    pub const AWAITED: u32 = 1;
    pub const LANDS: u32 = 2;
    pub const HAS_VALUE: u32 = 4;
    pub const HAS_TAGS: u32 = 8;
    pub const HAS_EXPECTED: u32 = 16;
}

/// The status of an answer for JavaScript when the channel has ended.
pub const CLOSED: u8 = 255;

thread_local! {
    /// Buffers for key, value, tags and expected value, on their way into the core.
    static BYTES: RefCell<[Vec<u8>; 4]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new(), Vec::new()]) };
}

/// Maximum capacity of a buffer that is kept for the next request.
const KEPT: usize = 64 * 1024;

fn unsent(why: Unsent) -> f64 {
    match why {
        Unsent::TooLarge => -1.0,
        Unsent::Closed => -2.0,
        Unsent::Stuck => -3.0,
    }
}

/// The first argument of a call that tells a notice; what it is, a count and a text follow.
pub const NOTICE: f64 = -1.0;

/// The first argument of a call that tells of another memory: `cache` and `hints` are ArrayBuffers of it from now on.
pub const REMAPPED: f64 = -2.0;

/// The arguments cannot be read.
const UNREADABLE: f64 = -4.0;

/// Appends a value of this kind; returns the kind as it is stored.
fn append_value(arguments: &Arguments<'_>, at: usize, kind: Kind, out: &mut Vec<u8>) -> io::Result<Kind> {
    let value = arguments.value(at).map_err(|error| io::Error::other(error.reason.clone()))?;
    match kind {
        Kind::Text | Kind::Json => {
            let is_wide = append_units(&value, out)?;
            Ok(match kind {
                Kind::Text if is_wide => Kind::WideText,
                Kind::Json if is_wide => Kind::WideJson,
                narrow => narrow,
            })
        }
        _ => append_bytes(&value, false, out).map(|()| kind),
    }
}

fn post(client: &Client, arguments: &Arguments<'_>) -> io::Result<f64> {
    let number = |at| arguments.number(at);
    let what = number(0)? as u32;
    let has = |flag: u32| what >> 16 & flag != 0;
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let operation = Operation::from_number(what as u8).ok_or_else(invalid)?;
    let mut kind = Kind::from_number((what >> 8) as u8).ok_or_else(invalid)?;
    BYTES.with_borrow_mut(|buffers| {
        buffers.iter_mut().for_each(|buffer| {
            if buffer.capacity() > KEPT {
                *buffer = Vec::new();
            }
            buffer.clear();
        });
        let [key, value, tags, expected] = buffers;
        let given = arguments.value(1).map_err(|error| io::Error::other(error.reason.clone()))?;
        let is_wide = append_units(&given, key)?;
        if has(flag::HAS_VALUE) {
            kind = append_value(arguments, 2, kind, value)?;
        }
        if has(flag::HAS_TAGS) {
            let given = arguments.value(7).map_err(|error| io::Error::other(error.reason.clone()))?;
            append_bytes(&given, true, tags)?;
        }
        let expected_kind = if has(flag::HAS_EXPECTED) {
            let kind = Kind::from_number((what >> 24) as u8).ok_or_else(invalid)?;
            Some(append_value(arguments, 8, kind, expected)?)
        } else {
            None
        };
        let request = Request {
            operation,
            is_awaited: has(flag::AWAITED),
            lands: has(flag::LANDS),
            key: Key { bytes: key, is_wide },
            kind,
            value,
            tags,
            expected: expected_kind.map(|kind| (kind, expected.as_slice())),
            expires: number(3)? as u64,
            grace: number(4)? as u32,
            early: number(5)? as u32,
            added: number(6)? as i64,
        };
        Ok(client.post(&request).map_or_else(unsent, f64::from))
    })
}

/// The memory that JavaScript reads, by the names of its ArrayBuffers.
fn buffers(mapped: &Mapped) -> [(&CStr, &Arc<Mapping>); 2] {
    [(c"cache", &mapped.cache), (c"hints", &mapped.hints)]
}

/// Reports what the client gets to a function, with three numbers for each answer: the number of the request, the
/// status and the number of the answer. The end of the channel is an answer to request 0, followed by a text: what broke
/// it, or nothing.
fn reporter(deliver: Callback) -> Box<dyn Fn(Incoming<'_>)> {
    /// Answers per call: the number of arguments in JavaScript is limited.
    const MAX: usize = 64;
    Box::new(move |incoming| match incoming {
        Incoming::Answers(answers) => {
            for some in answers.chunks(MAX) {
                let items = some.iter().flat_map(|(request, answer)| {
                    let status = f64::from(answer.status as u8);
                    [f64::from(*request), status, answer.number].map(Item::Number)
                });
                // A failed call is an uncaught exception, or the environment has ended.
                let _ = deliver.call_with(items);
            }
        }
        Incoming::Remapped { mapped, is_asked } => {
            for (name, mapping) in buffers(mapped) {
                // Without another view JavaScript keeps the one that it has, which is empty from now on.
                let _ = deliver.set_shared_buffer(name, mapping.clone());
            }
            if !is_asked {
                drop(deliver.call_with([REMAPPED, 0.0, 0.0].map(Item::Number).into_iter()));
            }
        }
        Incoming::Notice(what, count, text) => {
            let numbers = [NOTICE, f64::from(what), f64::from(count)].map(Item::Number);
            drop(deliver.call_with(numbers.into_iter().chain([Item::Text(text.as_bytes())])));
        }
        Incoming::Closed(why) => {
            let numbers = [0.0, f64::from(CLOSED), 0.0].map(Item::Number);
            let why = why.map(ToString::to_string).unwrap_or_default();
            drop(deliver.call_with(numbers.into_iter().chain([Item::Text(why.as_bytes())])));
        }
    })
}

/// Opens the cache by `open` and puts what JavaScript needs on `into`.
fn connect(
    env: &Env,
    mut into: Object<'_>,
    deliver: &Function<'_, Object<'_>, ()>,
    open: impl FnOnce(Box<dyn Fn(Incoming<'_>)>) -> Result<Rc<Client>>,
) -> Result<Value> {
    let system = |error: io::Error| Error::system("cache", &error);
    let refused = |error: napi::Error| Error::system("cache", &io::Error::other(error.reason.clone()));
    let client = open(reporter(Callback::new(env, deliver, &into).map_err(system)?))?;
    for (name, mapping) in buffers(&client.mapped()) {
        let bytes = mapping.count() * 8;
        set_shared_buffer(&into, name, mapping.clone(), 0, bytes).map_err(system)?;
    }
    let of = |act: fn(&Client, &Arguments<'_>) -> io::Result<f64>| {
        let client = client.clone();
        move |arguments: &Arguments<'_>| act(&client, arguments).unwrap_or(UNREADABLE)
    };
    let functions = [
        ("post", function(env, c"post", of(post))),
        ("add", function(env, c"add", of(add))),
        ("count", function(env, c"count", of(count))),
        ("note", function(env, c"note", of(note))),
        ("figure", function(env, c"figure", of(figure))),
        ("catchUp", function(env, c"catchUp", of(catch_up))),
        ("flush", function(env, c"flush", of(flush))),
        ("hold", function(env, c"hold", of(hold))),
    ];
    for (name, made) in functions {
        into.set_named_property(name, made.map_err(refused)?).map_err(refused)?;
    }
    let number = client.id;
    let ending = client.clone();
    // The handles on the loop must be closed before the loop ends.
    env.add_env_cleanup_hook((), move |()| ending.close()).map_err(refused)?;
    Ok(json!({ "client": number }))
}

fn counter(arguments: &Arguments<'_>) -> io::Result<Counter> {
    Ok(Counter { cell: arguments.number(0)? as u32, generation: arguments.number(1)? as u16 })
}

fn add(client: &Client, arguments: &Arguments<'_>) -> io::Result<f64> {
    let added = client.add(counter(arguments)?, arguments.number(2)? as i64);
    Ok(match added {
        Ok(count) => count as f64,
        Err(NotCounted::Gone) => f64::NAN,
        Err(NotCounted::OutOfRange) => f64::INFINITY,
    })
}

fn count(client: &Client, arguments: &Arguments<'_>) -> io::Result<f64> {
    Ok(client.count(counter(arguments)?).map_or(f64::NAN, |count| count as f64))
}

fn note(client: &Client, arguments: &Arguments<'_>) -> io::Result<f64> {
    if let Some(figure) = client.figure(arguments.number(0)? as usize) {
        figure.fetch_add(arguments.number(1)? as u64, Relaxed);
    }
    Ok(0.0)
}

fn figure(client: &Client, arguments: &Arguments<'_>) -> io::Result<f64> {
    Ok(client.figure(arguments.number(0)? as usize).map_or(f64::NAN, |figure| figure.load(Relaxed) as f64))
}

fn catch_up(client: &Client, _: &Arguments<'_>) -> io::Result<f64> {
    Ok(f64::from(u8::from(client.catch_up())))
}

fn flush(client: &Client, _: &Arguments<'_>) -> io::Result<f64> {
    client.flush();
    Ok(0.0)
}

fn hold(client: &Client, arguments: &Arguments<'_>) -> io::Result<f64> {
    client.hold(arguments.number(0)? != 0.0);
    Ok(0.0)
}

/// Opens the shared cache in a worker, once in its life: see [`connect`]. `{ ok: { client } }` or `{ error }`.
#[napi(js_name = "workerOpenCache")]
pub fn worker_open_cache(env: &Env, into: Object, deliver: Function<Object, ()>) -> Value {
    outcome(connect(env, into, &deliver, |report| {
        worker()?.cache().open(report).map_err(|error| Error::system("cache", &error))
    }))
}

/// The shared cache of a cluster, in the primary, or of a process without one. The memory is created at the first use.
#[napi(js_name = "SharedCache")]
pub struct NativeSharedCache {
    pub(super) inner: Arc<SharedCache>,
}

#[napi]
impl NativeSharedCache {
    /// `max_size`: bytes; `max_entries` 0: any number; `persist`: the file that keeps the contents, or ''.
    #[napi(constructor)]
    pub fn new(max_size: f64, max_entries: f64, persist: String) -> napi::Result<Self> {
        let entries = if max_entries > 0.0 { max_entries as usize } else { usize::MAX };
        let limits = Limits { bytes: max_size as usize, entries };
        let [a, b, c, d, ..] = entropy().map_err(|error| napi::Error::from_reason(error.message))?;
        let persist = Some(persist).filter(|path| !path.is_empty()).map(PathBuf::from);
        let settings = Settings { limits, persist, seed: u32::from_le_bytes([a, b, c, d]) };
        let inner = SharedCache::new(settings, Box::new(say));
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Writes the contents to their file, if there are some and it has one; returns when that is done.
    #[napi]
    pub fn save(&self) {
        self.inner.save();
    }

    /// Opens it for this process's program: see [`connect`]. `{ ok: { client } }` or `{ error }`.
    #[napi]
    pub fn open(&self, env: &Env, into: Object, deliver: Function<Object, ()>) -> Value {
        outcome(connect(env, into, &deliver, |report| {
            let uv = event_loop(env)?;
            let socket = self.inner.connect("the primary's program".to_owned(), None);
            let opened = socket.and_then(|socket| Opened::new(socket, None));
            let started = opened.and_then(|opened| Client::start(uv, opened, report));
            started.map_err(|error| Error::system("cache", &error))
        }))
    }
}

/// Milliseconds from a text such as '30s'; null: it is no duration.
#[napi(js_name = "parseDuration")]
pub fn parse_duration(text: String) -> Option<f64> {
    milliseconds(&Value::String(text)).map(|milliseconds| milliseconds as f64)
}

/// A line on standard error, from any thread.
pub(super) fn say(level: Level, text: String) {
    if level == Level::Info {
        return;
    }
    // There is nobody to tell that it cannot be written.
    let _ = rustix::io::write(rustix::stdio::stderr(), format!("drover: {text}\n").as_bytes());
}
