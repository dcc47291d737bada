//! What a cluster is made of, as data: every room above speaks of workers, their health and their numbers in these
//! terms. What JavaScript, the API and the log show is serialised from here, and nothing is read back by key.
//! `health` decides whether somebody is well; nothing else is decided here.

mod command;
mod health;
mod info;
mod metrics;
mod state;
mod worker;

pub use command::{Command, MAX_WORKERS, Scale};
pub use health::{CheckStatus, ClusterStatus, Condition, WorkerHealth};
pub use info::{CheckReport, ClusterHealth, HealthDetail, WorkerInfo};
pub use metrics::{
    AllMetrics, Bucket, ClusterMetrics, Collections, CpuStats, Direction, MessageCounts, MetricKind,
    Responses, Sample, ScalingDecision, Series, SeriesValue, Swap, SystemMemory, SystemStats, Throughput,
    UserMetric,
};
pub use state::{PublicState, WorkerState};
pub use worker::WorkerId;
