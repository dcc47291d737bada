//! The primary: a handle for the loop. The loop's outputs arrive as JSON texts through one callback.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::{Env, Function, Object, Unknown};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cache::NativeSharedCache;
use super::config::{NativeConfiguration, parse};
use super::fleet::NativeFleet;
use super::messages;
use super::metric_store::NativeMetricStore;
use super::raw::Callback;
use super::{entropy, outcome};
use crate::error::{Code, Error, Result};
use crate::ipc::control::{Address, ListenOptions, StopSignal};
use crate::ipc::message::Message;
use crate::metrics::memory::MetricStore;
use crate::metrics::view;
use crate::model::{Command, WorkerId};
use crate::primary::{self, Fleet, LaunchCommand, Output, Primary, ProgramMessages, SharedCache};
use crate::process::script;
use crate::process::zombies::Reaper;
use crate::sys::local_time::now_ms;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Launching {
    program: String,
    version: Option<String>,
    exec_argv: Vec<String>,
    script: Option<String>,
    args: Vec<String>,
    preload: String,
    standalone: bool,
    folder: Option<String>,
}

/// A cluster's primary. The result of every command is passed to the callback as `{ "done": id, "ok" | "error": ... }`;
/// other outputs are `{ "event": {...}, "timestamp": ms }`, `{ "channel": [slot, generation] }` for `openChannel`, `{
/// "gone": ... }` for `closeChannel`, `{ "measure": true }` for `customised`, `{ "environment": true }` for
/// `environment` and, last, `{ "ended": true }`.
#[napi(js_name = "Primary")]
pub struct NativePrimary {
    inner: Option<Primary>,
    /// On the program's thread, once messages are enabled.
    endpoint: Option<Rc<ProgramMessages>>,
    refusal: Option<Error>,
    reaper: Reaper,
}

fn text(output: Output) -> String {
    let message = match output {
        Output::Channel { worker } => json!({ "channel": [worker.slot, worker.generation] }),
        Output::Gone { worker } => json!({ "gone": [worker.slot, worker.generation] }),
        Output::Event { event, timestamp } => json!({ "event": event, "timestamp": timestamp }),
        Output::Done { id, result: Ok(value) } => json!({ "done": id, "ok": value }),
        Output::Done { id, result: Err(error) } => json!({ "done": id, "error": error }),
        Output::AskEnvironment => json!({ "environment": true }),
        Output::Measure => json!({ "measure": true }),
        Output::Ended => json!({ "ended": true }),
    };
    message.to_string()
}

fn no_primary() -> Error {
    Error::new(Code::Stopped, "There is no primary")
}

#[napi]
impl NativePrimary {
    /// `launching`: how a worker is started. Check `refusal` before anything else.
    #[napi(constructor)]
    pub fn new(
        configuration: &NativeConfiguration,
        launching: Value,
        cache: &NativeSharedCache,
        fleet: Option<&NativeFleet>,
        on_output: Function<String, ()>,
    ) -> napi::Result<Self> {
        let on_output = on_output.build_threadsafe_function::<String>().callee_handled::<false>().build()?;
        let shared = (cache.inner.clone(), fleet.and_then(|fleet| fleet.inner.clone()));
        let made = make(configuration, launching, shared, move |output| {
            // A runtime that is shutting down gets no more calls.
            on_output.call(text(output), ThreadsafeFunctionCallMode::NonBlocking);
        });
        Ok(match made {
            Ok(primary) => {
                Self { inner: Some(primary), endpoint: None, refusal: None, reaper: Reaper::default() }
            }
            Err(error) => {
                Self { inner: None, endpoint: None, refusal: Some(error), reaper: Reaper::default() }
            }
        })
    }

    /// The error if the primary could not be created: `{ code, message, details }`, or null.
    #[napi(getter)]
    pub fn refusal(&self) -> Value {
        self.refusal.as_ref().map_or(Value::Null, |error| json!(error))
    }

    #[napi]
    pub fn open(&self, id: u32, address: Value, options: Value) {
        let Some(primary) = &self.inner else { return };
        match parse::<Address>(address).and_then(|address| Ok((address, parse::<ListenOptions>(options)?))) {
            Ok((address, options)) => primary.open(id, address, options),
            Err(error) => primary.invalid(id, error),
        }
    }

    /// Passes the program's current environment, for workers that are started from now on.
    #[napi]
    pub fn environment(&self, env: Value) {
        // The values of process.env are strings.
        if let (Some(primary), Ok(env)) =
            (&self.inner, serde_json::from_value::<BTreeMap<String, String>>(env))
        {
            primary.environment(env);
        }
    }

    /// Closes the address of a group; the others stay open. Done when every worker has closed its server there.
    #[napi]
    pub fn release(&self, id: u32, group: u32) {
        self.inner.iter().for_each(|primary| primary.release(id, group));
    }

    #[napi]
    pub fn start(&self, id: u32) {
        self.inner.iter().for_each(|primary| primary.start(id));
    }

    /// `limitMs`: the total time of the workers, if it is shorter than the configured one.
    #[napi]
    pub fn stop(&self, id: u32, graceful: bool, limit_ms: Option<u32>) {
        let limit = limit_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        self.inner.iter().for_each(|primary| primary.stop(id, graceful, limit));
    }

    /// Sends a command to the running cluster: `scale`, `scaleUp`, `scaleDown`, `stopWorker`, `endWorker` (without
    /// draining), `restartWorker` or `restartCluster`, with its argument. Done with the slots that serve because of it.
    #[napi]
    pub fn command(&self, id: u32, name: String, argument: Value) {
        let Some(primary) = &self.inner else { return };
        match Command::parse(&name, &argument) {
            Ok(command) => primary.command(id, command),
            Err(error) => primary.invalid(id, error),
        }
    }

    /// The process got a stop signal: SIGTERM or SIGINT.
    #[napi]
    pub fn signalled(&self, signal: String) {
        if let (Some(primary), Ok(signal)) = (&self.inner, parse::<StopSignal>(signal.into())) {
            primary.signalled(signal);
        }
    }

    /// The process is about to exit normally; returns when the workers were notified.
    #[napi]
    pub fn shutdown_notice(&self) {
        self.inner.iter().for_each(Primary::shutdown_notice);
    }

    /// As PID 1: reaps orphans that were already dead at the last call. Between two calls the event loop must have
    /// polled.
    #[napi]
    pub fn reap_orphans(&mut self) {
        self.reaper.look();
    }

    /// `WorkerInfo[]`.
    #[napi]
    pub fn workers(&self) -> Value {
        self.inner.as_ref().map_or(json!([]), |primary| json!(view::workers(&primary.memory, now_ms())))
    }

    /// Enables the program's messages; `deliver` gets an array as described in [`super::messages`]. `{ ok }` or `{
    /// error }`.
    #[napi]
    pub fn listen_to_messages(&mut self, env: &Env, deliver: Function<Object, ()>) -> Value {
        let start = || -> Result<Rc<ProgramMessages>> {
            let primary = self.inner.as_ref().ok_or_else(no_primary)?;
            let call =
                Callback::new(env, &deliver, &deliver).map_err(|error| Error::system("callback", &error))?;
            let uv = super::event_loop(env)?;
            let deliver = Box::new(move |come: &[Message]| messages::deliver(&call, come));
            primary.endpoint(uv, deliver).map_err(|error| Error::system("event loop", &error))
        };
        match start() {
            Ok(endpoint) => {
                self.endpoint = Some(endpoint);
                outcome(Ok(Value::Null))
            }
            Err(error) => outcome(Err(error)),
        }
    }

    #[napi]
    pub fn open_channel(&self, slot: u16, generation: u32) {
        self.endpoint.iter().for_each(|endpoint| endpoint.open(WorkerId { slot, generation }));
    }

    #[napi]
    pub fn close_channel(&self, slot: u16, generation: u32) {
        self.endpoint.iter().for_each(|endpoint| endpoint.gone(WorkerId { slot, generation }));
    }

    /// Passes messages that workers have sent so far to the program, before a later event.
    #[napi]
    pub fn read_messages(&self) {
        self.endpoint.iter().for_each(|endpoint| endpoint.read_all());
    }

    /// The function that sends a message: see [`super::messages::post_function`].
    #[napi(ts_return_type = "(...message: unknown[]) => number")]
    pub fn post_function<'env>(&self, env: &'env Env) -> napi::Result<Unknown<'env>> {
        let endpoint = self.endpoint.clone();
        messages::post_function(env, move |outgoing| endpoint.as_ref().ok_or_else(no_primary)?.post(outgoing))
    }

    /// A request for each of these receivers: see [`super::messages::request_all`].
    #[napi]
    pub fn request_all(
        &self,
        receivers: Vec<f64>,
        timeout: f64,
        kind: Unknown,
        format: u32,
        body: Unknown,
    ) -> Value {
        let header = messages::MessageHeader::request(timeout, format);
        messages::request_all(&receivers, header, &kind, &body, |outgoing| {
            self.endpoint.as_ref().ok_or_else(no_primary)?.post(outgoing)
        })
    }

    /// The metric store of the primary's program.
    #[napi]
    pub fn metric_store(&self) -> Option<NativeMetricStore> {
        self.inner.as_ref().map(|primary| NativeMetricStore::new(MetricStore::of_primary(&primary.memory)))
    }

    /// The reply to `{ "measure": true }`: the program's custom metrics, a JSON object, or null for nothing new. `{ ok
    /// }`, or `{ error }` if it was refused.
    #[napi]
    pub fn customised(&self, metrics: Option<String>) -> Value {
        let kept = self.inner.as_ref().map_or(Ok(()), |primary| primary.customised(metrics));
        outcome(kept.map(|()| Value::Null))
    }

    /// Logs a warning for the operator.
    #[napi]
    pub fn warn(&self, text: String) {
        self.inner.iter().for_each(|primary| primary.warn(text.clone()));
    }

    /// Logs information for the operator.
    #[napi]
    pub fn note(&self, text: String) {
        self.inner.iter().for_each(|primary| primary.note(text.clone()));
    }

    /// The possible receivers of messages: see [`super::messages::targets`].
    #[napi]
    pub fn targets(&self) -> Vec<f64> {
        self.inner.as_ref().map_or(Vec::new(), |primary| messages::targets(&primary.memory))
    }

    /// The id of a slot's worker: see [`super::messages::worker_id_of`].
    #[napi]
    pub fn worker_id_of(&self, slot: u32) -> f64 {
        self.inner.as_ref().map_or(messages::NOBODY, |primary| messages::worker_id_of(&primary.memory, slot))
    }

    /// The cluster's metrics; see [`view::metrics`].
    #[napi]
    pub fn cluster_metrics(&self) -> Value {
        self.inner.as_ref().map_or(Value::Null, |primary| json!(view::metrics(&primary.memory, now_ms())))
    }

    /// The cluster's health; see [`view::health`].
    #[napi]
    pub fn cluster_health(&self) -> Value {
        self.inner.as_ref().map_or(Value::Null, |primary| json!(view::health(&primary.memory)))
    }

    /// Joins the loop's thread; to be called after the output `ended`.
    #[napi]
    pub fn join(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.close();
        }
        if let Some(primary) = &mut self.inner {
            primary.join();
        }
    }
}

fn make(
    configuration: &NativeConfiguration,
    launching: Value,
    (cache, fleet): (Arc<SharedCache>, Option<Arc<Fleet>>),
    output: impl Fn(Output) + Send + 'static,
) -> Result<Primary> {
    let Launching { program, version, exec_argv, script, args, preload, standalone, folder } =
        parse(launching)?;
    let loaded = configuration.loaded()?;
    if let Some(refusal) = loaded.refusal() {
        return Err(refusal);
    }
    let runtime = match version.as_deref() {
        // Only Bun has no version of Node.js's.
        None => script::Program::Bun,
        Some(version) => {
            let mut numbers = version.split('.').map_while(|number| number.parse().ok());
            let both = numbers.next().zip(numbers.next());
            both.map_or(script::Program::Other, |(major, minor)| script::Program::Node(major, minor))
        }
    };
    let command = LaunchCommand { program, runtime, exec_argv, script, args, preload, standalone, folder };
    let terminal = std::io::stdout().is_terminal();
    let setup = primary::setup(loaded, &configuration.env, command, terminal, &entropy()?)?;
    Primary::new(setup, cache, fleet, now_ms(), output)
}
