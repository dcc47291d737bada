//! The fleet of a cluster, or of a process without one: the thread that knows the other machines, and what it reports to
//! the cache and the log. The thread is started when a process opens the fleet for the first time.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde_json::{Value, json};

use super::shared_cache::SharedCache;
use crate::cache::writer::Outside;
use crate::event::{Event, Level};
use crate::fleet::backlog::Invalidation;
use crate::fleet::hub::{Provided, Report};
use crate::fleet::request::max_frame;
use crate::fleet::service::{Joining, Service};
use crate::fleet::settings::Settings;
use crate::ipc::crypto::Pair;
use crate::ipc::message::Peer;
use crate::ipc::message_policy::MessagePolicy;
use crate::metrics::memory::SharedMemory;
use crate::metrics::view;
use crate::model::FleetStatus;
use crate::sys::local_time::now_ms;

/// Publishes an event, on any thread.
pub type Publish = Box<dyn Fn(Event) + Send>;

pub struct Fleet {
    settings: Arc<Settings>,
    cache: Arc<SharedCache>,
    provided: Arc<Mutex<Provided>>,
    status: Arc<Mutex<FleetStatus>>,
    publish: Arc<Mutex<Publish>>,
    service: Mutex<Option<Service>>,
}

/// Whoever panicked has left the value whole: it is assigned at once.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// What other machines invalidate is invalidated in `cache`.
    pub fn new(settings: Settings, cache: Arc<SharedCache>, publish: Publish) -> Self {
        Self {
            settings: Arc::new(settings),
            cache,
            provided: Arc::default(),
            status: Arc::default(),
            publish: Arc::new(Mutex::new(publish)),
            service: Mutex::default(),
        }
    }

    /// Maximum bytes of a frame of its channels.
    pub fn max_frame(&self) -> usize {
        max_frame(self.settings.max_message)
    }

    /// For as long as a cluster runs: how events are published, the rules of messages, and the memory that its figures for
    /// other machines are read from.
    pub fn lead_by(&self, publish: Publish, policy: Arc<MessagePolicy>, memory: SharedMemory) {
        *locked(&self.publish) = publish;
        let figures = Box::new(move || figures(&memory));
        *locked(&self.provided) = Provided { policy: Some(policy), figures: Some(figures) };
    }

    pub fn status(&self) -> FleetStatus {
        locked(&self.status).clone()
    }

    /// A channel to the thread for a new client, `name` in the log. `receives`: messages for all workers are for it too.
    ///
    /// # Errors
    /// No descriptors or no thread for it.
    pub fn connect(
        &self,
        name: String,
        peer: Peer,
        receives: bool,
        keys: Option<Pair>,
    ) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let mut service = locked(&self.service);
        let service = match &mut *service {
            Some(service) => service,
            none => {
                let (cache, publish) = (self.cache.clone(), self.publish.clone());
                let status = self.status.clone();
                let report = move |report| match event(report, &status) {
                    Reported::Invalidation(what) => cache.invalidate(what),
                    Reported::Event(event) => locked(&publish)(event),
                };
                let (provided, status) = (self.provided.clone(), self.status.clone());
                none.insert(Service::start(self.settings.clone(), provided, status, report)?)
            }
        };
        service.join(Joining { name, peer, receives, socket, keys });
        Ok(theirs)
    }

    /// Leaves the fleet, and waits until that is done.
    pub fn close(&self) {
        let service = locked(&self.service).take();
        drop(service);
        *locked(&self.provided) = Provided::default();
    }
}

/// The figures of a cluster that other machines show.
fn figures(memory: &SharedMemory) -> Value {
    let figures = view::figures(memory, now_ms());
    json!({
        "workers": figures.active_workers,
        "status": view::health(memory).status,
        "requestsPerSecond": figures.sample.requests_per_second,
        "p99": figures.sample.p99,
        "errorRate": figures.sample.error_rate,
        "cpuUsage": figures.sample.cpu_usage,
        "memoryUsage": figures.memory_usage,
        "activeConnections": figures.active_connections,
        "eventLoopLag": figures.event_loop_lag,
    })
}

enum Reported {
    Invalidation(Outside),
    Event(Event),
}

fn event(report: Report, status: &Mutex<FleetStatus>) -> Reported {
    Reported::Event(match report {
        Report::Invalidate(invalidation, but) => {
            return Reported::Invalidation(match invalidation {
                Invalidation::Pattern(text) => Outside::Pattern(text),
                Invalidation::Key(text) => Outside::Key(text),
                Invalidation::Tag(text) => Outside::Tag(text),
                Invalidation::Everything => Outside::All { but },
            });
        }
        Report::Available => Event::FleetAvailable { machines: locked(status).members.len() as u32 },
        Report::Unavailable(reason) => Event::FleetUnavailable { reason },
        Report::Joined(member) => Event::FleetJoined { machine: member.id, host: member.host },
        Report::Left(member) => Event::FleetLeft { machine: member.id, host: member.host },
        Report::Leads(token) => Event::FleetLeader { token: Some(token) },
        Report::LeadsNo => Event::FleetLeader { token: None },
        Report::Broken { name, reason } => {
            Event::notice(Level::Warn, format!("The fleet channel of {name} was closed: {reason}"))
        }
    })
}
