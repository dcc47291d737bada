//! The workers and how far each is from its limits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::breach::{Breach, megabytes};
use super::policy::{MemoryLimit, Policy, jittered};
use super::repeats::{MIN_LIFE, Repeats};
use crate::model::{Limit, LimitAction, WorkerId};

/// Consecutive samples above a soft limit after which a worker is replaced.
const SAMPLES: u32 = 3;
/// How long a worker is above its CPU limit before something is done.
const BUSY_AFTER: Duration = Duration::from_secs(60);
/// After a replacement that did not become ready, the next one waits so long.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Number of memory samples that are kept for messages.
const KEPT: usize = 10;
/// A worker is a runaway if its siblings' median is below this fraction of its own usage.
const FAR_BELOW: f64 = 0.5;

/// A serving worker, once a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub worker: WorkerId,
    /// Resident memory, bytes.
    pub memory: u64,
    /// Percent of one core.
    pub cpu: f64,
    /// Since its start, like `age`.
    pub requests: u64,
    pub age: Duration,
    /// Open ones.
    pub connections: u64,
    /// A replacement of it is starting, or will.
    pub is_replaced: bool,
}

/// What is known of a worker.
#[derive(Debug, Default)]
struct Life {
    /// When it was seen first.
    since: Duration,
    memory: VecDeque<u64>,
    /// Samples in a row above the memory limit.
    over_memory: u32,
    /// It has been seen below the memory limit.
    was_below: bool,
    over_cpu: u32,
    /// Since when it is above the CPU limit.
    busy_since: Option<Duration>,
    /// Whether it was at its limit of connections, and in how many samples in a row.
    full: (bool, u32),
    reported: BTreeSet<Limit>,
    /// The limits that it reached at once after its start.
    reached_at_once: BTreeSet<Limit>,
    killed: bool,
}

/// The replacement that is in progress because of a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    Free,
    Taken {
        by: WorkerId,
    },
    /// The last one failed.
    FreeAt(Duration),
}

pub struct Watch {
    policy: Policy,
    seed: u32,
    lives: BTreeMap<WorkerId, Life>,
    turn: Turn,
    repeats: Repeats,
}

impl Watch {
    /// `seed`: a random number of the cluster.
    pub fn new(policy: Policy, seed: u32) -> Self {
        Self { policy, seed, lives: BTreeMap::new(), turn: Turn::Free, repeats: Repeats::default() }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// New limits apply from the next sample on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        for life in self.lives.values_mut() {
            (life.over_memory, life.over_cpu, life.was_below) = (0, 0, true);
            life.reported.clear();
            life.reached_at_once.clear();
        }
        self.repeats.clear();
    }

    /// The worker has ended.
    pub fn forget(&mut self, worker: WorkerId) {
        self.lives.remove(&worker);
        if self.turn == (Turn::Taken { by: worker }) {
            self.turn = Turn::Free;
        }
    }

    /// A worker that was to be replaced serves and no replacement is under way: it did not become ready.
    fn end_failed_turn(&mut self, samples: &[Sample], now: Duration) {
        let failed =
            |sample: &Sample| self.turn == (Turn::Taken { by: sample.worker }) && !sample.is_replaced;
        if samples.iter().any(failed) {
            self.turn = Turn::FreeAt(now + RETRY_AFTER);
        }
    }

    /// Whether a worker may be replaced now because of a limit.
    pub fn is_free(&self, now: Duration) -> bool {
        match self.turn {
            Turn::Free => true,
            Turn::Taken { .. } => false,
            Turn::FreeAt(time) => now >= time,
        }
    }

    /// A worker is replaced because of a limit: no other one is, until it has ended.
    pub fn take_turn(&mut self, worker: WorkerId) {
        self.turn = Turn::Taken { by: worker };
    }

    /// Whether the worker gets fewer new connections, because it is above its CPU limit.
    pub fn is_relieved(&self, worker: WorkerId, now: Duration) -> bool {
        let busy = self.lives.get(&worker).and_then(|life| life.busy_since);
        busy.is_some_and(|since| now.saturating_sub(since) >= BUSY_AFTER)
    }

    /// The last samples of a worker's memory, bytes.
    pub fn samples(&self, worker: WorkerId) -> Vec<f64> {
        let life = self.lives.get(&worker);
        life.into_iter().flat_map(|life| life.memory.iter().map(|bytes| *bytes as f64)).collect()
    }

    /// The breaches of a second. `samples`: every worker that serves and does not drain.
    pub fn look(&mut self, samples: &[Sample], now: Duration) -> Vec<Breach> {
        self.end_failed_turn(samples, now);
        let mut breaches = Vec::new();
        let mut due = Vec::new();
        for sample in samples {
            let life =
                self.lives.entry(sample.worker).or_insert_with(|| Life { since: now, ..Life::default() });
            life.memory.push_back(sample.memory);
            if life.memory.len() > KEPT {
                life.memory.pop_front();
            }
            if life.killed {
                continue;
            }
            let siblings = samples.iter().filter(|other| other.worker != sample.worker);
            let siblings = median(siblings.map(|other| other.cpu));
            let found = life.look(sample, &self.policy, siblings, self.seed, now);
            let (replacements, others): (Vec<Breach>, Vec<Breach>) =
                found.into_iter().partition(|breach| breach.action == LimitAction::Replace);
            breaches.extend(others);
            if sample.is_replaced {
                continue;
            }
            let age = now.saturating_sub(life.since);
            for breach in replacements {
                let end = self.repeats.life(sample.worker.slot, breach.limit);
                if age < MIN_LIFE && life.reached_at_once.insert(breach.limit) {
                    let message = at_once(&breach, end);
                    breaches.push(Breach { action: LimitAction::Alert, message, ..breach.clone() });
                }
                if age >= MIN_LIFE && (age >= end || !life.reached_at_once.contains(&breach.limit)) {
                    due.push(breach);
                }
            }
        }
        // The most urgent limit first, and of it the worker that is furthest above.
        let urgency = |breach: &Breach| (breach.limit, -breach.value / breach.threshold);
        due.sort_by(|a, b| {
            let ((first, more), (second, less)) = (urgency(a), urgency(b));
            first.cmp(&second).then(more.total_cmp(&less))
        });
        if self.is_free(now)
            && let Some(next) = due.into_iter().next()
        {
            let life = self.lives.get(&next.worker);
            let at_once = life.is_some_and(|life| life.reached_at_once.contains(&next.limit));
            self.repeats.replaced(next.worker.slot, next.limit, at_once);
            self.take_turn(next.worker);
            breaches.push(next);
        }
        breaches
    }

    /// The workers above the hard limit of memory. `footprints`: of every process of a worker, also of those that start
    /// and drain.
    pub fn look_hard(&mut self, footprints: &[(WorkerId, u64)]) -> Vec<Breach> {
        let Some(MemoryLimit { soft, option, hard: Some(hard) }) = self.policy.memory else {
            return Vec::new();
        };
        let mut breaches = Vec::new();
        for &(worker, memory) in footprints.iter().filter(|(_, memory)| *memory > hard) {
            let life = self.lives.entry(worker).or_default();
            if std::mem::replace(&mut life.killed, true) {
                continue;
            }
            life.memory.push_back(memory);
            let share = hard as f64 / soft as f64 * 100.0;
            let samples = self.samples(worker);
            let message = format!(
                "Worker {worker} is killed: it uses {}, above its hard limit of {} ({share:.0} % of {option}). Its \
                 last samples: {}",
                megabytes(memory as f64),
                megabytes(hard as f64),
                samples.iter().map(|bytes| megabytes(*bytes)).collect::<Vec<_>>().join(", "),
            );
            let (limit, action) = (Limit::Memory, LimitAction::Kill);
            let (value, threshold) = (memory as f64, hard as f64);
            breaches.push(Breach { worker, limit, action, value, threshold, samples, message });
        }
        breaches
    }
}

impl Life {
    /// The limits that the worker has reached; `siblings`: the median of the others' CPU usage.
    fn look(
        &mut self,
        sample: &Sample,
        policy: &Policy,
        siblings: Option<f64>,
        seed: u32,
        now: Duration,
    ) -> Vec<Breach> {
        let mut found = Vec::new();
        found.extend(policy.memory.and_then(|limit| self.look_at_memory(sample, limit)));
        self.look_at_cpu(sample, policy, siblings, now, &mut found);
        found.extend(policy.connections.and_then(|limit| self.look_at_connections(sample, limit)));
        let WorkerId { slot, generation } = sample.worker;
        let own = |limit: f64| jittered(limit, slot, generation, seed);
        if let Some(limit) = policy.requests.map(|limit| own(limit as f64))
            && sample.requests as f64 >= limit
        {
            let message = format!(
                "Worker {slot} is replaced: it has served {} requests (resources.maxRequestsPerWorker)",
                sample.requests
            );
            found.push(replaced(sample.worker, Limit::Requests, sample.requests as f64, limit, message));
        }
        if let Some(limit) = policy.age.map(|age| own(age.as_secs_f64() * 1000.0))
            && sample.age.as_secs_f64() * 1000.0 >= limit
        {
            let age = sample.age.as_secs_f64();
            let message =
                format!("Worker {slot} is replaced: it has run for {age:.0} s (resources.maxAgePerWorker)");
            found.push(replaced(sample.worker, Limit::Age, age * 1000.0, limit, message));
        }
        found
    }

    fn look_at_memory(&mut self, sample: &Sample, limit: MemoryLimit) -> Option<Breach> {
        let MemoryLimit { soft, option, .. } = limit;
        if sample.memory <= soft {
            (self.over_memory, self.was_below) = (0, true);
            self.reported.remove(&Limit::Memory);
            return None;
        }
        self.over_memory += 1;
        if self.over_memory < SAMPLES {
            return None;
        }
        let slot = sample.worker.slot;
        let (value, threshold) = (sample.memory as f64, soft as f64);
        let uses =
            format!("it uses {}, above its limit of {} ({option})", megabytes(value), megabytes(threshold));
        let samples = self.memory.iter().map(|bytes| *bytes as f64).collect();
        let message = format!("Worker {slot} is replaced: {uses}");
        let breach = Breach { samples, ..replaced(sample.worker, Limit::Memory, value, threshold, message) };
        if self.was_below {
            return Some(breach);
        }
        // A new worker would use as much.
        let message = format!(
            "Worker {slot} is not replaced: {uses} ever since its start, and a new one would too. Raise the limit"
        );
        self.reported.insert(Limit::Memory).then_some(Breach {
            action: LimitAction::Alert,
            message,
            ..breach
        })
    }

    fn look_at_cpu(
        &mut self,
        sample: &Sample,
        policy: &Policy,
        siblings: Option<f64>,
        now: Duration,
        found: &mut Vec<Breach>,
    ) {
        let Sample { worker, cpu, .. } = *sample;
        let slot = worker.slot;
        let above = policy.cpu_threshold.filter(|threshold| cpu > *threshold);
        self.over_cpu = if above.is_some() { self.over_cpu + 1 } else { 0 };
        let Some(limit) = policy.cpu.filter(|limit| cpu > limit.percent) else {
            self.busy_since = None;
            self.reported.remove(&Limit::Cpu);
            return found.extend(self.above_threshold(worker, cpu, above));
        };
        let since = *self.busy_since.get_or_insert(now);
        if now.saturating_sub(since) < BUSY_AFTER {
            return found.extend(self.above_threshold(worker, cpu, above));
        }
        let percent = limit.percent;
        let uses = format!(
            "it has used more than {percent:.0} % of a core for {} s, now {cpu:.0} % (resources.maxCpuPerWorker)",
            now.saturating_sub(since).as_secs()
        );
        let breach = replaced(worker, Limit::Cpu, cpu, percent, String::new());
        if limit.kills {
            self.killed = true;
            let message = format!("Worker {slot} is killed: {uses}");
            return found.push(Breach { action: LimitAction::Kill, message, ..breach });
        }
        let far_below = siblings.filter(|others| *others < cpu * FAR_BELOW);
        if self.reported.insert(Limit::Cpu) {
            let others = match far_below {
                Some(others) => format!("The others use {others:.0} % (median): it is replaced"),
                None => "The others are as busy: a new worker would be too".to_owned(),
            };
            let message = format!("Worker {slot} gets fewer new connections: {uses}. {others}");
            found.push(Breach { action: LimitAction::Relieve, message, ..breach.clone() });
        }
        if let Some(others) = far_below {
            let message =
                format!("Worker {slot} is replaced: {uses}, while the others use {others:.0} % (median)");
            found.push(Breach { message, ..breach });
        }
    }

    /// Reported once, until the worker has had room in as many samples as it must be full in.
    fn look_at_connections(&mut self, sample: &Sample, limit: u64) -> Option<Breach> {
        let Sample { worker, connections, .. } = *sample;
        let is_full = connections >= limit;
        let (was_full, samples) = self.full;
        self.full = (is_full, if is_full == was_full { samples + 1 } else { 1 });
        if self.full.1 < SAMPLES {
            return None;
        }
        if !is_full {
            self.reported.remove(&Limit::Connections);
            return None;
        }
        let message = format!(
            "Worker {worker} has reached its limit of {limit} connections (resources.maxConnectionsPerWorker): new ones \
             go to other workers, or wait in the queue"
        );
        self.reported.insert(Limit::Connections).then(|| Breach {
            worker,
            limit: Limit::Connections,
            action: LimitAction::Wait,
            value: connections as f64,
            threshold: limit as f64,
            samples: Vec::new(),
            message,
        })
    }

    fn above_threshold(&self, worker: WorkerId, cpu: f64, above: Option<f64>) -> Option<Breach> {
        let threshold = above.filter(|_| self.over_cpu >= SAMPLES)?;
        let message = format!(
            "Worker {worker} is replaced: it uses {cpu:.0} % of a core, above its limit of {threshold:.0} % \
             (processManagement.cpuThreshold)"
        );
        Some(replaced(worker, Limit::Cpu, cpu, threshold, message))
    }
}

fn replaced(worker: WorkerId, limit: Limit, value: f64, threshold: f64, message: String) -> Breach {
    Breach { worker, limit, action: LimitAction::Replace, value, threshold, samples: Vec::new(), message }
}

fn at_once(breach: &Breach, end: Duration) -> String {
    format!(
        "Worker {} reached a limit within {} s of its start, and is replaced {} s after it at the earliest: the limit is \
         too low for the program, or it grows fast. ({})",
        breach.worker.slot,
        MIN_LIFE.as_secs(),
        end.as_secs(),
        breach.message
    )
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CpuLimit;

    const MB: u64 = 1 << 20;

    /// A watch with these limits, and a clock that counts the looks.
    struct Scene {
        watch: Watch,
        second: u64,
    }

    fn scene(policy: Policy) -> Scene {
        Scene { watch: Watch::new(policy, 7), second: 0 }
    }

    fn memory_limit() -> Policy {
        let option = "resources.maxMemoryPerWorker";
        Policy {
            memory: Some(MemoryLimit { soft: 100 * MB, option, hard: Some(110 * MB) }),
            ..Policy::default()
        }
    }

    fn sample(slot: u16, megabytes: u64) -> Sample {
        let worker = WorkerId::new(slot, 1);
        let (memory, age) = (megabytes * MB, Duration::from_secs(5));
        Sample { worker, memory, cpu: 1.0, requests: 0, age, connections: 0, is_replaced: false }
    }

    fn replaced(sample: Sample) -> Sample {
        Sample { is_replaced: true, ..sample }
    }

    impl Scene {
        fn look(&mut self, samples: &[Sample]) -> Vec<(u16, Limit, LimitAction)> {
            self.second += 1;
            let breaches = self.watch.look(samples, Duration::from_secs(self.second));
            breaches.iter().map(|breach| (breach.worker.slot, breach.limit, breach.action)).collect()
        }

        /// The first look of many that finds something.
        fn first(&mut self, samples: &[Sample], most: u64) -> (u64, Vec<(u16, Limit, LimitAction)>) {
            let first =
                (0..most).map(|_| (self.second + 1, self.look(samples))).find(|(_, found)| !found.is_empty());
            first.unwrap_or((0, Vec::new()))
        }

        fn settle(&mut self, samples: &[Sample]) -> &mut Self {
            for _ in 0..MIN_LIFE.as_secs() + 1 {
                assert_eq!(self.look(samples), []);
            }
            self
        }
    }

    #[test]
    fn a_worker_over_its_memory_limit_in_three_samples_is_replaced() {
        let mut scene = scene(memory_limit());
        scene.settle(&[sample(0, 50)]);
        assert_eq!(scene.look(&[sample(0, 101)]), []);
        assert_eq!(scene.look(&[sample(0, 101)]), []);
        assert_eq!(scene.look(&[sample(0, 99)]), [], "one below begins anew");
        assert_eq!(scene.look(&[sample(0, 101)]), []);
        assert_eq!(scene.look(&[sample(0, 102)]), []);
        assert_eq!(scene.look(&[sample(0, 103)]), [(0, Limit::Memory, LimitAction::Replace)]);
        assert_eq!(scene.look(&[replaced(sample(0, 104))]), []);
    }

    #[test]
    fn one_worker_at_a_time_is_replaced_the_furthest_above_first() {
        let mut scene = scene(memory_limit());
        scene.settle(&[sample(0, 50), sample(1, 50), sample(2, 50)]);
        let over = [sample(0, 101), sample(1, 109), sample(2, 105)];
        assert_eq!(scene.first(&over, 5), (14, vec![(1, Limit::Memory, LimitAction::Replace)]));
        let over = [sample(0, 101), replaced(sample(1, 109)), sample(2, 105)];
        assert_eq!(scene.first(&over, 20).1, [], "the first one has not ended");
        scene.watch.forget(WorkerId::new(1, 1));
        assert_eq!(scene.look(&[sample(0, 101), sample(2, 105)]), [(2, Limit::Memory, LimitAction::Replace)]);
    }

    #[test]
    fn a_replacement_that_failed_lets_others_wait_and_not_forever() {
        let mut scene = scene(memory_limit());
        scene.settle(&[sample(0, 50)]);
        scene.first(&[sample(0, 105)], 5);
        scene.look(&[replaced(sample(0, 105))]);
        let failed = scene.second + 1;
        let (again, found) = scene.first(&[sample(0, 105)], 60);
        assert_eq!(
            (again - failed, found),
            (RETRY_AFTER.as_secs(), vec![(0, Limit::Memory, LimitAction::Replace)])
        );
    }

    #[test]
    fn a_worker_at_its_limit_of_connections_is_said_once_until_it_has_had_room() {
        let mut scene = scene(Policy { connections: Some(8), ..Policy::default() });
        let with = |connections| [Sample { connections, ..sample(0, 50) }];
        let said = [(0, Limit::Connections, LimitAction::Wait)];
        scene.settle(&with(7));
        let before = scene.second;
        assert_eq!(scene.first(&with(8), 10), (before + 3, said.to_vec()), "in three samples");
        assert_eq!(scene.first(&with(9), 100).1, []);
        // It has room for a moment, as connections end.
        for connections in [7, 8, 8, 8, 7, 7, 8, 8, 8] {
            assert_eq!(scene.look(&with(connections)), []);
        }
        scene.settle(&with(7));
        assert_eq!(scene.first(&with(8), 10).1, said);
        scene.settle(&with(7));
        scene.watch.set_policy(Policy::default());
        assert_eq!(scene.first(&with(100), 10).1, [], "there is no limit any more");
    }

    #[test]
    fn a_limit_below_what_the_program_needs_is_said_once_and_replaces_nobody() {
        let mut scene = scene(memory_limit());
        let (_, found) = scene.first(&[sample(0, 105)], 20);
        assert_eq!(found, [(0, Limit::Memory, LimitAction::Alert)]);
        assert_eq!(scene.first(&[sample(0, 105)], 600), (0, vec![]));
    }

    #[test]
    fn a_worker_that_is_over_again_soon_after_its_start_waits_and_it_is_said() {
        let mut scene = scene(memory_limit());
        assert_eq!(scene.look(&[sample(0, 50)]), []);
        assert_eq!(scene.first(&[sample(0, 105)], 5), (4, vec![(0, Limit::Memory, LimitAction::Alert)]));
        assert_eq!(scene.first(&[sample(0, 105)], 20), (11, vec![(0, Limit::Memory, LimitAction::Replace)]));
    }

    #[test]
    fn workers_that_reach_a_limit_at_once_one_after_another_live_ever_longer() {
        let mut scene = scene(memory_limit());
        let mut lives = Vec::new();
        for generation in 1..=4 {
            let worker = WorkerId::new(0, generation);
            let of = |megabytes| [Sample { worker, ..sample(0, megabytes) }];
            let start = scene.second;
            assert_eq!(scene.look(&of(50)), []);
            let mut found = Vec::new();
            while !found.contains(&(0, Limit::Memory, LimitAction::Replace)) {
                found.extend(scene.look(&of(105)));
            }
            let (alert, replacement) =
                ((0, Limit::Memory, LimitAction::Alert), (0, Limit::Memory, LimitAction::Replace));
            assert_eq!(found, [alert, replacement], "one alert in each life");
            lives.push(scene.second - start - 1);
            scene.watch.forget(worker);
        }
        assert_eq!(lives, [10, 60, 120, 240]);
        let worker = WorkerId::new(0, 5);
        let of = |megabytes| [Sample { worker, ..sample(0, megabytes) }];
        scene.settle(&of(50));
        assert_eq!(scene.first(&of(105), 5).1, [(0, Limit::Memory, LimitAction::Replace)], "not at once");
    }

    #[test]
    fn above_the_hard_limit_a_worker_is_killed_once_with_its_last_samples() {
        let mut scene = scene(memory_limit());
        scene.look(&[sample(0, 90)]);
        scene.look(&[sample(0, 108)]);
        let worker = WorkerId::new(0, 1);
        assert_eq!(scene.watch.look_hard(&[(worker, 110 * MB)]), []);
        let breaches = scene.watch.look_hard(&[(worker, 111 * MB), (WorkerId::new(1, 1), 50 * MB)]);
        let expected = "Worker 0 is killed: it uses 111 MB, above its hard limit of 110 MB (110 % of \
                        resources.maxMemoryPerWorker). Its last samples: 90 MB, 108 MB, 111 MB";
        assert_eq!(breaches.iter().map(|breach| breach.message.as_str()).collect::<Vec<_>>(), [expected]);
        assert_eq!(scene.watch.look_hard(&[(worker, 200 * MB)]), []);
        assert_eq!(scene.first(&[sample(0, 120)], 20), (0, vec![]), "nor is it replaced");
    }

    #[test]
    fn requests_and_age_end_a_life_between_nine_tenths_of_the_limit_and_the_limit() {
        let policy =
            Policy { requests: Some(1000), age: Some(Duration::from_secs(100)), ..Policy::default() };
        let of = |requests: u64, age: u64| Sample { requests, age: Duration::from_secs(age), ..sample(0, 1) };
        for (young, old, limit) in
            [(of(899, 1), of(1000, 1), Limit::Requests), (of(0, 89), of(0, 100), Limit::Age)]
        {
            let mut scene = scene(policy.clone());
            scene.settle(&[young]);
            assert_eq!(scene.look(&[old]), [(0, limit, LimitAction::Replace)]);
        }
    }

    #[test]
    fn a_busy_cluster_is_relieved_and_only_a_runaway_is_replaced() {
        let cpu = CpuLimit { percent: 80.0, kills: false };
        let at = |slot: u16, cpu: f64| Sample { cpu, ..sample(slot, 1) };
        let policy = Policy { cpu: Some(cpu), ..Policy::default() };
        let mut busy = scene(policy.clone());
        let (first, found) = busy.first(&[at(0, 90.0), at(1, 79.0)], 100);
        assert_eq!((first, found), (61, vec![(0, Limit::Cpu, LimitAction::Relieve)]));
        let now = |scene: &Scene| Duration::from_secs(scene.second);
        assert!(busy.watch.is_relieved(WorkerId::new(0, 1), now(&busy)));
        assert_eq!(busy.first(&[at(0, 90.0), at(1, 79.0)], 100), (0, vec![]), "it is said once");
        busy.look(&[at(0, 70.0), at(1, 79.0)]);
        assert!(!busy.watch.is_relieved(WorkerId::new(0, 1), now(&busy)));
        let mut runaway = scene(policy);
        let (first, found) = runaway.first(&[at(0, 99.0), at(1, 40.0), at(2, 30.0)], 100);
        let (relief, replacement) =
            ((0, Limit::Cpu, LimitAction::Relieve), (0, Limit::Cpu, LimitAction::Replace));
        assert_eq!((first, found), (61, vec![relief, replacement]));
        let kills = Policy { cpu: Some(CpuLimit { kills: true, ..cpu }), ..Policy::default() };
        assert_eq!(scene(kills).first(&[at(0, 90.0)], 100), (61, vec![(0, Limit::Cpu, LimitAction::Kill)]));
    }

    #[test]
    fn a_worker_over_the_cpu_threshold_in_three_samples_is_replaced() {
        let policy = Policy { cpu_threshold: Some(50.0), ..Policy::default() };
        let at = |cpu: f64| Sample { cpu, ..sample(0, 1) };
        let mut scene = scene(policy);
        scene.settle(&[at(10.0)]);
        assert_eq!(scene.first(&[at(51.0)], 9), (14, vec![(0, Limit::Cpu, LimitAction::Replace)]));
    }

    #[test]
    fn without_limits_there_is_nothing_to_reach() {
        let heavy =
            Sample { cpu: 100.0, requests: 1 << 40, age: Duration::from_secs(1 << 30), ..sample(0, 1 << 20) };
        assert_eq!(scene(Policy::default()).first(&[heavy], 100), (0, vec![]));
    }
}
