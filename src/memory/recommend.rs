//! Recommendations about memory, in words with numbers, and how many workers memory allows. PURE.

use serde::Serialize;

use super::leak::Verdict;
use super::words::{MIB, megabytes, rate};

/// The memory of a worker of which nothing is known yet, bytes: a small server on Node.js.
const DEFAULT_FOOTPRINT: u64 = 96 << 20;
/// A worker is far larger than the others at so many times their median, and by so many bytes.
const TIMES: f64 = 2.0;
const BEYOND: f64 = 64.0 * MIB;
/// Garbage is worth a collection from this part of the heap on, and from so many bytes.
const GARBAGE: f64 = 0.5;
const MIN_GARBAGE: f64 = 32.0 * MIB;

/// What workers share, bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// The machine's memory, or the part of it that this process may use.
    pub total: u64,
    pub available: u64,
    /// CPUs this process may use; a quota makes it fractional.
    pub usable_cpus: f64,
    pub swap_used: u64,
}

/// The configured bounds, bytes; None: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// All workers together.
    pub budget: Option<u64>,
    /// Stays free.
    pub reservation: u64,
    /// One worker.
    pub per_worker: Option<u64>,
    /// Percent of a limit.
    pub warning: f64,
    pub critical: f64,
}

/// A worker's memory, bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Footprint {
    pub id: String,
    pub resident: u64,
    /// None: unknown.
    pub heap: Option<Heap>,
    /// Of its leak detection.
    pub growth: Option<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heap {
    pub used: u64,
    pub total: u64,
    /// In use after the latest major collection; None before the first.
    pub floor: Option<u64>,
}

impl Footprint {
    /// Bytes of garbage, if so many that a collection is worth its pause.
    pub fn garbage(&self) -> Option<u64> {
        let heap = self.heap?;
        let garbage = heap.used.saturating_sub(heap.floor?);
        let is_worth = garbage as f64 >= MIN_GARBAGE.max(heap.used as f64 * GARBAGE);
        is_worth.then_some(garbage)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recommendation {
    pub severity: Severity,
    /// A sentence.
    pub message: String,
    /// The worker that it concerns; None: the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
    /// Estimated bytes that it would free.
    #[serde(skip)]
    pub savings: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    pub recommendations: Vec<Recommendation>,
    pub potential_savings: u64,
    pub optimal_worker_count: u32,
}

/// How many workers the memory allows, at most one per usable CPU and at least one.
pub fn optimal_worker_count(machine: &Machine, bounds: &Bounds, workers: &[Footprint]) -> u32 {
    // `as` saturates, and converts NaN to 0.
    let cpus = (machine.usable_cpus.ceil() as u32).max(1);
    let footprint = footprint(bounds, workers).max(1);
    let fits = (room(machine, bounds, workers) / footprint).max(1);
    cpus.min(u32::try_from(fits).unwrap_or(u32::MAX))
}

/// Bytes that all workers may use: what they use and what is still available, less the reservation.
fn room(machine: &Machine, bounds: &Bounds, workers: &[Footprint]) -> u64 {
    let used = workers.iter().fold(0u64, |sum, worker| sum.saturating_add(worker.resident));
    let room = machine.available.saturating_add(used).min(machine.total).saturating_sub(bounds.reservation);
    room.min(bounds.budget.unwrap_or(u64::MAX))
}

/// What one more worker needs: the median of those that run, at most the limit.
fn footprint(bounds: &Bounds, workers: &[Footprint]) -> u64 {
    let median = median(workers).unwrap_or(DEFAULT_FOOTPRINT);
    median.min(bounds.per_worker.unwrap_or(u64::MAX))
}

fn median(workers: &[Footprint]) -> Option<u64> {
    let mut sizes: Vec<u64> = workers.iter().map(|worker| worker.resident).filter(|size| *size > 0).collect();
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied()
}

/// All recommendations, the most severe first.
pub fn advise(machine: &Machine, bounds: &Bounds, workers: &[Footprint]) -> Advice {
    let optimal_worker_count = optimal_worker_count(machine, bounds, workers);
    let mut recommendations: Vec<Recommendation> =
        workers.iter().flat_map(|worker| about(worker, bounds, workers)).collect();
    recommendations.extend(about_all(machine, bounds, workers, optimal_worker_count));
    // Stable: workers stay in their order.
    recommendations.sort_by_key(|one| std::cmp::Reverse(one.severity));
    let potential_savings = savings(&recommendations);
    Advice { recommendations, potential_savings, optimal_worker_count }
}

/// The sum; of several about one worker only the largest counts.
fn savings(recommendations: &[Recommendation]) -> u64 {
    let counts = |(index, one): &(usize, &Recommendation)| {
        let rivals = recommendations.iter().enumerate().filter(|(_, other)| other.worker_id == one.worker_id);
        let best = rivals.max_by_key(|(at, other)| (other.savings, std::cmp::Reverse(*at)));
        best.is_some_and(|(best, _)| best == *index)
    };
    let counted = recommendations.iter().enumerate().filter(counts);
    counted.fold(0, |sum, (_, one)| sum.saturating_add(one.savings))
}

fn about(worker: &Footprint, bounds: &Bounds, workers: &[Footprint]) -> Vec<Recommendation> {
    let (id, size) = (&worker.id, megabytes(worker.resident as f64));
    let recommend = |severity, message, savings| Recommendation {
        severity,
        message,
        worker_id: Some(id.clone()),
        savings,
    };
    let mut found = Vec::new();
    let leak = worker.growth.as_ref().filter(|verdict| verdict.is_leak());
    if let Some(leak) = leak {
        let message = format!(
            "Worker {id} leaks {}: {}. Replace it to free about {}, and find what holds the memory.",
            rate(leak.bytes_per_second),
            leak.text,
            megabytes(leak.to.saturating_sub(leak.from) as f64),
        );
        found.push(recommend(Severity::Critical, message, leak.to.saturating_sub(leak.from)));
    }
    if let Some(limit) = bounds.per_worker.filter(|limit| *limit > 0) {
        let percent = worker.resident as f64 / limit as f64 * 100.0;
        let (severity, threshold) = match percent {
            _ if percent >= bounds.critical => (Severity::Critical, bounds.critical),
            _ if percent >= bounds.warning => (Severity::Warning, bounds.warning),
            _ => (Severity::Info, f64::INFINITY),
        };
        if threshold.is_finite() {
            let message = format!(
                "Worker {id} uses {size}, {percent:.0} % of its limit of {}: above {threshold} %. Raise the limit or \
                 reduce what it keeps.",
                megabytes(limit as f64),
            );
            found.push(recommend(severity, message, 0));
        }
    }
    let others: Vec<Footprint> = workers.iter().filter(|other| other.id != *id).cloned().collect();
    let median = median(&others).unwrap_or(worker.resident);
    let beyond = worker.resident as f64 - median as f64;
    if leak.is_none() && beyond >= BEYOND.max(median as f64 * (TIMES - 1.0)) {
        let message = format!(
            "Worker {id} uses {size}, the others {} (median). A restart would free about {}; look for what only this \
             worker keeps.",
            megabytes(median as f64),
            megabytes(beyond),
        );
        found.push(recommend(Severity::Warning, message, beyond as u64));
    }
    if let Some(garbage) = worker.garbage() {
        let message = format!(
            "About {} of worker {id}'s heap may be garbage. A collection would show how much is kept.",
            megabytes(garbage as f64),
        );
        found.push(recommend(Severity::Info, message, garbage));
    }
    found
}

fn about_all(machine: &Machine, bounds: &Bounds, workers: &[Footprint], optimal: u32) -> Vec<Recommendation> {
    let recommend =
        |severity, message, savings| Recommendation { severity, message, worker_id: None, savings };
    let mut found = Vec::new();
    let used: u64 = workers.iter().fold(0, |sum, worker| sum.saturating_add(worker.resident));
    let percent = |part: u64, whole: u64| part as f64 / whole.max(1) as f64 * 100.0;
    let severity = |percent: f64| match percent {
        _ if percent >= bounds.critical => Some(Severity::Critical),
        _ if percent >= bounds.warning => Some(Severity::Warning),
        _ => None,
    };
    let taken = percent(machine.total.saturating_sub(machine.available), machine.total);
    if let Some(severity) = severity(taken) {
        let message = format!(
            "{taken:.0} % of the memory is used: {} of {} are available. Use fewer workers or give them a lower limit.",
            megabytes(machine.available as f64),
            megabytes(machine.total as f64),
        );
        found.push(recommend(severity, message, 0));
    }
    if let Some(budget) = bounds.budget {
        let share = percent(used, budget);
        if let Some(severity) = severity(share) {
            let message = format!(
                "The {} workers use {} together, {share:.0} % of their budget of {}.",
                workers.len(),
                megabytes(used as f64),
                megabytes(budget as f64),
            );
            found.push(recommend(severity, message, 0));
        }
    }
    if machine.swap_used > 64 << 20 && taken >= bounds.warning {
        let message = format!(
            "{} are swapped out while memory is short: garbage collections touch the whole heap and become slow.",
            megabytes(machine.swap_used as f64),
        );
        found.push(recommend(Severity::Warning, message, 0));
    }
    let fits = room(machine, bounds, workers) / footprint(bounds, workers).max(1);
    let count = workers.len() as u64;
    if count > 0 && fits.max(1) < count {
        let message = format!(
            "Memory is enough for {} workers of {}, and {count} run. Use {optimal}.",
            fits.max(1),
            megabytes(footprint(bounds, workers) as f64),
        );
        let freed = footprint(bounds, workers).saturating_mul(count.saturating_sub(u64::from(optimal)));
        found.push(recommend(Severity::Warning, message, freed));
    } else if bounds.per_worker.is_none() && count > 0 {
        let median = median(workers).unwrap_or(DEFAULT_FOOTPRINT);
        let limit = (median as f64 * 2.0).max(128.0 * MIB);
        let message = format!(
            "No worker has a memory limit. They use {} each (median): with resources.maxMemoryPerWorker of {} a leak \
             would be ended by a replacement.",
            megabytes(median as f64),
            megabytes(limit),
        );
        found.push(recommend(Severity::Info, message, 0));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::leak::{Detector, Load, Reading};
    use proptest::prelude::*;
    use std::time::Duration;

    const MB: u64 = 1 << 20;

    fn machine(available: u64, usable_cpus: f64) -> Machine {
        Machine { total: 8192 * MB, available: available * MB, usable_cpus, swap_used: 0 }
    }

    fn bounds() -> Bounds {
        Bounds { warning: 80.0, critical: 95.0, ..Bounds::default() }
    }

    fn worker(id: &str, resident: u64) -> Footprint {
        Footprint { id: id.to_owned(), resident: resident * MB, ..Footprint::default() }
    }

    #[test]
    fn as_many_workers_as_memory_and_cpus_allow() {
        let running = [worker("0", 100), worker("1", 100)];
        let with = |budget: Option<u64>, reservation: u64, per_worker: Option<u64>| Bounds {
            budget: budget.map(|size| size * MB),
            reservation: reservation * MB,
            per_worker: per_worker.map(|size| size * MB),
            ..bounds()
        };
        for (available, cpus, bounds, workers, expected) in [
            (4000, 4.0, bounds(), &running[..], 4),
            (4000, 0.5, bounds(), &running, 1),
            (100, 8.0, bounds(), &running, 3),
            (0, 8.0, bounds(), &running, 2),
            (4000, 8.0, with(Some(350), 0, None), &running, 3),
            (1000, 16.0, with(None, 900, None), &running, 3),
            (1000, 16.0, with(None, 0, Some(50)), &running, 16),
            (500, 16.0, bounds(), &[], 5),
            (10, 16.0, bounds(), &[], 1),
        ] {
            let found = optimal_worker_count(&machine(available, cpus), &bounds, workers);
            assert_eq!(found, expected, "{available} MB, {cpus} CPUs, {bounds:?}");
        }
    }

    #[test]
    fn each_recommendation_has_its_numbers() {
        let mut detector = Detector::default();
        for second in 0..12u64 {
            let resident = (100 + 20 * second) * MB;
            let at = Duration::from_secs(second);
            detector.observe("1", Reading { at, resident, floor: None, load: Load::default() });
        }
        let growth = detector.verdict(&"1", None);
        let heap = Some(Heap { used: 150 * MB, total: 200 * MB, floor: Some(50 * MB) });
        let workers = [
            Footprint { heap, ..worker("0", 200) },
            Footprint { growth, ..worker("1", 320) },
            worker("2", 90),
            worker("3", 490),
        ];
        let bounds = Bounds { per_worker: Some(500 * MB), budget: Some(1200 * MB), ..bounds() };
        let Advice { recommendations, potential_savings, optimal_worker_count } =
            advise(&machine(400, 4.0), &bounds, &workers);
        let lines: Vec<String> = recommendations
            .iter()
            .map(|one| format!("{:?} {:?} {}", one.severity, one.worker_id, one.message))
            .collect();
        for (index, part) in [
            (
                0,
                "Critical Some(\"1\") Worker 1 leaks 20.0 MB per second: its resident memory grows by 20.0 MB per second",
            ),
            (1, "Critical Some(\"3\") Worker 3 uses 490 MB, 98 % of its limit of 500 MB"),
            (2, "Critical None 95 % of the memory is used: 400 MB of 8192 MB are available"),
            (3, "Warning Some(\"3\") Worker 3 uses 490 MB, the others 200 MB (median)"),
            (4, "Warning None The 4 workers use 1100 MB together, 92 % of their budget of 1200 MB"),
            (5, "Warning None Memory is enough for 3 workers of 320 MB, and 4 run. Use 3."),
            (6, "Info Some(\"0\") About 100 MB of worker 0's heap may be garbage"),
        ] {
            assert!(lines.get(index).is_some_and(|line| line.starts_with(part)), "{part}: {lines:#?}");
        }
        assert_eq!((lines.len(), optimal_worker_count), (7, 3));
        assert_eq!((potential_savings + MB / 2) / MB, 220 + 290 + 320 + 100);
    }

    #[test]
    fn a_cluster_without_problems_gets_no_warning() {
        let advice = advise(&machine(6000, 4.0), &bounds(), &[worker("0", 90), worker("1", 100)]);
        assert!(advice.recommendations.iter().all(|one| one.severity == Severity::Info), "{advice:?}");
        assert_eq!((advice.potential_savings, advice.optimal_worker_count), (0, 4));
    }

    proptest! {
        #[test]
        fn any_figures_give_advice(
            total: u64, available: u64, usable_cpus: f64, swap_used: u64, sizes: Vec<u64>,
            budget: Option<u64>, reservation: u64, per_worker: Option<u64>,
        ) {
            let workers: Vec<Footprint> = sizes
                .iter()
                .enumerate()
                .map(|(id, resident)| Footprint {
                    id: id.to_string(),
                    resident: *resident,
                    heap: Some(Heap { used: *resident, total: 0, floor: Some(available) }),
                    growth: None,
                })
                .collect();
            let machine = Machine { total, available, usable_cpus, swap_used };
            let bounds = Bounds { budget, reservation, per_worker, warning: 80.0, critical: 95.0 };
            let advice = advise(&machine, &bounds, &workers);
            prop_assert!(advice.optimal_worker_count >= 1);
            prop_assert!(f64::from(advice.optimal_worker_count) <= usable_cpus.ceil().max(1.0) || usable_cpus.is_nan());
        }
    }
}
