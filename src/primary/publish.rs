//! What happened is told once: as a log line, as an event of every process that listens, over the API, and, when
//! something went wrong, in the table of incidents and to the webhook.

use std::sync::Arc;

use serde_json::{Value, json};

use super::inputs::Output;
use super::run::Cluster;
use super::setup::Reporting;
use crate::component::Component;
use crate::error_groups::Occurrence;
use crate::error_groups::throttle::{NotificationThrottle, body};
use crate::event::{Event, Level};
use crate::health::ejection::State;
use crate::log::Log;
use crate::metrics::layout::header;
use crate::observe::{Circuit, ErrorGroups, EventLog};
use crate::supervisor::{ActiveWorker, Slot};
use crate::sys::local_time::now_ms;
use crate::webhook::Webhook;

/// What was told, for who asks later.
pub(super) struct Published {
    pub event_log: EventLog,
    pub error_groups: ErrorGroups,
    messages: Option<(NotificationThrottle, Webhook)>,
}

impl Published {
    pub fn new(reporting: &Reporting, epoch: u64, log: &Arc<Log>) -> Self {
        // Not by way of the loop, which has ended when the last messages are tried.
        let log = log.clone();
        let complain = move |text| log.say(Component::Monitoring, Level::Warn, text, None, now_ms());
        let target = reporting.webhook.clone();
        let messages = target.and_then(|target| match Webhook::start(target, complain.clone()) {
            Ok(webhook) => Some((NotificationThrottle::new(reporting.least), webhook)),
            Err(error) => {
                complain(format!("errorHandling.reporting.webhook gets no messages: {error}"));
                None
            }
        });
        Self { event_log: EventLog::new(epoch), error_groups: ErrorGroups::new(reporting.most), messages }
    }
}

impl Cluster {
    pub(super) fn emit(&mut self, event: Event) {
        self.judge_start(&event);
        let timestamp = now_ms();
        let (level, line) = event.line();
        self.log.say(event.component(), level, line, event.members(), timestamp);
        if let Some(occurrence) = Occurrence::of(&event) {
            self.note(&occurrence, timestamp);
        }
        if let Event::ClusterScaled { old_count, new_count } = &event {
            self.memory.set(header::SCALED_FROM, u64::from(*old_count));
            self.memory.set(header::SCALED_TO, u64::from(*new_count));
            self.memory.set(header::SCALED_AT, timestamp);
        }
        if !matches!(event, Event::Notice { .. }) {
            self.published.event_log.add(&event, timestamp);
        }
        self.publish_to_followers(&event, timestamp);
        self.put_out(Output::Event { event, timestamp });
    }

    /// Something went wrong.
    pub(super) fn note(&mut self, occurrence: &Occurrence, timestamp: u64) {
        let noted = self.published.error_groups.note(occurrence, timestamp);
        let now = self.elapsed();
        let Some((throttle, webhook)) = &mut self.published.messages else { return };
        let Some(report) = throttle.consider(occurrence, &noted, now) else { return };
        let message = body(&report, &self.setup.log.style.hostname, self.setup.launch.script_name());
        if !webhook.post(message) {
            let text = "Too many messages wait for errorHandling.reporting.webhook: one is lost".to_owned();
            self.log.say(Component::Monitoring, Level::Warn, text, None, timestamp);
        }
    }

    /// The circuits that are not closed, for who asks.
    pub(super) fn publish_circuits(&self) {
        let (now, now_ms) = (self.elapsed(), now_ms());
        let at = |until: std::time::Duration| now_ms + until.saturating_sub(now).as_millis() as u64;
        let ejected = self.health.circuits().into_iter().filter_map(|(worker, state)| {
            let (state, until) = match state {
                State::Closed => return None,
                State::Open { until } => ("open", until),
                State::HalfOpen { until } => ("half-open", until),
            };
            let until = Some(at(until));
            Some(Circuit { worker_id: worker.to_string(), kind: "ejection", state, until })
        });
        let restart = |slot: &Slot| {
            let (state, until) = match slot.active {
                ActiveWorker::CircuitOpen { until } => ("open", Some(at(until))),
                ActiveWorker::Running(_) if slot.trial => ("half-open", None),
                ActiveWorker::Running(_) | ActiveWorker::Waiting { .. } | ActiveWorker::Vacant => {
                    return None;
                }
            };
            Some(Circuit { worker_id: slot.number.to_string(), kind: "restart", state, until })
        };
        let restarts = self.supervisor.slots().iter().filter_map(restart);
        self.published.error_groups.set_circuits(ejected.chain(restarts).collect());
    }

    /// An event for the workers whose programs listen.
    fn publish_to_followers(&self, event: &Event, timestamp: u64) {
        if self.followers.is_empty() {
            return;
        }
        // Each process reads the metrics itself: with many series they are longer than a message may be.
        let read = Event::MetricsUpdated { metrics: None };
        let event = if matches!(event, Event::MetricsUpdated { .. }) { &read } else { event };
        let published: Value = json!({ "event": event, "timestamp": timestamp });
        for control in self.followers.iter().filter_map(|worker| self.workers.control(*worker)) {
            control.send(crate::ipc::control::ToWorker::Event { event: published.clone() });
        }
    }
}
