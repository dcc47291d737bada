//! The thread that looks at the cluster once a second and answers the monitoring API. It lives as long as its handle.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::news::{Asker, Input, Order, Output};
use super::run::Cluster;
use super::sampler::Sampler;
use super::setup::Watching;
use crate::admin::{Api, Feed, Listeners, Past, Troubles, bind, serve};
use crate::dispatch::Report;
use crate::error::{Error, Result};
use crate::event::{Event, Level};
use crate::metrics::memory::{SharedMemory, Text};
use crate::metrics::view;
use crate::sys::local_time::now_ms;

const EVERY: Duration = Duration::from_secs(1);

pub(super) struct Monitor {
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// `bound`: where the API is served, if it is.
    fn start(
        watching: &Watching,
        memory: SharedMemory,
        inputs: UnboundedSender<Input>,
        (feed, troubles): (Feed, Troubles),
        bound: Option<TcpListener>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (over, ended) = oneshot::channel();
        let past = Past::new(watching.retention.as_secs());
        let mut sampler = Sampler::new(memory.clone(), past.clone());
        let (told_every, tell, complain) = (watching.told_every, inputs.clone(), inputs.clone());
        let orders = move |verb: &str, argument| {
            let (answer, answered) = oneshot::channel();
            let order = Order { verb: verb.to_owned(), argument, asker: Asker::Api(answer) };
            // A loop that has ended drops the answer: that is told as the cluster's end.
            let _ = inputs.send(Input::Order(order));
            answered
        };
        let api = Api {
            memory,
            history: past,
            feed,
            listeners: Listeners::default(),
            troubles,
            orders: Box::new(orders),
            token: watching.token.clone(),
            host: watching.host.clone(),
            exports: watching.exports,
        };
        let thread = std::thread::Builder::new().name("drover-monitor".into()).spawn(move || {
            runtime.block_on(async move {
                let looks = async {
                    let mut ticks = interval(EVERY);
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    loop {
                        ticks.tick().await;
                        sampler.look(now_ms());
                    }
                };
                let tells = async {
                    let mut ticks = interval(told_every.max(EVERY));
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    ticks.tick().await;
                    loop {
                        ticks.tick().await;
                        let _ = tell.send(Input::Measured);
                    }
                };
                let answers = async {
                    if let Some(bound) = bound
                        && let Err(error) = serve(bound, Arc::new(api)).await
                    {
                        let text = format!("The monitoring API is not served: {error}");
                        let _ = complain.send(Input::Dispatch(Report::Notice(Level::Error, text)));
                    }
                    // Looking goes on without it.
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    _ = ended => {}
                    () = looks => {}
                    () = tells => {}
                    () = answers => {}
                }
            });
        })?;
        Ok(Self { over: Some(over), thread: Some(thread) })
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

impl Cluster {
    /// A port that the user named is the API's or nobody's: it is taken before anything is started.
    ///
    /// # Errors
    /// It cannot be bound.
    pub(super) fn claim_named_port(&mut self) -> Result<()> {
        match &self.setup.watching {
            Some(Watching { host, port: Some(port), named: true, .. }) => {
                let bound = bind(host, *port, false).map_err(|error| {
                    Error::system("listen", &error)
                        .and("option", "monitoring.port".into())
                        .and("address", format!("{host}:{port}").into())
                })?;
                self.claimed = Some(bound);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// From now on the cluster is looked at.
    pub(super) fn watch(&mut self) {
        let Some(watching) = self.setup.watching.clone().filter(|_| self.monitor.is_none()) else { return };
        let bound = self.claimed.take().or_else(|| self.find_port(&watching));
        let address = bound.as_ref().and_then(|bound| bound.local_addr().ok());
        let told = (self.told.feed.clone(), self.told.troubles.clone());
        match Monitor::start(&watching, self.memory.clone(), self.inputs.clone(), told, bound) {
            Ok(monitor) => self.monitor = Some(monitor),
            Err(error) => {
                return self.emit(Event::notice(Level::Warn, format!("Nothing is monitored: {error}")));
            }
        }
        if let Some(address) = address {
            self.say_where(&watching, address);
        }
    }

    /// It is time to tell the metrics; the program's own come first.
    pub(super) fn measured(&mut self) {
        if self.setup.watching.as_ref().is_some_and(|watching| watching.asks) {
            return self.put_out(Output::Measure);
        }
        self.tell_metrics();
    }

    pub(super) fn customised(&mut self, metrics: Option<String>) {
        if let Some(metrics) = metrics {
            // Its length was looked at when it was given.
            self.memory.write(Text::Custom, metrics.as_bytes());
        }
        self.tell_metrics();
    }

    fn tell_metrics(&mut self) {
        self.emit(Event::MetricsUpdated { metrics: view::metrics(&self.memory, now_ms()) });
    }

    fn find_port(&mut self, watching: &Watching) -> Option<TcpListener> {
        let port = watching.port?;
        match bind(&watching.host, port, true) {
            Ok(bound) => Some(bound),
            Err(error) => {
                let text = format!("The monitoring API has no port at {}:{port}: {error}", watching.host);
                self.emit(Event::notice(Level::Warn, text));
                None
            }
        }
    }

    fn say_where(&mut self, watching: &Watching, address: SocketAddr) {
        if let Some(port) = watching.port.filter(|port| *port != 0 && *port != address.port()) {
            let text = format!("Port {port} is taken: the monitoring API is on the next free one");
            self.emit(Event::notice(Level::Warn, text));
        }
        self.emit(Event::notice(Level::Info, format!("Monitoring API on http://{address}")));
    }
}
