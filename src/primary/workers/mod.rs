//! The current workers: spawning them, communicating with them, ending them. A start waits for the program's
//! environment (`pending_starts`); the program's thread takes over a worker's program channel (`pending_channels`).

mod control_channel;
mod pending_channels;
mod pending_starts;
mod ticket_rotation;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::sync::mpsc::UnboundedSender;

use super::fleet::Fleet;
use super::inputs::Input;
use super::report;
use super::setup::WorkerSetup;
use super::shared_cache::SharedCache;
use crate::dispatch::{Dispatcher, Report};
use crate::error::{Code, Error, Result};
use crate::event::Level;
use crate::ipc::channel::{Receiver, Sender};
use crate::ipc::control::{Admission, Service, ToWorker, encode};
use crate::ipc::crypto::Pair;
use crate::ipc::frame::Kind;
use crate::ipc::message::{BESIDE, Message, Peer};
use crate::log::{Followed, Log, Pipes, Source};
use crate::metrics::layout::PAGES_A_SLOT;
use crate::metrics::memory::{Memfds, SharedMemory};
use crate::model::WorkerId;
use crate::process::launch::Launch;
use crate::process::scheduling::Scheduling;
use crate::process::spawner::{self, Inherited, Spawned, not_spawned, not_started};
use crate::process::worker_groups::{Controller, GroupLimits, Leaf, WorkerGroups};
use control_channel::{ControlChannel, Ends};
use pending_starts::Starts;
use ticket_rotation::Tickets;

pub use pending_channels::{PendingChannel, PendingChannels};
pub use pending_starts::Start;

/// The primary's channel ends of a worker that is being spawned.
struct Spawning {
    control: Ends,
    /// The read ends of its standard output and standard error.
    output: Option<(OwnedFd, OwnedFd)>,
    /// Marks the report of an uncaught error in its output.
    report_mark: String,
    /// That it gets before its program starts.
    scheduling: Scheduling,
}

/// The control groups of the workers, and the hard limits that they enforce.
pub struct Grouping {
    pub groups: WorkerGroups,
    pub limits: GroupLimits,
}

/// Shared by all workers.
pub struct Shared {
    pub memory: SharedMemory,
    pub memfds: Memfds,
    pub dispatcher: Arc<Dispatcher>,
    pub log: Arc<Log>,
    /// Gets the workers' program channels.
    pub pending_channels: PendingChannels,
    pub cache: Arc<SharedCache>,
    /// None: there is no `redis` in the configuration.
    pub fleet: Option<Arc<Fleet>>,
    /// Receives their inputs.
    pub inputs: UnboundedSender<Input>,
}

pub struct Workers {
    setup: WorkerSetup,
    grouping: Grouping,
    /// The control groups of each, if it has some.
    leaves: HashMap<WorkerId, Leaf>,
    shared: Shared,
    tickets: Tickets,
    starts: Starts,
    spawning: HashMap<WorkerId, Spawning>,
    controls: HashMap<WorkerId, ControlChannel>,
    /// The keys of the channels to services that were not opened; None: they are not encrypted.
    service_keys: HashMap<(WorkerId, Service), Option<Pair>>,
    /// Start time of each, milliseconds since 1970.
    started: HashMap<WorkerId, u64>,
    /// The program's environment with which each was started.
    environments: HashMap<WorkerId, Arc<BTreeMap<String, String>>>,
}

fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, kind, flags, None).map_err(Into::into)
}

impl Workers {
    /// # Errors
    /// No memory for the keys of TLS tickets, or no random bytes.
    pub fn new(setup: WorkerSetup, grouping: Grouping, shared: Shared) -> Result<Self> {
        let tickets =
            Tickets::new(Duration::ZERO).map_err(|error| Error::system("memory for TLS tickets", &error))?;
        Ok(Self {
            setup,
            grouping,
            leaves: HashMap::new(),
            shared,
            tickets,
            starts: Starts::default(),
            spawning: HashMap::new(),
            controls: HashMap::new(),
            service_keys: HashMap::new(),
            started: HashMap::new(),
            environments: HashMap::new(),
        })
    }

    /// Starts a worker, once the program's environment is known.
    pub fn start(&mut self, worker: WorkerId, now: Duration) -> Start {
        self.starts.add(worker, now)
    }

    /// Sets the program's current environment; returns the workers that can be started with it.
    pub fn set_environment(&mut self, env: BTreeMap<String, String>) -> Vec<WorkerId> {
        self.setup.launch.env = Arc::new(env);
        self.starts.answered()
    }

    /// When `look` has something to do.
    pub fn due(&self) -> Option<Duration> {
        self.starts.due().into_iter().chain([self.tickets.due()]).min()
    }

    /// The workers to start with the last known environment, because the program does not respond.
    pub fn look(&mut self, now: Duration) -> Vec<WorkerId> {
        if self.starts.due().is_some_and(|due| due <= now) { self.starts.expire() } else { Vec::new() }
    }

    /// Changes the keys of TLS tickets if that is due.
    ///
    /// # Errors
    /// The keys are unchanged, and the change is retried later.
    pub fn rotate_tickets(&mut self, now: Duration) -> io::Result<()> {
        if self.tickets.due() > now {
            return Ok(());
        }
        // Without a new due time the loop would retry endlessly.
        self.tickets.rotate(now).inspect_err(|_| self.tickets.put_off(now))
    }

    /// Creates the channels of a worker, writes its hello, registers it with dispatch and requests its process.
    ///
    /// # Errors
    /// No file descriptors left; nothing was started.
    pub fn spawn(&mut self, worker: WorkerId) -> Result<()> {
        self.kill_eldest(worker);
        let Self { setup, shared, tickets, .. } = self;
        let failed = |error: io::Error| not_started("socketpair", &error);
        let (control, theirs) = pair(SocketType::STREAM).map_err(failed)?;
        let (connections, far_end) = pair(SocketType::SEQPACKET).map_err(failed)?;
        let (program, far_program) = pair(SocketType::STREAM).map_err(failed)?;
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(failed);
        let mut inherited = vec![theirs, copy(&far_end)?, far_program];
        inherited.extend(shared.memfds.share().map_err(failed)?);
        let (output, streams) = if setup.captured {
            let Pipes { stdout, stderr } = Pipes::new().map_err(|error| not_started("pipe", &error))?;
            // A worker that outlives its primary reads its own pipes and writes to the primary's streams.
            let own = |stream: BorrowedFd<'_>| stream.try_clone_to_owned().map_err(failed);
            inherited.extend([copy(&stdout.0)?, copy(&stderr.0)?]);
            inherited.extend([own(io::stdout().as_fd())?, own(io::stderr().as_fd())?]);
            (Some((stdout.0, stderr.0)), Some((stdout.1, stderr.1)))
        } else {
            (None, None)
        };
        let hello = setup.hello(worker).map_err(failed)?;
        let report_mark = hello.report_mark.clone();
        let payload = encode(&ToWorker::Hello(Box::new(hello)));
        let mut control = Ends { socket: control, sender: Sender::default(), receiver: Receiver::default() };
        let tickets = tickets.share().map_err(failed)?;
        control.sender.push(Kind::Control, 0, payload, Some(tickets)).map_err(failed)?;
        control.receiver.allow(setup.config.messages.most + BESIDE);
        let keys = setup.keys(worker).map_err(failed)?;
        if let Some(keys) = &keys {
            control.sender.push(Kind::Keys, 0, keys.write(), None).map_err(failed)?;
            control.sender.seal_with(&keys.control.to_worker).map_err(failed)?;
            control.receiver.open_with(&keys.control.to_primary).map_err(failed)?;
        }
        match control.sender.flush(control.socket.as_fd()) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(failed(error)),
            // The rest is written when the worker reads.
            Ok(()) | Err(_) => {}
        }
        let (program_keys, service_keys) = keys.map(|keys| (keys.program, (keys.cache, keys.fleet))).unzip();
        let (cache_keys, fleet_keys) = service_keys.unzip();
        let pending_channel = PendingChannel { socket: program, keys: program_keys };
        shared.pending_channels.add(worker, pending_channel);
        shared.dispatcher.join(worker, connections, far_end, shared.memory.page(worker));
        self.service_keys.insert((worker, Service::Cache), cache_keys);
        self.service_keys.insert((worker, Service::Fleet), fleet_keys);
        let groups = self.join_groups(worker);
        let Self { setup, shared, .. } = self;
        let (launch, inputs) = (setup.launch.clone(), shared.inputs.clone());
        let scheduling = launch.scheduling;
        self.spawning.insert(worker, Spawning { control, output, report_mark, scheduling });
        self.environments.insert(worker, launch.env.clone());
        spawner::spawn(
            launch,
            worker.slot,
            Inherited { channels: inherited, streams, groups },
            move |result| {
                // If the loop has ended, the worker is not needed: the parent-death signal ends it.
                let _ = inputs.send(Input::Spawned { worker, result });
            },
        );
        Ok(())
    }

    /// Makes the worker's control groups; returns the descriptors through which it joins.
    fn join_groups(&mut self, worker: WorkerId) -> Vec<OwnedFd> {
        let Grouping { groups, limits } = &self.grouping;
        let made = groups.leaf(worker, limits).and_then(|leaf| Ok((leaf.entries()?, leaf)));
        match made {
            Ok((entries, leaf)) => {
                if !entries.is_empty() {
                    self.leaves.insert(worker, leaf);
                }
                entries
            }
            Err(error) => {
                self.say_not_limited(worker, &error.to_string());
                Vec::new()
            }
        }
    }

    fn say_not_limited(&self, worker: WorkerId, reason: &str) {
        let text =
            format!("The kernel does not limit worker {worker}: its control group was refused ({reason})");
        let _ = self.shared.inputs.send(Input::Dispatch(Report::notice(Level::Warn, text)));
    }

    /// The kernel does not take a limit for a worker that runs.
    fn say_limit_refused(&self, worker: WorkerId, controller: Controller, reason: &io::Error) {
        let instead = match controller {
            Controller::Memory => "the worker's memory is watched four times a second instead",
            Controller::Cpu | Controller::Pids => "the former one stays",
        };
        let what = controller.what();
        let text = format!("The kernel refused the limit of worker {worker}'s {what} ({reason}): {instead}");
        let _ = self.shared.inputs.send(Input::Dispatch(Report::notice(Level::Warn, text)));
    }

    /// Whether the kernel enforces the worker's limit of memory.
    pub fn is_limited_by_kernel(&self, worker: WorkerId) -> bool {
        self.leaves.get(&worker).is_some_and(|leaf| leaf.enforces(Controller::Memory))
    }

    /// How many processes of the worker's group the OOM killer has ended; None: it has no group that counts.
    pub fn oom_kills(&self, worker: WorkerId) -> Option<u64> {
        self.leaves.get(&worker).and_then(Leaf::oom_kills)
    }

    /// The same of each worker that has such a group.
    pub fn all_oom_kills(&self) -> impl Iterator<Item = (WorkerId, u64)> {
        self.leaves.keys().filter_map(|worker| Some((*worker, self.oom_kills(*worker)?)))
    }

    /// How workers that are started from now on are launched.
    pub fn launch(&mut self) -> &mut Launch {
        &mut self.setup.launch
    }

    /// Workers that are started from now on have this configuration; the limits of groups that exist change at once.
    /// Returns what the kernel cannot enforce.
    pub fn configure(&mut self, config: serde_json::Value, limits: GroupLimits) -> Vec<(Controller, String)> {
        self.setup.config.config = config;
        let lacks = self.grouping.groups.find(&limits);
        self.grouping.limits = limits;
        let leaves = self.leaves.iter_mut();
        let refused: Vec<_> = leaves.map(|(worker, leaf)| (*worker, leaf.limit(&limits))).collect();
        for (worker, refused) in refused {
            for (controller, error) in refused {
                self.say_limit_refused(worker, controller, &error);
            }
        }
        let running: Vec<(WorkerId, u32)> =
            self.controls.iter().filter_map(|(worker, control)| Some((*worker, control.pid()?))).collect();
        running.into_iter().for_each(|(worker, pid)| self.extend_leaf(worker, pid));
        lacks
    }

    /// Gives a worker that runs the limits of kinds that its groups lack.
    fn extend_leaf(&mut self, worker: WorkerId, pid: u32) {
        let Grouping { groups, limits } = &self.grouping;
        let leaf = self.leaves.entry(worker).or_default();
        if let Err(error) = groups.extend(leaf, worker, pid, limits) {
            self.say_not_limited(worker, &error.to_string());
        }
    }

    /// Schedules those that run like those to come, as far as the kernel allows.
    pub fn schedule(&mut self, scheduling: Scheduling) {
        let before = std::mem::replace(&mut self.setup.launch.scheduling, scheduling);
        for (worker, control) in &self.controls {
            if let Some(pid) = control.pid() {
                self.reschedule(*worker, pid, before);
            }
        }
    }

    /// Gives a worker that has `before` the present scheduling.
    fn reschedule(&self, worker: WorkerId, pid: u32, before: Scheduling) {
        let scheduling = self.setup.launch.scheduling;
        for refusal in scheduling.apply(before, worker.slot, pid) {
            self.say_refused(report::not_scheduled(scheduling, &refusal));
        }
    }

    /// Logs it once in the life of the cluster.
    fn say_refused(&self, text: String) {
        let _ = self.shared.inputs.send(Input::Refused { error: Error::new(Code::System, text) });
    }

    /// Settings of adaptive admission from now on, for those that run and for those to come.
    pub fn set_admission(&mut self, settings: Option<Admission>) {
        // A debugger may stop the workers, which is no overload.
        let settings = settings.filter(|_| !self.setup.launch.is_inspected());
        self.setup.config.admission.clone_from(&settings);
        let message = ToWorker::Admission { settings };
        for Spawning { control, .. } in self.spawning.values_mut() {
            // Without its channel the worker will not start, which is reported then. It is flushed when it is connected.
            let _ = control.sender.push(Kind::Control, 0, encode(&message), None);
        }
        self.send_all(&message);
    }

    /// Kills the oldest of four workers of a slot.
    fn kill_eldest(&self, worker: WorkerId) {
        if let Some(generation) = worker.generation.checked_sub(PAGES_A_SLOT as u32) {
            self.end(WorkerId { generation, ..worker }, true);
        }
    }

    /// Handles the result of the spawn: connects the worker's channel to the loop, and its output to the log.
    ///
    /// # Errors
    /// There is no worker: why.
    pub fn spawned(&mut self, worker: WorkerId, result: io::Result<Spawned>, now_ms: u64) -> Result<u32> {
        match result.and_then(|spawned| self.connect(worker, spawned)) {
            Ok(pid) => {
                self.started.insert(worker, now_ms);
                Ok(pid)
            }
            Err(error) => {
                self.spawning.remove(&worker);
                self.environments.remove(&worker);
                self.leaves.remove(&worker);
                self.shared.pending_channels.take(worker);
                self.forget_services(worker);
                Err(not_spawned(&self.setup.launch, &error))
            }
        }
    }

    fn connect(&mut self, worker: WorkerId, spawned: Spawned) -> io::Result<u32> {
        let Some(Spawning { control, output, report_mark, scheduling }) = self.spawning.remove(&worker)
        else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let Spawned { pid, pidfd } = spawned;
        if self.leaves.get(&worker).is_some_and(|leaf| !leaf.contains(pid)) {
            self.leaves.remove(&worker);
            self.say_not_limited(worker, "it could not join");
        }
        if scheduling.was_refused(pid) {
            self.say_refused(report::no_high_priority());
        }
        // It may have changed since the worker was spawned.
        self.reschedule(worker, pid, scheduling);
        if let Some((stdout, stderr)) = output {
            let source = |is_error| Source { slot: worker.slot, pid, is_error };
            let log = &self.shared.log;
            log.follow(Followed { source: source(false), stream: stdout, report_mark: String::new() });
            log.follow(Followed { source: source(true), stream: stderr, report_mark });
        }
        let control = ControlChannel::start(worker, pid, pidfd, control, self.shared.inputs.clone())?;
        self.controls.insert(worker, control);
        // The limits may have changed while it was spawned.
        self.extend_leaf(worker, pid);
        Ok(pid)
    }

    /// 0: not yet.
    pub fn start_of(&self, worker: WorkerId) -> u64 {
        self.started.get(&worker).copied().unwrap_or(0)
    }

    pub fn environment(&self, worker: WorkerId) -> Option<&BTreeMap<String, String>> {
        self.environments.get(&worker).map(Arc::as_ref)
    }

    /// Whether the worker's channel is open.
    pub fn is_connected(&self, worker: WorkerId) -> bool {
        self.controls.contains_key(&worker)
    }

    /// Sends a message; ignored if the worker has ended.
    pub fn send(&self, worker: WorkerId, message: ToWorker) {
        self.answer(worker, message, 0, None);
    }

    pub fn send_all(&self, message: &ToWorker) {
        self.controls.values().for_each(|control| control.answer(message.clone(), 0, None));
    }

    /// Sends a reply. `question`: the id of the worker's request; 0: there is none. Ignored if the worker has ended.
    pub fn answer(&self, worker: WorkerId, message: ToWorker, question: u32, descriptor: Option<OwnedFd>) {
        if let Some(control) = self.controls.get(&worker) {
            control.answer(message, question, descriptor);
        }
    }

    /// Opens a channel to a service for a worker, once in its life.
    pub fn open(&mut self, worker: WorkerId, service: Service, question: u32) {
        let name = format!("worker {worker}");
        let opened = match (self.service_keys.remove(&(worker, service)), service) {
            (Some(keys), Service::Cache) => self.shared.cache.connect(name, keys),
            (Some(keys), Service::Fleet) => match &self.shared.fleet {
                Some(fleet) => fleet.connect(name, worker.into(), true, keys),
                None => Err(io::Error::other("there is no redis in the configuration")),
            },
            (None, _) => Err(io::Error::other("the worker has opened it already")),
        };
        let (refusal, channel) = match opened {
            Ok(channel) => (None, Some(channel)),
            Err(error) => (Some(error.to_string()), None),
        };
        self.answer(worker, ToWorker::Opened { refusal }, question, channel);
    }

    fn forget_services(&mut self, worker: WorkerId) {
        for service in [Service::Cache, Service::Fleet] {
            self.service_keys.remove(&(worker, service));
        }
    }

    /// Sends a message of another worker, `from`.
    pub fn carry(&self, worker: WorkerId, message: Message, from: Peer) {
        if let Some(control) = self.controls.get(&worker) {
            control.carry(message, from);
        }
    }

    /// Bytes of queued messages for the worker; None: it has ended.
    pub fn waiting(&self, worker: WorkerId) -> Option<usize> {
        self.controls.get(&worker).map(ControlChannel::waiting)
    }

    /// Requests the worker's JavaScript stack; ignored if it has ended.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ask_for_stack(&self, worker: WorkerId) -> io::Result<()> {
        self.controls.get(&worker).map_or(Ok(()), ControlChannel::ask_for_stack)
    }

    /// SIGTERM; `forced`: SIGKILL.
    pub fn end(&self, worker: WorkerId, forced: bool) {
        if let Some(control) = self.controls.get(&worker) {
            control.end(forced);
        }
    }

    /// Removes a worker whose process has ended.
    pub fn forget(&mut self, worker: WorkerId) {
        self.controls.remove(&worker);
        self.leaves.remove(&worker);
        self.shared.pending_channels.take(worker);
        self.forget_services(worker);
        self.started.remove(&worker);
        self.environments.remove(&worker);
    }
}
