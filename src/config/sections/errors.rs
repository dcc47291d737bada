//! `errorHandling`: what happens when a worker, or every worker, fails.

use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape};
use crate::config::millis;
use crate::config::options::options;
use crate::config::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// The keys of the section.
pub const KEYS: &[&[Key]] =
    &[ErrorHandling::KEYS, CircuitBreaker::KEYS, Retry::KEYS, Fallback::KEYS, Reporting::KEYS];

choices! {
    /// How bad an error is.
    Severity { Debug = "debug", Info = "info", Warn = "warn", Error = "error" }
}

const BODY: Shape = Shape { allowed: "a text, an object or a list", read: read_body, shown: true };

fn read_body(raw: &Value) -> Result<Value, Refusal> {
    matches!(raw, Value::String(_) | Value::Object(_) | Value::Array(_)).then(|| raw.clone()).ok_or(None)
}

options! {
    /// What happens when a worker, or every worker, fails.
    ErrorHandling in "errorHandling." {
        enabled: bool = true, "enabled": Kind::Bool,
            "false: no ejection, no retries, no reports";
    }
    with {
        circuit_breaker: CircuitBreaker = "circuitBreaker";
        retry: Retry = "retry";
        fallback: Fallback = "fallback";
        reporting: Reporting = "reporting";
    }
}

options! {
    /// When a worker is left out; `reset_timeout` also spaces the trial starts of an open restart circuit.
    CircuitBreaker in "errorHandling.circuitBreaker." {
        enabled: bool = true, "enabled": Kind::Bool,
            "leave a worker out that fails clearly more than its siblings";
        failure_threshold: u32 = 5, "failureThreshold": Kind::COUNT,
            "answers of 5xx in a row before that is considered";
        #[serde(with = "millis")]
        reset_timeout: Duration = 30000, "resetTimeout": Kind::TIME,
            "how long it is left out, and the pause between the trial starts of a slot whose restart circuit is open";
    }
}

options! {
    /// How what failed is tried again.
    Retry in "errorHandling.retry." {
        max_retries: u32 = 3, "maxRetries": Kind::Whole { min: 0, max: 1000 },
            "retries of the webhook, of exporters and of messages to a worker that is being replaced";
        #[serde(with = "millis")]
        initial_delay: Duration = 100, "initialDelay": Kind::FROM_ZERO,
            "the pause before the first retry; doubled for each further one";
        #[serde(with = "millis")]
        max_delay: Duration = 5000, "maxDelay": Kind::FROM_ZERO,
            "the longest such pause";
    }
}

options! {
    /// Drover's own answer when no worker can give one.
    Fallback in "errorHandling.fallback." {
        status: u16 = 503, "status": Kind::Whole { min: 400, max: 599 },
            "the status of drover's own answer when no worker can give one";
        body: Option<Body> = null, "body": Kind::Shaped(&BODY),
            "its body: a text, or what is sent as JSON";
        /// Zero: no Retry-After.
        #[serde(with = "millis")]
        retry_after: Duration = 1000, "retryAfter": Kind::FROM_ZERO,
            "its Retry-After, rounded up to seconds; 0 leaves it out";
    }
}

/// The body of the fallback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, from = "Value")]
pub enum Body {
    /// Sent as text/plain.
    Text(String),
    /// Sent as application/json.
    Json(Value),
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Body::Text(text),
            other => Body::Json(other),
        }
    }
}

options! {
    /// Where errors are reported.
    Reporting in "errorHandling.reporting." {
        /// A URL; many of them are credentials.
        webhook: Option<Secret> = null, "webhook": Kind::Secret { min: 1 },
            "a URL that reports are posted to";
        min_severity: Severity = "error", "minSeverity": Kind::Choice(Severity::NAMES),
            "the least severity reported";
        max_entries: u32 = 1000, "maxEntries": Kind::COUNT,
            "kinds of errors that are kept apart";
    }
}
