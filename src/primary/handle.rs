//! The handle of a cluster's loop: each verb sends an input. The loop runs on a thread of its own with a
//! small tokio runtime, and ends by itself when every worker is gone.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::cluster::Cluster;
use super::inputs::{Asker, CommandRequest, Input, Output};
use super::program_messages::{Deliver, ProgramMessages, ProgramMessagesParts};
use super::setup::Setup;
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

/// How long the end of the process may wait for the shutdown notices to be written.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

impl Primary {
    /// Starts the loop. No worker is spawned yet.
    pub fn new(setup: Setup, now_ms: u64, output: impl Fn(Output) + Send + 'static) -> Result<Self> {
        let (memory, memfds) =
            SharedMemory::create(now_ms).map_err(|error| Error::system("memfd_create", &error))?;
        let log = Arc::new(start_log(&setup)?);
        let (inputs, received) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| Error::system("epoll_create", &error))?;
        let (loopback, shared, written) = (inputs.clone(), memory.clone(), log.clone());
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
        let pending_channels = endpoint.pending_channels.clone();
        let (started, start) = channel::<Result<()>>();
        let thread = std::thread::Builder::new().name("drover-primary".into()).spawn(move || {
            let cluster = runtime.block_on(async {
                Cluster::new(setup, written, shared, memfds, loopback, pending_channels, output)
            });
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
        // A loop that has ended has said so (`Output::Ended`); nothing is left to command.
        let _ = self.inputs.send(input);
    }

    /// Messages of the program whose loop this is; what comes for it is given to `deliver` there.
    ///
    /// # Errors
    /// This runtime has no event loop of libuv's.
    pub fn endpoint(&self, uv: Loop, deliver: Deliver) -> io::Result<Rc<ProgramMessages>> {
        ProgramMessages::start(uv, self.endpoint.clone(), deliver)
    }

    /// Opens an address before any worker asks for it; done with `{ group, host, port }`.
    pub fn open(&self, id: u32, address: Address, options: ListenOptions) {
        self.send(Input::Open { id, address, options });
    }

    /// Lets go of one address; the others stay open. Done when every worker has closed its server there.
    pub fn release(&self, id: u32, group: GroupId) {
        self.send(Input::Release { id, group });
    }

    /// The program's environment as it is now; asked for by `Output::AskEnvironment`, and given before each order.
    pub fn environment(&self, env: BTreeMap<String, String>) {
        self.send(Input::Environment(env));
    }

    /// Starts the workers; done when `start` is settled.
    pub fn start(&self, id: u32) {
        self.send(Input::Start { id });
    }

    /// Stops the workers; done when all are gone. `limit`: the time that they have, where it is less than the
    /// configured one.
    pub fn stop(&self, id: u32, graceful: bool, limit: Option<Duration>) {
        self.send(Input::Stop { id, graceful, limit });
    }

    /// Another number of workers, or new ones; done when they serve and those that leave are gone.
    pub fn command(&self, id: u32, command: Command) {
        self.send(Input::Command(CommandRequest { command, asker: Asker::Here(id) }));
    }

    /// What was to be command `id` is none: it is done with this error.
    pub fn invalid(&self, id: u32, error: Error) {
        self.send(Input::Invalid { id, error });
    }

    /// What the program has measured when it was asked to (`Output::Measure`): an object in JSON; None: nothing new.
    /// Either way the metrics are told now.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`: it is no object or too long, and left out.
    pub fn customised(&self, metrics: Option<String>) -> Result<()> {
        let refused = metrics.as_deref().and_then(refusal);
        self.send(Input::Customised { metrics: metrics.filter(|_| refused.is_none()) });
        refused.map_or(Ok(()), |text| Err(Error::new(Code::InvalidArgument, text)))
    }

    /// A warning of the program's side for the log.
    pub fn warn(&self, text: String) {
        self.send(Input::Dispatch(Report::notice(Level::Warn, text)));
    }

    /// A line of the program's side for the log.
    pub fn note(&self, text: String) {
        self.send(Input::Dispatch(Report::notice(Level::Info, text)));
    }

    /// The process got a signal to stop.
    pub fn signalled(&self, signal: StopSignal) {
        self.send(Input::StopSignal(signal));
    }

    /// The process is about to end in order: writes what was logged, tells the workers, and returns when that is
    /// done. What they write from then on they write themselves.
    pub fn shutdown_notice(&self) {
        self.log.finish();
        let (written, done): (Sender<()>, _) = channel();
        self.send(Input::ShutdownNotice { written });
        // Whether it was written, dropped or late: the process ends now.
        let _ = done.recv_timeout(GOODBYE_TIMEOUT);
    }

    /// Waits for the loop's end, once it has been told to stop.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.endpoint.message_policy.finish();
        self.log.finish();
    }
}

/// Why a text is not kept as custom metrics.
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
