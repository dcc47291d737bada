//! `monitoring`: what is measured, kept and shown.

use super::server::read_port;
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape};
use crate::config::millis;
use crate::config::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

pub const KEYS: &[Key] = &[
    Key::new("monitoring.enabled", Kind::Bool, "measure, and serve the monitoring API"),
    Key::new(
        "monitoring.metricsInterval",
        Kind::Duration { min: 1000 },
        "how often `metrics:updated`, `customMetrics` and `exporters` run",
    ),
    Key::new("monitoring.exportMetrics", Kind::Bool, "serve `/metrics` for Prometheus"),
    Key::new(
        "monitoring.customMetrics",
        Kind::Function,
        "`async (workers) => object`, kept as `custom` in the metrics",
    ),
    Key::new("monitoring.exporters", Kind::Functions, "each called with the metrics"),
    Key::new(
        "monitoring.port",
        Kind::Shaped(&PORT_OR_NONE),
        "the API's port; taken: the next free one, or an error when it was given; 0 any, false none",
    ),
    Key::new("monitoring.host", Kind::Text, "the API's address; other than loopback it needs a token"),
    Key::new(
        "monitoring.token",
        Kind::Secret { min: 1 },
        "what a POST must show, and every request of an API beyond loopback",
    ),
    Key::new("monitoring.retention", Kind::TIME, "how long history is kept"),
    Key::new("monitoring.dashboard", Kind::Bool, "serve the dashboard"),
];

const PORT_OR_NONE: Shape =
    Shape { allowed: "a port from 0 to 65535, or false", read: read_port_or_none, shown: true };

fn read_port_or_none(raw: &Value) -> Result<Value, Refusal> {
    match raw {
        Value::Bool(false) => Ok(raw.clone()),
        Value::String(text) if text == "false" => Ok(Value::Bool(false)),
        other => read_port(other),
    }
}

/// A function that stays in JavaScript, by its name there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    #[serde(rename = "$function")]
    pub name: String,
}

/// What is measured, kept and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Monitoring {
    pub enabled: bool,
    #[serde(with = "millis")]
    pub metrics_interval: Duration,
    pub export_metrics: bool,
    pub custom_metrics: Option<Function>,
    pub exporters: Vec<Function>,
    pub port: MonitoringPort,
    pub host: String,
    pub token: Option<Secret>,
    #[serde(with = "millis")]
    pub retention: Duration,
    pub dashboard: bool,
}

/// The port of the monitoring API, or that it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MonitoringPort {
    Port(u16),
    /// Written `false`; validation lets no `true` come here.
    Closed(bool),
}

impl MonitoringPort {
    /// The port to bind, 0 for any; none when the API has no port.
    pub fn number(self) -> Option<u16> {
        match self {
            MonitoringPort::Port(port) => Some(port),
            MonitoringPort::Closed(_) => None,
        }
    }
}
