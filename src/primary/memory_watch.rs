//! The memory of the workers over time: leak detection, warnings, garbage collections and evidence of leaks. `crate::memory`
//! decides what is a leak; this module keeps what is known of each worker and requests tasks of it.

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use serde_json::json;

use super::effects::{Effect, Effects};
use super::setup::MemorySettings;
use crate::component::Component;
use crate::event::{AlertCause, Event, Level, Subject};
use crate::ipc::control::{AllocationSite, MemoryFound, MemoryTask, ToWorker};
use crate::memory::budget::Budget;
use crate::memory::leak::{Detector, Load, Measure, Reading, Verdict};
use crate::memory::manager::{LimitVerdict, Manager, Settings, Status, floor};
use crate::memory::recommend::Bounds;
use crate::metrics::layout::{page, row};
use crate::metrics::memory::SharedMemory;
use crate::metrics::view;
use crate::model::WorkerId;
use crate::supervisor::{Role, Slot, Supervisor};
use crate::sys::local_time::now_ms;

/// A sample may come so much early.
const EARLY: Duration = Duration::from_millis(100);
/// Sampling begins only below this part of the heap's limit.
const MAX_PERCENT: u32 = 80;
/// A worker whose heap is collected or sampled may block its event loop for so long.
const BLOCKED: Duration = Duration::from_secs(10);
/// So many looks in a row without a suspicion end the sampling.
const QUIET_LOOKS: u32 = 5;
/// A collection is requested of a worker again after so many looks.
const LOOKS_BETWEEN_COLLECTIONS: u32 = 10;

/// The sampling of a worker's allocations.
#[derive(Clone, Debug, Default, PartialEq)]
enum Evidence {
    #[default]
    None,
    Starting(u32),
    Sampling,
    Stopping(u32, String),
    /// It was kept, or cannot be.
    Done,
}

#[derive(Default)]
struct Known {
    /// Requests at the latest look, with its time.
    requests: Option<(f64, Duration)>,
    status: Option<Status>,
    verdict: Option<Verdict>,
    is_leak_reported: bool,
    evidence: Evidence,
    quiet: u32,
    looks_until_collection: u32,
    collection: Option<u32>,
}

pub(super) struct MemoryWatch {
    settings: MemorySettings,
    memory: SharedMemory,
    detector: Detector<WorkerId>,
    known: BTreeMap<WorkerId, Known>,
    budget_status: Option<Status>,
    next: Duration,
    last_id: u32,
}

impl MemoryWatch {
    pub fn new(settings: MemorySettings, memory: SharedMemory) -> Self {
        Self {
            settings,
            memory,
            detector: Detector::default(),
            known: BTreeMap::new(),
            budget_status: None,
            next: Duration::ZERO,
            last_id: 0,
        }
    }

    /// The settings apply from now on.
    pub fn set(&mut self, settings: MemorySettings) {
        self.next = self.next.min(self.next.saturating_sub(self.settings.interval) + settings.interval);
        self.settings = settings;
    }

    pub fn forget(&mut self, worker: WorkerId) {
        self.known.remove(&worker);
        self.detector.forget(&worker);
    }

    pub fn leaks(&self, worker: WorkerId) -> bool {
        self.known.get(&worker).and_then(|known| known.verdict.as_ref()).is_some_and(Verdict::is_leak)
    }

    /// The cluster was sampled. `budget`: that of all workers.
    pub fn sampled(&mut self, supervisor: &Supervisor, budget: Option<Budget>, now: Duration) -> Effects {
        if !self.settings.enabled || now + EARLY < self.next {
            return Effects::new();
        }
        self.next = now + self.settings.interval;
        let mut effects = Effects::new();
        for slot in supervisor.slots() {
            let serving =
                slot.active_worker().filter(|worker| worker.is_ready() && slot.role == Role::Serving);
            let Some((worker, pid)) = serving.and_then(|worker| Some((worker.id, worker.pid()?))) else {
                continue;
            };
            if self.memory.row(slot.number, row::SAMPLED_PID) == u64::from(pid) {
                effects.extend(self.look_at(worker, slot, budget, now));
            }
        }
        if let Some(budget) = budget.filter(|_| self.settings.per_worker.is_none()) {
            effects.extend(self.look_at_budget(budget));
        }
        effects
    }

    fn compare(&self, used: u64, limit: u64) -> LimitVerdict {
        let bounds = Bounds {
            per_worker: Some(limit),
            warning: self.settings.warning,
            critical: self.settings.critical,
            ..Bounds::default()
        };
        Manager::new(Settings { bounds, detects_leaks: false }).check_limit(used)
    }

    fn look_at(&mut self, worker: WorkerId, slot: &Slot, budget: Option<Budget>, now: Duration) -> Effects {
        let resident = self.memory.row(slot.number, row::MEMORY);
        let verdict = self.settings.per_worker.map(|limit| self.compare(resident, limit));
        let status = verdict.map_or(Status::Ok, |verdict| verdict.status);
        let mut effects = Effects::new();
        let known = self.known.entry(worker).or_default();
        let before = known.status.replace(status).unwrap_or(Status::Ok);
        if let Some(limit) = self.settings.per_worker.filter(|_| status > before) {
            effects.push(pressure(Some(worker), resident, limit, status));
        }
        if self.settings.hints {
            effects.extend(self.hint(worker, status));
        }
        if self.settings.detects_leaks {
            let limit = self.settings.per_worker.or_else(|| budget.map(|budget| resident + budget.free()));
            effects.extend(self.look_for_leak(worker, slot, resident, limit, now));
        }
        effects
    }

    fn look_at_budget(&mut self, budget: Budget) -> Option<Effect> {
        let status = self.compare(budget.used, budget.limit).status;
        let before = self.budget_status.replace(status).unwrap_or(Status::Ok);
        (status > before).then(|| pressure(None, budget.used, budget.limit, status))
    }

    fn look_for_leak(
        &mut self,
        worker: WorkerId,
        slot: &Slot,
        resident: u64,
        limit: Option<u64>,
        now: Duration,
    ) -> Effects {
        let requests = self.memory.page(worker).float(page::REQUESTS);
        let (_, connections) = self.memory.at_work(slot.number);
        let known = self.known.entry(worker).or_default();
        let rate = |(before, at): (f64, Duration)| {
            (requests - before) / now.saturating_sub(at).as_secs_f64().max(0.001)
        };
        let requests_per_second = known.requests.map_or(0.0, rate);
        known.requests = Some((requests, now));
        let load = Load { requests_per_second, connections: connections as f64 };
        let floor = floor(view::heap(&self.memory, worker));
        self.detector.observe(worker, Reading { at: now, resident, floor, load });
        let verdict = self.detector.verdict(&worker, limit);
        let mut effects = self.look_for_evidence(worker, verdict.as_ref());
        let known = self.known.entry(worker).or_default();
        let leak = verdict.as_ref().filter(|verdict| verdict.is_leak());
        if let Some(leak) = leak.filter(|_| !known.is_leak_reported) {
            effects.insert(0, Effect::Emit(alert(worker, leak)));
        }
        known.is_leak_reported = leak.is_some();
        known.verdict = verdict;
        effects
    }

    /// Samples the allocations of a worker that seems to leak, and keeps the profile of one that does.
    fn look_for_evidence(&mut self, worker: WorkerId, verdict: Option<&Verdict>) -> Effects {
        let keeps = self.settings.evidence;
        let known = self.known.entry(worker).or_default();
        let is_suspicious = verdict.is_some_and(Verdict::is_suspicion);
        known.quiet = if is_suspicious { 0 } else { known.quiet + 1 };
        match known.evidence {
            Evidence::None if is_suspicious && keeps => {
                self.request(worker, MemoryTask::Sample { max_percent: MAX_PERCENT }, Evidence::Starting)
            }
            Evidence::Sampling if verdict.is_some_and(Verdict::is_leak) => {
                let file = file_of(worker);
                let task = MemoryTask::StopSampling { file: Some(file.clone()) };
                self.request(worker, task, |id| Evidence::Stopping(id, file))
            }
            Evidence::Sampling if known.quiet >= QUIET_LOOKS => {
                let task = MemoryTask::StopSampling { file: None };
                self.request(worker, task, |id| Evidence::Stopping(id, String::new()))
            }
            _ => Effects::new(),
        }
    }

    fn request(
        &mut self,
        worker: WorkerId,
        task: MemoryTask,
        evidence: impl FnOnce(u32) -> Evidence,
    ) -> Effects {
        self.last_id += 1;
        let id = self.last_id;
        self.known.entry(worker).or_default().evidence = evidence(id);
        vec![Effect::Excuse(worker, BLOCKED), Effect::Send(worker, ToWorker::Memory { id, task })]
    }

    /// Requests a collection of a worker near its limit or with much garbage.
    fn hint(&mut self, worker: WorkerId, status: Status) -> Effects {
        let garbage = view::heap(&self.memory, worker).and_then(crate::memory::manager::garbage);
        let known = self.known.entry(worker).or_default();
        known.looks_until_collection = known.looks_until_collection.saturating_sub(1);
        let is_advised = status >= Status::Warning || garbage.is_some();
        if !is_advised || known.looks_until_collection > 0 || known.collection.is_some() {
            return Effects::new();
        }
        self.last_id += 1;
        known.collection = Some(self.last_id);
        known.looks_until_collection = LOOKS_BETWEEN_COLLECTIONS;
        let task = ToWorker::Memory { id: self.last_id, task: MemoryTask::Collect };
        vec![Effect::Excuse(worker, BLOCKED), Effect::Send(worker, task)]
    }

    /// A worker has carried out a task, or failed.
    pub fn done(
        &mut self,
        worker: WorkerId,
        id: u32,
        found: Option<MemoryFound>,
        failure: Option<String>,
    ) -> Effects {
        let Some(known) = self.known.get_mut(&worker) else { return Effects::new() };
        let excuse = Effect::Excuse(worker, Duration::ZERO);
        if known.collection == Some(id) {
            known.collection = None;
            return std::iter::once(excuse).chain(collected(worker, found.as_ref(), failure)).collect();
        }
        let reason = failure.unwrap_or_default();
        let (next, effect) = match (&known.evidence, found) {
            (Evidence::Starting(asked), Some(MemoryFound::Sampling)) if *asked == id => {
                (Evidence::Sampling, None)
            }
            (Evidence::Stopping(asked, file), Some(MemoryFound::Sites { sites, bytes })) if *asked == id => {
                if file.is_empty() {
                    (Evidence::None, None)
                } else {
                    (Evidence::Done, Some(evidence(worker, file, bytes, &sites)))
                }
            }
            (Evidence::Starting(asked) | Evidence::Stopping(asked, _), _) if *asked == id => {
                let text = format!("There is no evidence of what worker {worker} allocates: {reason}");
                let subject = Subject::DiagnosisFailed {
                    worker: worker.to_string(),
                    diagnosis: "heap-sampling",
                    reason,
                };
                let event = Event::about(Component::Monitoring, Level::Warn, text).with(subject);
                (Evidence::Done, Some(Effect::Emit(event)))
            }
            _ => return Effects::new(),
        };
        known.evidence = next;
        std::iter::once(excuse).chain(effect).collect()
    }
}

fn file_of(worker: WorkerId) -> String {
    let name = format!("drover-heap-{}-{}.heapprofile", worker.slot, now_ms());
    // Without a working directory a worker's own is as good.
    env::current_dir().unwrap_or_default().join("logs").join(name).to_string_lossy().into_owned()
}

fn megabytes(bytes: u64) -> String {
    crate::memory::words::megabytes(bytes as f64)
}

fn pressure(worker: Option<WorkerId>, usage: u64, limit: u64, status: Status) -> Effect {
    let who = worker.map_or("All workers together use".to_owned(), |worker| format!("Worker {worker} uses"));
    let percent = usage as f64 / limit.max(1) as f64 * 100.0;
    let text = format!("{who} {}, {percent:.0} % of the limit of {}", megabytes(usage), megabytes(limit));
    let level = if status >= Status::Critical { Level::Error } else { Level::Warn };
    let subject = Subject::MemoryPressure { worker: worker.map(|worker| worker.to_string()), usage, limit };
    Effect::Emit(Event::about(Component::Monitoring, level, text).with(subject))
}

fn alert(worker: WorkerId, leak: &Verdict) -> Event {
    let confidence = leak.confidence;
    let message = format!("Worker {worker} leaks memory: {} (confidence {confidence:.2})", leak.text);
    let cause = AlertCause::MemoryLeak {
        worker: worker.to_string(),
        measure: match leak.measure {
            Measure::Heap => "heap",
            Measure::Rss => "rss",
        },
        bytes_per_second: leak.bytes_per_second.round(),
        confidence,
        samples: leak.samples,
    };
    Event::Alert { severity: Level::Warn, message, cause }
}

fn collected(worker: WorkerId, found: Option<&MemoryFound>, failure: Option<String>) -> Option<Effect> {
    let (text, subject) = match found {
        Some(MemoryFound::Collected { before, after, duration_ms }) => {
            let text = format!(
                "Worker {worker} collected garbage in {duration_ms:.0} ms: {} before, {} after",
                megabytes(*before),
                megabytes(*after)
            );
            let (before, after, duration_ms) = (*before, *after, *duration_ms);
            (text, Subject::MemoryCollected { worker: worker.to_string(), before, after, duration_ms })
        }
        _ => {
            let reason = failure?;
            let text = format!("Worker {worker} cannot collect garbage: {reason}");
            (text, Subject::DiagnosisFailed { worker: worker.to_string(), diagnosis: "collection", reason })
        }
    };
    Some(Effect::Emit(Event::about(Component::Monitoring, Level::Info, text).with(subject)))
}

fn evidence(worker: WorkerId, file: &str, bytes: u64, sites: &[AllocationSite]) -> Effect {
    let all: u64 = sites.iter().map(|site| site.bytes).sum();
    let lines = sites.iter().map(|site| {
        let AllocationSite { function, file, line, column, bytes } = site;
        let function = if function.is_empty() { "(anonymous)" } else { function };
        let share = *bytes as f64 / all.max(1) as f64 * 100.0;
        format!("    {} ({share:.0} %) by {function} at {file}:{line}:{column}", megabytes(*bytes))
    });
    let text = format!(
        "What worker {worker} has allocated since it seemed to leak and still holds, by function ({file}):\n{}",
        lines.collect::<Vec<_>>().join("\n")
    );
    let subject = Subject::MemoryEvidence {
        worker: worker.to_string(),
        file: file.to_owned(),
        bytes,
        sites: sites.iter().map(|site| json!(site)).collect(),
    };
    Effect::Emit(Event::about(Component::Monitoring, Level::Warn, text).with(subject))
}
