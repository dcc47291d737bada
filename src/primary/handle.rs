//! The handle of a cluster's loop: each verb sends an input. The loop runs on a separate thread with a small tokio
//! runtime, and ends when every worker has ended.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::cluster::{self, Cluster};
use super::fleet::Fleet;
use super::inputs::{CommandRequest, CommandSource, Input, Output};
use super::program_messages::{Deliver, ProgramMessages, ProgramMessagesParts};
use super::setup::Setup;
use super::shared_cache::SharedCache;
use super::workers::PendingChannels;
use crate::dispatch::Report;
use crate::error::{Code, Error, Result};
use crate::event::Level;
use crate::ipc::control::{Address, GroupId, ListenOptions, StopSignal};
use crate::ipc::endpoint::Limits;
use crate::log::Log;
use crate::metrics::layout::CUSTOM_CELLS;
use crate::metrics::memory::{MetricStore, SharedMemory};
use crate::model::Command;
use crate::sys::uv::Loop;

pub struct Primary {
    inputs: UnboundedSender<Input>,
    pub memory: SharedMemory,
    endpoint: ProgramMessagesParts,
    log: Arc<Log>,
    thread: Option<JoinHandle<()>>,
}

/// How long the end of the process waits for the shutdown notices to be written.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

impl Primary {
    /// Starts the loop. No worker is spawned yet.
    pub fn new(
        setup: Setup,
        cache: Arc<SharedCache>,
        fleet: Option<Arc<Fleet>>,
        now_ms: u64,
        output: impl Fn(Output) + Send + 'static,
    ) -> Result<Self> {
        let (memory, memfds) =
            SharedMemory::create(now_ms).map_err(|error| Error::system("memfd_create", &error))?;
        let log = Arc::new(start_log(&setup)?);
        let (inputs, received) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| Error::system("epoll_create", &error))?;
        let loopback = inputs.clone();
        let messages = setup.worker.config.messages;
        let endpoint = ProgramMessagesParts {
            limits: Limits {
                timeout: Duration::from_millis(messages.timeout_ms),
                max_message: messages.most,
                max_pending: messages.max_pending,
            },
            pending_channels: PendingChannels::default(),
            message_policy: setup.message_policy.clone(),
            inputs: inputs.clone(),
            metric_store: setup.worker.config.measured.then(|| MetricStore::of_primary(&memory)),
        };
        let says = inputs.clone();
        cache.say_with(Box::new(move |level, text| {
            // When the loop has ended nobody uses the cache.
            let _ = says.send(Input::Dispatch(Report::notice(level, text)));
        }));
        if let Some(fleet) = &fleet {
            let (says, memory) = (inputs.clone(), memory.clone());
            let publish = move |event| drop(says.send(Input::Publish(event)));
            fleet.lead_by(Box::new(publish), setup.message_policy.clone(), memory);
        }
        let shared = cluster::Shared {
            log: log.clone(),
            memory: memory.clone(),
            memfds,
            pending_channels: endpoint.pending_channels.clone(),
            cache,
            fleet,
        };
        let (started, start) = channel::<Result<()>>();
        let thread = std::thread::Builder::new().name("drover-primary".into()).spawn(move || {
            let cluster = runtime.block_on(async { Cluster::new(setup, shared, loopback, output) });
            let mut cluster = match cluster {
                Ok(cluster) => cluster,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let _ = started.send(Ok(()));
            runtime.block_on(cluster.run(received));
        });
        let thread = thread.map_err(|error| Error::new(Code::ResourceExhausted, error.to_string()))?;
        match start.recv() {
            Ok(Ok(())) => Ok(Self { inputs, memory, endpoint, log, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::new(Code::ResourceExhausted, "the primary's loop did not start")),
        }
    }

    fn send(&self, input: Input) {
        // A loop that has ended has reported it (`Output::Ended`); there is nothing to command.
        let _ = self.inputs.send(input);
    }

    /// The message endpoint of the program on this event loop; received messages are passed to `deliver` there.
    ///
    /// # Errors
    /// This runtime has no event loop of libuv's.
    pub fn endpoint(&self, uv: Loop, deliver: Deliver) -> io::Result<Rc<ProgramMessages>> {
        ProgramMessages::start(uv, self.endpoint.clone(), deliver)
    }

    /// Opens an address before any worker requests it; the result is `{ group, host, port }`.
    pub fn open(&self, id: u32, address: Address, options: ListenOptions) {
        self.send(Input::Open { id, address, options });
    }

    /// Closes one address; the others stay open. Done when every worker has closed its server there.
    pub fn release(&self, id: u32, group: GroupId) {
        self.send(Input::Release { id, group });
    }

    /// Passes the program's current environment; requested by `Output::AskEnvironment`, and passed before each command.
    pub fn environment(&self, env: BTreeMap<String, String>) {
        self.send(Input::Environment(env));
    }

    /// Starts the workers; done when `start` is settled.
    pub fn start(&self, id: u32) {
        self.send(Input::Start { id });
    }

    /// Stops the workers; done when all have ended. `limit`: their time, if it is shorter than the configured one.
    pub fn stop(&self, id: u32, graceful: bool, limit: Option<Duration>) {
        self.send(Input::Stop { id, graceful, limit });
    }

    /// A scale or a roll; done when the new workers serve and the old ones have ended.
    pub fn command(&self, id: u32, command: Command) {
        self.send(Input::Command(CommandRequest { command, source: CommandSource::Here(id) }));
    }

    /// Command `id` is invalid: its result is this error.
    pub fn invalid(&self, id: u32, error: Error) {
        self.send(Input::Settled { id, result: Err(error) });
    }

    /// Passes the program's custom metrics, requested by `Output::Measure`: a JSON object; None: nothing new. In both
    /// cases the metrics are published now.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`: it is not an object or too long, and is dropped.
    pub fn customised(&self, metrics: Option<String>) -> Result<()> {
        let refused = metrics.as_deref().and_then(refusal);
        self.send(Input::Customised { metrics: metrics.filter(|_| refused.is_none()) });
        refused.map_or(Ok(()), |text| Err(Error::new(Code::InvalidArgument, text)))
    }

    /// Logs a warning of the JavaScript side.
    pub fn warn(&self, text: String) {
        self.send(Input::Dispatch(Report::notice(Level::Warn, text)));
    }

    /// Logs a line of the JavaScript side.
    pub fn note(&self, text: String) {
        self.send(Input::Dispatch(Report::notice(Level::Info, text)));
    }

    /// The process got a stop signal.
    pub fn signalled(&self, signal: StopSignal) {
        self.send(Input::StopSignal(signal));
    }

    /// The process is about to exit normally: writes pending log lines, notifies the workers, and returns when that is
    /// done. From then on workers write their output themselves.
    pub fn shutdown_notice(&self) {
        self.log.finish();
        let (written, done): (Sender<()>, _) = channel();
        self.send(Input::ShutdownNotice { written });
        // Written, dropped or late: the process ends now.
        let _ = done.recv_timeout(GOODBYE_TIMEOUT);
    }

    /// Waits for the end of the loop, after it was told to stop.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.endpoint.message_policy.finish();
        self.log.finish();
    }
}

/// Why a text is not accepted as custom metrics.
fn refusal(metrics: &str) -> Option<String> {
    let most = CUSTOM_CELLS * 8;
    if metrics.len() > most {
        return Some(format!("found {} bytes of JSON, allowed: at most {most}", metrics.len()));
    }
    match serde_json::from_str::<Value>(metrics) {
        Ok(Value::Object(_)) => None,
        Ok(other) => Some(format!("found {other}, allowed: an object")),
        Err(error) => Some(format!("found no JSON ({error}), allowed: an object")),
    }
}

fn start_log(setup: &Setup) -> Result<Log> {
    Log::start(setup.log.clone()).map_err(|error| {
        let mut failure = Error::system("open", &error);
        let Some(file) = &setup.log.file else { return failure };
        let path = file.path.to_string_lossy();
        failure.message = format!("logging.file: {path} cannot be written: {error}");
        failure.and("path", path.into()).and("option", "logging.file".into())
    })
}
