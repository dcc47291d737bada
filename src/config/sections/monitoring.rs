//! `monitoring`: metrics, history and the monitoring API.

use super::server::read_port;
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape};
use crate::config::millis;
use crate::config::options::options;
use crate::config::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[Monitoring::KEYS];

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

options! {
    /// Metrics, history and the monitoring API.
    Monitoring in "monitoring." {
        enabled: bool = true, "enabled": Kind::Bool,
            "collect metrics and serve the monitoring API";
        #[serde(with = "millis")]
        metrics_interval: Duration = 60000, "metricsInterval": Kind::Duration { min: 1000 },
            "how often `metrics:updated`, `customMetrics` and `exporters` run";
        export_metrics: bool = true, "exportMetrics": Kind::Bool,
            "serve `/metrics` for Prometheus";
        custom_metrics: Option<Function> = null, "customMetrics": Kind::Function,
            "`async (workers) => object`, published as `custom` in the metrics";
        exporters: Vec<Function> = [], "exporters": Kind::Functions,
            "functions that are called with the metrics";
        port: MonitoringPort = 3003, "port": Kind::Shaped(&PORT_OR_NONE),
            "the API's port; if it is taken: the next free one, or an error if it was configured; 0: any free port, false: no port";
        host: String = "127.0.0.1", "host": Kind::Text,
            "the API's address; an address other than loopback requires a token";
        token: Option<Secret> = null, "token": Kind::Secret { min: 1 },
            "the token that a POST must send, and every request if the address is not loopback";
        #[serde(with = "millis")]
        retention: Duration = 3600000, "retention": Kind::TIME,
            "how long the history is kept";
        dashboard: bool = true, "dashboard": Kind::Bool,
            "serve the dashboard";
    }
}

/// The port of the monitoring API, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Value")]
pub enum MonitoringPort {
    Port(u16),
    /// Written `false`; validation refuses `true`.
    Closed(bool),
}

impl TryFrom<Value> for MonitoringPort {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let port = value.as_u64().and_then(|port| u16::try_from(port).ok()).map(MonitoringPort::Port);
        port.or(value.as_bool().map(MonitoringPort::Closed)).ok_or_else(|| format!("{value} is no port"))
    }
}

impl MonitoringPort {
    /// The port to bind, 0 for any; None if the API has no port.
    pub fn number(self) -> Option<u16> {
        match self {
            MonitoringPort::Port(port) => Some(port),
            MonitoringPort::Closed(_) => None,
        }
    }
}
