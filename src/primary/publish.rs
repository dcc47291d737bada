//! Publishes each event once: as a log line, to listeners in every process, over the API, and, if it is an error, in
//! the error groups and to the webhook.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::effects::Moment;
use super::inputs::Output;
use super::report::late_ready;
use super::setup::Reporting;
use super::workers::Workers;
use crate::component::Component;
use crate::error_groups::Occurrence;
use crate::error_groups::throttle::{NotificationThrottle, body};
use crate::event::{Event, Level, Subject};
use crate::ipc::control::ToWorker;
use crate::log::{Log, Logs};
use crate::metrics::layout::header;
use crate::metrics::memory::SharedMemory;
use crate::model::{Evaluation, ScalingDecision, ScalingRule, WorkerId};
use crate::observe::{Circuit, ErrorGroups, EventLog};
use crate::sys::local_time::now_ms;
use crate::webhook::Webhook;

/// Maximum number of different hints in the life of a cluster, because their texts may contain values of the program.
const MAX_HINTS: usize = 500;

/// Names in the messages to the webhook.
pub(super) struct Sender {
    pub hostname: String,
    pub script: String,
}

pub(super) struct Publisher {
    log: Arc<Log>,
    memory: SharedMemory,
    output: Rc<dyn Fn(Output)>,
    event_log: EventLog,
    error_groups: ErrorGroups,
    notifications: Option<(NotificationThrottle, Webhook)>,
    sender: Sender,
    startup_timeout: Duration,
    /// Hints that were logged.
    hinted: HashSet<String>,
    /// Workers whose programs listen to the cluster's events.
    followers: HashSet<WorkerId>,
    /// Decisions of the auto-scaling that have not changed the cluster's size yet: the size and the rule.
    decisions: VecDeque<(u32, ScalingRule)>,
}

impl Publisher {
    pub fn new(
        reporting: &Reporting,
        sender: Sender,
        startup_timeout: Duration,
        log: Arc<Log>,
        memory: SharedMemory,
        output: Rc<dyn Fn(Output)>,
    ) -> Self {
        // Not through the loop, which has ended when the last messages are sent.
        let complaints = log.clone();
        let complain = move |text, reason: Option<String>| {
            let members = || reason.map(|reason| Subject::WebhookFailed { reason }.members());
            complaints.say(Component::Monitoring, Level::Warn, text, members, now_ms());
        };
        let target = reporting.webhook.clone();
        let notifications = target.and_then(|target| match Webhook::start(target, complain.clone()) {
            Ok(webhook) => Some((NotificationThrottle::new(reporting.least), webhook)),
            Err(error) => {
                complain(format!("errorHandling.reporting.webhook gets no messages: {error}"), None);
                None
            }
        });
        Self {
            event_log: EventLog::new(memory.get(header::STARTED)),
            error_groups: ErrorGroups::new(reporting.most),
            notifications,
            sender,
            startup_timeout,
            hinted: HashSet::new(),
            followers: HashSet::new(),
            decisions: VecDeque::new(),
            log,
            memory,
            output,
        }
    }

    /// The stores that the API reads.
    pub fn logs(&self) -> (EventLog, ErrorGroups, Logs) {
        (self.event_log.clone(), self.error_groups.clone(), self.log.logs())
    }

    /// Starts or stops sending the cluster's events to the worker.
    pub fn follow(&mut self, worker: WorkerId, follows: bool) {
        if follows {
            self.followers.insert(worker);
        } else {
            self.followers.remove(&worker);
        }
    }

    pub fn emit(&mut self, event: Event, workers: &Workers, moment: Moment) {
        if let Some(late) = late_ready(&event, self.startup_timeout) {
            self.emit(late, workers, moment);
        }
        let timestamp = now_ms();
        if let Some(occurrence) = Occurrence::of(&event) {
            self.record(&occurrence, moment);
        }
        if let Some(evaluation) = event.evaluation() {
            self.decided(evaluation, timestamp);
        }
        if let Event::ClusterScaled { old_count, new_count } = &event {
            self.scaled(*old_count, *new_count, timestamp);
        }
        if !matches!(event, Event::Notice { .. }) {
            self.event_log.add(&event, timestamp);
        }
        // Who reads the line finds the event in the API.
        let (level, line) = event.line();
        self.log.say(event.component(), level, line, || event.members(), timestamp);
        self.send_to_followers(&event, timestamp, workers);
        (self.output)(Output::Event { event, timestamp });
    }

    /// Keeps a decision of the auto-scaling.
    fn decided(&mut self, evaluation: Evaluation, timestamp: u64) {
        if evaluation.is_change() {
            self.decisions.push_back((evaluation.to, evaluation.rule));
            let up = evaluation.to > evaluation.from;
            let cell = if up { header::SCALED_UP } else { header::SCALED_DOWN };
            self.memory.set(cell, self.memory.get(cell) + 1);
        }
        let evaluation = Box::new(evaluation);
        self.event_log.add_scaling(ScalingDecision::Automatic { evaluation, timestamp });
    }

    /// The cluster's size has changed: because of a decision of the auto-scaling, which is kept already, or by hand.
    fn scaled(&mut self, from: u32, to: u32, timestamp: u64) {
        let decided = self.decisions.iter().position(|(size, _)| *size == to);
        let rule = decided.map_or(ScalingRule::Manual, |at| {
            let rule = self.decisions[at].1;
            // Earlier ones have failed, or were overtaken.
            self.decisions.drain(..=at);
            rule
        });
        self.memory.set(header::SCALED_FROM, u64::from(from));
        self.memory.set(header::SCALED_TO, u64::from(to));
        self.memory.set(header::SCALED_BY, rule.code());
        self.memory.set(header::SCALED_AT, timestamp);
        if rule == ScalingRule::Manual {
            self.event_log.add_scaling(ScalingDecision::known(from, to, rule, timestamp));
        }
    }

    /// The options of the auto-scaling that the API shows; None: it is off.
    pub fn set_auto_scaling(&self, options: Option<Value>) {
        self.event_log.set_auto_scaling(options);
    }

    /// Records an error.
    pub fn record(&mut self, occurrence: &Occurrence, moment: Moment) {
        let timestamp = now_ms();
        let noted = self.error_groups.note(occurrence, timestamp);
        let Some((throttle, webhook)) = &mut self.notifications else { return };
        let Some(report) = throttle.consider(occurrence, &noted, moment.now) else { return };
        let message = body(&report, &self.sender.hostname, &self.sender.script);
        if !webhook.post(message) {
            let text = "Too many messages wait for errorHandling.reporting.webhook: one is lost".to_owned();
            self.log.say(Component::Monitoring, Level::Warn, text, || None, timestamp);
        }
    }

    /// Logs a hint once in the life of the cluster.
    pub fn hint(&mut self, hint: Event, workers: &Workers, moment: Moment) {
        if self.hinted.len() == MAX_HINTS || !self.hinted.insert(hint.line().1) {
            return;
        }
        self.emit(hint, workers, moment);
        if self.hinted.len() == MAX_HINTS {
            let text = "There were so many different hints like this one that no further ones are written. What is \
                        refused among messages stands in security.auditLog.";
            self.emit(Event::notice(Level::Warn, text), workers, moment);
        }
    }

    /// Sets the circuits that are not closed, for the API.
    pub fn set_circuits(&self, circuits: Vec<Circuit>) {
        self.error_groups.set_circuits(circuits);
    }

    /// Sends an event to the workers whose programs listen.
    fn send_to_followers(&self, event: &Event, timestamp: u64, workers: &Workers) {
        if self.followers.is_empty() {
            return;
        }
        // Each process reads the metrics itself: with many series they exceed the maximum message size.
        let read = Event::MetricsUpdated { metrics: None };
        let event = if matches!(event, Event::MetricsUpdated { .. }) { &read } else { event };
        let published: Value = json!({ "event": event, "timestamp": timestamp });
        for worker in &self.followers {
            workers.send(*worker, ToWorker::Event { event: published.clone() });
        }
    }
}
