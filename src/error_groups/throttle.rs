//! Throttling of notifications: a new error group is reported at once, later errors in sums; never more than a few
//! messages per minute.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Noted, Occurrence};
use crate::event::Level;

/// Minimum time between two messages about one group.
const QUIET: Duration = Duration::from_secs(60);
/// Maximum number of messages in any minute.
const MAX_PER_MINUTE: usize = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub occurrence: Occurrence,
    pub fingerprint: String,
    /// Errors of this group so far.
    pub times: u64,
    /// Errors without a message since the last one.
    pub suppressed: u64,
}

#[derive(Debug)]
pub struct NotificationThrottle {
    least: Level,
    /// By group: when the last message was sent.
    notified: HashMap<String, Duration>,
    sent: Vec<Duration>,
    suppressed: u64,
}

impl NotificationThrottle {
    pub fn new(least: Level) -> Self {
        Self { least, notified: HashMap::new(), sent: Vec::new(), suppressed: 0 }
    }

    /// The message to send now because of this error, if any.
    pub fn consider(&mut self, occurrence: &Occurrence, noted: &Noted, now: Duration) -> Option<Report> {
        if occurrence.severity < self.least {
            return None;
        }
        self.sent.retain(|at| now.saturating_sub(*at) < MINUTE);
        self.notified.retain(|_, at| now.saturating_sub(*at) < QUIET);
        if self.notified.contains_key(&noted.fingerprint) || self.sent.len() >= MAX_PER_MINUTE {
            self.suppressed += 1;
            return None;
        }
        self.sent.push(now);
        self.notified.insert(noted.fingerprint.clone(), now);
        Some(Report {
            occurrence: occurrence.clone(),
            fingerprint: noted.fingerprint.clone(),
            times: noted.count,
            suppressed: std::mem::take(&mut self.suppressed),
        })
    }
}

/// The JSON body in the format of Slack's incoming webhooks.
pub fn body(report: &Report, host: &str, script: &str) -> Value {
    let Report { occurrence, fingerprint, times, suppressed } = report;
    let worker = occurrence.worker.as_ref().map_or(String::new(), |id| format!("worker {id}: "));
    let severity = match occurrence.severity {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error | Level::Silent => "error",
    };
    let color = match occurrence.severity {
        Level::Error | Level::Silent => "danger",
        Level::Warn => "warning",
        Level::Debug | Level::Info => "good",
    };
    let field = |title: &str, value: Value| json!({ "title": title, "value": value, "short": true });
    let mut fields = vec![field("class", json!(occurrence.class)), field("times", json!(times))];
    if *suppressed > 0 {
        fields.push(field("more without a message", json!(suppressed)));
    }
    let text = escaped(&format!("[{severity}] {script} on {host}: {worker}{}", occurrence.message));
    json!({
        "text": text,
        "attachments": [{
            "fallback": text,
            "color": color,
            "fields": fields,
            "text": occurrence.stack.as_deref().map(escaped),
            "footer": format!("drover {fingerprint}"),
        }],
    })
}

/// Escapes Slack's three special characters, so that text from a client cannot create links or mentions.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The delay before this retry, counted from 0; None: give up.
pub fn retry_after(retry: u32, most: u32, initial: Duration, longest: Duration) -> Option<Duration> {
    (retry < most).then(|| initial.saturating_mul(1 << retry.min(30)).min(longest))
}

#[cfg(test)]
mod tests {
    use super::super::Class;
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn occurrence(severity: Level) -> Occurrence {
        let (worker, stack) = (Some("2".to_owned()), None);
        Occurrence { class: Class::WorkerDeath, severity, message: "ended".into(), worker, stack }
    }

    fn noted(fingerprint: &str, count: u64) -> Noted {
        Noted { fingerprint: fingerprint.into(), count }
    }

    #[test]
    fn a_kind_is_sent_at_once_and_again_after_a_minute_with_its_sum() {
        let mut throttle = NotificationThrottle::new(Level::Error);
        let error = occurrence(Level::Error);
        assert_eq!(throttle.consider(&error, &noted("a", 1), s(0)).unwrap().times, 1);
        assert_eq!(throttle.consider(&error, &noted("a", 2), s(1)), None);
        assert_eq!(throttle.consider(&error, &noted("a", 3), s(59)), None);
        let again = throttle.consider(&error, &noted("a", 4), s(60)).unwrap();
        assert_eq!((again.times, again.suppressed), (4, 2));
    }

    #[test]
    fn what_is_milder_than_asked_for_is_not_sent() {
        let mut throttle = NotificationThrottle::new(Level::Error);
        assert_eq!(throttle.consider(&occurrence(Level::Warn), &noted("a", 1), s(0)), None);
        assert!(
            NotificationThrottle::new(Level::Warn)
                .consider(&occurrence(Level::Warn), &noted("a", 1), s(0))
                .is_some()
        );
    }

    #[test]
    fn a_storm_of_kinds_is_a_few_messages_and_a_sum() {
        let mut throttle = NotificationThrottle::new(Level::Error);
        let error = occurrence(Level::Error);
        let consider = |throttle: &mut NotificationThrottle, kind: u32, at| {
            throttle.consider(&error, &noted(&kind.to_string(), 1), at)
        };
        let sent = (0..50).filter(|kind| consider(&mut throttle, *kind, s(1)).is_some()).count();
        assert_eq!(sent, MAX_PER_MINUTE);
        assert_eq!(consider(&mut throttle, 99, s(61)).unwrap().suppressed, 30);
    }

    #[test]
    fn a_message_is_slacks_and_says_where_what_and_how_often() {
        let report = Report {
            occurrence: occurrence(Level::Error),
            fingerprint: "abc".into(),
            times: 3,
            suppressed: 2,
        };
        let body = body(&report, "web-1", "server.js");
        assert_eq!(body["text"], "[error] server.js on web-1: worker 2: ended");
        assert_eq!(body["attachments"][0]["color"], "danger");
        assert_eq!(body["attachments"][0]["fields"][1]["value"], 3);
    }

    #[test]
    fn what_a_client_has_sent_becomes_no_link_and_calls_nobody() {
        let mut occurrence = occurrence(Level::Error);
        (occurrence.message, occurrence.stack) = ("<!channel> & more".into(), Some("at <anonymous>".into()));
        let report = Report { occurrence, fingerprint: "abc".into(), times: 1, suppressed: 0 };
        let body = body(&report, "web-1", "server.js");
        assert_eq!(body["text"], "[error] server.js on web-1: worker 2: &lt;!channel&gt; &amp; more");
        assert_eq!(body["attachments"][0]["text"], "at &lt;anonymous&gt;");
    }

    #[test]
    fn retries_come_ever_later_and_end() {
        let waits: Vec<Option<Duration>> = (0..5)
            .map(|retry| retry_after(retry, 4, Duration::from_millis(100), Duration::from_millis(500)))
            .collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(waits, [ms(100), ms(200), ms(400), ms(500), None]);
    }
}
