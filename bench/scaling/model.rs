//! The queueing model: each worker serves one request after the other, in the order in which they came; requests come
//! at random (Poisson), take an exponential time, and go to the ready workers in turn (or to the one that is free
//! first) and stay there. A worker that is added is ready
//! after its start-up; one that is removed serves what it has. All policies get the same requests.

use crate::policy::{Policy, Second, WorkerSecond};
use crate::random::Random;
use crate::traces::Trace;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Mean time of a request.
pub const SERVICE_SECONDS: f64 = 0.02;

/// From the start of a worker to its first request.
const START_UP_SECONDS: f64 = 2.0;

/// So many responses of a second, spread over it, are enough for the percentiles that a policy sees.
const SEEN_RESPONSES: usize = 2000;

/// Which ready worker gets a request.
#[derive(Clone, Copy)]
pub enum Placement {
    InTurn,
    ShortestQueue,
}

struct Request {
    at: f64,
    service: f64,
}

/// The requests of a trace, by second.
pub struct Load(Vec<Vec<Request>>);

impl Load {
    pub fn of(trace: &Trace) -> Self {
        let mut random = Random::new(trace.seed);
        let seconds = trace.rates.iter().enumerate().map(|(second, rate)| {
            let mut requests = Vec::new();
            let mut at = random.exponential(1.0 / rate.max(1e-9));
            while at < 1.0 {
                requests
                    .push(Request { at: second as f64 + at, service: random.exponential(SERVICE_SECONDS) });
                at += random.exponential(1.0 / rate.max(1e-9));
            }
            requests
        });
        Self(seconds.collect())
    }
}

struct Worker {
    started: f64,
    ready: f64,
    /// When it has served what it has.
    free: f64,
    /// The pieces of time in which it is busy, from the current second on.
    busy: VecDeque<(f64, f64)>,
}

impl Worker {
    fn new(started: f64, ready: f64) -> Self {
        Self { started, ready, free: ready, busy: VecDeque::new() }
    }

    /// Serves a request; the time of its end.
    fn serve(&mut self, request: &Request) -> f64 {
        let begin = self.free.max(request.at);
        self.free = begin + request.service;
        self.busy.push_back((begin, self.free));
        self.free
    }

    /// The busy part of the second that ends at `end`, which is forgotten.
    fn busy_in(&mut self, end: f64) -> f64 {
        let mut busy = 0.0;
        while let Some(&(from, to)) = self.busy.front() {
            busy += (to.min(end) - from.max(end - 1.0)).max(0.0);
            if to > end {
                break;
            }
            self.busy.pop_front();
        }
        busy
    }
}

/// What became of a trace under a policy.
pub struct Run {
    /// Per second: the number of workers, and the 95th percentile in milliseconds.
    pub sizes: Vec<u32>,
    pub p95: Vec<f64>,
    pub worker_seconds: f64,
}

impl Run {
    /// How often the number of workers turns from growing to falling or the reverse.
    pub fn direction_changes(&self) -> usize {
        let mut turns = 0;
        let mut latest = None;
        for pair in self.sizes.windows(2).filter(|pair| pair[0] != pair[1]) {
            let grows = pair[1] > pair[0];
            turns += usize::from(latest.is_some_and(|before| before != grows));
            latest = Some(grows);
        }
        turns
    }
}

/// The 95th percentile; None without values.
fn p95(mut values: Vec<f64>) -> Option<f64> {
    let at = (values.len() * 95).div_ceil(100).checked_sub(1)?;
    let (_, value, _) = values.select_nth_unstable_by(at, f64::total_cmp);
    Some(*value)
}

/// `size`: the number of workers at the start, all of them ready.
pub fn run(load: &Load, placement: Placement, size: u32, policy: &mut dyn Policy) -> Run {
    let seconds = load.0.len();
    let mut workers: Vec<Worker> = (0..size).map(|_| Worker::new(-60.0, 0.0)).collect();
    let mut leaving: Vec<Worker> = Vec::new();
    let mut next = 0;
    // Response times by the second in which the response was sent, with the time of the request's arrival.
    let mut responses: Vec<Vec<f64>> = vec![Vec::new(); seconds];
    let mut run = Run { sizes: Vec::new(), p95: Vec::new(), worker_seconds: 0.0 };
    let (mut arrived, mut completed) = (0, 0);
    for (second, requests) in load.0.iter().enumerate() {
        let end = second as f64 + 1.0;
        // Workers become ready at whole seconds, in the order in which they were started.
        let ready = workers.partition_point(|worker| worker.ready < end);
        // By the time at which each is free, whose bits are in the order of its values.
        let mut queues: BinaryHeap<Reverse<(u64, usize)>> = match placement {
            Placement::InTurn => BinaryHeap::new(),
            Placement::ShortestQueue => workers[..ready]
                .iter()
                .enumerate()
                .map(|(number, worker)| Reverse((worker.free.to_bits(), number)))
                .collect(),
        };
        for request in requests {
            let number = match placement {
                Placement::InTurn => (next + 1) % ready.max(1),
                Placement::ShortestQueue => queues.pop().map_or(0, |Reverse((_, number))| number),
            };
            next = number;
            let Some(worker) = workers[..ready].get_mut(number) else { continue };
            let done = worker.serve(request);
            if matches!(placement, Placement::ShortestQueue) {
                queues.push(Reverse((done.to_bits(), number)));
            }
            arrived += 1;
            if let Some(at) = responses.get_mut(done as usize) {
                at.push((done - request.at) * 1000.0);
            }
        }
        completed += responses[second].len() as u64;
        run.sizes.push(workers.len() as u32);
        run.worker_seconds += workers.len() as f64;
        run.worker_seconds +=
            leaving.iter().map(|worker| (worker.free - (end - 1.0)).clamp(0.0, 1.0)).sum::<f64>();
        leaving.retain(|worker| worker.free > end);
        let stuck = if arrived > completed { f64::INFINITY } else { 0.0 };
        let latest = p95(responses[second].clone()).unwrap_or(stuck);
        run.p95.push(latest.min(1e9));
        let of_the_last = |length: usize| {
            let seconds = &responses[(second + 1).saturating_sub(length)..=second];
            let seen = |all: &Vec<f64>| {
                all.iter().step_by(all.len().div_ceil(SEEN_RESPONSES).max(1)).copied().collect()
            };
            p95(seconds.iter().map(seen).collect::<Vec<Vec<f64>>>().concat())
        };
        let seen: Vec<WorkerSecond> = workers
            .iter_mut()
            .map(|worker| WorkerSecond {
                age: end - worker.started,
                ready_for: (worker.ready <= end).then_some(end - worker.ready),
                busy: if worker.ready <= end { worker.busy_in(end) } else { 1.0 },
            })
            .collect();
        let in_flight = arrived - completed;
        let p95 = [of_the_last(6), of_the_last(60)];
        let size = policy.decide(&Second { at: end, workers: &seen, in_flight, completed, p95 }) as usize;
        while workers.len() < size {
            workers.push(Worker::new(end, end + START_UP_SECONDS));
        }
        leaving.extend(workers.split_off(size.min(workers.len())));
    }
    run
}
