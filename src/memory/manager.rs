//! The decisions of the MemoryManager: verdicts on limits, leaks and garbage, and what to report. PURE.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::leak::{Detector, Floor, Load, Reading, Verdict};
use super::recommend::{Advice, Bounds, Footprint, Heap, Machine, advise, optimal_worker_count};
use super::words::megabytes;
use crate::model::HeapUsage;

/// After a collection was advised, the next one is not for so long.
const BETWEEN_COLLECTIONS: Duration = Duration::from_secs(60);
/// Maximum number of workers whose readings are kept; of further ones nothing is.
const MAX_WORKERS: usize = 4096;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The bounds of each worker and of all.
    pub bounds: Bounds,
    pub detects_leaks: bool,
}

/// The machine's memory, or the part of it that this process may use: bytes, and percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStats {
    pub total_memory: u64,
    pub free_memory: u64,
    pub used_memory: u64,
    pub available_memory: u64,
    pub usage_percentage: f64,
    pub swap_total: u64,
    pub swap_free: u64,
    pub swap_percentage: f64,
}

impl MemoryStats {
    fn machine(&self, usable_cpus: f64) -> Machine {
        Machine {
            total: self.total_memory,
            available: self.available_memory,
            usable_cpus,
            swap_used: self.swap_total.saturating_sub(self.swap_free),
        }
    }
}

/// A worker of a cluster of this process, by its `WorkerInfo`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watched {
    pub id: String,
    pub pid: Option<u32>,
    pub memory_usage: Option<u64>,
    pub uptime: u64,
    pub request_count: u64,
    pub active_connections: u64,
    pub heap: Option<HeapUsage>,
}

/// A worker's memory compared with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitVerdict {
    pub within_limits: bool,
    pub status: Status,
    /// Percent of the limit; 0 without one.
    pub usage_percentage: f64,
    pub limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    Warning,
    Critical,
    Exceeded,
}

/// Something to report: once when it begins, and again when it has become worse.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "name", content = "payload", rename_all = "lowercase")]
pub enum Report {
    Warning(Pressure),
    Critical(Pressure),
    Leak(Leak),
}

/// Whose memory is near its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The machine, or the part of it that this process may use.
    System,
    /// All workers together.
    Workers,
    Worker,
}

/// Memory near a limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pressure {
    pub scope: Scope,
    /// Of [`Scope::Worker`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
    pub usage: u64,
    pub limit: u64,
    pub usage_percentage: f64,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leak {
    pub worker_id: String,
    #[serde(flatten)]
    pub verdict: Verdict,
    pub message: String,
}

/// A worker's state at the latest look.
#[derive(Debug, Default)]
struct Known {
    requests: u64,
    at: Duration,
    status: Option<Status>,
    is_leak_reported: bool,
}

#[derive(Debug)]
pub struct Manager {
    settings: Settings,
    /// By pid, of the clusters of this process.
    detector: Detector<u32>,
    known: BTreeMap<u32, Known>,
    /// By the ids that the program gives with its own figures.
    told: Detector<String>,
    told_memory: BTreeMap<String, u64>,
    advised: BTreeMap<String, Duration>,
    machine_status: Option<Status>,
    budget_status: Option<Status>,
}

impl Manager {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            detector: Detector::default(),
            known: BTreeMap::new(),
            told: Detector::default(),
            told_memory: BTreeMap::new(),
            advised: BTreeMap::new(),
            machine_status: None,
            budget_status: None,
        }
    }

    /// The limit of one worker; without one, of all workers.
    fn limit(&self) -> Option<u64> {
        self.settings.bounds.per_worker.or(self.settings.bounds.budget)
    }

    fn status(&self, percent: f64) -> Status {
        let Bounds { warning, critical, .. } = self.settings.bounds;
        match percent {
            _ if percent > 100.0 => Status::Exceeded,
            _ if percent >= critical => Status::Critical,
            _ if percent >= warning => Status::Warning,
            _ => Status::Ok,
        }
    }

    pub fn check_limit(&self, resident: u64) -> LimitVerdict {
        self.compare(resident, self.limit())
    }

    fn compare(&self, resident: u64, limit: Option<u64>) -> LimitVerdict {
        let usage_percentage = limit.map_or(0.0, |limit| resident as f64 / limit.max(1) as f64 * 100.0);
        let status = self.status(usage_percentage);
        LimitVerdict { within_limits: status < Status::Exceeded, status, usage_percentage, limit }
    }

    /// Adds a figure of the program's own and decides whether it leaks.
    pub fn tell(&mut self, worker: &str, resident: u64, now: Duration) -> Option<Verdict> {
        if self.told_memory.len() >= MAX_WORKERS && !self.told_memory.contains_key(worker) {
            return None;
        }
        self.told_memory.insert(worker.to_owned(), resident);
        let reading = Reading { at: now, resident, floor: None, load: Load::default() };
        self.told.observe(worker.to_owned(), reading);
        self.told.verdict(&worker.to_owned(), self.limit())
    }

    /// Whether a collection is worth its pause: much of the heap may be garbage, or memory is near the limit; not soon
    /// after it was advised.
    pub fn advises_collection(&mut self, worker: &str, workers: &[Watched], now: Duration) -> bool {
        let recently = self
            .advised
            .get(worker)
            .is_some_and(|advised| now.saturating_sub(*advised) < BETWEEN_COLLECTIONS);
        if recently {
            return false;
        }
        let found = workers.iter().find(|watched| watched.id == worker);
        let resident =
            found.and_then(|watched| watched.memory_usage).or_else(|| self.told_memory.get(worker).copied());
        let is_near = resident.is_some_and(|resident| self.check_limit(resident).status >= Status::Warning);
        let has_garbage = found.is_some_and(|watched| footprint(watched).garbage().is_some());
        let is_advised = is_near || has_garbage;
        if is_advised && (self.advised.len() < MAX_WORKERS || self.advised.contains_key(worker)) {
            self.advised.insert(worker.to_owned(), now);
        }
        is_advised
    }

    /// The workers as they are now, and what is to be reported about each, all together and the machine.
    pub fn look(&mut self, machine: &MemoryStats, workers: &[Watched], now: Duration) -> Vec<Report> {
        let pids: Vec<u32> = workers.iter().filter_map(|watched| watched.pid).collect();
        self.known.retain(|pid, _| pids.contains(pid));
        self.detector.retain(|pid| pids.contains(pid));
        let mut reports: Vec<Report> = self.look_at_machine(machine).into_iter().collect();
        reports.extend(self.look_at_budget(workers));
        for watched in workers {
            let (Some(pid), Some(resident)) = (watched.pid, watched.memory_usage) else { continue };
            reports.extend(self.look_at(pid, resident, watched, now));
        }
        reports
    }

    fn look_at_machine(&mut self, machine: &MemoryStats) -> Option<Report> {
        let status = self.status(machine.usage_percentage);
        let before = self.machine_status.replace(status);
        let message = format!(
            "{:.0} % of the memory is used: {} of {} are available",
            machine.usage_percentage,
            megabytes(machine.available_memory as f64),
            megabytes(machine.total_memory as f64)
        );
        let pressure = Pressure {
            scope: Scope::System,
            worker_id: None,
            usage: machine.used_memory,
            limit: machine.total_memory,
            usage_percentage: machine.usage_percentage,
            message,
        };
        report(before, status, pressure)
    }

    fn look_at_budget(&mut self, workers: &[Watched]) -> Option<Report> {
        let limit = self.settings.bounds.budget?;
        let living = workers.iter().filter(|watched| watched.pid.is_some());
        let usage = living.filter_map(|watched| watched.memory_usage).fold(0, u64::saturating_add);
        let LimitVerdict { status, usage_percentage, .. } = self.compare(usage, Some(limit));
        let before = self.budget_status.replace(status);
        let message = format!(
            "All workers together use {}, {usage_percentage:.0} % of the limit of {}",
            megabytes(usage as f64),
            megabytes(limit as f64)
        );
        let pressure =
            Pressure { scope: Scope::Workers, worker_id: None, usage, limit, usage_percentage, message };
        report(before, status, pressure)
    }

    fn look_at(&mut self, pid: u32, resident: u64, watched: &Watched, now: Duration) -> Vec<Report> {
        let id = &watched.id;
        let verdict = self.check_limit(resident);
        let known = self.known.entry(pid).or_default();
        let seconds = now.saturating_sub(known.at).as_secs_f64();
        let requests = watched.request_count.saturating_sub(known.requests) as f64;
        let is_first = std::mem::replace(&mut known.at, now) == Duration::ZERO;
        known.requests = watched.request_count;
        let load = Load {
            requests_per_second: if is_first || seconds <= 0.0 { 0.0 } else { requests / seconds },
            connections: watched.active_connections as f64,
        };
        let before = known.status.replace(verdict.status);
        let mut reports = Vec::new();
        if let Some(limit) = verdict.limit {
            let message = format!(
                "Worker {id} uses {}, {:.0} % of its limit of {}",
                megabytes(resident as f64),
                verdict.usage_percentage,
                megabytes(limit as f64)
            );
            let pressure = Pressure {
                scope: Scope::Worker,
                worker_id: Some(id.clone()),
                usage: resident,
                limit,
                usage_percentage: verdict.usage_percentage,
                message,
            };
            reports.extend(report(before, verdict.status, pressure));
        }
        if self.settings.detects_leaks {
            self.detector.observe(pid, Reading { at: now, resident, floor: floor(watched.heap), load });
            let leak = self.detector.verdict(&pid, self.limit()).filter(Verdict::is_leak);
            let known = self.known.entry(pid).or_default();
            let is_new = leak.is_some() && !known.is_leak_reported;
            known.is_leak_reported = leak.is_some();
            if let Some(verdict) = leak.filter(|_| is_new) {
                let message = format!("Worker {id} leaks memory: {}", verdict.text);
                reports.push(Report::Leak(Leak { worker_id: id.clone(), verdict, message }));
            }
        }
        reports
    }

    fn footprints(&self, workers: &[Watched]) -> Vec<Footprint> {
        let living = workers.iter().filter(|watched| watched.pid.is_some());
        let with_growth = |watched: &Watched| Footprint {
            growth: watched.pid.and_then(|pid| self.detector.verdict(&pid, self.limit())),
            ..footprint(watched)
        };
        living.map(with_growth).collect()
    }

    pub fn optimal_worker_count(&self, machine: &MemoryStats, usable_cpus: f64, workers: &[Watched]) -> u32 {
        optimal_worker_count(&machine.machine(usable_cpus), &self.settings.bounds, &self.footprints(workers))
    }

    pub fn advise(&self, machine: &MemoryStats, usable_cpus: f64, workers: &[Watched]) -> Advice {
        advise(&machine.machine(usable_cpus), &self.settings.bounds, &self.footprints(workers))
    }
}

/// None: the runtime collects and does not tell what is left.
pub fn floor(heap: Option<HeapUsage>) -> Option<Floor> {
    let HeapUsage { floor, major_collections: collections, .. } = heap?;
    match floor {
        None if collections > 0 => None,
        floor => Some(Floor { bytes: floor.unwrap_or(0), collections }),
    }
}

/// Bytes of garbage on a heap, if so many that a collection is worth its pause.
pub fn garbage(heap: HeapUsage) -> Option<u64> {
    Footprint { heap: Some(heap_of(heap)), ..Footprint::default() }.garbage()
}

fn heap_of(heap: HeapUsage) -> Heap {
    // The heap alone, as `used` is.
    let floor = heap.floor.map(|floor| floor.saturating_sub(heap.external));
    Heap { used: heap.used, total: heap.total, floor }
}

fn footprint(watched: &Watched) -> Footprint {
    let heap = watched.heap.map(heap_of);
    Footprint { id: watched.id.clone(), resident: watched.memory_usage.unwrap_or(0), heap, growth: None }
}

/// A report when the status has become worse.
fn report(before: Option<Status>, status: Status, pressure: Pressure) -> Option<Report> {
    if status <= before.unwrap_or(Status::Ok) {
        return None;
    }
    match status {
        Status::Ok => None,
        Status::Warning => Some(Report::Warning(pressure)),
        // From critical to exceeded is one more report.
        Status::Critical | Status::Exceeded => Some(Report::Critical(pressure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn manager() -> Manager {
        let bounds =
            Bounds { per_worker: Some(1000 * MB), warning: 80.0, critical: 95.0, ..Bounds::default() };
        Manager::new(Settings { bounds, detects_leaks: true })
    }

    fn machine(percent: f64) -> MemoryStats {
        let total_memory = 1000 * MB;
        let used_memory = (total_memory as f64 * percent / 100.0) as u64;
        MemoryStats {
            total_memory,
            used_memory,
            free_memory: total_memory - used_memory,
            available_memory: total_memory - used_memory,
            usage_percentage: percent,
            swap_total: 0,
            swap_free: 0,
            swap_percentage: 0.0,
        }
    }

    fn worker(pid: u32, resident: u64) -> Watched {
        Watched {
            id: "0".to_owned(),
            pid: Some(pid),
            memory_usage: Some(resident * MB),
            uptime: 0,
            request_count: 0,
            active_connections: 0,
            heap: None,
        }
    }

    fn subject(Pressure { scope, worker_id, .. }: &Pressure) -> String {
        worker_id.as_ref().map_or(format!("{scope:?}"), |id| format!("{scope:?} {id}"))
    }

    fn names(reports: &[Report]) -> Vec<String> {
        let name = |report: &Report| match report {
            Report::Warning(pressure) => format!("warning {}", subject(pressure)),
            Report::Critical(pressure) => format!("critical {}", subject(pressure)),
            Report::Leak(leak) => format!("leak {}", leak.worker_id),
        };
        reports.iter().map(name).collect()
    }

    #[test]
    fn memory_is_compared_with_the_limit() {
        for (resident, status, within) in [
            (0, Status::Ok, true),
            (799, Status::Ok, true),
            (800, Status::Warning, true),
            (950, Status::Critical, true),
            (1000, Status::Critical, true),
            (1001, Status::Exceeded, false),
        ] {
            let verdict = manager().check_limit(resident * MB);
            assert_eq!((verdict.status, verdict.within_limits), (status, within), "{resident} MB");
            assert!((verdict.usage_percentage - resident as f64 / 10.0).abs() < 1e-9);
        }
        let mut free = manager();
        free.settings.bounds.per_worker = None;
        let expected =
            LimitVerdict { within_limits: true, status: Status::Ok, usage_percentage: 0.0, limit: None };
        assert_eq!(free.check_limit(u64::MAX), expected);
    }

    #[test]
    fn a_threshold_is_reported_when_it_is_crossed_and_again_after_a_recovery() {
        let mut manager = manager();
        let found: Vec<Vec<String>> =
            [(50.0, 500), (85.0, 850), (85.0, 960), (50.0, 1100), (50.0, 500), (90.0, 810)]
                .iter()
                .zip(1..)
                .map(|((percent, resident), second)| {
                    names(&manager.look(
                        &machine(*percent),
                        &[worker(7, *resident)],
                        Duration::from_secs(second),
                    ))
                })
                .collect();
        let worker = |name: &str| format!("{name} Worker 0");
        let expected = [
            vec![],
            vec!["warning System".to_owned(), worker("warning")],
            vec![worker("critical")],
            vec![worker("critical")],
            vec![],
            vec!["warning System".to_owned(), worker("warning")],
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn all_workers_together_are_compared_with_the_budget() {
        let budget = Bounds { budget: Some(1000 * MB), warning: 80.0, critical: 95.0, ..Bounds::default() };
        let mut manager = Manager::new(Settings { bounds: budget, detects_leaks: false });
        let table: [(&[u64], &[&str]); 9] = [
            (&[], &[]),
            (&[200, 200, 200, 199], &[]),
            (&[200, 200, 200, 200], &["warning Workers"]),
            (&[200, 200, 200, 210], &[]),
            (&[240, 240, 240, 240], &["critical Workers"]),
            (&[250, 250, 250, 250], &[]),
            (&[250, 250, 250, 251], &["critical Workers"]),
            (&[200, 200], &[]),
            (&[850], &["warning Workers", "warning Worker 0"]),
        ];
        for ((workers, expected), second) in table.into_iter().zip(1..) {
            let watched: Vec<Watched> =
                workers.iter().zip(1..).map(|(resident, pid)| worker(pid, *resident)).collect();
            let found = manager.look(&machine(10.0), &watched, Duration::from_secs(second));
            assert_eq!(names(&found), expected, "{workers:?}");
        }
        let mut ended = worker(1, 990);
        ended.pid = None;
        assert_eq!(manager.look(&machine(10.0), &[ended], Duration::from_secs(20)), []);
    }

    #[test]
    fn the_budget_of_all_workers_counts_beside_the_limit_of_each() {
        let bounds =
            Bounds { budget: Some(1000 * MB), per_worker: Some(500 * MB), ..manager().settings.bounds };
        let mut manager = Manager::new(Settings { bounds, detects_leaks: false });
        let workers = [worker(1, 300), worker(2, 300), worker(3, 390)];
        let found = manager.look(&machine(10.0), &workers, Duration::from_secs(1));
        let expected = Pressure {
            scope: Scope::Workers,
            worker_id: None,
            usage: 990 * MB,
            limit: 1000 * MB,
            usage_percentage: 99.0,
            message: "All workers together use 990 MB, 99 % of the limit of 1000 MB".to_owned(),
        };
        assert_eq!(found, [Report::Critical(expected)]);
        let mut unlimited =
            Manager::new(Settings { bounds: Bounds { budget: None, ..bounds }, detects_leaks: false });
        assert_eq!(unlimited.look(&machine(10.0), &workers, Duration::from_secs(1)), []);
    }

    #[test]
    fn a_leak_is_reported_once_and_its_successor_starts_anew() {
        let mut manager = manager();
        let mut look = |pid: u32, second: u64, resident: u64| {
            let reports = manager.look(&machine(10.0), &[worker(pid, resident)], Duration::from_secs(second));
            reports.iter().filter(|report| matches!(report, Report::Leak(_))).count()
        };
        let leaks: usize = (1..20).map(|second| look(7, second, 50 + 20 * second)).sum();
        assert_eq!(leaks, 1);
        let after: usize = (20..24).map(|second| look(8, second, 50 + 20 * second)).sum();
        assert_eq!(after, 0, "another process");
    }

    #[test]
    fn figures_of_the_program_are_enough_for_a_leak() {
        let mut manager = manager();
        let steady = (0..40)
            .filter_map(|second| manager.tell("a", 100 * MB + second % 3, Duration::from_secs(second)));
        assert_eq!(steady.filter(Verdict::is_leak).count(), 0);
        // As fast as they can be given.
        let fast = (0..10)
            .filter_map(|step: u64| manager.tell("b", (100 + 20 * step) * MB, Duration::from_secs(50)));
        assert!(fast.last().is_some_and(|verdict| verdict.is_leak()));
    }

    #[test]
    fn a_collection_is_advised_where_it_helps_and_not_twice_at_once() {
        let mut manager = manager();
        let heap = |used: u64, floor: u64| {
            Some(HeapUsage {
                used: used * MB,
                total: 300 * MB,
                external: 0,
                floor: Some(floor * MB),
                major_collections: 3,
            })
        };
        let at = Duration::from_secs;
        let garbage = [Watched { heap: heap(200, 60), ..worker(7, 300) }];
        assert!(manager.advises_collection("0", &garbage, at(0)));
        assert!(!manager.advises_collection("0", &garbage, at(30)), "soon after");
        assert!(manager.advises_collection("0", &garbage, at(61)));
        let kept = [Watched { heap: heap(200, 190), ..worker(7, 300) }];
        assert!(!manager.advises_collection("0", &kept, at(300)));
        assert!(manager.advises_collection("0", &[worker(7, 900)], at(300)), "near its limit");
        assert!(!manager.advises_collection("other", &[], at(300)));
        manager.tell("other", 990 * MB, at(300));
        assert!(manager.advises_collection("other", &[], at(300)));
    }

    #[test]
    fn a_runtime_that_collects_and_shows_no_floor_tells_nothing() {
        let heap = |floor, major_collections| {
            Some(HeapUsage { used: 5, total: 9, external: 1, floor, major_collections })
        };
        assert_eq!(floor(heap(None, 0)), Some(Floor { bytes: 0, collections: 0 }));
        assert_eq!(floor(heap(Some(4), 2)), Some(Floor { bytes: 4, collections: 2 }));
        assert_eq!((floor(heap(None, 2)), floor(None)), (None, None));
    }
}
