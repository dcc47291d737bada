//! `healthCheck`: the health checks of workers.

use super::monitoring::Function;
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape};
use crate::config::millis;
use crate::config::options::options;
use serde_json::Value;
use std::time::Duration;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[HealthCheck::KEYS];

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

options! {
    /// The health checks of workers.
    HealthCheck in "healthCheck." {
        enabled: bool = true, "enabled": Kind::Bool,
            "check the health of workers";
        #[serde(with = "millis")]
        interval: Duration = 30000, "interval": Kind::TIME,
            "interval between two checks of a worker";
        #[serde(with = "millis")]
        timeout: Duration = 10000, "timeout": Kind::TIME,
            "how long a check may take";
        max_failures: u32 = 3, "maxFailures": Kind::COUNT,
            "consecutive failures after which a worker is replaced gracefully",
            also ["healthCheck.retries"];
        #[serde(with = "millis")]
        retry_delay: Duration = 1000, "retryDelay": Kind::FROM_ZERO,
            "delay before the next check after a failed one";
        #[serde(with = "millis")]
        grace_period: Duration = 0, "gracePeriod": Kind::FROM_ZERO,
            "how long after a worker became ready the checks begin";
        /// The response's status must match only if this or `expected_status` was given
        /// ([`crate::config::Loaded::named`]).
        endpoint: String = "/health", "endpoint": Kind::Shaped(&ENDPOINT),
            "the path of the request; if neither this nor `expectedStatus` is given, any HTTP response counts";
        expected_status: u16 = 200, "expectedStatus": Kind::STATUS,
            "the status of a healthy response";
        custom_check: Option<Function> = null, "customCheck": Kind::Function,
            "`async (worker) => boolean | { healthy, metrics? }`, run in the worker";
    }
}
