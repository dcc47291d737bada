//! Asking the workers whether they are well, and what follows from it: `health` judges, this drives it.

use std::collections::HashMap;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde_json::{Value, json};

use super::inputs::Input;
use super::run::Cluster;
use super::setup::Checks;
use crate::component::Component;
use crate::error_groups::{Class, Occurrence};
use crate::event::{Event, Level, head};
use crate::health::ejection::{Breaker, Change, Policy, Sample, State};
use crate::health::probe;
use crate::health::verdict::{Checker, Order, Verdict};
use crate::ipc::control::{MAX_FAILURE, Protocol, ToWorker};
use crate::metrics::layout::{page, row};
use crate::metrics::memory::Text;
use crate::metrics::view;
use crate::model::{CheckStatus, ClusterStatus, Condition, WorkerId};
use crate::supervisor::Fact;
use crate::sys::local_time::now_ms;

/// Between two looks at what the workers answer.
const LOOK: Duration = Duration::from_secs(1);
/// What is known of a worker that has its slot.
struct HealthState {
    checker: Option<Checker>,
    check: Option<UnderWay>,
    /// Others get its new connections.
    avoided: bool,
    reason: Option<String>,
    metrics: Option<Value>,
    /// Milliseconds since 1970.
    checked: u64,
}

/// A check of which not everything is known yet.
struct UnderWay {
    number: u32,
    /// In which the worker's server is asked, if it is.
    protocol: Option<Protocol>,
    /// The worker itself has answered.
    answered: bool,
    /// What its server answered: why that will not do.
    probed: Option<Result<(), String>>,
}

pub(super) struct Health {
    checks: Option<Checks>,
    breaker: Option<Breaker>,
    next_look: Duration,
    states: HashMap<WorkerId, HealthState>,
    /// What workers' first HTTP servers speak.
    protocols: HashMap<WorkerId, Protocol>,
    /// How the cluster was when it was told last.
    published: Option<Condition>,
}

impl Health {
    pub fn new(checks: Option<Checks>, ejection: Option<Policy>) -> Self {
        Self {
            checks,
            breaker: ejection.map(Breaker::new),
            next_look: LOOK,
            states: HashMap::new(),
            protocols: HashMap::new(),
            published: None,
        }
    }

    /// When the next look is due.
    pub fn due(&self) -> Option<Duration> {
        let checks = self.states.values().filter_map(|state| Some(state.checker.as_ref()?.due()));
        // One that is left alone may be out still, and is to come back.
        let is_out = |breaker: &Breaker| self.states.len() > 1 || !breaker.open().is_empty();
        let look = self.breaker.as_ref().is_some_and(is_out).then_some(self.next_look);
        checks.chain(look).min()
    }

    pub fn speaks(&mut self, worker: WorkerId, protocol: Option<Protocol>) {
        match protocol {
            Some(protocol) => drop(self.protocols.insert(worker, protocol)),
            None => drop(self.protocols.remove(&worker)),
        }
    }

    /// The worker leaves: nobody asks it any more.
    pub fn deregister(&mut self, worker: WorkerId) {
        self.states.remove(&worker);
    }

    pub fn forget(&mut self, worker: WorkerId) {
        self.deregister(worker);
        self.protocols.remove(&worker);
        if let Some(breaker) = &mut self.breaker {
            breaker.forget(worker);
        }
    }

    /// Circuits of workers that are not closed, and when that changes on the loop's clock.
    pub fn circuits(&self) -> Vec<(WorkerId, State)> {
        self.breaker.as_ref().map_or(Vec::new(), Breaker::open)
    }

    /// Is the worker left out because of what it answers?
    fn is_ejected(&self, worker: WorkerId) -> bool {
        let state = self.breaker.as_ref().map(|breaker| breaker.state(worker));
        matches!(state, Some(State::Open { .. }))
    }

    fn status(&self, worker: WorkerId) -> CheckStatus {
        let Some(state) = self.states.get(&worker) else { return CheckStatus::Unknown };
        match &state.checker {
            Some(checker) if checker.is_unhealthy() => CheckStatus::Unhealthy,
            _ if self.is_ejected(worker) => CheckStatus::Ejected,
            Some(checker) if checker.failures() > 0 => CheckStatus::Failing,
            Some(_) if state.checked > 0 => CheckStatus::Healthy,
            Some(_) | None => CheckStatus::Unknown,
        }
    }
}

impl Cluster {
    /// A worker has its slot: from now on it is asked.
    pub(super) fn begin_checks(&mut self, worker: WorkerId) {
        let now = self.elapsed();
        let checks = self.health.checks.as_ref();
        let state = HealthState {
            checker: checks.map(|checks| Checker::new(&checks.policy, now)),
            check: None,
            avoided: false,
            reason: None,
            metrics: None,
            checked: 0,
        };
        self.health.states.insert(worker, state);
        self.publish_health(worker);
    }

    /// Does what is due.
    pub(super) fn look_after_health(&mut self) {
        let now = self.elapsed();
        let workers: Vec<WorkerId> = self.health.states.keys().copied().collect();
        for worker in workers {
            let checker = self.health.states.get_mut(&worker).and_then(|state| state.checker.as_mut());
            match checker.and_then(|checker| checker.look(now)) {
                Some(Order::Check(number)) => self.ask(worker, number),
                Some(Order::TooLate(number)) => self.too_late(worker, number),
                None => {}
            }
        }
        if now >= self.health.next_look {
            self.health.next_look = now + LOOK;
            self.look_at_answers(now);
        }
    }

    fn ask(&mut self, worker: WorkerId, number: u32) {
        let door = self.door_to(worker);
        let Some(checks) = &self.health.checks else { return };
        let Some(control) = self.workers.control(worker) else { return };
        let Some(state) = self.health.states.get_mut(&worker) else { return };
        let protocol = door.as_ref().map(|(protocol, _)| *protocol);
        let probed = protocol.is_none().then_some(Ok(()));
        state.check = Some(UnderWay { number, protocol, answered: false, probed });
        let Some((protocol, (ours, theirs))) = door else {
            return control.send(ToWorker::Check { number, protocol: None });
        };
        control.answer(ToWorker::Check { number, protocol: Some(protocol) }, 0, Some(theirs));
        let (inputs, path, time) = (self.inputs.clone(), checks.path.clone(), checks.policy.timeout);
        tokio::spawn(async move {
            let result = probe::ask(ours, protocol, &path, time).await;
            let _ = inputs.send(Input::Probed { worker, number, result });
        });
    }

    /// A connection on which the worker's server can be asked. None: there is only the event loop to ask.
    fn door_to(&mut self, worker: WorkerId) -> Option<(Protocol, (TcpStream, OwnedFd))> {
        let protocol = *self.health.protocols.get(&worker)?;
        match probe::pair() {
            Ok(pair) => Some((protocol, pair)),
            Err(error) => {
                self.say_once(format!("No worker's server can be asked for its health: {error}"));
                None
            }
        }
    }

    fn too_late(&mut self, worker: WorkerId, number: u32) {
        let Some(checks) = &self.health.checks else { return };
        let check = self.health.states.get(&worker).and_then(|state| state.check.as_ref());
        let who = match check {
            Some(UnderWay { answered: true, .. }) => format!("GET {}", checks.path),
            _ => "its event loop, or its customCheck".to_owned(),
        };
        let reason = format!("{who} gave no answer in {} ms", checks.policy.timeout.as_millis());
        self.on_verdict(worker, number, Some(reason));
    }

    /// The worker's server has answered, or not.
    pub(super) fn probed(&mut self, worker: WorkerId, number: u32, result: Result<u16, String>) {
        let Some(checks) = &self.health.checks else { return };
        let (path, expected) = (&checks.path, checks.expected);
        let failure = match (result, expected) {
            (Ok(status), Some(expected)) if status != expected => {
                Some(format!("GET {path} answered {status}, expected {expected}"))
            }
            (Ok(_), _) => None,
            (Err(error), _) => Some(format!("GET {path}: {error}")),
        };
        let probed = failure.map_or(Ok(()), Err);
        self.learned(worker, number, |check| check.probed = Some(probed));
    }

    /// The worker itself has answered.
    pub(super) fn checked(
        &mut self,
        worker: WorkerId,
        number: u32,
        failure: Option<String>,
        metrics: Option<Value>,
    ) {
        if let Some(state) = self.health.states.get_mut(&worker)
            && metrics.is_some()
        {
            state.metrics = metrics;
        }
        match failure {
            Some(reason) => self.on_verdict(worker, number, Some(reason)),
            None => self.learned(worker, number, |check| check.answered = true),
        }
    }

    /// Judges once everything is known. What the worker said last is known when it has answered: whether it still had
    /// the server that was asked.
    fn learned(&mut self, worker: WorkerId, number: u32, note: impl FnOnce(&mut UnderWay)) {
        let check = self.health.states.get_mut(&worker).and_then(|state| state.check.as_mut());
        let Some(check) = check.filter(|check| check.number == number) else { return };
        note(check);
        let (true, Some(probed)) = (check.answered, &check.probed) else { return };
        let is_moot = self.health.protocols.get(&worker).copied() != check.protocol;
        match probed.clone() {
            Err(reason) if !is_moot => self.on_verdict(worker, number, Some(reason)),
            Err(_) | Ok(()) => self.on_verdict(worker, number, None),
        }
    }

    fn on_verdict(&mut self, worker: WorkerId, number: u32, failure: Option<String>) {
        let now = self.elapsed();
        let Some(state) = self.health.states.get_mut(&worker) else { return };
        let Some(checker) = &mut state.checker else { return };
        let was_unhealthy = checker.is_unhealthy();
        let Some(verdict) = checker.over(number, failure.is_none(), now) else { return };
        let failures = checker.failures();
        state.check = None;
        state.checked = now_ms();
        state.reason = failure.map(|reason| head(&reason, MAX_FAILURE).to_owned());
        let reason = state.reason.clone().unwrap_or_default();
        match verdict {
            Verdict::Well => {}
            Verdict::Failing => {
                let text = format!("Worker {worker} failed a health check ({failures} in a row): {reason}");
                self.emit(Event::about(Component::Health, Level::Warn, text));
                let (class, severity, worker) = (Class::HealthCheck, Level::Warn, Some(worker.to_string()));
                let occurrence = Occurrence { class, severity, message: reason, worker, stack: None };
                self.note(&occurrence, now_ms());
            }
            Verdict::Unhealthy if was_unhealthy => {}
            Verdict::Unhealthy => {
                let times = if failures == 1 {
                    "a health check".into()
                } else {
                    format!("{failures} health checks in a row")
                };
                let reason = format!("failed {times}: {reason}");
                let replaced = self.will_replace();
                self.emit(Event::WorkerUnhealthy {
                    worker_id: worker.to_string(),
                    reason,
                    replaced,
                    stack: None,
                });
            }
            Verdict::Recovered => {
                let text = format!("Worker {worker} passes its health checks again");
                self.emit(Event::about(Component::Health, Level::Info, text));
            }
        }
        self.consider(worker);
        if verdict == Verdict::Unhealthy {
            self.advance(Fact::Unhealthy { worker });
        }
    }

    /// After anything that was learned of a worker: may it have new connections? Is the cluster well?
    fn consider(&mut self, worker: WorkerId) {
        let is_well = self.health.status(worker).is_good();
        self.publish_health(worker);
        let Some(state) = self.health.states.get_mut(&worker) else { return };
        let avoid = !is_well && self.setup.dispatch.health_aware;
        if state.avoided != avoid {
            state.avoided = avoid;
            self.dispatcher.exclude(worker, avoid);
        }
        self.publish_cluster_health();
    }

    /// Writes what is known of a worker where every process reads it.
    fn publish_health(&mut self, worker: WorkerId) {
        let status = self.health.status(worker);
        let Some(state) = self.health.states.get(&worker) else { return };
        let failures = state.checker.as_ref().map_or(0, Checker::failures);
        let note = json!({ "reason": state.reason, "metrics": state.metrics }).to_string();
        // What it is made of is bounded where it comes from.
        let fits = self.memory.write(Text::Note(worker.slot), note.as_bytes());
        debug_assert!(fits);
        let set = |cell, value| self.memory.set_row(worker.slot, cell, value);
        set(row::HEALTH, status as u64);
        set(row::FAILURES, u64::from(failures));
        set(row::CHECKED_AT, state.checked);
        set(row::CHECKED_GENERATION, u64::from(worker.generation));
    }

    /// Compares what the workers answer.
    fn look_at_answers(&mut self, now: Duration) {
        let workers: Vec<WorkerId> = self.health.states.keys().copied().collect();
        let samples: Vec<Sample> = workers.iter().map(|worker| self.sample(*worker)).collect();
        let Some(breaker) = &mut self.health.breaker else { return };
        for change in breaker.look(&samples, now) {
            match change {
                Change::Out { worker, streak, rate, time } => {
                    let (percent, seconds) = (rate * 100.0, time.as_secs_f64());
                    let reason = format!(
                        "its last {streak} answers were 5xx, {percent:.0} % lately, clearly more than the others'; new \
                         connections go to the others for {seconds} s"
                    );
                    self.note_ejection(worker, Some(reason));
                }
                Change::Back { worker } => {
                    self.note_ejection(worker, None);
                    let text = format!("Worker {worker} gets connections again, on trial");
                    self.emit(Event::about(Component::Health, Level::Info, text));
                }
            }
        }
        self.publish_circuits();
    }

    fn note_ejection(&mut self, worker: WorkerId, reason: Option<String>) {
        let Some(state) = self.health.states.get_mut(&worker) else { return };
        state.reason = reason.clone();
        if let Some(reason) = reason {
            let worker_id = worker.slot.to_string();
            self.emit(Event::WorkerUnhealthy { worker_id, reason, replaced: false, stack: None });
        }
        self.consider(worker);
    }

    fn sample(&self, worker: WorkerId) -> Sample {
        let page = self.memory.page(worker);
        Sample {
            worker: (worker),
            responses: page.float(page::RESPONSES),
            failed: page.float(page::FAILED),
            streak: page.float(page::STREAK),
        }
    }

    /// Tells when the cluster's health is another than it was: who is not well, and what that means.
    pub(super) fn publish_cluster_health(&mut self) {
        if !self.is_started || self.supervisor.is_stopping() {
            return;
        }
        let now = view::condition(&self.memory);
        let before = self.health.published.replace(now.clone());
        if before.as_ref() == Some(&now) || (before.is_none() && now.status == ClusterStatus::Healthy) {
            return;
        }
        let was_critical = before.is_some_and(|before| before.status == ClusterStatus::Critical);
        if now.status == ClusterStatus::Critical && !was_critical {
            let Condition { well, all, .. } = now;
            let message = format!("Less than half of the workers are well: {well} of {all}");
            self.emit(Event::Alert { severity: Level::Error, message });
        }
        let details = view::health(&self.memory);
        self.emit(Event::HealthChanged { status: now.status, details });
    }
}

#[cfg(test)]
mod tests;
