//! The validated configuration: typed, complete, in canonical names. Durations are `Duration`, sizes are
//! bytes; `sections/` has a struct for each section.

use super::sections::balancing::LoadBalancing;
use super::sections::cache::Cache;
use super::sections::errors::ErrorHandling;
use super::sections::health::HealthCheck;
use super::sections::ipc::Ipc;
use super::sections::logging::Logging;
use super::sections::monitoring::Monitoring;
use super::sections::process::ProcessManagement;
use super::sections::redis::Redis;
use super::sections::resources::Resources;
use super::sections::scaling::AutoScaling;
use super::sections::security::Security;
use super::sections::worker::{WorkerEnvironment, Workers};
use super::tree;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What to run and how. The options of `createServer` other than `cluster` are not serialized: the output is a
/// ClusterConfig.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    #[serde(skip_serializing)]
    pub port: Option<u16>,
    #[serde(skip_serializing)]
    pub host: Option<String>,
    #[serde(skip_serializing)]
    pub expose_worker_headers: bool,

    /// The value from environment or code; whether there is a cluster is [`super::Loaded::clustering`].
    pub enabled: bool,
    /// The configured value; the actual number is [`super::Loaded::worker_count`].
    pub workers: Workers,
    pub reserve_cores: u16,
    /// None, here and below: the primary's own.
    pub exec: Option<String>,
    pub args: Option<Vec<String>>,
    pub exec_argv: Option<Vec<String>>,
    /// In addition to the primary's own.
    pub env: WorkerEnvironment,
    pub cwd: Option<String>,
    pub interpreter: Option<String>,
    pub process_management: ProcessManagement,
    pub resources: Resources,
    pub health_check: HealthCheck,
    pub load_balancing: LoadBalancing,
    pub ipc: Ipc,
    pub auto_scaling: AutoScaling,
    pub monitoring: Monitoring,
    pub logging: Logging,
    pub error_handling: ErrorHandling,
    pub security: Security,
    pub cache: Cache,
    pub redis: Redis,
}

impl Config {
    /// For `getConfig()`: a ClusterConfig in canonical names, milliseconds and bytes. Options without a value and
    /// secrets are omitted. Loading it again gives the same configuration except for secrets.
    pub fn to_json(&self) -> Value {
        // Maps have string keys only and no number is NaN, so writing JSON cannot fail.
        tree::without_nulls(serde_json::to_value(self).unwrap_or_default())
    }
}
