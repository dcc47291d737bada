//! Health checks of the workers, comparison of their responses, and the consequences. `crate::health` decides; this
//! module keeps the state of each worker, publishes it to every process, and returns effects.

mod condition;
mod hung_workers;
mod unresponsive;

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::effects::{Effect, Effects, Moment};
use super::setup::Checks;
use crate::component::Component;
use crate::error_groups::{Class, Occurrence};
use crate::event::{Event, Level, Recovery, Subject, head};
use crate::health::ejection::{Breaker, Change, Policy, Sample, State};
use crate::health::verdict::{CheckAction, Checker, Verdict};
use crate::ipc::control::{MAX_FAILURE, Protocol};
use crate::metrics::layout::{page, row};
use crate::metrics::memory::{SharedMemory, Text};
use crate::model::{CheckStatus, WorkerId};
use crate::observe::Circuit;
use crate::supervisor::Fact;
use crate::sys::local_time::now_ms;

pub use condition::ClusterCondition;
pub use hung_workers::HungWorkers;
pub use unresponsive::Unresponsive;

/// Interval between two comparisons of the workers' responses.
const LOOK: Duration = Duration::from_secs(1);

/// The health state of a worker that has its slot.
struct HealthState {
    checker: Option<Checker>,
    check: Option<UnderWay>,
    /// It gets no new connections.
    is_excluded: bool,
    reason: Option<String>,
    metrics: Option<Value>,
    /// Milliseconds since 1970.
    checked: u64,
}

/// A check whose result is not complete yet.
struct UnderWay {
    number: u32,
    /// The protocol of the probe, if the worker's server is probed.
    protocol: Option<Protocol>,
    /// The worker itself has answered.
    answered: bool,
    /// The result of the probe; the error says why it failed.
    probed: Option<Result<(), String>>,
}

pub struct Health {
    checks: Option<Checks>,
    breaker: Option<Breaker>,
    /// Workers that are not well get no new connections.
    excludes: bool,
    memory: SharedMemory,
    next_look: Duration,
    states: HashMap<WorkerId, HealthState>,
    /// The protocol of each worker's first HTTP server.
    protocols: HashMap<WorkerId, Protocol>,
}

impl Health {
    /// `excludes`: workers that are not well get no new connections.
    pub fn new(
        checks: Option<Checks>,
        ejection: Option<Policy>,
        excludes: bool,
        memory: SharedMemory,
    ) -> Self {
        Self {
            checks,
            breaker: ejection.map(Breaker::new),
            excludes,
            memory,
            next_look: LOOK,
            states: HashMap::new(),
            protocols: HashMap::new(),
        }
    }

    /// When the next look is due.
    pub fn due(&self) -> Option<Duration> {
        let checks = self.states.values().filter_map(|state| Some(state.checker.as_ref()?.due()));
        // The only remaining worker may still be excluded, and has to be included again.
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

    /// The worker drains: it is no longer checked.
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

    /// The workers' circuits that are not closed. `timestamp`: of a time on the loop's clock.
    pub fn circuits(&self, timestamp: impl Fn(Duration) -> u64) -> impl Iterator<Item = Circuit> {
        let circuits = self.breaker.as_ref().map_or(Vec::new(), Breaker::open);
        circuits.into_iter().filter_map(move |(worker, state)| {
            let (state, until) = match state {
                State::Closed => return None,
                State::Open { until } => ("open", until),
                State::HalfOpen { until } => ("half-open", until),
            };
            let until = Some(timestamp(until));
            Some(Circuit { worker_id: worker.to_string(), kind: "ejection", state, until })
        })
    }

    /// Whether the worker is ejected because of its responses.
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

    /// A worker has its slot: from now on it is checked.
    pub fn begin(&mut self, worker: WorkerId, now: Duration) {
        let state = HealthState {
            checker: self.checks.as_ref().map(|checks| Checker::new(&checks.policy, now)),
            check: None,
            is_excluded: false,
            reason: None,
            metrics: None,
            checked: 0,
        };
        self.states.insert(worker, state);
        self.publish(worker);
    }

    /// Does what is due.
    pub fn look(&mut self, moment: Moment) -> Effects {
        let workers: Vec<WorkerId> = self.states.keys().copied().collect();
        let mut effects = Effects::new();
        for worker in workers {
            let checker = self.states.get_mut(&worker).and_then(|state| state.checker.as_mut());
            match checker.and_then(|checker| checker.look(moment.now)) {
                Some(CheckAction::Check(number)) => effects.extend(self.ask(worker, number)),
                Some(CheckAction::TooLate(number)) => effects.extend(self.too_late(worker, number, moment)),
                None => {}
            }
        }
        if moment.now >= self.next_look {
            self.next_look = moment.now + LOOK;
            effects.extend(self.look_at_answers(moment.now));
        }
        effects
    }

    fn ask(&mut self, worker: WorkerId, number: u32) -> Option<Effect> {
        let protocol = self.protocols.get(&worker).copied();
        let probed = protocol.is_none().then_some(Ok(()));
        self.states.get_mut(&worker)?.check = Some(UnderWay { number, protocol, answered: false, probed });
        Some(Effect::Check { worker, number, protocol })
    }

    /// This check covers only the event loop: no connection to the worker's server could be opened.
    pub fn not_probed(&mut self, worker: WorkerId, number: u32) {
        let check = self.states.get_mut(&worker).and_then(|state| state.check.as_mut());
        if let Some(check) = check.filter(|check| check.number == number) {
            (check.protocol, check.probed) = (None, Some(Ok(())));
        }
    }

    /// The path and the timeout of the probes of workers' servers.
    pub fn probe(&self) -> Option<(&str, Duration)> {
        self.checks.as_ref().map(|checks| (checks.path.as_str(), checks.policy.timeout))
    }

    fn too_late(&mut self, worker: WorkerId, number: u32, moment: Moment) -> Effects {
        let Some(checks) = &self.checks else { return Effects::new() };
        let check = self.states.get(&worker).and_then(|state| state.check.as_ref());
        let who = match check {
            Some(UnderWay { answered: true, .. }) => format!("GET {}", checks.path),
            _ => "its event loop, or its customCheck".to_owned(),
        };
        let reason = format!("{who} did not respond within {} ms", checks.policy.timeout.as_millis());
        self.judge(worker, number, Some(reason), moment)
    }

    /// Handles the result of the probe of the worker's server.
    pub fn probed(
        &mut self,
        worker: WorkerId,
        number: u32,
        result: Result<u16, String>,
        moment: Moment,
    ) -> Effects {
        let Some(checks) = &self.checks else { return Effects::new() };
        let (path, expected) = (&checks.path, checks.expected);
        let failure = match (result, expected) {
            (Ok(status), Some(expected)) if status != expected => {
                Some(format!("GET {path} answered {status}, expected {expected}"))
            }
            (Ok(_), _) => None,
            (Err(error), _) => Some(format!("GET {path}: {error}")),
        };
        let probed = failure.map_or(Ok(()), Err);
        self.learned(worker, number, moment, |check| check.probed = Some(probed))
    }

    /// The worker itself has answered.
    pub fn checked(
        &mut self,
        worker: WorkerId,
        number: u32,
        failure: Option<String>,
        metrics: Option<Value>,
        moment: Moment,
    ) -> Effects {
        if let Some(state) = self.states.get_mut(&worker)
            && metrics.is_some()
        {
            state.metrics = metrics;
        }
        match failure {
            Some(reason) => self.judge(worker, number, Some(reason), moment),
            None => self.learned(worker, number, moment, |check| check.answered = true),
        }
    }

    /// Decides once the check is complete. When the worker has answered, it is known whether it still had the server
    /// that was probed.
    fn learned(
        &mut self,
        worker: WorkerId,
        number: u32,
        moment: Moment,
        note: impl FnOnce(&mut UnderWay),
    ) -> Effects {
        let check = self.states.get_mut(&worker).and_then(|state| state.check.as_mut());
        let Some(check) = check.filter(|check| check.number == number) else { return Effects::new() };
        note(check);
        let (true, Some(probed)) = (check.answered, &check.probed) else { return Effects::new() };
        let is_moot = self.protocols.get(&worker).copied() != check.protocol;
        match probed.clone() {
            Err(reason) if !is_moot => self.judge(worker, number, Some(reason), moment),
            Err(_) | Ok(()) => self.judge(worker, number, None, moment),
        }
    }

    fn judge(&mut self, worker: WorkerId, number: u32, failure: Option<String>, moment: Moment) -> Effects {
        let Some(state) = self.states.get_mut(&worker) else { return Effects::new() };
        let Some(checker) = &mut state.checker else { return Effects::new() };
        let was_unhealthy = checker.is_unhealthy();
        let Some(verdict) = checker.over(number, failure.is_none(), moment.now) else {
            return Effects::new();
        };
        let failures = checker.failures();
        state.check = None;
        state.checked = now_ms();
        state.reason = failure.map(|reason| head(&reason, MAX_FAILURE).to_owned());
        let reason = state.reason.clone().unwrap_or_default();
        let mut effects = match verdict {
            Verdict::Failing => failing(worker, failures, reason),
            Verdict::Unhealthy if !was_unhealthy => {
                vec![unhealthy(worker, failures, &reason, moment.replaces)]
            }
            Verdict::Recovered => {
                let text = format!("Worker {worker} passes its health checks again");
                vec![recovered(worker, Recovery::HealthChecks, text)]
            }
            Verdict::Well | Verdict::Unhealthy => Effects::new(),
        };
        effects.extend(self.consider(worker));
        if verdict == Verdict::Unhealthy {
            effects.push(Effect::Advance(Fact::Unhealthy { worker }));
        }
        effects
    }

    /// Decides after each change whether the worker gets new connections, and whether the cluster's health changes.
    fn consider(&mut self, worker: WorkerId) -> Effects {
        let is_well = self.status(worker).is_good();
        self.publish(worker);
        let Some(state) = self.states.get_mut(&worker) else { return Effects::new() };
        let excluded = !is_well && self.excludes;
        let was_excluded = std::mem::replace(&mut state.is_excluded, excluded);
        let change = (was_excluded != excluded).then_some(Effect::Exclude { worker, excluded });
        change.into_iter().chain([Effect::HealthChanged]).collect()
    }

    /// Writes a worker's state to shared memory.
    fn publish(&self, worker: WorkerId) {
        let status = self.status(worker);
        let Some(state) = self.states.get(&worker) else { return };
        let failures = state.checker.as_ref().map_or(0, Checker::failures);
        let note = json!({ "reason": state.reason, "metrics": state.metrics }).to_string();
        // The length of its parts is limited at their source.
        let fits = self.memory.write(Text::Note(worker.slot), note.as_bytes());
        debug_assert!(fits);
        let set = |cell, value| self.memory.set_row(worker.slot, cell, value);
        set(row::HEALTH, status as u64);
        set(row::FAILURES, u64::from(failures));
        set(row::CHECKED_AT, state.checked);
        set(row::CHECKED_GENERATION, u64::from(worker.generation));
    }

    /// Compares the workers' responses.
    fn look_at_answers(&mut self, now: Duration) -> Effects {
        let samples: Vec<Sample> = self.states.keys().map(|worker| self.sample(*worker)).collect();
        let Some(breaker) = &mut self.breaker else { return Effects::new() };
        let mut effects = Effects::new();
        for change in breaker.look(&samples, now) {
            match change {
                Change::Out { worker, streak, rate, time } => {
                    let (percent, seconds) = (rate * 100.0, time.as_secs_f64());
                    let reason = format!(
                        "its last {streak} answers were 5xx, {percent:.0} % lately, clearly more than the others'; new \
                         connections go to the others for {seconds} s"
                    );
                    effects.extend(self.note_ejection(worker, Some(reason)));
                }
                Change::Back { worker } => {
                    effects.extend(self.note_ejection(worker, None));
                    let text = format!("Worker {worker} gets connections again, on trial");
                    effects.push(recovered(worker, Recovery::Ejection, text));
                }
            }
        }
        effects.push(Effect::CircuitsChanged);
        effects
    }

    fn note_ejection(&mut self, worker: WorkerId, reason: Option<String>) -> Effects {
        let Some(state) = self.states.get_mut(&worker) else { return Effects::new() };
        state.reason = reason.clone();
        let worker_id = worker.slot.to_string();
        let event =
            reason.map(|reason| Event::WorkerUnhealthy { worker_id, reason, replaced: false, stack: None });
        event.map(Effect::Emit).into_iter().chain(self.consider(worker)).collect()
    }

    fn sample(&self, worker: WorkerId) -> Sample {
        let page = self.memory.page(worker);
        Sample {
            worker,
            responses: page.float(page::RESPONSES),
            failed: page.float(page::FAILED),
            streak: page.float(page::STREAK),
        }
    }
}

fn failing(worker: WorkerId, failures: u32, reason: String) -> Effects {
    let text = format!("Worker {worker} failed a health check ({failures} in a row): {reason}");
    let (class, severity, worker) = (Class::HealthCheck, Level::Warn, worker.to_string());
    let subject = Subject::WorkerCheckFailed { worker: worker.clone(), failures };
    let occurrence = Occurrence { class, severity, message: reason, worker: Some(worker), stack: None };
    let event = Event::about(Component::Health, Level::Warn, text).with(subject);
    vec![Effect::Emit(event), Effect::Record(occurrence)]
}

fn recovered(worker: WorkerId, from: Recovery, text: String) -> Effect {
    let subject = Subject::WorkerRecovered { worker: worker.to_string(), from };
    Effect::Emit(Event::about(Component::Health, Level::Info, text).with(subject))
}

fn unhealthy(worker: WorkerId, failures: u32, reason: &str, replaced: bool) -> Effect {
    let times =
        if failures == 1 { "a health check".into() } else { format!("{failures} health checks in a row") };
    let reason = format!("failed {times}: {reason}");
    Effect::Emit(Event::WorkerUnhealthy { worker_id: worker.to_string(), reason, replaced, stack: None })
}

#[cfg(test)]
mod tests;
