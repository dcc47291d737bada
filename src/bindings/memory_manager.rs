//! The MemoryManager of JavaScript: statistics, and the decisions of `crate::memory::manager`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Task};
use napi_derive::napi;
use serde_json::{Value, json};

use super::config::{host, parse};
use super::outcome;
use crate::config::{self, Input};
use crate::error::{Code, Error, Result};
use crate::memory::leak::Verdict;
use crate::memory::manager::{Manager, MemoryStats, Settings, Watched};
use crate::memory::recommend::Bounds;
use crate::process::cpus::usable_cpus;
use crate::process::monitor::{Found, Monitor};
use crate::sys::local_time::now_ms;

#[napi]
pub struct NativeMemoryManager {
    manager: Result<(Manager, Duration)>,
    monitor: Arc<Mutex<Monitor>>,
    clock: Instant,
}

/// `config`: the members of `resources.memoryManagement`, and `maxMemoryPerWorker`.
fn load(mut config: Value) -> Result<(Manager, Duration)> {
    let per_worker = config.as_object_mut().and_then(|members| members.remove("maxMemoryPerWorker"));
    let options = json!({ "resources": { "maxMemoryPerWorker": per_worker, "memoryManagement": config } });
    let env = BTreeMap::new();
    let loaded = config::load_cluster(&Input { options: &options, env: &env, host: &host(None) })?;
    let resources = loaded.config.resources;
    let memory = resources.memory_management;
    let bounds = Bounds {
        budget: memory.max_total_memory,
        reservation: memory.memory_reservation.unwrap_or(0),
        per_worker: resources.max_memory_per_worker,
        warning: memory.memory_warning_threshold,
        critical: memory.memory_critical_threshold,
    };
    let settings = Settings { bounds, detects_leaks: memory.memory_leak_detection };
    Ok((Manager::new(settings), memory.memory_check_interval))
}

fn bytes(value: f64) -> Result<u64> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value as u64);
    }
    Err(Error::new(Code::InvalidArgument, format!("found {value}, allowed: a number of bytes")))
}

/// `WorkerInfo[]` of the clusters of this process.
fn watched(workers: Value) -> Vec<Watched> {
    serde_json::from_value(whole(workers)).unwrap_or_default()
}

/// JavaScript's numbers are doubles: whole ones as integers.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && (0.0..1e15).contains(&float) => {
                (float as u64).into()
            }
            _ => number.into(),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, whole(value))).collect(),
        other => other,
    }
}

#[napi]
impl NativeMemoryManager {
    /// Check `outcome` before anything else.
    #[napi(constructor)]
    pub fn new(config: Value) -> Self {
        Self { manager: load(config), monitor: Arc::default(), clock: Instant::now() }
    }

    /// `{ ok: { interval } }` in milliseconds, or `{ error }` with every fault of the configuration.
    #[napi(getter)]
    pub fn outcome(&self) -> Value {
        let interval =
            |(_, interval): &(Manager, Duration)| json!({ "interval": interval.as_millis() as u64 });
        outcome(self.manager.as_ref().map(interval).map_err(Clone::clone))
    }

    fn with(&mut self, run: impl FnOnce(&mut Manager, Duration) -> Result<Value>) -> Value {
        let now = self.clock.elapsed();
        outcome(match &mut self.manager {
            Ok((manager, _)) => run(manager, now),
            Err(error) => Err(error.clone()),
        })
    }

    /// `MemoryStats` as JSON; null on an unsupported system.
    #[napi]
    pub fn system(&self) -> AsyncTask<Look> {
        AsyncTask::new(Look { monitor: self.monitor.clone(), what: What::System })
    }

    /// `WorkerMemoryStats` as JSON; null if there is no such process. `workers`: `WorkerInfo[]`, for its heap.
    #[napi]
    pub fn worker(&self, worker_id: String, pid: u32, workers: Value) -> AsyncTask<Look> {
        let found = watched(workers).into_iter().find(|watched| watched.pid == Some(pid));
        AsyncTask::new(Look {
            monitor: self.monitor.clone(),
            what: What::Worker { worker_id, pid, watched: found },
        })
    }

    /// `MemoryLimitResult`.
    #[napi]
    pub fn check_limits(&mut self, resident: f64) -> Value {
        self.with(|manager, _| Ok(json!(manager.check_limit(bytes(resident)?))))
    }

    #[napi]
    pub fn detect_leak(&mut self, worker_id: String, resident: f64) -> Value {
        self.with(|manager, now| {
            let verdict = manager.tell(&worker_id, bytes(resident)?, now);
            Ok(verdict.is_some_and(|verdict: Verdict| verdict.is_leak()).into())
        })
    }

    #[napi]
    pub fn advises_collection(&mut self, worker_id: String, workers: Value) -> Value {
        self.with(|manager, now| Ok(manager.advises_collection(&worker_id, &watched(workers), now).into()))
    }

    /// `system`: `MemoryStats`.
    #[napi]
    pub fn optimal_worker_count(&mut self, system: Value, workers: Value) -> Value {
        self.with(|manager, _| {
            let system: MemoryStats = stats(system)?;
            Ok(manager.optimal_worker_count(&system, usable_cpus(), &watched(workers)).into())
        })
    }

    /// `MemoryOptimizationResult`.
    #[napi]
    pub fn advise(&mut self, system: Value, workers: Value) -> Value {
        self.with(|manager, _| {
            let system: MemoryStats = stats(system)?;
            Ok(json!(manager.advise(&system, usable_cpus(), &watched(workers))))
        })
    }

    /// The events to emit, each with `name` and `payload`.
    #[napi]
    pub fn look(&mut self, system: Value, workers: Value) -> Value {
        self.with(|manager, now| {
            let reports = manager.look(&stats(system)?, &watched(workers), now);
            Ok(json!(reports))
        })
    }
}

fn stats(system: Value) -> Result<MemoryStats> {
    parse(whole(system))
        .map_err(|error| Error::new(Code::InvalidArgument, format!("No MemoryStats: {}", error.message)))
}

pub enum What {
    System,
    Worker { worker_id: String, pid: u32, watched: Option<Watched> },
}

pub struct Look {
    monitor: Arc<Mutex<Monitor>>,
    what: What,
}

impl Task for Look {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> napi::Result<String> {
        let found = match &self.what {
            What::System => None,
            What::Worker { pid, .. } => Some(Found::look(*pid)),
        };
        // A sample that panicked has left the data of an earlier one.
        let mut monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = match (&self.what, found) {
            (What::Worker { worker_id, pid, watched }, Some(found)) => {
                monitor.process(*pid, found).map(|stats| worker(worker_id, &stats, watched.as_ref()))
            }
            (What::System | What::Worker { .. }, _) => monitor.system().map(|system| {
                json!(MemoryStats {
                    total_memory: system.memory.total,
                    free_memory: system.memory.free,
                    used_memory: system.memory.used,
                    available_memory: system.memory.available,
                    usage_percentage: system.memory.usage_percentage,
                    swap_total: system.swap.total,
                    swap_free: system.swap.free,
                    swap_percentage: system.swap.usage_percentage,
                })
            }),
        };
        Ok(stats.unwrap_or(Value::Null).to_string())
    }

    fn resolve(&mut self, _env: Env, stats: String) -> napi::Result<String> {
        Ok(stats)
    }
}

fn worker(worker_id: &str, stats: &Value, watched: Option<&Watched>) -> Value {
    let heap = watched.and_then(|watched| watched.heap);
    json!({
        "workerId": worker_id,
        "pid": stats["pid"],
        "memoryUsage": {
            "rss": stats["memory"]["rss"],
            "heapTotal": heap.map(|heap| heap.total),
            "heapUsed": heap.map(|heap| heap.used),
            "external": heap.map(|heap| heap.external),
            "arrayBuffers": null,
        },
        "cpuUsage": stats["cpu"]["usage"],
        "uptime": stats["uptime"],
        "timestamp": now_ms(),
    })
}
