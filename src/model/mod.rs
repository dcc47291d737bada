//! The data types of a cluster, shared by all modules: workers, their health and metrics. The output for JavaScript,
//! the API and the log is serialised from these types, and never parsed back by key. Only `health` makes decisions:
//! whether a worker is healthy.

mod cache;
mod command;
mod fleet;
mod health;
mod info;
mod limit;
mod metrics;
mod scaling;
mod state;
mod worker;

pub use cache::CacheStatistics;
pub use command::{Command, MAX_WORKERS, Scale};
pub use fleet::{FleetCounts, FleetStatus, Member};
pub use health::{CheckStatus, ClusterStatus, Condition, WorkerHealth};
pub use info::{CheckReport, ClusterHealth, HealthDetail, HeapUsage, WorkerInfo};
pub use limit::{Limit, LimitAction};
pub use metrics::{
    AllMetrics, Bucket, ClusterMetrics, Collections, CpuStats, MessageCounts, MetricKind, Observation,
    Responses, Sample, Series, SeriesValue, Swap, SystemMemory, SystemStats, Throughput, UserMetric, Window,
};
pub use scaling::{
    Direction, Evaluation, ScalingDecision, ScalingHold, ScalingInputs, ScalingRule, WindowLoad,
};
pub use state::{PublicState, WorkerState};
pub use worker::WorkerId;
