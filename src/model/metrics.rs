use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ScalingDecision, WorkerInfo};

/// `ClusterMetrics`: the cluster at one moment. Times in milliseconds, sizes in bytes, rates per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterMetrics {
    /// Since 1970.
    pub timestamp: u64,
    pub total_workers: usize,
    pub active_workers: usize,
    pub total_requests: u64,
    pub total_errors: u64,
    pub responses: Responses,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub gc: Collections,
    #[serde(flatten)]
    pub sample: Sample,
    pub memory_usage: u64,
    pub event_loop_lag: f64,
    pub queue_length: u64,
    pub refused_connections: u64,
    pub refused_requests: u64,
    pub active_connections: u64,
    pub active_requests: u64,
    pub restart_count: u64,
    pub replacement_count: u64,
    pub uptime: u64,
    pub last_scaling_action: Option<ScalingDecision>,
    /// The latest result of `monitoring.customMetrics`: the program's own JSON.
    pub custom: Value,
    pub workers: Vec<WorkerInfo>,
}

/// The cluster's metrics with the programs' own metrics and message counts: the result of `getMetrics()`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllMetrics {
    #[serde(flatten)]
    pub cluster: ClusterMetrics,
    pub user_metrics: BTreeMap<String, UserMetric>,
    pub messages: BTreeMap<String, MessageCounts>,
}

/// Counts of the messages of one type since the cluster started.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageCounts {
    pub sent: u64,
    pub received: u64,
    pub answered: u64,
    pub failed: u64,
    /// Milliseconds from a request until it was settled.
    pub average_time: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric of the program.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserMetric {
    #[serde(rename = "type")]
    pub kind: MetricKind,
    pub help: String,
    pub values: Vec<Series>,
}

/// The value of a metric under one set of labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    #[serde(flatten)]
    pub value: SeriesValue,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SeriesValue {
    Number {
        value: f64,
    },
    /// `buckets` are cumulative, without the last one, which is `count`.
    Histogram {
        count: f64,
        sum: f64,
        buckets: Vec<Bucket>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    pub le: f64,
    pub count: f64,
}

/// Responses by status class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Responses {
    #[serde(rename = "1xx")]
    pub informational: u64,
    #[serde(rename = "2xx")]
    pub success: u64,
    #[serde(rename = "3xx")]
    pub redirection: u64,
    #[serde(rename = "4xx")]
    pub client_error: u64,
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

/// Garbage collections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Collections {
    pub count: u64,
    pub time: f64,
}

/// The primary's sample, once a second: rates of the last seconds, percentiles of the last minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sample {
    pub requests_per_second: f64,
    pub average_response_time: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    /// A fraction.
    pub error_rate: f64,
    /// Percent of what the workers can use.
    pub cpu_usage: f64,
    /// None before the first sample.
    pub system: Option<SystemStats>,
}

/// The responses of a period. Times in milliseconds, 0 without any response.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    pub requests_per_second: f64,
    pub average: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    /// A fraction.
    pub error_rate: f64,
}

/// What the primary sees of the cluster, once a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    pub figures: ClusterMetrics,
    /// The last 6 s.
    pub short: Window,
    /// The last 60 s.
    pub long: Window,
}

/// The machine, or the part of it that this process may use. Shares in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemStats {
    pub cpu: CpuStats,
    pub memory: SystemMemory,
    pub swap: Swap,
    pub disk: Throughput,
    pub network: Throughput,
    /// Milliseconds since the machine started; only in a ProcessMonitor's sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuStats {
    pub cores: usize,
    pub usable: f64,
    pub usage: f64,
    /// Over 1, 5 and 15 minutes.
    pub load_average: [f64; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemMemory {
    pub total: u64,
    pub free: u64,
    pub used: u64,
    pub available: u64,
    pub usage_percentage: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Swap {
    pub total: u64,
    pub free: u64,
    pub used: u64,
    pub usage_percentage: f64,
}

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    pub read: f64,
    pub written: f64,
}
