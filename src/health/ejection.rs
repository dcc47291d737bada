//! Ejection: which workers are excluded from dispatch for a while because they fail more often than the others. PURE. A
//! problem of all workers (a broken database) ejects none: a worker is ejected only if it responds with 5xx clearly
//! more often than the others, and never more than half of the workers at once.

use crate::model::WorkerId;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// The window of the rates.
const WINDOW: Duration = Duration::from_secs(10);
/// Clearly more often: this many times the rate of the others, and above it by a minimum difference.
const TIMES: f64 = 2.0;
const BEYOND: f64 = 0.2;
/// Maximum number of doublings of the time for which a worker is ejected.
const MAX_DOUBLINGS: u32 = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Consecutive 5xx responses.
    pub threshold: u32,
    /// How long a worker is ejected the first time.
    pub reset: Duration,
}

/// The counts of a worker so far.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub worker: WorkerId,
    pub responses: f64,
    /// Responses with 5xx.
    pub failed: f64,
    /// Number of consecutive 5xx responses up to now.
    pub streak: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Eject the worker for this time. `rate`: the fraction of 5xx in its latest responses.
    Out { worker: WorkerId, streak: u32, rate: f64, time: Duration },
    /// It may get connections again.
    Back { worker: WorkerId },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    /// Ejected until then.
    Open {
        until: Duration,
    },
    /// Back on trial: if it fails again before then, it is ejected for twice the time.
    HalfOpen {
        until: Duration,
    },
}

#[derive(Debug)]
struct Circuit {
    state: State,
    /// How often it was ejected without a healthy period since.
    times: u32,
    /// The part of the streak that was counted before it came back.
    excused: f64,
    past: VecDeque<(Duration, f64, f64)>,
}

#[derive(Debug)]
pub struct Breaker {
    policy: Policy,
    circuits: HashMap<WorkerId, Circuit>,
}

impl Breaker {
    pub fn new(policy: Policy) -> Self {
        Self { policy, circuits: HashMap::new() }
    }

    /// Removes a worker that has ended.
    pub fn forget(&mut self, worker: WorkerId) {
        self.circuits.remove(&worker);
    }

    pub fn state(&self, worker: WorkerId) -> State {
        self.circuits.get(&worker).map_or(State::Closed, |circuit| circuit.state)
    }

    /// Circuits that are not closed, with the time of their next change.
    pub fn open(&self) -> Vec<(WorkerId, State)> {
        let open = self.circuits.iter().filter(|(_, circuit)| circuit.state != State::Closed);
        let mut open: Vec<(WorkerId, State)> =
            open.map(|(worker, circuit)| (*worker, circuit.state)).collect();
        open.sort_by_key(|(worker, _)| *worker);
        open
    }

    /// Compares all serving workers, about once a second.
    pub fn look(&mut self, samples: &[Sample], now: Duration) -> Vec<Change> {
        self.circuits.retain(|worker, _| samples.iter().any(|sample| sample.worker == *worker));
        for sample in samples {
            let circuit = self.circuits.entry(sample.worker).or_insert_with(|| Circuit {
                state: State::Closed,
                times: 0,
                excused: 0.0,
                past: VecDeque::new(),
            });
            circuit.remember(sample, now);
        }
        let mut changes: Vec<Change> = samples.iter().filter_map(|s| self.come_back(s, now)).collect();
        for sample in samples {
            changes.extend(self.leave(sample, samples, now));
        }
        changes
    }

    fn come_back(&mut self, sample: &Sample, now: Duration) -> Option<Change> {
        let reset = self.policy.reset;
        let circuit = self.circuits.get_mut(&sample.worker)?;
        match circuit.state {
            State::Open { until } if until <= now => {
                circuit.state = State::HalfOpen { until: now + reset };
                circuit.excused = sample.streak;
                Some(Change::Back { worker: sample.worker })
            }
            State::HalfOpen { until } if until <= now => {
                (circuit.state, circuit.times) = (State::Closed, 0);
                None
            }
            State::Open { .. } | State::HalfOpen { .. } | State::Closed => None,
        }
    }

    fn leave(&mut self, sample: &Sample, samples: &[Sample], now: Duration) -> Option<Change> {
        let others = || samples.iter().filter(|other| other.worker != sample.worker);
        let is_out = |worker| matches!(self.state(worker), State::Open { .. });
        let out = samples.iter().filter(|other| is_out(other.worker)).count();
        let own = self.circuits.get(&sample.worker)?;
        let streak = own.streak(sample);
        if is_out(sample.worker)
            || streak < f64::from(self.policy.threshold)
            || out >= (samples.len() / 2).max(1)
        {
            return None;
        }
        let (responses, failed) = others()
            .filter(|other| !is_out(other.worker))
            .filter_map(|other| self.circuits.get(&other.worker))
            .map(Circuit::lately)
            .fold((0.0, 0.0), |(r, f), (responses, failed)| (r + responses, f + failed));
        let (own_responses, own_failed) = own.lately();
        // If the other workers have no responses, it is unknown whether they would do better.
        if responses < 1.0 || own_responses < 1.0 {
            return None;
        }
        let (rate, theirs) = (own_failed / own_responses, failed / responses);
        if rate < theirs * TIMES + BEYOND {
            return None;
        }
        let time = self.policy.reset.saturating_mul(1 << own.times.min(MAX_DOUBLINGS));
        let circuit = self.circuits.get_mut(&sample.worker)?;
        circuit.times += 1;
        circuit.state = State::Open { until: now + time };
        Some(Change::Out { worker: sample.worker, streak: streak as u32, rate, time })
    }
}

impl Circuit {
    fn remember(&mut self, sample: &Sample, now: Duration) {
        if sample.streak < self.excused {
            self.excused = 0.0;
        }
        self.past.push_back((now, sample.responses, sample.failed));
        // One sample from before the window is kept as its start.
        let begins = now.saturating_sub(WINDOW);
        while self.past.get(1).is_some_and(|(at, ..)| *at <= begins) {
            self.past.pop_front();
        }
    }

    fn streak(&self, sample: &Sample) -> f64 {
        (sample.streak - self.excused).max(0.0)
    }

    /// Responses in the window, and those with 5xx. For a new worker all its responses.
    fn lately(&self) -> (f64, f64) {
        match (self.past.front(), self.past.back()) {
            (Some((_, from, bad)), Some((_, to, worse))) if self.past.len() > 1 => (to - from, worse - bad),
            (_, Some((_, responses, failed))) => (*responses, *failed),
            _ => (0.0, 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn breaker() -> Breaker {
        Breaker::new(Policy { threshold: 5, reset: s(30) })
    }

    /// Workers that have answered `responses`, of them `failed` with 5xx, the last `streak` of them in a row.
    fn workers<const N: usize>(counts: [(f64, f64, f64); N]) -> Vec<Sample> {
        let sample = |(slot, (responses, failed, streak))| Sample {
            worker: WorkerId::new(slot as u16, 1),
            responses,
            failed,
            streak,
        };
        counts.into_iter().enumerate().map(sample).collect()
    }

    const QUIET: (f64, f64, f64) = (100.0, 0.0, 0.0);

    #[test]
    fn a_worker_that_fails_alone_is_out_and_comes_back() {
        let mut breaker = breaker();
        assert_eq!(breaker.look(&workers([QUIET, QUIET]), s(0)), []);
        let failing = workers([(110.0, 0.0, 0.0), (110.0, 10.0, 10.0)]);
        let out = Change::Out { worker: WorkerId::new(1, 1), streak: 10, rate: 1.0, time: s(30) };
        assert_eq!(breaker.look(&failing, s(1)), [out]);
        assert_eq!(breaker.state(WorkerId::new(1, 1)), State::Open { until: s(31) });
        assert_eq!(breaker.look(&failing, s(30)), []);
        assert_eq!(breaker.look(&failing, s(31)), [Change::Back { worker: WorkerId::new(1, 1) }]);
        assert_eq!(breaker.open(), [(WorkerId::new(1, 1), State::HalfOpen { until: s(61) })]);
    }

    #[test]
    fn one_that_fails_again_is_out_for_longer_and_a_good_time_forgets() {
        let mut breaker = breaker();
        breaker.look(&workers([QUIET, QUIET]), s(0));
        breaker.look(&workers([(110.0, 0.0, 0.0), (110.0, 10.0, 10.0)]), s(1));
        // Its old failures are not counted again.
        let back = workers([(120.0, 0.0, 0.0), (110.0, 10.0, 10.0)]);
        assert_eq!(breaker.look(&back, s(31)), [Change::Back { worker: WorkerId::new(1, 1) }]);
        let again = workers([(130.0, 0.0, 0.0), (115.0, 15.0, 15.0)]);
        let out = Change::Out { worker: WorkerId::new(1, 1), streak: 5, rate: 1.0, time: s(60) };
        assert_eq!(breaker.look(&again, s(32)), [out]);
        assert_eq!(breaker.look(&again, s(92)), [Change::Back { worker: WorkerId::new(1, 1) }]);
        breaker.look(&again, s(122));
        assert_eq!(breaker.state(WorkerId::new(1, 1)), State::Closed);
        breaker.look(&workers([(200.0, 0.0, 0.0), (115.0, 15.0, 15.0)]), s(123));
        let third = workers([(210.0, 0.0, 0.0), (125.0, 25.0, 25.0)]);
        assert!(matches!(breaker.look(&third, s(124))[..], [Change::Out { time, .. }] if time == s(30)));
    }

    #[test]
    fn what_all_suffer_from_ejects_nobody() {
        let mut breaker = breaker();
        breaker.look(&workers([QUIET, QUIET, QUIET]), s(0));
        let broken = [(120.0, 20.0, 20.0), (120.0, 18.0, 7.0), (120.0, 20.0, 20.0)];
        assert_eq!(breaker.look(&workers(broken), s(1)), []);
    }

    #[test]
    fn a_few_failures_among_many_answers_eject_nobody() {
        let mut breaker = breaker();
        breaker.look(&workers([QUIET, QUIET]), s(0));
        assert_eq!(breaker.look(&workers([(200.0, 0.0, 0.0), (200.0, 6.0, 6.0)]), s(1)), []);
        assert_eq!(breaker.look(&workers([(300.0, 0.0, 0.0), (300.0, 100.0, 4.0)]), s(2)), []);
    }

    #[test]
    fn at_most_half_are_out_and_one_of_two() {
        let fails = (110.0, 10.0, 10.0);
        for (count, most) in [(2, 1), (3, 1), (4, 2), (5, 2)] {
            let mut breaker = breaker();
            let all = |one| (0..count).map(move |_| one).collect::<Vec<_>>();
            let samples = |counts: Vec<(f64, f64, f64)>| {
                counts.into_iter().enumerate().map(|(slot, (responses, failed, streak))| Sample {
                    worker: WorkerId::new(slot as u16, 1),
                    responses,
                    failed,
                    streak,
                })
            };
            breaker.look(&samples(all(QUIET)).collect::<Vec<_>>(), s(0));
            // All but one fail, one after the other, each while the rest still responds well.
            let mut out = 0;
            let mut counts = all((1100.0, 0.0, 0.0));
            for slot in 0..count - 1 {
                counts[slot] = fails;
                out += breaker.look(&samples(counts.clone()).collect::<Vec<_>>(), s(1 + slot as u64)).len();
            }
            assert!(out <= most, "{out} of {count}");
        }
        let mut alone = breaker();
        alone.look(&workers([QUIET]), s(0));
        assert_eq!(alone.look(&workers([fails]), s(1)), [], "nobody else could take its work");
    }

    #[test]
    fn siblings_that_answer_nothing_prove_nothing() {
        let mut breaker = breaker();
        breaker.look(&workers([QUIET, QUIET]), s(0));
        assert_eq!(breaker.look(&workers([QUIET, (110.0, 10.0, 10.0)]), s(1)), []);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut breaker = breaker();
        breaker.look(&workers([QUIET, QUIET]), s(0));
        breaker.look(&workers([(110.0, 0.0, 0.0), (110.0, 10.0, 10.0)]), s(1));
        breaker.look(&workers([(110.0, 0.0, 0.0)]), s(2));
        assert_eq!(breaker.open(), []);
    }
}
