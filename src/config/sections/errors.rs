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
    /// The severity of an error.
    Severity { Debug = "debug", Info = "info", Warn = "warn", Error = "error" }
}

const BODY: Shape = Shape { allowed: "a string, an object or a list", read: read_body, shown: true };

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
    /// When a worker is ejected; `reset_timeout` is also the interval of the trial starts of an open restart circuit.
    CircuitBreaker in "errorHandling.circuitBreaker." {
        enabled: bool = true, "enabled": Kind::Bool,
            "eject a worker that fails clearly more often than the others";
        failure_threshold: u32 = 5, "failureThreshold": Kind::COUNT,
            "consecutive 5xx responses after which a worker may be ejected";
        #[serde(with = "millis")]
        reset_timeout: Duration = 30000, "resetTimeout": Kind::TIME,
            "how long it is ejected, and the interval of the trial starts of a slot whose restart circuit is open";
    }
}

options! {
    /// Retries after failures.
    Retry in "errorHandling.retry." {
        max_retries: u32 = 3, "maxRetries": Kind::Whole { min: 0, max: 1000 },
            "retries of the webhook, of exporters and of messages to a worker that is being replaced";
        #[serde(with = "millis")]
        initial_delay: Duration = 100, "initialDelay": Kind::FROM_ZERO,
            "delay before the first retry; doubled for each further one";
        #[serde(with = "millis")]
        max_delay: Duration = 5000, "maxDelay": Kind::FROM_ZERO,
            "maximum delay between retries";
    }
}

options! {
    /// Drover's response when no worker can take a connection.
    Fallback in "errorHandling.fallback." {
        status: u16 = 503, "status": Kind::Whole { min: 400, max: 599 },
            "status of drover's response when no worker can take a connection";
        body: Option<Body> = null, "body": Kind::Shaped(&BODY),
            "its body: a string, or an object or list that is sent as JSON";
        /// Zero: no Retry-After.
        #[serde(with = "millis")]
        retry_after: Duration = 1000, "retryAfter": Kind::FROM_ZERO,
            "its Retry-After header, rounded up to seconds; 0: no such header";
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
        /// A URL, which is often a credential.
        webhook: Option<Secret> = null, "webhook": Kind::Secret { min: 1 },
            "a URL that reports are posted to";
        min_severity: Severity = "error", "minSeverity": Kind::Choice(Severity::NAMES),
            "the minimum severity that is reported";
        max_entries: u32 = 1000, "maxEntries": Kind::COUNT,
            "number of error kinds that are kept";
    }
}
