//! A worker's view of the cluster's metrics, and its program's metric store.

use napi_derive::napi;
use serde_json::{Value, json};

use super::metric_store::NativeMetricStore;
use super::worker::worker;
use crate::metrics::memory::MetricStore;
use crate::metrics::view;
use crate::sys::local_time::now_ms;

/// `WorkerInfo[]` of the whole cluster.
#[napi(js_name = "workerInfos")]
pub fn worker_infos() -> Value {
    worker().map_or(json!([]), |worker| json!(view::workers(worker.memory(), now_ms())))
}

/// The metric store of this worker's program; null in a process that is not a worker.
#[napi(js_name = "workerMetricStore")]
pub fn worker_metric_store() -> Option<NativeMetricStore> {
    worker().ok().map(|worker| NativeMetricStore::new(MetricStore::of_worker(worker.memory(), worker.id())))
}

/// The cluster's metrics; see [`view::metrics`].
#[napi(js_name = "workerClusterMetrics")]
pub fn worker_cluster_metrics() -> Value {
    worker().map_or(Value::Null, |worker| json!(view::metrics(worker.memory(), now_ms())))
}

/// The cluster's health; see [`view::health`].
#[napi(js_name = "workerClusterHealth")]
pub fn worker_cluster_health() -> Value {
    worker().map_or(Value::Null, |worker| json!(view::health(worker.memory())))
}
