//! `healthCheck`: how a worker shows that it is well.

use super::monitoring::Function;
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape};
use crate::config::millis;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

pub const KEYS: &[Key] = &[
    Key::new("healthCheck.enabled", Kind::Bool, "probe the workers"),
    Key::new("healthCheck.interval", Kind::TIME, "the pause between two probes of a worker"),
    Key::new("healthCheck.timeout", Kind::TIME, "how long a probe may take"),
    Key::new("healthCheck.maxFailures", Kind::COUNT, "failures in a row that end in a graceful replacement")
        .also(&["healthCheck.retries"]),
    Key::new("healthCheck.retryDelay", Kind::FROM_ZERO, "the pause before the probe after a failed one"),
    Key::new(
        "healthCheck.gracePeriod",
        Kind::FROM_ZERO,
        "how long after a worker got ready the probes begin",
    ),
    Key::new(
        "healthCheck.endpoint",
        Kind::Shaped(&ENDPOINT),
        "the path that is asked; when neither it nor `expectedStatus` is given, any HTTP answer counts",
    ),
    Key::new("healthCheck.expectedStatus", Kind::STATUS, "the status that counts as healthy"),
    Key::new(
        "healthCheck.customCheck",
        Kind::Function,
        "`async (worker) => boolean | { healthy, metrics? }`, run in the worker",
    ),
];

const ENDPOINT: Shape = Shape { allowed: "a path that starts with '/'", read: read_endpoint, shown: true };

fn read_endpoint(raw: &Value) -> Result<Value, Refusal> {
    let Some(text) = raw.as_str() else { return Err(None) };
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.strip_prefix('/') {
        Some(_) if printable => Ok(raw.clone()),
        None if printable && !text.is_empty() && !text.contains("://") => {
            Err(Some(format!("write '/{text}'")))
        }
        _ => Err(None),
    }
}

/// How a worker shows that it is well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    pub enabled: bool,
    #[serde(with = "millis")]
    pub interval: Duration,
    #[serde(with = "millis")]
    pub timeout: Duration,
    pub max_failures: u32,
    #[serde(with = "millis")]
    pub retry_delay: Duration,
    #[serde(with = "millis")]
    pub grace_period: Duration,
    /// Asked exactly only when it or `expected_status` was named ([`crate::config::Loaded::named`]).
    pub endpoint: String,
    pub expected_status: u16,
    pub custom_check: Option<Function>,
}
