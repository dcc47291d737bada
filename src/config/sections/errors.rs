//! `errorHandling`: what happens when a worker, or every worker, fails.

use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape};
use crate::config::millis;
use crate::config::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

pub const KEYS: &[Key] = &[
    Key::new("errorHandling.enabled", Kind::Bool, "false: no ejection, no retries, no reports"),
    Key::new(
        "errorHandling.circuitBreaker.enabled",
        Kind::Bool,
        "leave a worker out that fails clearly more than its siblings",
    ),
    Key::new(
        "errorHandling.circuitBreaker.failureThreshold",
        Kind::COUNT,
        "answers of 5xx in a row before that is considered",
    ),
    Key::new(
        "errorHandling.circuitBreaker.resetTimeout",
        Kind::TIME,
        "how long it is left out, and the pause between the trial starts of a slot whose restart circuit is open",
    ),
    Key::new(
        "errorHandling.retry.maxRetries",
        Kind::Whole { min: 0, max: 1000 },
        "retries of the webhook, of exporters and of messages to a worker that is being replaced",
    ),
    Key::new(
        "errorHandling.retry.initialDelay",
        Kind::FROM_ZERO,
        "the pause before the first retry; doubled for each further one",
    ),
    Key::new("errorHandling.retry.maxDelay", Kind::FROM_ZERO, "the longest such pause"),
    Key::new(
        "errorHandling.fallback.status",
        Kind::Whole { min: 400, max: 599 },
        "the status of drover's own answer when no worker can give one",
    ),
    Key::new("errorHandling.fallback.body", Kind::Shaped(&BODY), "its body: a text, or what is sent as JSON"),
    Key::new(
        "errorHandling.fallback.retryAfter",
        Kind::FROM_ZERO,
        "its Retry-After, rounded up to seconds; 0 leaves it out",
    ),
    Key::new("errorHandling.reporting.webhook", Kind::Secret { min: 1 }, "a URL that reports are posted to"),
    Key::new(
        "errorHandling.reporting.minSeverity",
        Kind::Choice(Severity::NAMES),
        "the least severity reported",
    ),
    Key::new("errorHandling.reporting.maxEntries", Kind::COUNT, "kinds of errors that are kept apart"),
];

choices! {
    /// How bad an error is.
    Severity { Debug = "debug", Info = "info", Warn = "warn", Error = "error" }
}

const BODY: Shape = Shape { allowed: "a text, an object or a list", read: read_body, shown: true };

fn read_body(raw: &Value) -> Result<Value, Refusal> {
    matches!(raw, Value::String(_) | Value::Object(_) | Value::Array(_)).then(|| raw.clone()).ok_or(None)
}

/// What happens when a worker, or every worker, fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorHandling {
    pub enabled: bool,
    pub circuit_breaker: CircuitBreaker,
    pub retry: Retry,
    pub fallback: Fallback,
    pub reporting: Reporting,
}

/// When a worker is left out; `reset_timeout` also spaces the trial starts of an open restart circuit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreaker {
    pub enabled: bool,
    pub failure_threshold: u32,
    #[serde(with = "millis")]
    pub reset_timeout: Duration,
}

/// How what failed is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    pub max_retries: u32,
    #[serde(with = "millis")]
    pub initial_delay: Duration,
    #[serde(with = "millis")]
    pub max_delay: Duration,
}

/// Drover's own answer when no worker can give one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fallback {
    pub status: u16,
    pub body: Option<Body>,
    /// Zero: no Retry-After.
    #[serde(with = "millis")]
    pub retry_after: Duration,
}

/// The body of the fallback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Body {
    /// Sent as text/plain.
    Text(String),
    /// Sent as application/json.
    Json(Value),
}

/// Where errors are reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reporting {
    /// A URL; many of them are credentials.
    pub webhook: Option<Secret>,
    pub min_severity: Severity,
    pub max_entries: u32,
}
