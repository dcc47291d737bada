//! Messages between JavaScript and the core: the same in the primary and in a worker.
//!
//! A message is sent at once, or together with others at the end of the loop's iteration. It is passed as seven
//! arguments: `to`, `what` (0 notification, 1 request, 2 response, 3 failure), `answers` (the id of the request, else
//! 0), `timeout` (milliseconds; negative: the configured one), `kind`, `format` (0 JSON, 1 structured clone, 2 JSON
//! with buffers) and `body`, a string for JSON and a Buffer otherwise. Received messages are passed as arguments, four
//! per message: `from`; one number with the request's id, the format and `what` (`id * 16 + format * 4 + what`); `kind`
//! of a request, 0 otherwise; and `body`.
//!
//! A worker is identified by one number, `generation * 65536 + slot`, the primary by -1.

use std::cell::RefCell;
use std::fmt::Display;
use std::time::Duration;

use napi::bindgen_prelude::{Env, Unknown};
use napi_derive::napi;
use serde_json::{Value, json};

use super::raw::{Arguments, Callback, Item, append_bytes, append_short_text, function};
use crate::error::{Code, Error, Result};
use crate::ipc::endpoint::Outgoing;
use crate::ipc::message::{Body, Format, Message, Peer, SHARED, What};
use crate::metrics::memory::{SharedMemory, Target};
use crate::model::WorkerId;

/// The message was not sent; `postError` has the error.
pub const REFUSED: f64 = -1.0;

/// `what` of a request.
pub const REQUEST: u32 = 1;

impl MessageHeader {
    /// A request for several receivers.
    pub fn request(timeout: f64, format: u32) -> Self {
        Self { to: PRIMARY, what: REQUEST, answers: 0, timeout, format }
    }
}

pub const PRIMARY: f64 = -1.0;
pub const GENERATIONS: f64 = 65_536.0;

thread_local! {
    static ERROR: RefCell<Option<Error>> = const { RefCell::new(None) };
    /// Buffers for the type and a small body, on their way into the core.
    static BYTES: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Why the last message was not sent: `{ code, message, details }`.
#[napi(js_name = "postError")]
pub fn post_error() -> Value {
    ERROR.take().map_or(Value::Null, |error| json!(error))
}

pub fn id_of(peer: Peer) -> f64 {
    match peer {
        Peer::Primary => PRIMARY,
        Peer::Worker(worker) => f64::from(worker.generation) * GENERATIONS + f64::from(worker.slot),
    }
}

fn peer_of(id: f64) -> Peer {
    if id < 0.0 {
        return Peer::Primary;
    }
    // Both parts of an id from the core fit.
    Peer::Worker(WorkerId::new((id % GENERATIONS) as u16, (id / GENERATIONS) as u32))
}

/// The arguments of a message except its body.
#[derive(Clone, Copy)]
pub struct MessageHeader {
    pub to: f64,
    pub what: u32,
    pub answers: u32,
    pub timeout: f64,
    pub format: u32,
}

/// The function `post(to, what, answers, timeout, kind, format, body)`, which passes a message to `send` and returns the id
/// of a request, 0 otherwise, or `REFUSED`.
pub fn post_function(
    env: &Env,
    send: impl Fn(&Outgoing<'_>) -> Result<u32> + 'static,
) -> napi::Result<Unknown<'_>> {
    function(env, c"post", move |arguments| {
        let mut sent = Ok(0);
        let read = with_arguments(arguments, &mut |outgoing| sent = send(outgoing));
        match read.and(sent) {
            Ok(id) => f64::from(id),
            Err(error) => {
                ERROR.set(Some(error));
                REFUSED
            }
        }
    })
}

fn with_arguments(arguments: &Arguments<'_>, send: &mut dyn FnMut(&Outgoing<'_>)) -> Result<()> {
    let number = |at| arguments.number(at).map_err(|error| unreadable(&error));
    let value = |at| arguments.value(at).map_err(|error| unreadable(&error));
    let header = MessageHeader {
        to: number(0)?,
        what: number(1)? as u32,
        answers: number(2)? as u32,
        timeout: number(3)?,
        format: number(5)? as u32,
    };
    with_outgoing(header, &value(4)?, &value(6)?, send)
}

fn unreadable(why: &dyn Display) -> Error {
    Error::new(Code::InvalidArgument, format!("the message cannot be read: {why}"))
}

/// Passes a request to `send` once per receiver; it is read from JavaScript once. Returns for each the id of the
/// request or its error, `{ code, message, details }`.
pub fn request_all(
    receivers: &[f64],
    header: MessageHeader,
    kind: &Unknown<'_>,
    body: &Unknown<'_>,
    send: impl Fn(&Outgoing<'_>) -> Result<u32>,
) -> Value {
    let outcome = |sent: Result<u32>| sent.map_or_else(|error| json!(error), Value::from);
    let mut outcomes = Vec::with_capacity(receivers.len());
    let read = with_outgoing(header, kind, body, &mut |request| {
        let to = |id: &f64| Outgoing { to: peer_of(*id), ..*request };
        outcomes.extend(receivers.iter().map(|id| outcome(send(&to(id)))));
    });
    match read {
        Ok(()) => outcomes.into(),
        Err(error) => receivers.iter().map(|_| json!(error)).collect(),
    }
}

/// Reads a message from JavaScript and passes it to `send`.
fn with_outgoing(
    header: MessageHeader,
    kind: &Unknown<'_>,
    body: &Unknown<'_>,
    send: &mut dyn FnMut(&Outgoing<'_>),
) -> Result<()> {
    let format = match header.format {
        0 => Format::Json,
        1 => Format::Clone,
        _ => Format::JsonAndBuffers,
    };
    let what = match header.what {
        0 => What::Notify,
        REQUEST => What::Request,
        2 => What::Answer,
        _ => What::Failure,
    };
    let timeout = (header.timeout >= 0.0).then(|| Duration::from_millis(header.timeout as u64));
    let (to, answers) = (peer_of(header.to), header.answers);
    BYTES.with_borrow_mut(|(kind_bytes, body_bytes)| {
        kind_bytes.clear();
        append_short_text(kind, kind_bytes).map_err(|error| unreadable(&error))?;
        let kind = std::str::from_utf8(kind_bytes).map_err(|error| unreadable(&error))?;
        body_bytes.clear();
        append_bytes(body, format == Format::Json, body_bytes).map_err(|error| unreadable(&error))?;
        if body_bytes.len() < SHARED {
            let body = Body::Copied(body_bytes);
            send(&Outgoing { to, what, answers, timeout, format, kind, body });
            return Ok(());
        }
        let mut shared = std::mem::take(body_bytes);
        // The buffer was allocated for three bytes per character.
        shared.shrink_to_fit();
        let body = Body::Shared(&shared.into());
        send(&Outgoing { to, what, answers, timeout, format, kind, body });
        Ok(())
    })
}

/// Maximum messages per call: the number of arguments in JavaScript is limited.
const MAX: usize = 64;

/// Passes received messages to JavaScript.
pub fn deliver(to: &Callback, messages: &[Message]) {
    for some in messages.chunks(MAX) {
        // A failed call is an uncaught exception, or the environment has ended.
        let _ = to.call_with(items(some));
    }
}

fn items(messages: &[Message]) -> impl Iterator<Item = Item<'_>> {
    messages.iter().flat_map(|message| {
        let Message { peer, what, format, .. } = *message;
        let is_answer = matches!(what, What::Answer | What::Failure);
        let id = if is_answer { message.answers } else { message.id };
        let body = message.body();
        [
            Item::Number(id_of(peer)),
            Item::Number(f64::from(id) * 16.0 + f64::from(format as u8 * 4 + what as u8)),
            // The requester knows the type, and only a request has a handler by its type.
            if what == What::Request { Item::Text(message.kind().as_bytes()) } else { Item::Number(0.0) },
            if format == Format::Json { Item::Text(body) } else { Item::Bytes(body) },
        ]
    })
}

/// Three numbers per slot: the slot, the id of its worker or -1 if it does not run now, and 1 if it serves, 2 if it
/// serves but is unhealthy.
pub fn targets(memory: &SharedMemory) -> Vec<f64> {
    let numbers = |Target { slot, worker, serves, is_well }: Target| {
        let id = worker.map_or(NOT_THERE, |worker| id_of(Peer::Worker(worker)));
        [f64::from(slot), id, f64::from(u8::from(serves) + u8::from(serves && !is_well))]
    };
    memory.targets().into_iter().flat_map(numbers).collect()
}

/// There is no such slot, or it is not in use.
pub const NOBODY: f64 = -2.0;
const NOT_THERE: f64 = -1.0;

/// The id of a slot's worker as a number, -1 if it does not run now, -2 if there is no such slot.
pub fn worker_id_of(memory: &SharedMemory, slot: u32) -> f64 {
    let target = u16::try_from(slot).ok().and_then(|slot| memory.target(slot));
    let of = |Target { worker, .. }| worker.map_or(NOT_THERE, |worker| id_of(Peer::Worker(worker)));
    target.map_or(NOBODY, of)
}
