//! What a process of the cluster tells about it: `WorkerInfo[]`, the cluster's metrics and its health, all out of the
//! shared memory, so that every process tells the same.

use serde_json::{Map, Value, json};

use super::layout::{HealthStatus, header, page, row};
use super::memory::{SharedMemory, Text};
use super::messages;
use crate::event::WorkerState;
use crate::model::WorkerId;

/// Less than this part of the workers ready is critical.
const CRITICAL: f64 = 0.5;

/// `WorkerInfo[]`: a row for every slot that has ever had a worker and is not vacant.
pub fn workers(memory: &SharedMemory, now_ms: u64) -> Vec<Value> {
    (0..memory.slots()).filter_map(|slot| worker(memory, slot, now_ms)).collect()
}

/// What a slot's worker is, without its numbers.
struct Standing {
    worker: WorkerId,
    state: WorkerState,
    is_unresponsive: bool,
    status: HealthStatus,
}

impl Standing {
    fn is_well(&self) -> bool {
        is_healthy(self.state) && !self.is_unresponsive && self.status.is_well()
    }
}

/// None: nobody is there.
fn standing(memory: &SharedMemory, slot: u16) -> Option<Standing> {
    let worker = memory.known_by(slot);
    let state = WorkerState::from_cell(memory.row(slot, row::STATE));
    if worker.generation == 0 || state == WorkerState::Vacant {
        return None;
    }
    // What was known of a process that is gone is true of no other.
    let is_there = memory.row(slot, row::PID) != 0;
    let status = if is_there { memory.health(worker) } else { HealthStatus::Unknown };
    let is_unresponsive = memory.is_unresponsive(worker);
    Some(Standing { worker, state, is_unresponsive, status })
}

fn worker(memory: &SharedMemory, slot: u16, now_ms: u64) -> Option<Value> {
    let standing = standing(memory, slot)?;
    let (worker, state, healthy) = (standing.worker, standing.state, standing.is_well());
    let page = memory.page(worker);
    let started = memory.row(slot, row::STARTED);
    let answered = page.float(page::RESPONSES);
    let pid = memory.row(slot, row::PID);
    let (active_requests, active_connections) = memory.at_work(slot);
    let average = if answered > 0.0 { page.float(page::DURATION) / answered } else { 0.0 };
    // Sampled for another process than the present one: nothing is known yet.
    let is_sampled = memory.row(slot, row::SAMPLED_PID) == pid && pid != 0;
    let sampled = |value: Value| if is_sampled { value } else { Value::Null };
    let float = |cell| f64::from_bits(memory.row(slot, cell));
    Some(json!({
        "id": slot.to_string(),
        "workerId": slot.to_string(),
        "pid": if pid == 0 { Value::Null } else { pid.into() },
        "generation": worker.generation,
        "state": state.public(),
        "status": state.public(),
        "detail": state.detail(),
        "startTime": started,
        // Nobody is up who is waited for.
        "uptime": if pid == 0 { 0 } else { now_ms.saturating_sub(started) },
        "restarts": memory.row(slot, row::RESTARTS),
        "replacements": memory.row(slot, row::REPLACEMENTS),
        "port": memory.get(header::PORT),
        "requestCount": memory.slot_totals(slot).of(page::REQUESTS) as u64,
        "activeRequests": active_requests,
        "activeConnections": active_connections,
        "averageResponseTime": average,
        "memoryUsage": sampled(memory.row(slot, row::MEMORY).into()),
        "cpuUsage": sampled(json!(float(row::CPU_PERCENT))),
        "eventLoopLag": sampled(json!(float(row::LAG_MS))),
        "healthy": healthy,
        "health": checks(memory, &standing),
    }))
}

/// What the checks say of a worker.
fn checks(memory: &SharedMemory, Standing { worker, status, .. }: &Standing) -> Value {
    let slot = worker.slot;
    let is_there = memory.row(slot, row::PID) != 0;
    let is_known = is_there && memory.row(slot, row::CHECKED_GENERATION) == u64::from(worker.generation);
    let cell = |cell| if is_known { memory.row(slot, cell) } else { 0 };
    let checked = cell(row::CHECKED_AT);
    let mut told = json!({
        "status": status.name(),
        "consecutiveFailures": cell(row::FAILURES),
        "lastCheck": if checked == 0 { Value::Null } else { checked.into() },
        "reason": null,
        "metrics": null,
    });
    if is_known && let Value::Object(told) = &mut told {
        let note: Map<String, Value> =
            serde_json::from_slice(&memory.text(Text::Note(slot))).unwrap_or_default();
        told.extend(note);
    }
    told
}

fn is_healthy(state: WorkerState) -> bool {
    matches!(state, WorkerState::Ready | WorkerState::Standby | WorkerState::Draining)
}

/// The cluster's metrics. What is a rate or a percentile is of the last minute, as the primary sampled it.
pub fn metrics(memory: &SharedMemory, now_ms: u64) -> Value {
    let mut metrics = figures(memory, now_ms);
    let families = memory.metric_store();
    metrics["userMetrics"] = families.to_json();
    metrics["messages"] = messages::told(&families);
    metrics
}

/// The same without the program's own, and its messages.
pub fn figures(memory: &SharedMemory, now_ms: u64) -> Value {
    let workers = workers(memory, now_ms);
    let totals = memory.totals();
    let (collections, seconds) = totals.collections();
    let others: u64 = (0..memory.slots()).map(|slot| memory.row(slot, row::OTHERS_MEMORY)).sum();
    let of_all = |cell: usize| (0..memory.slots()).map(|slot| memory.row(slot, cell)).sum::<u64>();
    let sum = |key: &str| workers.iter().filter_map(|worker| worker[key].as_f64()).sum::<f64>();
    let ready = workers.iter().filter(|worker| worker["detail"] == "ready").count();
    let mut metrics = json!({
        "timestamp": now_ms,
        "totalWorkers": workers.len(),
        "activeWorkers": ready,
        "totalRequests": totals.of(page::REQUESTS) as u64,
        "totalErrors": (totals.of(page::STATUS + 4) + totals.of(page::ABORTED)) as u64,
        "responses": statuses(&totals),
        "bytesReceived": totals.of(page::RECEIVED) as u64,
        "bytesSent": totals.of(page::SENT) as u64,
        "gc": { "count": collections as u64, "time": seconds * 1000.0 },
        "requestsPerSecond": 0.0,
        "averageResponseTime": totals.average(),
        "p50": 0.0,
        "p90": 0.0,
        "p99": 0.0,
        "p999": 0.0,
        "errorRate": 0.0,
        "memoryUsage": sum("memoryUsage") as u64 + others,
        "cpuUsage": 0.0,
        "eventLoopLag": workers.iter().filter_map(|worker| worker["eventLoopLag"].as_f64()).fold(0.0, f64::max),
        "queueLength": memory.get(header::QUEUED),
        "refusedConnections": memory.get(header::REFUSED),
        "activeConnections": sum("activeConnections") as u64,
        "activeRequests": sum("activeRequests") as u64,
        "restartCount": of_all(row::RESTARTS),
        "replacementCount": of_all(row::REPLACEMENTS),
        "uptime": now_ms.saturating_sub(memory.get(header::STARTED)),
        "system": null,
        "lastScalingAction": last_scaling(memory),
        "custom": {},
    });
    metrics["custom"] = custom(memory);
    if let (Some(metrics), Some(sample)) = (metrics.as_object_mut(), sample(memory)) {
        metrics.extend(sample);
        metrics.insert("workers".to_owned(), Value::Array(workers));
    } else {
        metrics["workers"] = Value::Array(workers);
    }
    metrics
}

/// Workers that serve.
pub fn ready(memory: &SharedMemory) -> usize {
    let is_ready = |slot: &u16| memory.row(*slot, row::STATE) == WorkerState::Ready as u64;
    (0..memory.slots()).filter(is_ready).count()
}

/// The last change of the cluster's size, as a ScalingDecision; null before the first.
pub fn last_scaling(memory: &SharedMemory) -> Value {
    let cell = |cell| memory.get(cell);
    match cell(header::SCALED_AT) {
        0 => Value::Null,
        at => decision(&cell(header::SCALED_FROM).into(), &cell(header::SCALED_TO).into(), &at.into()),
    }
}

/// An event `cluster:scaled` as a ScalingDecision.
pub fn scaled(event: &Value) -> Value {
    decision(&event["oldCount"], &event["newCount"], &event["timestamp"])
}

fn decision(from: &Value, to: &Value, at: &Value) -> Value {
    let action = if to.as_u64() > from.as_u64() { "up" } else { "down" };
    json!({ "action": action, "from": from, "to": to, "reason": "it was asked for", "timestamp": at })
}

fn statuses(totals: &super::aggregation::Totals) -> Value {
    let classes =
        (1..=5).map(|digit| (format!("{digit}xx"), (totals.of(page::STATUS + digit - 1) as u64).into()));
    Value::Object(classes.collect())
}

/// What the primary has sampled: members of the metrics.
fn sample(memory: &SharedMemory) -> Option<Map<String, Value>> {
    serde_json::from_slice(&memory.text(Text::Sample)).ok()
}

/// What the primary's program measures by itself.
fn custom(memory: &SharedMemory) -> Value {
    serde_json::from_slice(&memory.text(Text::Custom)).unwrap_or_else(|_| json!({}))
}

/// Whether the workers are well, in a few numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub status: Status,
    pub well: usize,
    pub all: usize,
    /// Slots whose workers are not well.
    pub unhealthy: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Healthy,
    Degraded,
    Critical,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Healthy => "healthy",
            Status::Degraded => "degraded",
            Status::Critical => "critical",
        }
    }
}

/// A worker counts as well when it serves, its event loop turns and its checks pass.
pub fn condition(memory: &SharedMemory) -> Condition {
    let serves_well =
        |slot| standing(memory, slot).map(|one| one.state == WorkerState::Ready && one.is_well());
    let counted: Vec<(u16, bool)> =
        missed(memory).filter_map(|slot| Some((slot, serves_well(slot)?))).collect();
    let all = counted.len();
    let well = counted.iter().filter(|(_, is_well)| *is_well).count();
    let status = match well as f64 / all as f64 {
        _ if all == 0 => Status::Critical,
        part if part >= 1.0 => Status::Healthy,
        part if part >= CRITICAL => Status::Degraded,
        _ => Status::Critical,
    };
    let unhealthy = counted.into_iter().filter(|(_, is_well)| !is_well).map(|(slot, _)| slot).collect();
    Condition { status, well, all, unhealthy }
}

/// Slots that count.
fn missed(memory: &SharedMemory) -> impl Iterator<Item = u16> {
    (0..memory.slots()).filter(|slot| memory.row(*slot, row::EXTRA) != 1)
}

/// When a check of one of the present workers ended last; null where none has.
fn last_check(memory: &SharedMemory) -> Option<u64> {
    let checked = missed(memory).filter(|slot| {
        let generation = memory.row(*slot, row::GENERATION);
        generation != 0 && memory.row(*slot, row::CHECKED_GENERATION) == generation
    });
    checked.map(|slot| memory.row(slot, row::CHECKED_AT)).max().filter(|at| *at != 0)
}

/// The cluster's health, with what there is to say of each worker.
pub fn health(memory: &SharedMemory, now_ms: u64) -> Value {
    let Condition { status, well, all, unhealthy } = condition(memory);
    let details: Vec<Value> = missed(memory)
        .filter_map(|slot| worker(memory, slot, now_ms))
        .map(|worker| detail(&worker))
        .collect();
    json!({
        "healthy": status == Status::Healthy,
        "status": status.name(),
        "totalWorkers": all,
        "healthyWorkers": well,
        "unhealthyWorkers": unhealthy.iter().map(u16::to_string).collect::<Vec<_>>(),
        "lastHealthCheck": last_check(memory),
        "details": details,
    })
}

fn detail(worker: &Value) -> Value {
    let healthy = worker["healthy"] == true && worker["detail"] == "ready";
    let reasons: Vec<String> = match worker["detail"].as_str() {
        Some("ready") if !healthy => {
            let told = &worker["health"];
            let is_blamed = matches!(told["status"].as_str(), Some("unhealthy" | "ejected"));
            let reason = told["reason"].as_str().filter(|_| is_blamed);
            vec![reason.unwrap_or("its event loop does not turn").to_owned()]
        }
        Some(detail) if !healthy => vec![format!("it is not serving: {detail}")],
        Some(_) | None => Vec::new(),
    };
    json!({ "workerId": worker["id"], "healthy": healthy, "reasons": reasons })
}

#[cfg(test)]
mod tests;
