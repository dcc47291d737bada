//! The loop: passes each input to the part that it concerns, and the parts' effects to other parts. Each part owns its
//! state; the loop makes no decision that a part can make.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use std::{io, mem};

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::addresses::{Addresses, Question};
use super::commands::{Commands, Ended};
use super::diagnostics::{Diagnoses, Request};
use super::effects::{Effect, Effects, Moment};
use super::fleet::Fleet;
use super::health::{ClusterCondition, Health, HungWorkers, Unresponsive};
use super::inputs::{CommandRequest, CommandSource, Input, Output, later};
use super::lifecycle::Lifecycle;
use super::limits::{Watched, WorkerLimits};
use super::live_config::{AdmissionSettings, LiveConfig, LiveSettings};
use super::memory_watch::MemoryWatch;
use super::monitor::Monitoring;
use super::oom_kills::OomKills;
use super::publish::{self, Publisher};
use super::readiness::{Lacking, LateStarts};
use super::relay::Relay;
use super::report;
use super::sampling::Sampling;
use super::scaling::{Now, Scaling};
use super::setup::Setup;
use super::shared_cache::SharedCache;
use super::slot_table::SlotTable;
use super::workers::{self, Grouping, PendingChannels, Start, Workers};
use crate::admin::Figures;
use crate::config::sections::process::Ready;
use crate::dispatch::{Dispatcher, Report};
use crate::error::{Code, Error, Result};
use crate::event::{Event, Exit, Level};
use crate::health::probe;
use crate::ipc::control::{Drain, Protocol, ToPrimary, ToWorker};
use crate::log::Log;
use crate::metrics::layout::header;
use crate::metrics::memory::{Memfds, SharedMemory, Text};
use crate::metrics::view;
use crate::model::{Command, Observation, Scale, WorkerId};
use crate::process::spawner::Spawned;
use crate::process::worker_groups::WorkerGroups;
use crate::supervisor::{Action, Fact, Leader, LeaderAction, Policy, Slot, Stage, Supervisor};
use crate::sys::local_time::now_ms;

/// The parts of a primary.
pub struct Cluster {
    policy: Policy,
    ready: Ready,
    /// Logged when the workers are started.
    first_lines: Vec<Event>,
    clock: Instant,
    memory: SharedMemory,
    log: Arc<Log>,
    inputs: UnboundedSender<Input>,
    output: Rc<dyn Fn(Output)>,
    dispatcher: Arc<Dispatcher>,
    addresses: Addresses,
    supervisor: Supervisor,
    leader: Leader,
    lifecycle: Lifecycle,
    workers: Workers,
    slot_table: SlotTable,
    late_starts: LateStarts,
    health: Health,
    condition: ClusterCondition,
    hung: HungWorkers,
    unresponsive: Unresponsive,
    config: LiveConfig,
    limits: WorkerLimits,
    scaling: Scaling,
    memory_watch: MemoryWatch,
    oom_kills: OomKills,
    relay: Relay,
    commands: Commands,
    diagnoses: Diagnoses,
    publisher: Publisher,
    sampling: Option<Sampling>,
    monitoring: Monitoring,
    cache: Arc<SharedCache>,
    fleet: Option<Arc<Fleet>>,
}

/// What the loop shares with the program's thread.
pub struct Shared {
    pub log: Arc<Log>,
    pub memory: SharedMemory,
    pub memfds: Memfds,
    pub pending_channels: PendingChannels,
    pub cache: Arc<SharedCache>,
    /// None: there is no `redis` in the configuration.
    pub fleet: Option<Arc<Fleet>>,
}

impl Cluster {
    pub fn new(
        setup: Setup,
        shared: Shared,
        inputs: UnboundedSender<Input>,
        output: impl Fn(Output) + 'static,
    ) -> Result<Self> {
        let Shared { log, memory, memfds, pending_channels, cache, fleet } = shared;
        let Setup { policy, worker, checks, ejection, reporting, watching, .. } = setup;
        let mut groups = WorkerGroups::default();
        let ungrouped = groups.find(&setup.limits.groups);
        let first_lines = setup.first_lines.into_iter().chain(report::not_in_groups(&ungrouped)).collect();
        let reports = inputs.clone();
        let report = move |report| {
            // The loop outlives the accept thread, which it owns.
            let _ = reports.send(Input::Dispatch(report));
        };
        let excludes = setup.dispatch.health_aware;
        let dispatcher = Dispatcher::start(setup.dispatch, memory.clone(), setup.seed, report)?;
        let dispatcher = Arc::new(dispatcher);
        let output: Rc<dyn Fn(Output)> = Rc::new(output);
        let sender = publish::Sender {
            hostname: setup.log.style.hostname,
            script: worker.launch.script_name().to_owned(),
        };
        let timeout = policy.startup_timeout;
        Ok(Self {
            clock: Instant::now(),
            ready: worker.config.ready,
            first_lines,
            supervisor: Supervisor::new(policy.clone()),
            leader: Leader::default(),
            lifecycle: Lifecycle::default(),
            slot_table: SlotTable::new(memory.clone()),
            late_starts: LateStarts::new(timeout),
            health: Health::new(checks, ejection, excludes, memory.clone()),
            condition: ClusterCondition::default(),
            hung: HungWorkers::new(setup.hang_timeout, &worker.launch.preload),
            unresponsive: Unresponsive::default(),
            scaling: Scaling::new(setup.config.auto_scaling.clone(), memory.clone()),
            config: LiveConfig::new(setup.config, setup.runtime),
            memory_watch: MemoryWatch::new(setup.memory, memory.clone()),
            limits: WorkerLimits::new(setup.limits.clone(), memory.clone(), setup.seed),
            oom_kills: OomKills::find(),
            relay: Relay::new(worker.config.messages.max_pending, setup.message_policy),
            commands: Commands::new(output.clone()),
            diagnoses: Diagnoses::new(watching.as_ref().map(|watching| watching.scratch.clone())),
            publisher: Publisher::new(
                &reporting,
                sender,
                timeout,
                log.clone(),
                memory.clone(),
                output.clone(),
            ),
            sampling: None,
            monitoring: Monitoring::new(watching),
            cache: cache.clone(),
            fleet: fleet.clone(),
            workers: Workers::new(
                worker,
                Grouping { groups, limits: setup.limits.groups },
                workers::Shared {
                    memory: memory.clone(),
                    memfds,
                    dispatcher: dispatcher.clone(),
                    log: log.clone(),
                    pending_channels,
                    cache,
                    fleet,
                    inputs: inputs.clone(),
                },
            )?,
            policy,
            memory,
            log,
            addresses: Addresses::new(dispatcher.clone(), inputs.clone()),
            inputs,
            output,
            dispatcher,
        })
    }

    pub async fn run(&mut self, mut inputs: UnboundedReceiver<Input>) {
        while !self.lifecycle.is_over() {
            let due = self.due();
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.take(input),
                    // Unreachable: the loop holds a sender itself.
                    None => break,
                },
                () = wait_until(self.clock, due) => self.look(),
            }
        }
        (self.output)(Output::Ended);
    }

    /// When a part next has something to do without an input.
    fn due(&self) -> Option<Duration> {
        [
            self.supervisor.next_due(),
            self.workers.due(),
            self.late_starts.due(),
            self.hung.due(),
            self.health.due(),
            self.unresponsive.due(),
            self.limits.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Lets each part do what is due.
    fn look(&mut self) {
        let moment = self.moment();
        let is_due = |due: Option<Duration>| due.is_some_and(|due| due <= moment.now);
        if is_due(self.supervisor.next_due()) {
            self.advance(Fact::Tick);
        }
        let starts = self.workers.look(moment.now);
        self.spawn_all(starts);
        if let Err(error) = self.workers.rotate_tickets(moment.now) {
            self.hint(Level::Warn, format!("The keys of TLS session tickets could not be changed: {error}"));
        }
        for worker in self.late_starts.look(moment.now) {
            self.warn_late(worker);
        }
        let effects = self.unresponsive.look(moment.now);
        self.carry_out(effects);
        if is_due(self.hung.due()) {
            let Self { hung, unresponsive, .. } = self;
            let effects = hung.look(|slot| unresponsive.contains(slot), moment);
            self.carry_out(effects);
        }
        if is_due(self.health.due()) {
            let effects = self.health.look(moment);
            self.carry_out(effects);
        }
        if is_due(self.limits.due()) {
            let Self { limits, supervisor, workers, .. } = self;
            let processes = supervisor.slots().iter().flat_map(Slot::workers);
            let all = limits.kills_before_the_kernel();
            let processes = processes.filter(|worker| all || !workers.is_limited_by_kernel(worker.id));
            let watched = processes.filter_map(|one| Some(Watched { worker: one.id, pid: one.pid()? }));
            let effects = limits.look(watched, moment.now);
            self.carry_out(effects);
        }
    }

    fn moment(&self) -> Moment {
        let replaces = self.policy.respawn && !self.lifecycle.stops();
        Moment { now: self.clock.elapsed(), replaces }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Sampled(observation) => self.sampled(&observation),
            Input::Open { id, address, options } => self.addresses.open(id, address, options),
            Input::Environment(env) => {
                let starts = self.workers.set_environment(env);
                self.spawn_all(starts);
            }
            Input::Release { id, group } => {
                self.addresses.release(id, group);
                self.workers.send_all(&ToWorker::CloseServer { group });
            }
            Input::Retired => {
                for (worker, gone_by) in self.lifecycle.release_drains() {
                    self.drain(worker, gone_by);
                }
            }
            Input::Start { id } => self.start(id),
            Input::Stop { id, graceful, limit } => {
                self.lifecycle.stop(id);
                self.advance(Fact::Stop { graceful, limit });
            }
            Input::Command(request) => self.command(request),
            Input::Settled { id, result } => self.done(id, result),
            Input::Diagnose(request) => self.diagnose(request),
            Input::StopSignal(signal) => {
                self.lifecycle.signalled(signal);
                self.advance(Fact::StopSignal);
            }
            Input::ShutdownNotice { written } => self.shutdown_notice(written),
            Input::Spawned { worker, result } => self.spawned(worker, result),
            Input::Message { worker, id, message } => self.on_message(worker, id, message),
            Input::Wrote { worker, frame } => {
                if let Err(reason) = self.relay.carry(worker, frame, &self.workers) {
                    self.break_off(worker, reason);
                }
            }
            Input::Answered { worker, question, answer, descriptor } => {
                self.workers.answer(worker, answer, question, descriptor);
            }
            Input::Broken { worker, reason } => self.break_off(worker, &reason),
            Input::Publish(event) => self.emit(event),
            Input::Refused { error } => self.hint(Level::Warn, error.message),
            Input::Exited { worker, exit } => self.exited(worker, exit),
            Input::Probed { worker, number, result } => {
                let effects = self.health.probed(worker, number, result, self.moment());
                self.carry_out(effects);
            }
            Input::Dispatch(report) => self.reported(report),
            Input::Measured(_done) if self.monitoring.asks_program() => (self.output)(Output::Measure),
            Input::Measured(_done) => self.publish_metrics(),
            Input::Customised { metrics } => {
                if let Some(metrics) = metrics {
                    // Its length was checked when it was passed in.
                    self.memory.write(Text::Custom, metrics.as_bytes());
                }
                self.publish_metrics();
            }
            Input::Reported => {
                if !self.supervisor.is_stopping() {
                    let wanted = self.supervisor.wanted();
                    self.emit_all(report::health_report(&self.memory, wanted, self.log.is_pretty()));
                }
            }
        }
    }

    fn sampled(&mut self, observation: &Observation) {
        self.oom_kills.sample(self.workers.all_oom_kills());
        if self.lifecycle.stops() {
            return;
        }
        let Self { limits, memory_watch, supervisor, clock, .. } = self;
        let now = clock.elapsed();
        let mut effects = limits.sampled(observation, supervisor, |worker| memory_watch.leaks(worker), now);
        let budget = limits.room().map(|(budget, _)| budget);
        effects.extend(memory_watch.sampled(supervisor, budget, now));
        self.carry_out(effects);
        let room = self.limits.room();
        let now = Now { supervisor: &self.supervisor, at: self.clock.elapsed() };
        let effects = self.scaling.sampled(observation, room, now);
        self.carry_out(effects);
    }

    // The start and the end.

    fn start(&mut self, id: u32) {
        if let Err(error) = self.monitoring.claim_named_port() {
            return self.done(id, Err(error));
        }
        self.lifecycle.start(id);
        let first_lines = mem::take(&mut self.first_lines);
        self.emit_all(first_lines);
        self.advance(Fact::Start);
    }

    fn sample(&mut self) {
        if self.sampling.is_some() {
            return;
        }
        let sampling = Sampling::start(self.memory.clone(), self.monitoring.history(), self.inputs.clone());
        match sampling {
            Ok(sampling) => self.sampling = Some(sampling),
            Err(error) => self.hint(
                Level::Error,
                format!("The cluster is not sampled: no limits, no scaling, no rates ({error})"),
            ),
        }
    }

    fn started(&mut self, result: Result<()>) {
        if result.is_ok() {
            self.dispatcher.started();
            self.condition.invalidate();
            self.publisher.set_auto_scaling(self.scaling.shown());
            self.sample();
            let (event_log, error_groups, logs) = self.publisher.logs();
            let (cache, fleet) = (self.cache.clone(), self.fleet.clone());
            let figures = Figures {
                cache: Box::new(move || cache.statistics()),
                fleet: Box::new(move || fleet.as_ref().map(|fleet| fleet.status())),
            };
            let published = (event_log, error_groups, logs, figures);
            let events = self.monitoring.start(self.memory.clone(), self.inputs.clone(), published);
            self.emit_all(events);
        }
        for id in self.lifecycle.started(result.is_ok()) {
            self.done(id, result.clone().map(|()| Value::Null));
        }
    }

    fn drain(&mut self, worker: WorkerId, gone_by: Duration) {
        self.dispatcher.drain(worker);
        let stops = self.supervisor.is_stopping();
        let drain = Drain {
            deadline_ms: gone_by.saturating_sub(self.clock.elapsed()).as_millis() as u64,
            handoff: !stops,
            signal: self.lifecycle.stop_signal().filter(|_| stops),
        };
        self.workers.send(worker, ToWorker::Drain(drain));
    }

    fn shutdown_notice(&mut self, written: Sender<()>) {
        // The process ends without running destructors.
        self.monitoring.close_socket();
        let grace_ms = self.policy.graceful_timeout.as_millis() as u64;
        self.workers.send_all(&ToWorker::ShutdownNotice { grace_ms });
        tokio::spawn(async move {
            // The channels' tasks were woken before this task and write first.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            // The waiting thread has a timeout of its own.
            let _ = written.send(());
        });
    }

    // The life of a worker.

    fn spawn_all(&mut self, workers: Vec<WorkerId>) {
        for worker in workers {
            self.spawn(worker);
        }
    }

    fn spawn(&mut self, worker: WorkerId) {
        // Its share of the memory is of all workers that there will be.
        self.config.limit_launch(self.workers.launch(), self.supervisor.intended());
        match self.workers.spawn(worker) {
            Ok(()) => (self.output)(Output::Channel { worker }),
            Err(error) => self.advance(Fact::SpawnFailed { worker, error }),
        }
    }

    fn spawned(&mut self, worker: WorkerId, result: io::Result<Spawned>) {
        match self.workers.spawned(worker, result, now_ms()) {
            Ok(pid) => {
                self.hung.register(worker, pid, self.memory.page(worker));
                let port = self.memory.get(header::PORT) as u16;
                let (worker_id, generation) = (worker.to_string(), worker.generation);
                self.emit(Event::WorkerStarted { worker_id, pid, generation, port });
                self.advance(Fact::Spawned { worker, pid });
                self.late_starts.begin(worker, self.clock.elapsed());
            }
            Err(error) => {
                (self.output)(Output::Gone { worker });
                self.dispatcher.dead(worker);
                self.advance(Fact::SpawnFailed { worker, error });
            }
        }
    }

    /// The worker reports that it is ready.
    fn on_ready(&mut self, worker: WorkerId) {
        self.hung.begin(worker, self.clock.elapsed());
        if self.takes_over(worker) {
            self.dispatcher.succeed(worker);
        } else {
            self.advance(Fact::Ready { worker });
        }
    }

    /// Handles the addresses that the worker does not serve although its predecessor does.
    fn on_succession(&mut self, worker: WorkerId, lacks: Vec<String>) {
        if !self.takes_over(worker) {
            // It has the slot already, or its predecessor no longer serves.
            return self.advance(Fact::Ready { worker });
        }
        let old = self.slot(worker).and_then(Slot::active_worker).map(|old| old.id);
        let environments =
            old.and_then(|old| self.workers.environment(old)).zip(self.workers.environment(worker));
        let lacking = Lacking::of(lacks, self.ready == Ready::Message, environments);
        if !lacking.missing.is_empty() {
            return self.advance(Fact::Lacks { worker, addresses: lacking.missing });
        }
        self.emit_all(report::addresses_given_up(worker, lacking.given_up));
        self.advance(Fact::Ready { worker });
    }

    fn slot(&self, worker: WorkerId) -> Option<&Slot> {
        self.supervisor.slots().get(usize::from(worker.slot))
    }

    /// Whether the worker will replace a serving one.
    fn takes_over(&self, worker: WorkerId) -> bool {
        self.slot(worker).is_some_and(|slot| slot.takes_over(worker))
    }

    /// Notifies a worker that is not ready after a while, so that it logs what is missing.
    fn warn_late(&self, worker: WorkerId) {
        let mut workers = self.slot(worker).into_iter().flat_map(Slot::workers);
        if workers.any(|one| one.id == worker && matches!(one.stage, Stage::Starting { .. })) {
            let after_ms = self.late_starts.after().as_millis() as u64;
            self.workers.send(worker, ToWorker::Late { after_ms });
        }
    }

    /// The worker has violated the protocol: closes its channel, and the worker is replaced.
    fn break_off(&mut self, worker: WorkerId, reason: &str) {
        let error = Error::new(Code::WorkerCommunication, reason);
        self.advance(Fact::Broken { worker, error });
    }

    fn exited(&mut self, worker: WorkerId, exit: Exit) {
        if self.oom_kills.has_ended(worker, exit, self.workers.oom_kills(worker)) {
            self.advance(Fact::OutOfMemory { worker });
        }
        self.dispatcher.dead(worker);
        if self.memory.retire(worker) > 0 {
            let text = "Metrics of workers that are gone were lost: they have too many series. Use fewer \
                        values of labels (drover_metrics_lost_series_total counts).";
            self.hint(Level::Warn, text.to_owned());
        }
        self.workers.forget(worker);
        self.relay.forget(worker, &self.workers);
        let effects = self.diagnoses.forget(worker);
        self.carry_out(effects);
        self.publisher.follow(worker, false);
        (self.output)(Output::Gone { worker });
        self.hung.forget(worker);
        self.health.forget(worker);
        self.late_starts.forget(worker);
        self.limits.forget(worker);
        self.memory_watch.forget(worker);
        if self.slot(worker).and_then(Slot::shown).is_some_and(|shown| shown.id == worker) {
            self.unresponsive.forget(worker.slot);
        }
        self.advance(Fact::Exited { worker, exit });
    }

    // The supervisor and its actions.

    fn advance(&mut self, fact: Fact) {
        let actions = self.supervisor.handle(fact, self.clock.elapsed());
        let mut changed = self.slot_table.publish(&self.supervisor, &self.workers);
        for action in actions {
            changed |= matches!(action, Action::Promote { .. });
            self.act(action);
        }
        self.lead();
        if changed {
            self.publish_circuits();
            self.condition.invalidate();
        }
        self.publish_condition();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Spawn { worker, .. } => match self.workers.start(worker, self.clock.elapsed()) {
                Start::Now => self.spawn(worker),
                Start::Request => (self.output)(Output::AskEnvironment),
                Start::Wait => {}
            },
            Action::Unready { worker } => self.workers.send(worker, ToWorker::Unready),
            Action::Retire => {
                // The workers serve the accepted connections until every address has closed.
                self.lifecycle.hold_drains();
                self.addresses.retire();
            }
            Action::Drain { worker, deadline } => {
                self.health.deregister(worker);
                let gone_by = self.clock.elapsed() + deadline;
                if !self.lifecycle.hold(worker, gone_by) {
                    self.drain(worker, gone_by);
                }
            }
            Action::Terminate { worker } => {
                self.workers.send(worker, ToWorker::TimeUp);
                self.workers.end(worker, false);
            }
            Action::Kill { worker } => self.workers.end(worker, true),
            Action::Emit(event) => self.emit(event),
            Action::Started(result) => self.started(result),
            Action::Promote { worker } => {
                self.unresponsive.forget(worker.slot);
                self.dispatcher.promote(worker);
                self.health.begin(worker, self.clock.elapsed());
                self.workers.send(worker, ToWorker::Promoted);
            }
            Action::Done { id, result } => self.carried_out(id, result),
            Action::Stopped => {
                for id in self.lifecycle.stopped() {
                    self.done(id, Ok(Value::Null));
                }
            }
        }
    }

    /// Updates the leadership, after every fact.
    fn lead(&mut self) {
        for action in self.leader.follow(&self.supervisor) {
            match action {
                LeaderAction::Lead(worker) => self.workers.send(worker, ToWorker::Lead { leads: true }),
                LeaderAction::Resign(worker) => self.workers.send(worker, ToWorker::Lead { leads: false }),
                LeaderAction::Changed { from, to } => {
                    let id = |slot: Option<u16>| slot.map(|slot| slot.to_string());
                    self.emit(Event::LeaderChanged { from: id(from), to: id(to) });
                }
            }
        }
    }

    // The parts' effects.

    fn carry_out(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Emit(event) => self.emit(event),
                Effect::Record(occurrence) => self.publisher.record(&occurrence, self.moment()),
                Effect::Advance(fact) => self.advance(fact),
                Effect::Send(worker, message) => self.workers.send(worker, message),
                Effect::Check { worker, number, protocol } => self.check(worker, number, protocol),
                Effect::AskForStack(worker) => self.ask_for_stack(worker),
                Effect::Excuse(worker, time) => self.hung.grace(worker, self.clock.elapsed() + time),
                Effect::Exclude { worker, excluded } => self.dispatcher.exclude(worker, excluded),
                Effect::Relieve { worker, relieved } => self.dispatcher.relieve(worker, relieved),
                Effect::CircuitsChanged => self.publish_circuits(),
                Effect::HealthChanged => {
                    self.condition.invalidate();
                    self.publish_condition();
                }
            }
        }
    }

    /// Starts a health check of the worker, and of its server over a separate connection.
    fn check(&mut self, worker: WorkerId, number: u32, protocol: Option<Protocol>) {
        let door = protocol.and_then(|protocol| Some((protocol, self.connection_to(worker, number)?)));
        let Some((protocol, (ours, theirs))) = door else {
            return self.workers.send(worker, ToWorker::Check { number, protocol: None });
        };
        self.workers.answer(worker, ToWorker::Check { number, protocol: Some(protocol) }, 0, Some(theirs));
        if let Some((path, time)) = self.health.probe() {
            let path = path.to_owned();
            later(&self.inputs, async move {
                let result = probe::ask(ours, protocol, &path, time).await;
                Input::Probed { worker, number, result }
            });
        }
    }

    fn connection_to(&mut self, worker: WorkerId, number: u32) -> Option<(TcpStream, OwnedFd)> {
        match probe::pair() {
            Ok(pair) => Some(pair),
            Err(error) => {
                self.health.not_probed(worker, number);
                self.hint(Level::Warn, format!("The workers' servers cannot be probed: {error}"));
                None
            }
        }
    }

    fn ask_for_stack(&mut self, worker: WorkerId) {
        if let Err(error) = self.workers.ask_for_stack(worker) {
            let effects = self.hung.no_stack(worker, &error.to_string(), self.moment());
            self.carry_out(effects);
        }
    }

    // Messages of workers.

    fn on_message(&mut self, worker: WorkerId, id: u32, message: ToPrimary) {
        let question = Question { worker, id };
        match message {
            ToPrimary::Listen { address, options } => self.addresses.listen(question, address, options),
            ToPrimary::Serving { group, plain_http } => self.dispatcher.serve(worker, group, plain_http),
            ToPrimary::ConnectionLimit { group, upto } => {
                self.dispatcher.limit_connections(worker, group, upto)
            }
            ToPrimary::Close { group } => self.addresses.close(question, group),
            ToPrimary::Bind { datagram } => self.addresses.bind(question, datagram),
            ToPrimary::Unbind { socket } => self.addresses.unbind(question, socket),
            ToPrimary::Join { socket, membership } => self.addresses.join(question, socket, membership),
            ToPrimary::Part { socket, membership } => self.addresses.part(question, socket, membership),
            ToPrimary::Left { socket, membership } => {
                self.dispatcher.multicast_left(worker, socket, membership)
            }
            ToPrimary::Open { service } => self.workers.open(worker, service, id),
            ToPrimary::FdPressure => {
                self.dispatcher.fd_pressure(worker, true);
                let hint = report::short_of_descriptors(worker);
                self.publisher.hint(hint, &self.workers, self.moment());
            }
            ToPrimary::FdRelief => self.dispatcher.fd_pressure(worker, false),
            ToPrimary::Ready => self.on_ready(worker),
            ToPrimary::Leaving { signalled } => {
                self.health.deregister(worker);
                self.dispatcher.leave(worker);
                self.advance(Fact::Leaving { worker, signalled });
            }
            ToPrimary::Wrote { text } => self.advance(Fact::Wrote { worker, text }),
            ToPrimary::Command { id, command } => {
                self.command(CommandRequest { command, source: CommandSource::Worker(worker, id) });
            }
            ToPrimary::Slow(slow) => self.emit(report::slow_request(worker, slow)),
            ToPrimary::Hint { text, warns } => {
                self.hint(if warns { Level::Warn } else { Level::Info }, text);
            }
            ToPrimary::Lingered { left, waited_ms } => {
                self.emit(report::lingered(worker.slot, left, waited_ms));
            }
            ToPrimary::Failed { error, reported } => {
                self.advance(Fact::Failed { worker, error: report::worker_error(error), reported });
            }
            ToPrimary::Rejected { error, suppressed } => {
                self.emit_all(report::rejections(worker.slot, error, suppressed));
            }
            ToPrimary::Resigned => {
                self.leader.resigned(worker);
                self.lead();
            }
            ToPrimary::Follow { follows } => self.publisher.follow(worker, follows),
            ToPrimary::Speaks { protocol } => self.health.speaks(worker, protocol),
            ToPrimary::Checked { number, failure, metrics } => {
                let effects = self.health.checked(worker, number, failure, metrics, self.moment());
                self.carry_out(effects);
            }
            ToPrimary::Pong => self.hung.answered(worker),
            ToPrimary::Traceable { lacks } => self.hung.traceable(worker, lacks),
            ToPrimary::Inspected => {
                self.hung.standby(worker);
                self.dispatcher.inspected(worker);
            }
            ToPrimary::Diagnosed { id, bytes, failure } => {
                let effects = self.diagnoses.end(worker, id, failure.map_or(Ok(bytes), Err));
                self.carry_out(effects);
            }
            ToPrimary::MemoryDone { id, found, failure } => {
                let effects = self.memory_watch.done(worker, id, found, failure);
                self.carry_out(effects);
            }
            ToPrimary::Stack { text } => {
                let effects = self.hung.stack_came(worker, text.as_deref(), self.moment());
                self.carry_out(effects);
            }
        }
    }

    // Reports of dispatch.

    fn reported(&mut self, report: Report) {
        match report {
            Report::Notice(event) => self.emit(event),
            Report::Port(port) => self.emit(report::listening(port)),
            Report::Unresponsive { slot } => self.unresponsive.begin(slot, self.clock.elapsed()),
            Report::Recovered { slot } => {
                let effects = self.unresponsive.recovered(slot);
                self.carry_out(effects);
            }
            Report::WarmedUp { worker } => self.advance(Fact::Warm { worker }),
            Report::Succession { worker, lacks } => self.on_succession(worker, lacks),
            Report::Lost { address } => self.emit(report::address_lost(address)),
            Report::Regained { address, after } => self.emit(report::address_regained(address, after)),
        }
    }

    // Commands and diagnoses.

    fn command(&mut self, CommandRequest { command, source }: CommandRequest) {
        let fact = match command {
            // Everything decided before this reply was published before it.
            Command::Leader => {
                let leader: Vec<u16> = self.leader.leads().into_iter().collect();
                return self.answer(source, Ok(json!(leader)));
            }
            Command::Scale(target) => match self.scale_by_hand(target) {
                Ok(target) => self.commands.begin_scale(target, source),
                Err(error) => return self.answer(source, Err(error)),
            },
            Command::AutoScale => {
                let now = Now { supervisor: &self.supervisor, at: self.clock.elapsed() };
                let (decision, effects) = self.scaling.evaluate_now(now, now_ms());
                self.carry_out(effects);
                return self.answer(source, Ok(decision));
            }
            Command::OptimalWorkerCount => {
                let workers = self.scaling.optimal(self.clock.elapsed());
                return self.answer(source, Ok(json!(workers)));
            }
            Command::Roll { slot } => self.commands.begin_roll(slot, source),
            Command::Update(partial) => {
                let updated = self.update(&partial);
                return self.answer(source, updated);
            }
        };
        self.advance(fact);
    }

    /// Changes options of the running cluster: those of each part apply to it from now on.
    ///
    /// # Errors
    /// See [`LiveConfig::update`]; nothing has changed then.
    fn update(&mut self, partial: &Value) -> Result<Value> {
        let LiveSettings {
            limits,
            memory,
            auto_scaling,
            scheduling,
            connections_per_worker,
            cache_size,
            admission,
            changed,
        } = self.config.update(partial)?;
        let shown = self.config.to_json();
        let lacks = self.workers.configure(shown.clone(), limits.groups);
        self.workers.schedule(scheduling);
        self.limits.set(limits);
        self.memory_watch.set(memory);
        self.scaling.configure(auto_scaling);
        self.publisher.set_auto_scaling(self.scaling.shown());
        self.dispatcher.limit_connections_per_worker(connections_per_worker);
        self.cache.resize(cache_size as usize);
        if let Some(AdmissionSettings { of_dispatch, of_workers }) = admission {
            self.dispatcher.set_admission(of_dispatch);
            self.workers.set_admission(of_workers);
        }
        self.emit_all(report::not_in_groups(&lacks));
        self.emit_all(changed);
        Ok(shown)
    }

    /// The target of a command, within the bounds of the auto-scaling and the budget of memory.
    ///
    /// # Errors
    /// Nothing can be done within the bounds, or the new size would break the budget.
    fn scale_by_hand(&mut self, target: Scale) -> Result<Scale> {
        let now = Now { supervisor: &self.supervisor, at: self.clock.elapsed() };
        let target = self.scaling.within_bounds(target, now)?;
        let from = self.supervisor.wanted();
        self.limits.check_room(from, target.of(from))?;
        self.scaling.changed_by_hand(self.clock.elapsed());
        Ok(target)
    }

    fn carried_out(&mut self, id: u32, result: Result<Vec<u16>>) {
        let Ended { source, line } = self.commands.end(id, &result);
        self.emit_all(line);
        if let Some(source) = source {
            self.answer(source, result.map(|slots| json!(slots)));
        }
    }

    fn answer(&self, source: CommandSource, result: Result<Value>) {
        self.commands.answer(source, result, &self.workers);
    }

    fn diagnose(&mut self, request: Request) {
        let shown = self.supervisor.slots().get(usize::from(request.slot)).and_then(Slot::shown);
        let known = shown.and_then(|shown| Some((shown.id, shown.pid()?)));
        let known = known.filter(|(worker, _)| self.workers.is_connected(*worker));
        let effects = self.diagnoses.begin(request, known);
        self.carry_out(effects);
    }

    // Publishing.

    fn emit(&mut self, event: Event) {
        self.publisher.emit(event, &self.workers, self.moment());
    }

    fn emit_all(&mut self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.emit(event));
    }

    /// Logs a text once in the life of the cluster.
    fn hint(&mut self, level: Level, text: String) {
        self.publisher.hint(Event::notice(level, text), &self.workers, self.moment());
    }

    fn done(&self, id: u32, result: Result<Value>) {
        (self.output)(Output::Done { id, result });
    }

    fn publish_metrics(&mut self) {
        self.emit(Event::MetricsUpdated { metrics: Some(Box::new(view::metrics(&self.memory, now_ms()))) });
    }

    /// Publishes a change of the cluster's health.
    fn publish_condition(&mut self) {
        if self.lifecycle.is_started() && !self.supervisor.is_stopping() {
            let events = self.condition.look(&self.memory);
            self.emit_all(events);
        }
    }

    /// Publishes the circuits that are not closed.
    fn publish_circuits(&self) {
        let (now, now_ms) = (self.clock.elapsed(), now_ms());
        let timestamp = |at: Duration| now_ms + at.saturating_sub(now).as_millis() as u64;
        let circuits = self.health.circuits(timestamp).chain(self.slot_table.circuits(timestamp));
        self.publisher.set_circuits(circuits.collect());
    }
}

/// Never returns for None.
async fn wait_until(clock: Instant, due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep_until(tokio::time::Instant::from_std(clock + due)).await,
        None => std::future::pending().await,
    }
}
