//! The primary: a handle over the loop. What the loop tells comes back as JSON texts through one callback.

use std::io::IsTerminal;

use napi::bindgen_prelude::Function;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use serde::Deserialize;
use serde_json::{Value, json};

use super::config::{Asked, load, parse};
use crate::error::{Code, Error, Result};
use crate::ipc::control::Address;
use crate::primary::{self, LaunchCommand, Output, Primary, now_ms};
use crate::process::zombies::Reaper;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Launching {
    program: String,
    exec_argv: Vec<String>,
    script: Option<String>,
    args: Vec<String>,
    preload: String,
}

/// A cluster's primary. Every verb is answered through the callback as
/// `{ "done": id, "ok" | "error": ... }`; besides come `{ "event": {...}, "timestamp": ms }` and, last, `{ "ended": true }`.
#[napi(js_name = "Primary")]
pub struct NativePrimary {
    inner: Option<Primary>,
    refusal: Option<Error>,
    reaper: Reaper,
}

fn text(output: Output) -> String {
    let message = match output {
        Output::Event { event, timestamp } => json!({ "event": event, "timestamp": timestamp }),
        Output::Done { id, result: Ok(value) } => json!({ "done": id, "ok": value }),
        Output::Done { id, result: Err(error) } => json!({ "done": id, "error": error }),
        Output::Ended => json!({ "ended": true }),
    };
    message.to_string()
}

fn entropy() -> Result<[u8; 32]> {
    let mut bytes = [0u8; 32];
    let read = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match read {
        Ok(32) => Ok(bytes),
        _ => Err(Error::new(Code::System, "the kernel gave no random bytes")),
    }
}

#[napi]
impl NativePrimary {
    /// `asked` as for `loadConfig`; `launching`: how a worker is run. Check `refusal` before anything else.
    #[napi(constructor)]
    pub fn new(asked: Value, launching: Value, told: Function<String, ()>) -> napi::Result<Self> {
        let told = told.build_threadsafe_function::<String>().callee_handled::<false>().build()?;
        let made = make(asked, launching, move |output| {
            // A runtime that is going away hears nothing any more.
            told.call(text(output), ThreadsafeFunctionCallMode::NonBlocking);
        });
        Ok(match made {
            Ok(primary) => Self { inner: Some(primary), refusal: None, reaper: Reaper::default() },
            Err(error) => Self { inner: None, refusal: Some(error), reaper: Reaper::default() },
        })
    }

    /// Why there is no primary: `{ code, message, details }`, or null.
    #[napi(getter)]
    pub fn refusal(&self) -> Value {
        self.refusal.as_ref().map_or(Value::Null, |error| json!(error))
    }

    #[napi]
    pub fn open(&self, id: u32, address: Value, backlog: u32) {
        if let (Some(primary), Ok(address)) = (&self.inner, serde_json::from_value::<Address>(address)) {
            primary.open(id, address, backlog);
        }
    }

    #[napi]
    pub fn start(&self, id: u32) {
        self.inner.iter().for_each(|primary| primary.start(id));
    }

    #[napi]
    pub fn stop(&self, id: u32, graceful: bool) {
        self.inner.iter().for_each(|primary| primary.stop(id, graceful));
    }

    /// What the running cluster is to become: `scale`, `scaleUp`, `scaleDown`, `stopWorker`, `endWorker` (without
    /// draining), `restartWorker` or `restartCluster`, with its argument. Done with the slots that serve because of it.
    #[napi]
    pub fn order(&self, id: u32, verb: String, argument: Value) {
        if let Some(primary) = &self.inner {
            primary.order(id, verb, argument);
        }
    }

    /// The process got a signal that asks it to stop.
    #[napi]
    pub fn signalled(&self) {
        self.inner.iter().for_each(Primary::signalled);
    }

    /// The process is about to end in order; returns when the workers have been told.
    #[napi]
    pub fn goodbye(&self) {
        self.inner.iter().for_each(Primary::goodbye);
    }

    /// As PID 1: reaps the orphans that were dead at the last call already. Between two calls the event loop
    /// must have polled.
    #[napi]
    pub fn reap_orphans(&mut self) {
        self.reaper.look();
    }

    /// `WorkerInfo[]`.
    #[napi]
    pub fn workers(&self) -> Value {
        self.inner.as_ref().map_or(json!([]), |primary| json!(primary.memory.workers(now_ms())))
    }

    /// Joins the loop's thread; to be called once it has said `ended`.
    #[napi]
    pub fn join(&mut self) {
        if let Some(primary) = &mut self.inner {
            primary.join();
        }
    }
}

fn make(asked: Value, launching: Value, output: impl Fn(Output) + Send + 'static) -> Result<Primary> {
    let asked: Asked = parse(asked)?;
    let Launching { program, exec_argv, script, args, preload } = parse(launching)?;
    let loaded = load(&asked)?;
    if let Some(refusal) = loaded.refusal() {
        return Err(refusal);
    }
    let command = LaunchCommand { program, exec_argv, script, args, preload };
    let terminal = std::io::stdout().is_terminal();
    let setup = primary::setup(&loaded, &asked.env, command, terminal, &entropy()?)?;
    Primary::new(setup, now_ms(), output)
}
