//! The thread that serves the monitoring API. It lives as long as its handle.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::diagnostics::Request;
use super::inputs::{CommandRequest, CommandSource, Input};
use super::setup::Watching;
use crate::admin::socket::Socket;
use crate::admin::{Api, Figures, Listeners, bind, serve, serve_socket};
use crate::component::Component;
use crate::config::is_loopback;
use crate::dispatch::Report;
use crate::error::{Error, Result};
use crate::event::{Event, Level, Subject};
use crate::log::Logs;
use crate::metrics::memory::SharedMemory;
use crate::observe::{ErrorGroups, EventLog, SharedHistory};
use crate::process::holder::{self, Holder};

const MIN_INTERVAL: Duration = Duration::from_secs(1);
const REPORTS: Duration = Duration::from_secs(60);

struct Monitor {
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The control socket's file, as long as it is served.
    socket: Option<Socket>,
}

/// What the API shows besides the shared memory.
type Published = (EventLog, ErrorGroups, Logs, Figures);

/// The addresses of the API.
#[derive(Default)]
struct Bound {
    port: Option<TcpListener>,
    socket: Option<UnixListener>,
}

impl Monitor {
    fn start(
        watching: &Watching,
        memory: SharedMemory,
        inputs: UnboundedSender<Input>,
        history: SharedHistory,
        (event_log, error_groups, logs, figures): Published,
        bound: Bound,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (over, ended) = oneshot::channel();
        let (metrics_interval, tell, complain) = (watching.metrics_interval, inputs.clone(), inputs.clone());
        let report = inputs.clone();
        let diagnoses = inputs.clone();
        let diagnose = move |slot, what| {
            let (answer, answered) = oneshot::channel();
            // As for a command.
            let _ = diagnoses.send(Input::Diagnose(Request { slot, what, answer }));
            answered
        };
        let commands = move |command| {
            let (answer, answered) = oneshot::channel();
            let request = CommandRequest { command, source: CommandSource::Api(answer) };
            // A loop that has ended drops the sender: the client is told that the cluster has stopped.
            let _ = inputs.send(Input::Command(request));
            answered
        };
        let api = Arc::new(Api {
            memory,
            history,
            event_log,
            listeners: Listeners::default(),
            error_groups,
            logs,
            figures,
            commands: Box::new(commands),
            diagnose: Box::new(diagnose),
            token: watching.token.clone(),
            host: watching.host.clone(),
            is_local: is_loopback(&watching.host),
            exports: watching.exports,
            dashboard: watching.dashboard,
        });
        let thread = std::thread::Builder::new().name("drover-monitor".into()).spawn(move || {
            runtime.block_on(async move {
                let tells = async {
                    let mut ticks = interval(metrics_interval.max(MIN_INTERVAL));
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    ticks.tick().await;
                    loop {
                        ticks.tick().await;
                        let (done, is_done) = oneshot::channel();
                        let _ = tell.send(Input::Measured(done));
                        // Waiting until the sender is dropped prevents a backlog of these inputs if publishing takes
                        // longer than a tick.
                        let _ = is_done.await;
                    }
                };
                let reports = async {
                    let mut ticks = interval(REPORTS);
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    ticks.tick().await;
                    loop {
                        ticks.tick().await;
                        let _ = report.send(Input::Reported);
                    }
                };
                let over = |place: &str, served: io::Result<()>| {
                    if let Err(error) = served {
                        let text = format!("The monitoring API is not served on its {place}: {error}");
                        let _ = complain.send(Input::Dispatch(Report::notice(Level::Error, text)));
                    }
                };
                let port = async {
                    if let Some(bound) = bound.port {
                        over("port", serve(bound, api.clone()).await);
                    }
                };
                let socket = async {
                    if let Some(bound) = bound.socket {
                        over("socket", serve_socket(bound, api.clone()).await);
                    }
                };
                let answers = async {
                    tokio::join!(port, socket);
                    // The reports continue without it.
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    _ = ended => {}
                    () = tells => {}
                    () = reports => {}
                    () = answers => {}
                }
            });
        })?;
        Ok(Self { over: Some(over), thread: Some(thread), socket: None })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.over.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Monitoring from the start of the cluster on, and the API's addresses.
pub(super) struct Monitoring {
    /// None: nothing is monitored.
    watching: Option<Watching>,
    /// A bound port of the API that is not served yet.
    claimed: Option<TcpListener>,
    monitor: Option<Monitor>,
    history: Option<SharedHistory>,
}

impl Monitoring {
    pub fn new(watching: Option<Watching>) -> Self {
        let history = watching.as_ref().map(|watching| SharedHistory::new(watching.retention.as_secs()));
        Self { watching, claimed: None, monitor: None, history }
    }

    /// The history that the API shows, for the sampler.
    pub fn history(&self) -> Option<SharedHistory> {
        self.history.clone()
    }

    /// Whether the program provides custom metrics, which are requested before metrics are published.
    pub fn asks_program(&self) -> bool {
        self.watching.as_ref().is_some_and(|watching| watching.has_custom_metrics)
    }

    /// Binds a configured port before anything is started; there is no alternative to it.
    ///
    /// # Errors
    /// It cannot be bound.
    pub fn claim_named_port(&mut self) -> Result<()> {
        if let Some(Watching { host, port: Some(port), named: true, .. }) = &self.watching {
            let bound = bind(host, *port, false).map_err(|error| {
                Error::system("listen", &error)
                    .and("option", "monitoring.port".into())
                    .and("address", format!("{host}:{port}").into())
            })?;
            self.claimed = Some(bound);
        }
        Ok(())
    }

    /// Starts monitoring; returns the log lines.
    pub fn start(
        &mut self,
        memory: SharedMemory,
        inputs: UnboundedSender<Input>,
        published: Published,
    ) -> Vec<Event> {
        let (Some(watching), Some(history), None) = (&self.watching, self.history(), &self.monitor) else {
            return Vec::new();
        };
        let mut events = Vec::new();
        let port = self.claimed.take().or_else(|| find_port(watching, &mut events));
        let address = port.as_ref().and_then(|bound| bound.local_addr().ok());
        let (socket, listener) = open_socket(watching, &mut events).unzip();
        let places = [
            address.map(|address| format!("http://{address}")),
            socket.as_ref().map(|socket: &Socket| socket.path.display().to_string()),
        ];
        let bound = Bound { port, socket: listener };
        match Monitor::start(watching, memory, inputs, history, published, bound) {
            Ok(mut monitor) => {
                monitor.socket = socket;
                self.monitor = Some(monitor);
            }
            Err(error) => {
                events.push(notice(Level::Warn, format!("Monitoring could not be started: {error}")));
                return events;
            }
        }
        events.extend(places_of(watching, address.map(|address| address.port()), places));
        events
    }

    /// Removes the control socket.
    pub fn close_socket(&mut self) {
        if let Some(monitor) = &mut self.monitor {
            monitor.socket.take();
        }
    }
}

fn notice(level: Level, text: String) -> Event {
    Event::about(Component::Monitoring, level, text)
}

fn find_port(watching: &Watching, events: &mut Vec<Event>) -> Option<TcpListener> {
    let port = watching.port?;
    let bound = bind(&watching.host, port, true).map_err(|error| {
        let text = format!("The monitoring API has no port at {}:{port}: {error}", watching.host);
        events.push(notice(Level::Warn, text));
    });
    bound.ok()
}

fn open_socket(watching: &Watching, events: &mut Vec<Event>) -> Option<(Socket, UnixListener)> {
    let opened = Socket::open(&watching.runtime_directory).map_err(|error| {
        events.push(notice(Level::Warn, format!("The monitoring API has no control socket: {error}")));
    });
    opened.ok()
}

/// The addresses of the API, for the log.
fn places_of(watching: &Watching, bound: Option<u16>, places: [Option<String>; 2]) -> Vec<Event> {
    let mut events = Vec::new();
    if let (Some(port), Some(bound)) = (watching.port, bound)
        && port != 0
        && port != bound
    {
        let by = match holder::of_port(port) {
            Some(holder) if holder.pid == std::process::id() => " by this program itself".to_owned(),
            Some(Holder { pid, name }) => format!(" by process {pid} ({name})"),
            None => String::new(),
        };
        let text = format!("Port {port} is taken{by}: the monitoring API is on the next free one");
        events.push(notice(Level::Info, text));
    }
    let [url, socket] = places;
    let places: Vec<&str> = [&url, &socket].into_iter().flatten().map(String::as_str).collect();
    if !places.is_empty() {
        let text = format!("Monitoring API on {}", places.join(" and "));
        events.push(notice(Level::Info, text).with(Subject::MonitoringListening { url, socket }));
    }
    events
}
