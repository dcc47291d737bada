//! The auto-scaling of the cluster: gives `crate::scaling` what the sampler has measured, and requests what it decides.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::effects::{Effect, Effects};
use crate::config::sections::scaling::AutoScaling;
use crate::error::{Code, Error, Result};
use crate::event::Event;
use crate::memory::budget::Budget;
use crate::metrics::layout::row;
use crate::metrics::memory::SharedMemory;
use crate::model::{
    Evaluation, Observation, Scale, ScalingDecision, ScalingHold, ScalingRule, Window, WorkerId,
};
use crate::process::cpus::usable_cpus;
use crate::process::pressure::CpuPressure;
use crate::scaling::{Autoscaler, Percentiles, Sample, WorkerLoad};
use crate::supervisor::{ActiveWorker, Fact, OWN, Role, Stage, Supervisor};

pub(super) struct Scaling {
    autoscaler: Autoscaler,
    memory: SharedMemory,
    cpu_pressure: CpuPressure,
    /// When each worker was first seen ready.
    ready_since: BTreeMap<WorkerId, Duration>,
    /// The latest evaluation's rule, and what held it.
    latest: Option<(ScalingRule, Option<ScalingHold>)>,
}

/// The cluster and the time of an evaluation.
#[derive(Clone, Copy)]
pub(super) struct Now<'a> {
    pub supervisor: &'a Supervisor,
    pub at: Duration,
}

impl Now<'_> {
    fn size(&self) -> u32 {
        u32::from(self.supervisor.intended())
    }
}

impl Scaling {
    pub fn new(policy: AutoScaling, memory: SharedMemory) -> Self {
        let autoscaler = Autoscaler::new(policy);
        let cpu_pressure = CpuPressure::find();
        Self { autoscaler, memory, cpu_pressure, ready_since: BTreeMap::new(), latest: None }
    }

    /// These options apply from now on.
    pub fn configure(&mut self, policy: AutoScaling) {
        self.autoscaler.configure(policy);
    }

    /// What the API shows of the options; None: it is off.
    pub fn shown(&self) -> Option<Value> {
        let policy = self.autoscaler.policy();
        policy.enabled.then(|| json!(policy))
    }

    /// The cluster was sampled. `room`: the memory budget and the footprint of a worker.
    pub fn sampled(
        &mut self,
        observation: &Observation,
        room: Option<(Budget, u64)>,
        now: Now<'_>,
    ) -> Effects {
        let sample = self.sample(observation, room.map(|(budget, _)| budget), now);
        let Some(evaluation) = self.autoscaler.tick(sample, now.size()) else { return Effects::new() };
        let mut effects = change(&evaluation);
        if self.is_news(&evaluation) {
            effects.insert(0, Effect::Emit(Event::scaling_decision(&evaluation)));
        }
        effects
    }

    /// One evaluation now: its decision, as an answer.
    pub fn evaluate_now(&mut self, now: Now<'_>, timestamp: u64) -> (Value, Effects) {
        if !self.autoscaler.policy().enabled {
            let size = now.size();
            let decision = ScalingDecision::known(size, size, ScalingRule::Off, timestamp);
            return (json!(decision), Effects::new());
        }
        let evaluation = self.autoscaler.evaluate(now.at, now.size());
        let mut effects = change(&evaluation);
        effects.insert(0, Effect::Emit(Event::scaling_decision(&evaluation)));
        let evaluation = Box::new(evaluation);
        (json!(ScalingDecision::Automatic { evaluation, timestamp }), effects)
    }

    pub fn optimal(&self, now: Duration) -> u32 {
        self.autoscaler.optimal(now).workers
    }

    /// A change, or a step up that is held for another reason than the one before. That a low load has not lasted long
    /// enough is no news.
    fn is_news(&mut self, evaluation: &Evaluation) -> bool {
        let latest = self.latest.replace((evaluation.rule, evaluation.hold));
        let is_held = evaluation.hold.is_some() && evaluation.rule != ScalingRule::Idle;
        evaluation.is_change() || is_held && latest != self.latest
    }

    /// The target of a command, within the bounds of the auto-scaling.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`: nothing at all can be done within them.
    pub fn within_bounds(&self, target: Scale, now: Now<'_>) -> Result<Scale> {
        let policy = self.autoscaler.policy();
        if policy.enabled { bounded(target, now.supervisor.intended(), policy) } else { Ok(target) }
    }

    /// A command changes the number of workers: the cooldowns begin anew.
    pub fn changed_by_hand(&mut self, now: Duration) {
        self.autoscaler.changed_by_hand(now);
    }

    fn sample(&mut self, observation: &Observation, budget: Option<Budget>, now: Now<'_>) -> Sample {
        let figures = &observation.figures;
        let p95 = |window: &Window| (window.requests_per_second > 0.0).then_some(window.p95);
        let usable = figures.sample.system.as_ref().map_or_else(usable_cpus, |system| system.cpu.usable);
        Sample {
            at: now.at,
            workers: self.workers(now),
            in_flight: figures.active_requests,
            queue_length: figures.queue_length,
            completed: figures.total_requests,
            p95: Percentiles { stable: p95(&observation.long), panic: p95(&observation.short) },
            memory: figures.memory_usage,
            memory_budget: budget.map(|budget| budget.limit),
            memory_free: budget.map(|budget| budget.free()),
            usable_cpus: usable,
            cpu_pressure: self.cpu_pressure.percent(),
        }
    }

    /// The active workers of the serving slots.
    fn workers(&mut self, now: Now<'_>) -> Vec<WorkerLoad> {
        let serving = now.supervisor.slots().iter().filter(|slot| slot.role == Role::Serving);
        let active: Vec<_> = serving
            .filter_map(|slot| match &slot.active {
                ActiveWorker::Running(worker) => Some((slot.number, worker)),
                ActiveWorker::Vacant | ActiveWorker::Waiting { .. } | ActiveWorker::CircuitOpen { .. } => {
                    None
                }
            })
            .collect();
        self.ready_since.retain(|id, _| active.iter().any(|(_, worker)| worker.id == *id));
        let mut loads = Vec::with_capacity(active.len());
        for (slot, worker) in active {
            let cell = |cell| self.memory.row(slot, cell);
            let is_sampled = worker.pid().is_some_and(|pid| cell(row::SAMPLED_PID) == u64::from(pid));
            let starting = WorkerLoad { ready_for: None, cpu: 0.0, utilization: 0.0, memory: 0 };
            let load = WorkerLoad {
                cpu: f64::from_bits(cell(row::CPU_PERCENT)),
                utilization: 100.0 * f64::from_bits(cell(row::UTILISATION)),
                memory: cell(row::MEMORY),
                ..starting
            };
            match worker.stage {
                Stage::Starting { .. } => loads.push(starting),
                Stage::Ready { .. } => {
                    let since = *self.ready_since.entry(worker.id).or_insert(now.at);
                    let ready_for = Some(now.at.saturating_sub(since));
                    let load = if is_sampled { load } else { starting };
                    loads.push(WorkerLoad { ready_for, ..load });
                }
                Stage::Draining { .. } | Stage::Terminating { .. } | Stage::Killed { .. } => {}
            }
        }
        loads
    }
}

fn change(evaluation: &Evaluation) -> Effects {
    if !evaluation.is_change() {
        return Effects::new();
    }
    let target = Scale::To(u16::try_from(evaluation.to).unwrap_or(u16::MAX));
    vec![Effect::Advance(Fact::Scale { id: OWN, target, requester: None })]
}

fn bounded(target: Scale, size: u16, policy: &AutoScaling) -> Result<Scale> {
    let (min, max) = (policy.min_workers, policy.max_workers);
    let wanted = target.of(size);
    let to = wanted.min(max).max(min);
    match target {
        Scale::To(_) => Ok(Scale::To(to)),
        Scale::By(_) if to != size => Ok(Scale::To(to)),
        Scale::With { .. } | Scale::Without { .. } if to == wanted => Ok(target),
        Scale::By(_) | Scale::With { .. } | Scale::Without { .. } => {
            let message = format!("The cluster has {size} workers, and autoScaling allows {min} to {max}");
            Err(Error::new(Code::ResourceExhausted, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With 2 to 6 workers.
    fn policy() -> AutoScaling {
        let options = json!({
            "enabled": true, "minWorkers": 2, "maxWorkers": 6, "scaleUpCooldown": 0, "scaleDownCooldown": 0,
            "evaluationInterval": 2000, "tolerance": 0.1,
            "scaleUpThreshold": {
                "cpu": 75, "memory": 80, "responseTime": 1500, "queueLength": 100, "consecutiveChecks": 2
            },
            "scaleDownThreshold": { "cpu": 25, "memory": 40, "idleTime": 0, "consecutiveChecks": 3 },
            "strategy": null, "scaleUpIncrement": null, "scaleDownIncrement": null, "memoryThreshold": null,
            "memoryTarget": null, "requestsPerWorker": null, "responseTimeThreshold": null
        });
        serde_json::from_value(options).unwrap()
    }

    #[test]
    fn a_command_stays_within_the_bounds() {
        let policy = policy();
        for (target, size, expected) in [
            (Scale::To(9), 4, Some(Scale::To(6))),
            (Scale::To(1), 4, Some(Scale::To(2))),
            (Scale::To(6), 6, Some(Scale::To(6))),
            (Scale::By(9), 4, Some(Scale::To(6))),
            (Scale::By(1), 6, None),
            (Scale::By(-1), 2, None),
            (Scale::With { slot: 7 }, 5, Some(Scale::With { slot: 7 })),
            (Scale::With { slot: 7 }, 6, None),
            (Scale::Without { slot: 1, graceful: true }, 2, None),
        ] {
            assert_eq!(bounded(target, size, &policy).ok(), expected, "{target:?} of {size}");
        }
    }
}
