//! `/metrics`: metrics for Prometheus, with the names that are common there.

use crate::metrics::histogram::at_most;
use crate::metrics::instrument::{Family, Spread, spread};
use crate::metrics::layout::{header, page, row};
use crate::metrics::memory::SharedMemory;
use crate::metrics::text::{Exposition, Kind, OPEN_METRICS, TEXT};
use crate::model::{CacheStatistics, FleetCounts, FleetStatus, WorkerState};

use super::api::Figures;

/// Bounds are powers of two of a microsecond, where buckets of ours end: from 1 ms to 67 s.
const BOUNDS: std::ops::RangeInclusive<i32> = 10..=26;

/// The content type and the text.
pub fn write(
    memory: &SharedMemory,
    figures: &Figures,
    now_ms: u64,
    open_metrics: bool,
) -> (&'static str, String) {
    let mut text = Exposition::new(open_metrics);
    cluster(&mut text, memory, now_ms);
    requests(&mut text, memory);
    processes(&mut text, memory);
    collections(&mut text, memory);
    cache(&mut text, &(figures.cache)());
    if let Some(status) = (figures.fleet)() {
        fleet(&mut text, &status);
    }
    programs(&mut text, memory);
    (if open_metrics { OPEN_METRICS } else { TEXT }, text.end())
}

/// The fleet, as this machine knows it.
fn fleet(text: &mut Exposition, status: &FleetStatus) {
    type Figure = fn(&FleetCounts) -> u64;
    let leads = status.leader.as_ref() == Some(&status.id);
    let gauges = [
        ("drover_fleet_up", "1 if Redis does what is asked.", f64::from(u8::from(status.available))),
        ("drover_fleet_members", "Machines of the fleet.", status.members.len() as f64),
        ("drover_fleet_leader", "1 if this machine leads the fleet.", f64::from(u8::from(leads))),
    ];
    for (family, help, value) in gauges {
        text.family(family, Kind::Gauge, help);
        text.sample(&[], value);
    }
    let counters: [(&str, &str, Figure); 8] = [
        ("drover_fleet_outages", "Times that Redis was lost.", |counts| counts.outages),
        ("drover_fleet_operations", "Operations on values in Redis.", |counts| counts.operations),
        ("drover_fleet_failures", "Operations that failed.", |counts| counts.failures),
        ("drover_fleet_messages_sent", "Messages to other machines.", |counts| counts.messages_sent),
        ("drover_fleet_messages_received", "Messages from other machines.", |counts| {
            counts.messages_received
        }),
        ("drover_fleet_invalidations_sent", "Invalidations told to other machines.", |counts| {
            counts.invalidations_sent
        }),
        ("drover_fleet_invalidations_received", "Invalidations told by other machines.", |counts| {
            counts.invalidations_received
        }),
        ("drover_fleet_resets", "Times that the whole cache was invalidated.", |counts| counts.resets),
    ];
    for (family, help, figure) in counters {
        text.family(family, Kind::Counter, help);
        text.sample(&[], figure(&status.counts) as f64);
    }
}

/// The shared cache, by namespace; nothing before its first use.
fn cache(text: &mut Exposition, namespaces: &[CacheStatistics]) {
    type Figure = fn(&CacheStatistics) -> u64;
    if namespaces.is_empty() {
        return;
    }
    let name = |row: &CacheStatistics| row.namespace.clone();
    let gauges: [(&str, &str, Figure); 2] = [
        ("drover_cache_entries", "Values in the shared cache.", |row| row.entries),
        ("drover_cache_bytes", "Bytes of the shared cache in use.", |row| row.bytes),
    ];
    for (family, help, figure) in gauges {
        text.family(family, Kind::Gauge, help);
        for row in namespaces {
            text.sample(&[("namespace", &name(row))], figure(row) as f64);
        }
    }
    text.family(
        "drover_cache_hits",
        Kind::Counter,
        "Looks that found a value, in the process or in the shared memory.",
    );
    for row in namespaces {
        text.sample(&[("namespace", &name(row)), ("from", "process")], row.near_hits as f64);
        text.sample(&[("namespace", &name(row)), ("from", "memory")], row.far_hits as f64);
    }
    let counters: [(&str, &str, Figure); 8] = [
        ("drover_cache_misses", "Looks that found no value.", |row| row.misses),
        ("drover_cache_computations", "Values computed by getOrSet.", |row| row.computed),
        ("drover_cache_waits", "Callers of getOrSet that got a value that was being computed.", |row| {
            row.waited
        }),
        ("drover_cache_sets", "Values stored.", |row| row.sets),
        ("drover_cache_evictions", "Values removed for lack of room.", |row| row.evicted),
        ("drover_cache_expirations", "Values removed after their lifetime.", |row| row.expired),
        ("drover_cache_invalidations", "Values removed by patterns and tags.", |row| row.invalidated),
        ("drover_cache_refusals", "Values that were too large, or for which there was no room.", |row| {
            row.refused
        }),
    ];
    for (family, help, figure) in counters {
        text.family(family, Kind::Counter, help);
        for row in namespaces {
            text.sample(&[("namespace", &name(row))], figure(row) as f64);
        }
    }
}

fn cluster(text: &mut Exposition, memory: &SharedMemory, now_ms: u64) {
    let version = env!("CARGO_PKG_VERSION");
    text.family("drover_build_info", Kind::Gauge, "The version of drover.")
        .sample(&[("version", version)], 1.0);
    let uptime = now_ms.saturating_sub(memory.get(header::STARTED)) as f64 / 1000.0;
    text.family("drover_uptime_seconds", Kind::Gauge, "Seconds since the cluster was created.")
        .sample(&[], uptime);
    text.family("drover_workers", Kind::Gauge, "Workers by state.");
    let states: Vec<WorkerState> =
        (0..memory.slots()).map(|slot| WorkerState::from_cell(memory.row(slot, row::STATE))).collect();
    for state in WorkerState::ALL.into_iter().filter(|state| *state != WorkerState::Vacant) {
        let count = states.iter().filter(|found| **found == state).count();
        text.sample(&[("state", state.detail())], count as f64);
    }
    text.family(
        "drover_scaling_decisions",
        Kind::Counter,
        "Changes of the number of workers by the auto-scaling.",
    );
    for (action, cell) in [("up", header::SCALED_UP), ("down", header::SCALED_DOWN)] {
        text.sample(&[("action", action)], memory.get(cell) as f64);
    }
    let queued = memory.get(header::QUEUED) as f64;
    text.family("drover_queue_length", Kind::Gauge, "Connections that wait for a worker.")
        .sample(&[], queued);
    let refused = memory.get(header::REFUSED) as f64;
    text.family(
        "drover_refused_connections",
        Kind::Counter,
        "Connections refused because no worker could take them in time.",
    )
    .sample(&[], refused);
    text.family(
        "drover_refused_requests",
        Kind::Counter,
        "Requests refused in workers because they had waited too long for their handler.",
    )
    .sample(&[], memory.totals().refused() as f64);
    for (name, help, cell) in [
        ("drover_worker_restarts", "Deaths of a worker after which a new one was started.", row::RESTARTS),
        (
            "drover_worker_replacements",
            "Planned replacements of a worker: rolls, limits, failed checks.",
            row::REPLACEMENTS,
        ),
    ] {
        text.family(name, Kind::Counter, help);
        for slot in used(memory) {
            text.sample(&[("worker", &slot.to_string())], memory.row(slot, cell) as f64);
        }
    }
}

fn requests(text: &mut Exposition, memory: &SharedMemory) {
    let totals: Vec<(String, _)> =
        used(memory).map(|slot| (slot.to_string(), memory.slot_totals(slot))).collect();
    let mut counter = |name, help: &str, cell| {
        text.family(name, Kind::Counter, help);
        totals.iter().for_each(|(worker, totals)| {
            text.sample(&[("worker", worker)], totals.of(cell));
        });
    };
    counter("http_requests", "Requests whose headers have been read.", page::REQUESTS);
    counter(
        "http_requests_aborted",
        "Requests whose connection or worker ended before their response.",
        page::ABORTED,
    );
    counter(
        "http_affinity_mismatches",
        "Requests whose affinity cookie named another worker.",
        page::AFFINITY_MISMATCH,
    );
    counter("http_received_bytes", "Bytes received on HTTP connections.", page::RECEIVED);
    counter("http_sent_bytes", "Bytes sent on HTTP connections.", page::SENT);
    text.family("http_responses", Kind::Counter, "Responses by status class.");
    for (worker, totals) in &totals {
        for digit in 1..=5 {
            let class = format!("{digit}xx");
            text.sample(&[("worker", worker), ("code", &class)], totals.of(page::STATUS + digit - 1));
        }
    }
    text.family("http_connections", Kind::Counter, "Connections that workers accepted.");
    for (worker, totals) in &totals {
        text.sample(&[("worker", worker)], totals.connections as f64);
    }
    text.family("http_connections_open", Kind::Gauge, "Open connections.");
    let at_work = || used(memory).map(|slot| (slot.to_string(), memory.at_work(slot)));
    for (slot, (_, connections)) in at_work() {
        text.sample(&[("worker", &slot)], connections as f64);
    }
    text.family("http_requests_in_flight", Kind::Gauge, "Requests in progress.");
    for (slot, (requests, _)) in at_work() {
        text.sample(&[("worker", &slot)], requests as f64);
    }
    let all = memory.totals();
    let bounds: Vec<(f64, f64)> = BOUNDS
        .map(|power| 2f64.powi(power))
        .map(|bound| (bound / 1e6, at_most(&all.histogram, bound)))
        .collect();
    text.family(
        "http_request_duration_seconds",
        Kind::Histogram,
        "Time from a request's headers to the end of its response.",
    )
    .histogram(&[], &bounds, all.histogram.iter().sum(), all.of(page::DURATION) / 1000.0);
}

fn processes(text: &mut Exposition, memory: &SharedMemory) {
    let float = |slot, cell| f64::from_bits(memory.row(slot, cell));
    text.family("process_cpu_seconds", Kind::Counter, "Processor time.");
    for slot in used(memory) {
        text.sample(&[("worker", &slot.to_string())], float(slot, row::CPU_SECONDS));
    }
    let mut gauge = |name, help: &str, value: &dyn Fn(u16) -> f64| {
        text.family(name, Kind::Gauge, help);
        for slot in used(memory).filter(|slot| is_sampled(memory, *slot)) {
            text.sample(&[("worker", &slot.to_string())], value(slot));
        }
    };
    let whole = |cell| move |slot| memory.row(slot, cell) as f64;
    gauge("process_resident_memory_bytes", "Resident memory.", &whole(row::MEMORY));
    gauge("process_open_fds", "Open descriptors.", &whole(row::DESCRIPTORS));
    gauge("process_threads", "Threads.", &whole(row::THREADS));
    gauge("process_start_time_seconds", "Start time of the process, since 1970.", &|slot| {
        memory.row(slot, row::STARTED) as f64 / 1000.0
    });
    gauge("nodejs_eventloop_lag_seconds", "The longest recent delay of the event loop.", &|slot| {
        float(slot, row::LAG_MS) / 1000.0
    });
    gauge("nodejs_eventloop_utilization", "The fraction of time in which the event loop is busy.", &|slot| {
        float(slot, row::UTILISATION)
    });
    let mut heap = |name, help, cell| {
        text.family(name, Kind::Gauge, help);
        // Read with a request: unknown before the first one.
        for (slot, bytes) in used(memory).map(|slot| (slot, page_of(memory, slot).float(cell))) {
            if bytes > 0.0 {
                text.sample(&[("worker", &slot.to_string())], bytes);
            }
        }
    };
    heap("nodejs_heap_size_used_bytes", "Bytes in use on V8's heap.", page::HEAP_USED);
    heap("nodejs_heap_size_total_bytes", "Size of V8's heap.", page::HEAP_TOTAL);
    heap(
        "nodejs_external_memory_bytes",
        "Memory of JavaScript objects outside of V8's heap.",
        page::EXTERNAL,
    );
}

fn collections(text: &mut Exposition, memory: &SharedMemory) {
    text.family("nodejs_gc_duration_seconds", Kind::Histogram, "Garbage collections by kind.");
    for slot in used(memory) {
        let (worker, totals) = (slot.to_string(), memory.slot_totals(slot));
        for (kind, name) in page::GC_KINDS.into_iter().enumerate() {
            let (within, seconds) = totals.collections_of(kind);
            let mut count = 0.0;
            let bounds = page::GC_BOUNDS.into_iter().zip(&within).map(|(bound, within)| {
                count += within;
                (bound, count)
            });
            let bounds: Vec<(f64, f64)> = bounds.collect();
            text.histogram(&[("worker", &worker), ("kind", name)], &bounds, within.iter().sum(), seconds);
        }
    }
}

/// The metrics of the programs themselves.
fn programs(text: &mut Exposition, memory: &SharedMemory) {
    let families = memory.metric_store();
    text.family("drover_metrics_dropped", Kind::Counter, "Values dropped for lack of room for their labels.")
        .sample(&[], families.dropped);
    text.family(
        "drover_metrics_lost_series",
        Kind::Counter,
        "Series of ended workers dropped for lack of room.",
    )
    .sample(&[], families.lost);
    text.family(
        "drover_metrics_conflicts",
        Kind::Gauge,
        "Series omitted because another process defines their metric differently.",
    )
    .sample(&[], f64::from(families.conflicts));
    for (name, Family { definition, series }) in &families.by_name {
        text.family(name, definition.kind, &definition.help);
        for (labels, values) in series {
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            if definition.kind == Kind::Histogram {
                let Spread { bounds, count, sum } = spread(definition, values);
                text.histogram(&labels, &bounds, count, sum);
            } else {
                text.sample(&labels, values[0]);
            }
        }
    }
}

/// Slots that have ever had a worker.
fn used(memory: &SharedMemory) -> impl Iterator<Item = u16> {
    (0..memory.slots()).filter(|slot| memory.row(*slot, row::GENERATION) > 0)
}

fn page_of(memory: &SharedMemory, slot: u16) -> crate::metrics::memory::Page {
    memory.page(memory.known_by(slot))
}

fn is_sampled(memory: &SharedMemory, slot: u16) -> bool {
    let pid = memory.row(slot, row::PID);
    pid != 0 && memory.row(slot, row::SAMPLED_PID) == pid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::instrument::{PREFIXES, RESERVED};

    #[test]
    fn no_family_of_drovers_is_one_that_a_program_may_define() {
        let (memory, _memfds) = SharedMemory::create(0).unwrap();
        let figures = Figures {
            cache: Box::new(|| vec![CacheStatistics::default()]),
            fleet: Box::new(|| Some(FleetStatus::default())),
        };
        let (_, text) = write(&memory, &figures, 0, true);
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let mut others: Vec<&str> = RESERVED.iter().map(|(name, _)| *name).collect();
        for (name, kind) in families {
            let is_reserved =
                RESERVED.iter().any(|(own, of)| *own == name && format!("{of:?}").to_lowercase() == kind);
            assert!(is_reserved || PREFIXES.iter().any(|prefix| name.starts_with(prefix)), "{name}");
            others.retain(|other| *other != name);
        }
        assert!(others.is_empty(), "reserved and not there: {others:?}");
    }
}
