//! Views of the cluster: `WorkerInfo[]`, its metrics and its health, all from shared memory, so that every process
//! returns the same.

use serde_json::{Value, json};

use super::layout::{header, page, row};
use super::memory::{SharedMemory, Text};
use super::messages;
use crate::model::{
    AllMetrics, CheckReport, CheckStatus, ClusterHealth, ClusterMetrics, ClusterStatus, Collections,
    Condition, HealthDetail, HeapUsage, Responses, Sample, ScalingDecision, ScalingRule, WorkerHealth,
    WorkerId, WorkerInfo, WorkerState,
};

/// The identity and state of a slot's worker, without its metrics.
#[derive(Clone, Copy)]
struct Standing {
    worker: WorkerId,
    state: WorkerState,
    checks: CheckStatus,
    health: WorkerHealth,
}

/// None: the slot is vacant.
fn standing(memory: &SharedMemory, slot: u16) -> Option<Standing> {
    let worker = memory.known_by(slot);
    let state = WorkerState::from_cell(memory.row(slot, row::STATE));
    if worker.generation == 0 || state == WorkerState::Vacant {
        return None;
    }
    // The results of an ended process do not apply to another one.
    let is_there = memory.row(slot, row::PID) != 0;
    let checks = if is_there { memory.checks(worker) } else { CheckStatus::Unknown };
    let health = WorkerHealth::of(state, memory.is_unresponsive(worker), checks);
    Some(Standing { worker, state, checks, health })
}

/// `WorkerInfo[]`: a row for every slot that has ever had a worker and is not vacant.
pub fn workers(memory: &SharedMemory, now_ms: u64) -> Vec<WorkerInfo> {
    let standings = (0..memory.slots()).filter_map(|slot| standing(memory, slot));
    standings.map(|standing| info(memory, &standing, now_ms)).collect()
}

fn info(memory: &SharedMemory, standing: &Standing, now_ms: u64) -> WorkerInfo {
    let Standing { worker, state, health, .. } = *standing;
    let slot = worker.slot;
    let page = memory.page(worker);
    let started = memory.row(slot, row::STARTED);
    let answered = page.float(page::RESPONSES);
    let pid = memory.row(slot, row::PID) as u32;
    let (active_requests, active_connections) = memory.at_work(slot);
    // If another process was sampled, nothing is known about the current one yet.
    let is_sampled = memory.row(slot, row::SAMPLED_PID) == u64::from(pid) && pid != 0;
    let float = |cell| is_sampled.then(|| f64::from_bits(memory.row(slot, cell)));
    WorkerInfo {
        id: slot.to_string(),
        worker_id: slot.to_string(),
        pid: (pid != 0).then_some(pid),
        generation: worker.generation,
        state: state.public(),
        status: state.public(),
        detail: state,
        start_time: started,
        // A pending worker has no uptime.
        uptime: if pid == 0 { 0 } else { now_ms.saturating_sub(started) },
        restarts: memory.row(slot, row::RESTARTS),
        replacements: memory.row(slot, row::REPLACEMENTS),
        port: memory.get(header::PORT) as u16,
        request_count: memory.slot_totals(slot).of(page::REQUESTS) as u64,
        active_requests,
        active_connections,
        average_response_time: if answered > 0.0 { page.float(page::DURATION) / answered } else { 0.0 },
        memory_usage: is_sampled.then(|| memory.row(slot, row::MEMORY)),
        cpu_usage: float(row::CPU_PERCENT),
        event_loop_lag: float(row::LAG_MS),
        heap: if pid == 0 { None } else { heap(memory, worker) },
        healthy: health.is_well(),
        health: report(memory, standing),
    }
}

/// The result of a worker's checks.
fn report(memory: &SharedMemory, Standing { worker, checks, .. }: &Standing) -> CheckReport {
    let slot = worker.slot;
    let is_there = memory.row(slot, row::PID) != 0;
    let is_known = is_there && memory.row(slot, row::CHECKED_GENERATION) == u64::from(worker.generation);
    let cell = |cell| if is_known { memory.row(slot, cell) } else { 0 };
    let note = if is_known { memory.text(Text::Note(slot)) } else { Vec::new() };
    let mut note: Value = serde_json::from_slice(&note).unwrap_or(Value::Null);
    CheckReport {
        status: *checks,
        consecutive_failures: cell(row::FAILURES),
        last_check: Some(cell(row::CHECKED_AT)).filter(|at| *at != 0),
        reason: note["reason"].as_str().map(str::to_owned),
        metrics: note["metrics"].take(),
    }
}

/// The cluster's metrics, including those of its programs. Rates and percentiles are from the primary's sample.
pub fn metrics(memory: &SharedMemory, now_ms: u64) -> AllMetrics {
    let families = memory.metric_store();
    AllMetrics {
        cluster: figures(memory, now_ms),
        user_metrics: families.user_metrics(),
        messages: messages::counts(&families),
    }
}

/// The same without the programs' own metrics and message counts.
pub fn figures(memory: &SharedMemory, now_ms: u64) -> ClusterMetrics {
    let workers = workers(memory, now_ms);
    let totals = memory.totals();
    let (collections, seconds) = totals.collections();
    let of_all = |cell: usize| (0..memory.slots()).map(|slot| memory.row(slot, cell)).sum::<u64>();
    let sampled: u64 = workers.iter().filter_map(|worker| worker.memory_usage).sum();
    let sample = sample(memory);
    ClusterMetrics {
        timestamp: now_ms,
        total_workers: workers.len(),
        active_workers: workers.iter().filter(|worker| worker.detail == WorkerState::Ready).count(),
        total_requests: totals.of(page::REQUESTS) as u64,
        total_errors: (totals.of(page::STATUS + 4) + totals.of(page::ABORTED)) as u64,
        responses: responses(&totals),
        bytes_received: totals.of(page::RECEIVED) as u64,
        bytes_sent: totals.of(page::SENT) as u64,
        gc: Collections { count: collections as u64, time: seconds * 1000.0 },
        sample: sample
            .unwrap_or_else(|| Sample { average_response_time: totals.average(), ..Sample::default() }),
        memory_usage: sampled + of_all(row::OTHERS_MEMORY),
        event_loop_lag: workers.iter().filter_map(|worker| worker.event_loop_lag).fold(0.0, f64::max),
        queue_length: memory.get(header::QUEUED),
        refused_connections: memory.get(header::REFUSED),
        refused_requests: totals.refused(),
        active_connections: workers.iter().map(|worker| worker.active_connections).sum(),
        active_requests: workers.iter().map(|worker| worker.active_requests).sum(),
        restart_count: of_all(row::RESTARTS),
        replacement_count: of_all(row::REPLACEMENTS),
        uptime: now_ms.saturating_sub(memory.get(header::STARTED)),
        last_scaling_action: last_scaling(memory),
        custom: custom(memory),
        workers,
    }
}

/// A worker's heap; None until something was read.
pub fn heap(memory: &SharedMemory, worker: WorkerId) -> Option<HeapUsage> {
    let page = memory.page(worker);
    let cell = |cell: usize| page.float(cell) as u64;
    let major = page::GC + page::GC_KIND_CELLS;
    let collections: f64 = (major..=major + page::GC_BOUNDS.len()).map(|cell| page.float(cell)).sum();
    let usage = HeapUsage {
        used: cell(page::HEAP_USED),
        total: cell(page::HEAP_TOTAL),
        external: cell(page::EXTERNAL),
        floor: Some(cell(page::FLOOR)).filter(|floor| *floor != 0),
        major_collections: collections as u64,
    };
    (usage.total != 0).then_some(usage)
}

/// Number of serving workers.
pub fn ready(memory: &SharedMemory) -> usize {
    let is_ready = |slot: &u16| memory.row(*slot, row::STATE) == WorkerState::Ready as u64;
    (0..memory.slots()).filter(is_ready).count()
}

/// The last change of the cluster's size; None before the first.
pub fn last_scaling(memory: &SharedMemory) -> Option<ScalingDecision> {
    let at = memory.get(header::SCALED_AT);
    let count = |cell| memory.get(cell) as u32;
    let rule = ScalingRule::of_code(memory.get(header::SCALED_BY));
    (at != 0).then(|| ScalingDecision::known(count(header::SCALED_FROM), count(header::SCALED_TO), rule, at))
}

fn responses(totals: &super::aggregation::Totals) -> Responses {
    let class = |digit: usize| totals.of(page::STATUS + digit - 1) as u64;
    Responses {
        informational: class(1),
        success: class(2),
        redirection: class(3),
        client_error: class(4),
        server_error: class(5),
    }
}

/// The primary's sample.
fn sample(memory: &SharedMemory) -> Option<Sample> {
    serde_json::from_slice(&memory.text(Text::Sample)).ok()
}

/// The custom metrics of the primary's program.
fn custom(memory: &SharedMemory) -> Value {
    serde_json::from_slice(&memory.text(Text::Custom)).unwrap_or_else(|_| json!({}))
}

/// The health of the configured workers.
pub fn condition(memory: &SharedMemory) -> Condition {
    let standings = wanted(memory).filter_map(|slot| standing(memory, slot));
    Condition::of(standings.map(|Standing { worker, state, health, .. }| (worker, state, health)))
}

/// Slots that count for the cluster's health.
fn wanted(memory: &SharedMemory) -> impl Iterator<Item = u16> {
    (0..memory.slots()).filter(|slot| memory.row(*slot, row::EXTRA) != 1)
}

/// Time of the latest completed check of a current worker; None if there was none.
fn last_check(memory: &SharedMemory) -> Option<u64> {
    let checked = wanted(memory).filter(|slot| {
        let generation = memory.row(*slot, row::GENERATION);
        generation != 0 && memory.row(*slot, row::CHECKED_GENERATION) == generation
    });
    checked.map(|slot| memory.row(slot, row::CHECKED_AT)).max().filter(|at| *at != 0)
}

/// The cluster's health, with details of each worker.
pub fn health(memory: &SharedMemory) -> ClusterHealth {
    let Condition { status, well, all, unhealthy } = condition(memory);
    let standings = wanted(memory).filter_map(|slot| standing(memory, slot));
    ClusterHealth {
        healthy: status == ClusterStatus::Healthy,
        status,
        total_workers: all,
        healthy_workers: well,
        unhealthy_workers: unhealthy.iter().map(WorkerId::to_string).collect(),
        last_health_check: last_check(memory),
        details: standings.map(|standing| detail(memory, &standing)).collect(),
    }
}

fn detail(memory: &SharedMemory, standing: &Standing) -> HealthDetail {
    let Standing { worker, state, health, .. } = *standing;
    // A draining worker is healthy, but takes no new connections.
    let health = if state == WorkerState::Ready { health } else { WorkerHealth::NotServing(state) };
    let reason = report(memory, standing).reason;
    HealthDetail {
        worker_id: worker.to_string(),
        healthy: health.is_well(),
        reasons: health.reason(reason.as_deref()).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
