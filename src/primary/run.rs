//! The loop: an input at a time becomes a fact for the supervisor, its actions are carried out, and what
//! happened is told once, as a log line and as an event.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::commands::Commands;
use super::diagnoses::Diagnoses;
use super::health::Health;
use super::hung_workers::HungWorkers;
use super::inputs::{Input, Output};
use super::listen;
use super::monitor::Monitor;
use super::pending_channels::PendingChannels;
use super::pending_starts::{Start, Starts};
use super::publish::Published;
use super::relay::Relay;
use super::setup::Setup;
use super::ticket_rotation::Tickets;
use super::worker_messages::Unresponsive;
use super::worker_processes::WorkerProcesses;
use crate::dispatch::{Dispatcher, ListenFailure, Listening};
use crate::error::{Code, Error, Result};
use crate::event::Event;
use crate::ipc::control::{Drain, StopSignal, ToWorker};
use crate::log::Log;
use crate::metrics::layout::{PAGES_A_SLOT, header, row};
use crate::metrics::memory::SharedMemory;
use crate::model::WorkerId;
use crate::process::spawner::{Spawned, not_spawned};
use crate::supervisor::{Action, Fact, Leader, Slot, Supervisor};
use crate::sys::local_time::now_ms;

pub struct Cluster {
    pub(super) setup: Setup,
    pub(super) memory: SharedMemory,
    memfd: OwnedFd,
    tickets: Tickets,
    pub(super) inputs: UnboundedSender<Input>,
    output: Box<dyn Fn(Output) + Send>,
    pub(super) supervisor: Supervisor,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) workers: WorkerProcesses,
    starts: Starts,
    pub(super) clock: Instant,
    starting: Vec<u32>,
    stopping: Vec<u32>,
    /// What was said and is not said again.
    pub(super) hinted: HashSet<String>,
    pub(super) unresponsive: HashMap<u16, Unresponsive>,
    pub(super) hung: HungWorkers,
    pub(super) health: Health,
    pub(super) published: Published,
    /// `start` was settled: from then on the cluster's health is told.
    pub(super) is_started: bool,
    pub(super) commands: Commands,
    pub(super) diagnoses: Diagnoses,
    relay: Relay,
    pub(super) leader: Leader,
    /// Workers whose programs listen to the cluster's events.
    pub(super) followers: HashSet<WorkerId>,
    /// The signal that asked for the stop, if one did.
    stop_signal: Option<StopSignal>,
    /// Drains that wait for the addresses to close, each with the time by which its worker is gone.
    held_back: Option<Vec<(WorkerId, Duration)>>,
    over: bool,
    /// A port of the monitoring API that is not served yet.
    pub(super) claimed: Option<TcpListener>,
    pub(super) monitor: Option<Monitor>,
    pub(super) log: Arc<Log>,
}

impl Cluster {
    pub fn new(
        setup: Setup,
        log: Arc<Log>,
        memory: SharedMemory,
        memfd: OwnedFd,
        inputs: UnboundedSender<Input>,
        pending_channels: PendingChannels,
        output: impl Fn(Output) + Send + 'static,
    ) -> Result<Self> {
        let reports = inputs.clone();
        let report = move |report| {
            // The loop outlives the accept thread, which it owns.
            let _ = reports.send(Input::Dispatch(report));
        };
        let dispatcher = Dispatcher::start(setup.dispatch.clone(), memory.clone(), setup.seed, report)?;
        let tickets =
            Tickets::new(Duration::ZERO).map_err(|error| Error::system("memory for TLS tickets", &error))?;
        let relay = Relay::new(setup.worker_config.messages.max_pending, setup.message_policy.clone());
        let workers = WorkerProcesses::new(pending_channels, inputs.clone());
        let hung = HungWorkers::new(setup.hang_timeout, &setup.launch.preload);
        let health = Health::new(setup.checks.clone(), setup.ejection.clone());
        let published = Published::new(&setup.reporting, memory.get(header::STARTED), &log);
        Ok(Self {
            hung,
            published,
            health,
            is_started: false,
            supervisor: Supervisor::new(setup.policy.clone()),
            setup,
            memory,
            memfd,
            tickets,
            inputs,
            output: Box::new(output),
            dispatcher: Arc::new(dispatcher),
            workers,
            starts: Starts::default(),
            clock: Instant::now(),
            starting: Vec::new(),
            stopping: Vec::new(),
            hinted: HashSet::new(),
            unresponsive: HashMap::new(),
            commands: Commands::default(),
            diagnoses: Diagnoses::default(),
            relay,
            leader: Leader::default(),
            followers: HashSet::new(),
            stop_signal: None,
            held_back: None,
            over: false,
            claimed: None,
            monitor: None,
            log,
        })
    }

    pub async fn run(&mut self, mut inputs: UnboundedReceiver<Input>) {
        while !self.over {
            let input = tokio::select! {
                input = inputs.recv() => input,
                () = self.wait_until(self.supervisor.next_due()) => { self.advance(Fact::Tick); continue }
                () = self.wait_until(self.starts.due()) => {
                    let due = self.starts.expire();
                    self.spawn_all(due);
                    continue
                }
                () = self.wait_until(Some(self.tickets.due())) => { self.change_tickets(); continue }
                () = self.wait_until(self.hung.due()) => { self.look_for_hangs(); continue }
                () = self.wait_until(self.health.due()) => { self.look_after_health(); continue }
            };
            // The loop holds a sender itself: this never ends.
            let Some(input) = input else { break };
            self.take(input);
        }
        (self.output)(Output::Ended);
    }

    /// Never returns for None.
    async fn wait_until(&self, due: Option<Duration>) {
        match due {
            Some(due) => tokio::time::sleep_until(tokio::time::Instant::from_std(self.clock + due)).await,
            None => std::future::pending().await,
        }
    }

    /// Since the loop's beginning: the supervisor's clock.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Does another take the place of a worker that ends now?
    pub(super) fn will_replace(&self) -> bool {
        self.setup.policy.respawn && self.stopping.is_empty()
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Open { id, address, options } => {
                let inputs = self.inputs.clone();
                let opening = listen::open(self.dispatcher.clone(), address, options, None);
                tokio::spawn(async move {
                    let _ = inputs.send(Input::Opened { id, result: opening.await });
                });
            }
            Input::Opened { id, result } => self.done(id, opened(result)),
            Input::Environment(env) => {
                self.setup.launch.env = Arc::new(env);
                let ready = self.starts.answered();
                self.spawn_all(ready);
            }
            Input::Release { id, group } => {
                let (inputs, end) = (self.inputs.clone(), self.dispatcher.release(group));
                tokio::spawn(async move {
                    // Its end is the news.
                    let _ = end.await;
                    let _ = inputs.send(Input::Released { id });
                });
                self.workers.all().for_each(|control| control.send(ToWorker::CloseServer { group }));
            }
            Input::Released { id } => self.done(id, Ok(Value::Null)),
            Input::Retired => self.retired(),
            Input::Late { worker, after } => self.late(worker, after),
            Input::Start { id } => {
                if let Err(error) = self.claim_named_port() {
                    return self.done(id, Err(error));
                }
                self.starting.push(id);
                for (level, line) in std::mem::take(&mut self.setup.first_lines) {
                    self.emit(Event::notice(level, line));
                }
                self.advance(Fact::Start);
            }
            Input::Stop { id, graceful, limit } => {
                self.stopping.push(id);
                self.advance(Fact::Stop { graceful, limit });
            }
            Input::Command(request) => self.command(request),
            Input::Invalid { id, error } => self.done(id, Err(error)),
            Input::Diagnose(ask) => self.diagnose(ask),
            Input::StopSignal(signal) => {
                self.stop_signal = Some(signal);
                self.advance(Fact::StopSignal);
            }
            Input::ShutdownNotice { written } => self.shutdown_notice(&written),
            Input::Spawned { worker, result } => self.spawned(worker, result),
            Input::Message { worker, id, message } => self.on_message(worker, id, message),
            Input::Listened { worker, question, result } => self.listened(worker, question, result),
            Input::Closed { worker, question, group, others } => {
                if let Some(control) = self.workers.control(worker) {
                    control.answer(ToWorker::Closed { group, others }, question, None);
                }
            }
            Input::Answered { worker, question, answer, descriptor } => {
                if let Some(control) = self.workers.control(worker) {
                    control.answer(answer, question, descriptor);
                }
            }
            Input::Broken { worker, reason } => self.break_off(worker, &reason),
            Input::Refused { error } => self.say_once(error.message),
            Input::Wrote { worker, frame } => {
                if let Err(reason) = self.relay.carry(worker, frame, &self.workers) {
                    self.break_off(worker, reason);
                }
            }
            Input::Exited { worker, exit } => {
                self.dispatcher.dead(worker);
                if self.memory.retire(worker) > 0 {
                    let text = "Metrics of workers that are gone were lost: they have too many series. Use fewer \
                                values of labels (drover_metrics_lost_series_total counts).";
                    self.say_once(text.to_owned());
                }
                self.workers.forget(worker);
                self.relay.forget(worker, &self.workers);
                self.forget_diagnosis(worker);
                self.followers.remove(&worker);
                (self.output)(Output::Gone { worker });
                self.hung.forget(worker);
                self.health.forget(worker);
                if self.is_active(worker) {
                    self.forget_unresponsive(worker.slot);
                }
                self.advance(Fact::Exited { worker, exit });
            }
            Input::Probed { worker, number, result } => self.probed(worker, number, result),
            Input::Dispatch(report) => self.reported(report),
            Input::Measured => self.measured(),
            Input::Customised { metrics } => self.customised(metrics),
            Input::Reported => self.report(),
            Input::StillUnresponsive { slot, times } => self.still_unresponsive(slot, times),
        }
    }

    /// The worker does not keep to what was agreed on: its channel is closed, and it is replaced.
    pub(super) fn break_off(&mut self, worker: WorkerId, reason: &str) {
        let error = Error::new(Code::WorkerCommunication, reason);
        self.advance(Fact::Broken { worker, error });
    }

    fn spawned(&mut self, worker: WorkerId, result: io::Result<Spawned>) {
        match result.and_then(|spawned| self.workers.spawned_process(worker, spawned, &self.log)) {
            Ok(pid) => {
                self.workers.started(worker, now_ms());
                let port = self.memory.get(header::PORT) as u16;
                self.hung.register(worker, pid, self.memory.page(worker));
                self.emit(Event::WorkerStarted {
                    worker_id: worker.to_string(),
                    pid,
                    generation: worker.generation,
                    port,
                });
                self.advance(Fact::Spawned { worker, pid });
                self.look_later(worker);
            }
            Err(error) => {
                self.workers.spawn_failed(worker);
                (self.output)(Output::Gone { worker });
                self.dispatcher.dead(worker);
                let error = not_spawned(&self.setup.launch, &error);
                self.advance(Fact::SpawnFailed { worker, error });
            }
        }
    }

    /// Tells the supervisor a fact and carries out what it says.
    pub(super) fn advance(&mut self, fact: Fact) {
        let actions = self.supervisor.handle(fact, self.elapsed());
        self.publish();
        for action in actions {
            self.act(action);
        }
        self.lead();
        self.publish_circuits();
        self.publish_cluster_health();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Spawn { worker, .. } => self.start(worker),
            Action::Unready { worker } => {
                if let Some(control) = self.workers.control(worker) {
                    control.send(ToWorker::Unready);
                }
            }
            Action::Retire => self.retire(),
            Action::Drain { worker, deadline } => {
                self.health.deregister(worker);
                let gone_by = self.elapsed() + deadline;
                match &mut self.held_back {
                    Some(drains) => drains.push((worker, gone_by)),
                    None => self.drain(worker, gone_by),
                }
            }
            Action::Terminate { worker } => {
                if let Some(control) = self.workers.control(worker) {
                    control.send(ToWorker::TimeUp);
                }
                self.end(worker, false);
            }
            Action::Kill { worker } => self.end(worker, true),
            Action::Emit(event) => self.emit(event),
            Action::Started(result) => {
                if result.is_ok() {
                    self.is_started = true;
                    self.dispatcher.started();
                    self.watch();
                }
                for id in std::mem::take(&mut self.starting) {
                    self.done(id, result.clone().map(|()| Value::Null));
                }
            }
            Action::Promote { worker } => {
                self.forget_unresponsive(worker.slot);
                self.dispatcher.promote(worker);
                self.begin_checks(worker);
                if let Some(control) = self.workers.control(worker) {
                    control.send(ToWorker::Promoted);
                }
            }
            Action::Done { id, result } => self.carried_out(id, result),
            Action::Stopped => {
                for id in std::mem::take(&mut self.stopping) {
                    self.done(id, Ok(Value::Null));
                }
                self.over = true;
            }
        }
    }

    /// The workers serve on until every address has closed: they answer what came until then.
    fn retire(&mut self) {
        self.held_back.get_or_insert_default();
        let (inputs, retired) = (self.inputs.clone(), self.dispatcher.retire());
        tokio::spawn(async move {
            // Its end is the news.
            let _ = retired.await;
            let _ = inputs.send(Input::Retired);
        });
    }

    fn retired(&mut self) {
        for (worker, gone_by) in self.held_back.take().unwrap_or_default() {
            self.drain(worker, gone_by);
        }
    }

    fn drain(&mut self, worker: WorkerId, gone_by: Duration) {
        self.dispatcher.drain(worker);
        if let Some(control) = self.workers.control(worker) {
            let stops = self.supervisor.is_stopping();
            control.send(ToWorker::Drain(Drain {
                deadline_ms: gone_by.saturating_sub(self.elapsed()).as_millis() as u64,
                handoff: !stops,
                signal: self.stop_signal.filter(|_| stops),
            }));
        }
    }

    fn change_tickets(&mut self) {
        if let Err(error) = self.tickets.rotate(self.elapsed()) {
            // The loop comes back at once and without end if the time stays due.
            self.tickets.put_off(self.elapsed());
            self.say_once(format!("The keys of TLS session tickets stay as they are: {error}"));
        }
    }

    /// Starts a worker once its environment is known.
    fn start(&mut self, worker: WorkerId) {
        match self.starts.add(worker, self.elapsed()) {
            Start::Now => self.spawn(worker),
            Start::Request => (self.output)(Output::AskEnvironment),
            Start::Wait => {}
        }
    }

    fn spawn_all(&mut self, workers: Vec<WorkerId>) {
        for worker in workers {
            self.spawn(worker);
        }
    }

    fn spawn(&mut self, worker: WorkerId) {
        // Four workers of a slot at once: the oldest has had its time.
        if let Some(generation) = worker.generation.checked_sub(PAGES_A_SLOT as u32) {
            self.end(WorkerId { generation, ..worker }, true);
        }
        let Self { setup, memory, memfd, tickets, dispatcher, .. } = self;
        let made = self.workers.spawn(worker, setup, memory, memfd, tickets, dispatcher);
        if made.is_ok() {
            (self.output)(Output::Channel { worker });
        }
        if let Err(error) = made {
            self.advance(Fact::SpawnFailed { worker, error });
        }
    }

    /// Is this the worker that its slot is known by?
    fn is_active(&self, worker: WorkerId) -> bool {
        let slot = self.supervisor.slots().get(usize::from(worker.slot));
        slot.and_then(Slot::shown).is_some_and(|shown| shown.id == worker)
    }

    fn end(&self, worker: WorkerId, forced: bool) {
        if let Some(control) = self.workers.control(worker) {
            control.end(forced);
        }
    }

    fn shutdown_notice(&mut self, written: &Sender<()>) {
        // The process ends without coming back to what it owns.
        self.monitor.iter_mut().for_each(Monitor::close_socket);
        let grace_ms = self.setup.policy.graceful_timeout.as_millis() as u64;
        self.workers.all().for_each(|control| control.send(ToWorker::ShutdownNotice { grace_ms }));
        let written = written.clone();
        tokio::spawn(async move {
            // The links' tasks were woken before this one and write in their turn.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            let _ = written.send(());
        });
    }

    /// Writes the slots' states where every process reads them.
    fn publish(&self) {
        self.memory.set(header::WANTED, u64::from(self.supervisor.wanted()));
        self.memory.set(header::SLOTS, self.supervisor.slots().len() as u64);
        for slot in self.supervisor.slots() {
            self.memory.set_row(slot.number, row::STATE, slot.view() as u64);
            self.memory.set_row(slot.number, row::EXTRA, u64::from(slot.is_extra()));
            self.memory.set_pids(slot.number, slot.workers().map(|one| (one.id, one.pid().unwrap_or(0))));
            self.memory.set_row(slot.number, row::RESTARTS, u64::from(slot.restarts));
            self.memory.set_row(slot.number, row::REPLACEMENTS, u64::from(slot.replacements));
            let Some(shown) = slot.shown() else {
                self.memory.set_row(slot.number, row::PID, 0);
                continue;
            };
            let worker = shown.id;
            self.memory.set_row(slot.number, row::GENERATION, u64::from(worker.generation));
            self.memory.set_row(slot.number, row::PID, u64::from(shown.pid().unwrap_or(0)));
            self.memory.set_row(slot.number, row::STARTED, self.workers.start_of(worker));
        }
    }

    pub(super) fn put_out(&self, output: Output) {
        (self.output)(output);
    }

    pub(super) fn done(&self, id: u32, result: Result<Value>) {
        (self.output)(Output::Done { id, result });
    }
}

fn opened(result: std::result::Result<Listening, ListenFailure>) -> Result<Value> {
    match result {
        Ok(Listening { group, host, port, .. }) => Ok(json!({ "group": group, "host": host, "port": port })),
        Err(ListenFailure { errno, syscall, host, .. }) => {
            let cause = io::Error::from_raw_os_error(errno);
            let details = json!({ "errno": errno, "syscall": syscall, "host": host });
            Err(Error::new(Code::System, format!("{syscall}: {cause}")).with(details))
        }
    }
}
