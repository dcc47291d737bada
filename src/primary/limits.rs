//! The limits of the workers and of the memory of all of them: reads what they use, and requests what `crate::limits`
//! and `crate::memory` decide.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::effects::{Effect, Effects};
use super::setup::{BudgetSettings, LimitSettings};
use crate::error::{Code, Error, Result};
use crate::event::{AlertCause, Event, Level};
use crate::limits::{Breach, Sample, Watch, megabytes};
use crate::memory::budget::{Budget, BudgetWatch, Nearness, Tenant, Thresholds, largest};
use crate::metrics::layout::{page, row};
use crate::metrics::memory::SharedMemory;
use crate::model::{ClusterMetrics, Limit, LimitAction, Observation, WorkerId};
use crate::process::usage;
use crate::supervisor::{Fact, Role, Slot, Supervisor};

/// Interval between two looks at the hard limit.
const HARD_INTERVAL: Duration = Duration::from_millis(250);

pub(super) struct WorkerLimits {
    watch: Watch,
    budget: BudgetSettings,
    budget_watch: BudgetWatch,
    /// The last sample's budget, and the footprint of a worker.
    room: Option<(Budget, u64)>,
    memory: SharedMemory,
    relieved: BTreeSet<WorkerId>,
    next_look: Duration,
    /// That no worker could make room was reported.
    is_reported: bool,
    /// The limit of memory that the kernel enforces where it can, bytes.
    limit_of_groups: Option<u64>,
    /// The worker that was killed because the budget was full, until it has ended.
    killed: Option<WorkerId>,
}

/// A process of a worker that the kernel does not limit.
#[derive(Clone, Copy)]
pub(super) struct Watched {
    pub worker: WorkerId,
    pub pid: u32,
}

impl WorkerLimits {
    pub fn new(settings: LimitSettings, memory: SharedMemory, seed: u32) -> Self {
        Self {
            watch: Watch::new(settings.policy, seed),
            budget: settings.budget,
            budget_watch: BudgetWatch::default(),
            room: None,
            memory,
            relieved: BTreeSet::new(),
            next_look: HARD_INTERVAL,
            is_reported: false,
            limit_of_groups: settings.groups.memory,
            killed: None,
        }
    }

    /// The limits apply from now on.
    pub fn set(&mut self, settings: LimitSettings) {
        self.watch.set_policy(settings.policy);
        self.budget = settings.budget;
        self.limit_of_groups = settings.groups.memory;
        self.is_reported = false;
    }

    /// Whether a worker that the kernel limits has to be looked at too: it is to be killed before the kernel would.
    pub fn kills_before_the_kernel(&self) -> bool {
        self.limit_of_groups > self.watch.policy().hard_memory()
    }

    pub fn due(&self) -> Option<Duration> {
        self.watch.policy().hard_memory().map(|_| self.next_look)
    }

    /// Looks at the hard limit of memory. `processes`: those that the kernel does not end in time.
    pub fn look(&mut self, processes: impl Iterator<Item = Watched>, now: Duration) -> Effects {
        self.next_look = now + HARD_INTERVAL;
        let footprints: Vec<(WorkerId, u64)> =
            processes.filter_map(|Watched { worker, pid }| Some((worker, usage::resident(pid)?))).collect();
        self.watch.look_hard(&footprints).into_iter().flat_map(effects_of).collect()
    }

    pub fn forget(&mut self, worker: WorkerId) {
        self.watch.forget(worker);
        self.relieved.remove(&worker);
        if self.killed == Some(worker) {
            self.killed = None;
        }
    }

    /// The cluster was sampled.
    pub fn sampled(
        &mut self,
        observation: &Observation,
        supervisor: &Supervisor,
        leaks: impl Fn(WorkerId) -> bool,
        now: Duration,
    ) -> Effects {
        let samples = self.samples(&observation.figures, supervisor);
        let mut effects: Effects = self.watch.look(&samples, now).into_iter().flat_map(effects_of).collect();
        for Sample { worker, .. } in &samples {
            let relieved = self.watch.is_relieved(*worker, now);
            let changed = if relieved { self.relieved.insert(*worker) } else { self.relieved.remove(worker) };
            if changed {
                effects.push(Effect::Relieve { worker: *worker, relieved });
            }
        }
        effects.extend(self.look_at_budget(&observation.figures, &samples, leaks, now));
        effects
    }

    /// The serving workers that were sampled.
    fn samples(&self, figures: &ClusterMetrics, supervisor: &Supervisor) -> Vec<Sample> {
        let sample = |slot: &Slot| {
            let worker =
                slot.active_worker().filter(|worker| worker.is_ready() && slot.role == Role::Serving)?;
            let (id, pid) = (worker.id, worker.pid()?);
            let cell = |cell| self.memory.row(slot.number, cell);
            (cell(row::SAMPLED_PID) == u64::from(pid)).then(|| Sample {
                worker: id,
                memory: cell(row::MEMORY),
                cpu: f64::from_bits(cell(row::CPU_PERCENT)),
                requests: self.memory.page(id).float(page::REQUESTS) as u64,
                age: Duration::from_millis(figures.timestamp.saturating_sub(cell(row::STARTED))),
                connections: self.memory.page(id).connections(),
                is_replaced: supervisor.is_rolling(slot.number),
            })
        };
        supervisor.slots().iter().filter_map(sample).collect()
    }

    fn look_at_budget(
        &mut self,
        figures: &ClusterMetrics,
        samples: &[Sample],
        leaks: impl Fn(WorkerId) -> bool,
        now: Duration,
    ) -> Effects {
        let Some(budgets) = self.budgets_of(figures) else {
            self.room = None;
            return Effects::new();
        };
        let mut footprints: Vec<u64> = samples.iter().map(|sample| sample.memory).collect();
        footprints.sort_unstable();
        self.room = footprints.get(footprints.len() / 2).map(|median| (budgets.tightest(), *median));
        let (budget, scope) = budgets.nearest(self.budget.is_grouped);
        let is_own = scope != Scope::Machine;
        let (is_full, growth) = match self.budget_watch.look(budget, self.thresholds(scope), now) {
            Nearness::Far => {
                self.is_reported = false;
                return Effects::new();
            }
            Nearness::Near { growth } => (false, growth),
            Nearness::Full { growth } => (true, growth),
        };
        let tenants: Vec<Tenant> = samples
            .iter()
            .map(|sample| Tenant {
                worker: sample.worker,
                memory: sample.memory,
                leaks: leaks(sample.worker),
            })
            // Other programs fill the machine too: a worker that does not leak makes no room for them.
            .filter(|tenant| is_own || tenant.leaks)
            .collect();
        let uses = format!(
            "all workers together use {} of {}, {:+.1} MB/s (resources.memoryManagement.maxTotalMemory)",
            megabytes(budget.used as f64),
            megabytes(budget.limit as f64),
            growth / f64::from(1 << 20),
        );
        let Some(tenant) = largest(&tenants) else {
            return if is_own { self.report_full(&uses) } else { Effects::new() };
        };
        if !is_full && !self.watch.is_free(now) || self.killed.is_some() {
            return Effects::new();
        }
        let (done, action) = if is_full {
            self.killed = Some(tenant.worker);
            let killed = match scope {
                Scope::Group => "killed before the kernel chooses a process",
                Scope::Cluster | Scope::Machine => "killed",
            };
            (killed, LimitAction::Kill)
        } else {
            self.watch.take_turn(tenant.worker);
            ("replaced", LimitAction::Replace)
        };
        let largest = if tenant.leaks { "the largest that leaks" } else { "the largest" };
        let message = format!(
            "Worker {}, {largest} with {}, is {done}: {uses}",
            tenant.worker,
            megabytes(tenant.memory as f64)
        );
        effects_of(Breach {
            worker: tenant.worker,
            limit: Limit::TotalMemory,
            action,
            value: budget.used as f64,
            threshold: budget.limit as f64,
            samples: self.watch.samples(tenant.worker),
            message,
        })
    }

    /// A worker is killed only before the kernel would choose a process, or if limits are hard. Of the whole machine only
    /// the critical threshold counts.
    fn thresholds(&self, scope: Scope) -> Thresholds {
        let given = self.budget.thresholds;
        let nobody = f64::INFINITY;
        match scope {
            Scope::Group => given,
            Scope::Cluster if self.budget.is_hard => given,
            Scope::Cluster => Thresholds { critical: nobody, ..given },
            Scope::Machine => Thresholds { warning: given.critical, critical: nobody },
        }
    }

    /// Reports once that no replacement would free memory.
    fn report_full(&mut self, uses: &str) -> Effects {
        if std::mem::replace(&mut self.is_reported, true) {
            return Effects::new();
        }
        let message = format!(
            "Memory runs out: {uses}. No worker uses clearly more than the others, so that a replacement would not \
             help: run fewer workers or raise the limit"
        );
        vec![Effect::Emit(Event::Alert { severity: Level::Error, message, cause: AlertCause::MemoryBudget })]
    }

    /// None: they are not watched, or nothing is known.
    fn budgets_of(&self, figures: &ClusterMetrics) -> Option<Budgets> {
        let system = figures.sample.system.as_ref().filter(|_| self.budget.is_watched)?;
        Some(Budgets {
            own: self.budget.total.map(|limit| Budget { limit, used: figures.memory_usage }),
            shared: Budget {
                limit: system.memory.total.saturating_sub(self.budget.reservation),
                used: system.memory.used,
            },
        })
    }

    /// The budget at the last sample, and the footprint of one worker (the median), bytes.
    pub fn room(&self) -> Option<(Budget, u64)> {
        self.room
    }

    /// # Errors
    /// `RESOURCE_EXHAUSTED`: so many more workers would break the budget; nothing was sampled yet: they may.
    pub fn check_room(&self, from: u16, to: u16) -> Result<()> {
        let Some((budget, footprint)) = self.room.filter(|_| to > from) else { return Ok(()) };
        let fit = budget.room_for(footprint);
        if u64::from(to - from) <= fit {
            return Ok(());
        }
        let message = format!(
            "No room for {} more workers of {} each: {} of the budget of {} are free \
             (resources.memoryManagement.maxTotalMemory), enough for {fit}",
            to - from,
            megabytes(footprint as f64),
            megabytes(budget.free() as f64),
            megabytes(budget.limit as f64),
        );
        let details =
            json!({ "free": budget.free(), "limit": budget.limit, "footprint": footprint, "fit": fit });
        Err(Error::new(Code::ResourceExhausted, message).with(details))
    }
}

/// Whose a budget is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scope {
    /// `maxTotalMemory`.
    Cluster,
    /// The limit of the control group: the kernel kills processes at it.
    Group,
    /// Other programs use it too: drover cannot say who fills it.
    Machine,
}

/// What limits the memory of all workers.
struct Budgets {
    /// `maxTotalMemory`.
    own: Option<Budget>,
    /// The memory of the control group or of the machine, less the reservation.
    shared: Budget,
}

impl Budgets {
    /// The one with the least room for further workers.
    fn tightest(&self) -> Budget {
        self.own.filter(|own| own.free() <= self.shared.free()).unwrap_or(self.shared)
    }

    /// The one that is nearest to its end. The memory of a machine counts only if there is no other budget.
    fn nearest(&self, is_grouped: bool) -> (Budget, Scope) {
        match self.own {
            Some(own) if !is_grouped || own.share() >= self.shared.share() => (own, Scope::Cluster),
            None if !is_grouped => (self.shared, Scope::Machine),
            _ => (self.shared, Scope::Group),
        }
    }
}

fn effects_of(breach: Breach) -> Effects {
    let Breach { worker, limit, action, value, threshold: allowed, samples, message } = breach;
    let mut effects = Effects::new();
    if matches!(action, LimitAction::Relieve | LimitAction::Alert) {
        let cause = AlertCause::Limit { worker: worker.to_string(), limit };
        effects.push(Effect::Emit(Event::Alert { severity: Level::Warn, message: message.clone(), cause }));
    }
    let worker_id = worker.to_string();
    effects.push(Effect::Emit(Event::WorkerLimit {
        worker_id,
        limit,
        action,
        value,
        allowed,
        samples,
        message,
    }));
    match action {
        LimitAction::Replace => effects.push(Effect::Advance(Fact::Expired { worker })),
        LimitAction::Kill => effects.push(Effect::Advance(Fact::Exceeded { worker, limit })),
        LimitAction::Relieve | LimitAction::Wait | LimitAction::Alert => {}
    }
    effects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, HostFacts, Input};
    use crate::metrics::view;
    use std::collections::BTreeMap;

    const MB: u64 = 1 << 20;

    fn limits(options: &serde_json::Value) -> WorkerLimits {
        let host = HostFacts { usable_cpus: 2.0, available_memory: None, single_process_reason: None };
        let input = Input { options, env: &BTreeMap::new(), host: &host };
        let settings = super::super::configure::limits(&config::load_cluster(&input).unwrap().config);
        let budget = BudgetSettings { is_grouped: true, ..settings.budget };
        let (memory, _memfds) = SharedMemory::create(0).unwrap();
        WorkerLimits::new(LimitSettings { budget, ..settings }, memory, 0)
    }

    #[test]
    fn with_both_kinds_of_hard_limits_the_sampler_kills_before_the_kernel_slows_the_worker_down() {
        let with = |enforcement: serde_json::Value| {
            limits(&json!({ "resources": { "maxMemoryPerWorker": 200 * MB, "enforcement": enforcement } }))
        };
        let both = with(json!({ "enforceHardLimits": true, "killOnMemoryExceed": true }));
        assert!(both.kills_before_the_kernel());
        assert_eq!(both.watch.policy().hard_memory(), Some(200 * MB));
        // In version 2 memory.high is halfway between it and this one (`worker_groups`).
        assert_eq!(both.limit_of_groups, Some(220 * MB));
        let kernel = with(json!({ "enforceHardLimits": true }));
        assert!(!kernel.kills_before_the_kernel());
        assert_eq!(kernel.watch.policy().hard_memory(), kernel.limit_of_groups);
    }

    #[test]
    fn after_a_worker_was_killed_for_the_budget_nobody_else_is_before_it_has_ended() {
        let mut limits = limits(&json!({}));
        let worker = |slot, memory| Sample {
            worker: WorkerId::new(slot, 1),
            memory: memory * MB,
            cpu: 0.0,
            requests: 0,
            age: Duration::from_secs(60),
            connections: 0,
            is_replaced: false,
        };
        let mut samples = vec![worker(0, 500), worker(1, 300), worker(2, 50)];
        let mut figures = view::figures(&limits.memory, 0);
        let mut look = |limits: &mut WorkerLimits, second: u64, used: u64, samples: &[Sample]| {
            figures.sample.system = serde_json::from_value(json!({
                "cpu": { "cores": 2, "usable": 2.0, "usage": 0.0, "loadAverage": [0.0, 0.0, 0.0] },
                "memory": {
                    "total": 1000 * MB, "free": 0, "used": used * MB, "available": 0, "usagePercentage": 0.0
                },
                "swap": { "total": 0, "free": 0, "used": 0, "usagePercentage": 0.0 },
                "disk": { "read": 0.0, "written": 0.0 },
                "network": { "read": 0.0, "written": 0.0 },
            }))
            .unwrap();
            let effects = limits.look_at_budget(&figures, samples, |_| false, Duration::from_secs(second));
            let killed = |effect: &Effect| match effect {
                Effect::Advance(Fact::Exceeded { worker, limit: Limit::TotalMemory }) => Some(worker.slot),
                Effect::Advance(other) => panic!("{other:?}"),
                _ => None,
            };
            effects.iter().find_map(killed)
        };
        limits.watch.take_turn(WorkerId::new(9, 1));
        assert_eq!(look(&mut limits, 0, 700, &samples), None);
        assert_eq!(look(&mut limits, 1, 850, &samples), None, "another one is being replaced");
        assert_eq!(look(&mut limits, 2, 960, &samples), Some(0));
        for (second, used) in [(3, 980), (4, 990), (5, 1000)] {
            assert_eq!(look(&mut limits, second, used, &samples), None, "its memory is not free yet");
        }
        limits.forget(samples.remove(0).worker);
        assert_eq!(look(&mut limits, 6, 990, &samples), Some(1));
    }

    #[test]
    fn the_budget_that_is_nearest_to_its_end_counts_and_the_one_with_the_least_room() {
        let budget = |limit, used| Budget { limit, used };
        let own = Some(budget(1000, 500));
        for (own, shared, is_grouped, nearest, tightest) in [
            (own, budget(2000, 900), true, (budget(1000, 500), Scope::Cluster), budget(1000, 500)),
            (own, budget(800, 600), true, (budget(800, 600), Scope::Group), budget(800, 600)),
            (own, budget(800, 600), false, (budget(1000, 500), Scope::Cluster), budget(800, 600)),
            (None, budget(800, 600), true, (budget(800, 600), Scope::Group), budget(800, 600)),
            (None, budget(800, 600), false, (budget(800, 600), Scope::Machine), budget(800, 600)),
        ] {
            let budgets = Budgets { own, shared };
            assert_eq!((budgets.nearest(is_grouped), budgets.tightest()), (nearest, tightest));
        }
    }
}
