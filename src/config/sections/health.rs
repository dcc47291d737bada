//! `healthCheck`: how a worker shows that it is well.

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
    /// How a worker shows that it is well.
    HealthCheck in "healthCheck." {
        enabled: bool = true, "enabled": Kind::Bool,
            "probe the workers";
        #[serde(with = "millis")]
        interval: Duration = 30000, "interval": Kind::TIME,
            "the pause between two probes of a worker";
        #[serde(with = "millis")]
        timeout: Duration = 10000, "timeout": Kind::TIME,
            "how long a probe may take";
        max_failures: u32 = 3, "maxFailures": Kind::COUNT,
            "failures in a row that end in a graceful replacement",
            also ["healthCheck.retries"];
        #[serde(with = "millis")]
        retry_delay: Duration = 1000, "retryDelay": Kind::FROM_ZERO,
            "the pause before the probe after a failed one";
        #[serde(with = "millis")]
        grace_period: Duration = 0, "gracePeriod": Kind::FROM_ZERO,
            "how long after a worker got ready the probes begin";
        /// Asked exactly only when it or `expected_status` was named ([`crate::config::Loaded::named`]).
        endpoint: String = "/health", "endpoint": Kind::Shaped(&ENDPOINT),
            "the path that is asked; when neither it nor `expectedStatus` is given, any HTTP answer counts";
        expected_status: u16 = 200, "expectedStatus": Kind::STATUS,
            "the status that counts as healthy";
        custom_check: Option<Function> = null, "customCheck": Kind::Function,
            "`async (worker) => boolean | { healthy, metrics? }`, run in the worker";
    }
}
