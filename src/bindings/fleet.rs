//! The fleet in this process: the functions with which JavaScript reaches its thread.
//!
//! An opened fleet has these functions: `post(answers, bytes)` sends a frame (see [`crate::fleet::request`]) and returns its
//! number, or a negative number from [`Unsent`]; `answers`: the number of the frame that it answers, or 0. `hold(on)` sets
//! whether waiting for answers keeps the process alive. Received frames are passed as three arguments: their number, the
//! number that they answer, and a Buffer; the end of the channel as -1.

use std::rc::Rc;
use std::sync::Arc;

use napi::bindgen_prelude::{Env, Function, JsObjectValue, Object};
use napi_derive::napi;
use serde_json::{Value, json};

use super::cache::NativeSharedCache;
use super::config::NativeConfiguration;
use super::raw::{Arguments, Callback, Item, append_bytes, function};
use super::worker::worker;
use super::{entropy, event_loop, outcome};
use crate::error::{Error, Result};
use crate::event::{Event, Level};
use crate::fleet::client::{Client, Report, Unsent};
use crate::fleet::settings::{Own, Settings};
use crate::ipc::frame::Frame;
use crate::ipc::message::Peer;
use crate::primary::Fleet;
use crate::sys::local_time::now_ms;

/// The first argument of the call that tells the end of the channel.
pub const CLOSED: f64 = -1.0;

fn reporter(deliver: Callback) -> Report {
    Box::new(move |frame| {
        // A failed call is an uncaught exception, or the environment has ended.
        drop(match frame {
            Some(Frame { header, payload }) => deliver.call_with(
                [
                    Item::Number(f64::from(header.id)),
                    Item::Number(f64::from(header.answers)),
                    Item::Bytes(payload),
                ]
                .into_iter(),
            ),
            None => deliver.call_with([Item::Number(CLOSED)].into_iter()),
        });
    })
}

fn post(client: &Client, arguments: &Arguments<'_>) -> std::io::Result<f64> {
    let mut bytes = Vec::new();
    let given = arguments.value(1).map_err(|error| std::io::Error::other(error.reason.clone()))?;
    append_bytes(&given, false, &mut bytes)?;
    Ok(client.post(arguments.number(0)? as u32, &bytes).map_or_else(
        |why| match why {
            Unsent::TooLarge => -1.0,
            Unsent::Closed => -2.0,
            Unsent::Stuck => -3.0,
        },
        f64::from,
    ))
}

/// Opens the fleet by `open` and puts what JavaScript needs on `into`.
fn connect(
    env: &Env,
    mut into: Object<'_>,
    deliver: &Function<'_, Object<'_>, ()>,
    open: impl FnOnce(Report) -> std::io::Result<Rc<Client>>,
) -> Result<Value> {
    let system = |error: std::io::Error| Error::system("fleet", &error);
    let refused = |error: napi::Error| Error::system("fleet", &std::io::Error::other(error.reason.clone()));
    let client = open(reporter(Callback::new(env, deliver, &into).map_err(system)?)).map_err(system)?;
    let (posts, holds) = (client.clone(), client.clone());
    // Arguments that cannot be read are no frame.
    let post = function(env, c"post", move |arguments| post(&posts, arguments).unwrap_or(-1.0));
    let hold = function(env, c"hold", move |arguments| {
        holds.hold(arguments.number(0).unwrap_or_default() != 0.0);
        0.0
    });
    into.set_named_property("post", post.map_err(refused)?).map_err(refused)?;
    into.set_named_property("hold", hold.map_err(refused)?).map_err(refused)?;
    // The handles on the loop must be closed before the loop ends.
    env.add_env_cleanup_hook((), move |()| client.close()).map_err(refused)?;
    Ok(Value::Null)
}

/// Opens the fleet in a worker, once in its life: see [`connect`]. `{ ok }` or `{ error }`.
#[napi(js_name = "workerOpenFleet")]
pub fn worker_open_fleet(env: &Env, into: Object, deliver: Function<Object, ()>) -> Value {
    outcome(connect(env, into, &deliver, |report| {
        worker().map_err(|error| std::io::Error::other(error.message))?.fleet().open(report)
    }))
}

/// Milliseconds on the clock of the machine that all of its processes share, and that tells when a lease ends.
#[napi(js_name = "monotonicMs")]
pub fn monotonic_ms() -> f64 {
    crate::sys::clock::monotonic().as_secs_f64() * 1000.0
}

/// The fleet of a cluster, in the primary, or of a process without one. It is joined at the first use.
#[napi(js_name = "Fleet")]
pub struct NativeFleet {
    pub(super) inner: Option<Arc<Fleet>>,
    refusal: Option<Error>,
}

#[napi]
impl NativeFleet {
    /// `script`: the name of the program's file; `name`: of its package or folder. Check `refusal` before anything else.
    #[napi(constructor)]
    pub fn new(
        configuration: &NativeConfiguration,
        cache: &NativeSharedCache,
        script: String,
        name: String,
    ) -> Self {
        match make(configuration, cache, &script, &name) {
            Ok(fleet) => Self { inner: fleet.map(Arc::new), refusal: None },
            Err(error) => Self { inner: None, refusal: Some(error) },
        }
    }

    /// The error if it could not be created: `{ code, message, details }`, or null.
    #[napi(getter)]
    pub fn refusal(&self) -> Value {
        self.refusal.as_ref().map_or(Value::Null, |error| json!(error))
    }

    /// Opens it for this process's program: see [`connect`]. `receives`: messages for all workers are for it too. `{ ok }`
    /// or `{ error }`.
    #[napi]
    pub fn open(&self, env: &Env, into: Object, deliver: Function<Object, ()>, receives: bool) -> Value {
        outcome(connect(env, into, &deliver, |report| {
            let uv = event_loop(env).map_err(|error| std::io::Error::other(error.message))?;
            let fleet = self.inner.as_ref().ok_or_else(|| std::io::Error::other("there is no redis"))?;
            let name = "the primary's program".to_owned();
            let socket = fleet.connect(name, Peer::Primary, receives, None)?;
            Client::start(uv, socket, None, fleet.max_frame(), report)
        }))
    }

    /// Leaves the fleet, and returns when that is done.
    #[napi]
    pub fn close(&self) {
        self.inner.iter().for_each(|fleet| fleet.close());
    }
}

fn make(
    configuration: &NativeConfiguration,
    cache: &NativeSharedCache,
    script: &str,
    name: &str,
) -> Result<Option<Fleet>> {
    let config = &configuration.loaded()?.config;
    let own = Own {
        script,
        name,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        started_at: now_ms(),
        entropy: &entropy()?,
    };
    let settings = Settings::new(config, own)?;
    Ok(settings.map(|settings| Fleet::new(settings, cache.inner.clone(), Box::new(say))))
}

/// Without a cluster: what an operator has to know, on standard error.
fn say(event: Event) {
    let (level, text) = event.line();
    if level >= Level::Warn {
        super::cache::say(level, text);
    }
}
