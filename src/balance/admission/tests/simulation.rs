//! Workers with event loops, clients and the accept thread, with the shedder and the intake as they are.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use proptest::prelude::*;

use super::super::*;

/// Costs that the machine has: reading a connection, refusing a request, and a message between processes.
const ADOPT: Duration = Duration::from_micros(100);
const REFUSE: Duration = Duration::from_micros(60);
const MESSAGE: Duration = Duration::from_micros(100);
const LOOK: Duration = Duration::from_millis(10);
/// Before this nothing is measured.
const LEAD: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub workers: usize,
    /// The handler's processor time, from and to, milliseconds: uniform.
    pub handler: (f64, f64),
    /// Arrivals, as a multiple of what the workers can do.
    pub offered: f64,
    /// The part of the requests that comes on connections that workers have.
    pub kept_alive: f64,
    pub seconds: u64,
    pub admission: bool,
    /// Resolution of the kernel's clock, which measures the waiting; milliseconds.
    pub tick: u64,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    arrived: Duration,
    takes: Duration,
    is_new: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrival,
    Turn(usize),
    Asks(usize),
    Look,
}

struct Worker {
    shedder: LoadShedder,
    /// Readable connections.
    ready: VecDeque<Request>,
    /// Adopted in the last iteration.
    adopted: Vec<Request>,
    /// In the connection channel, with the time from which on they are there.
    channel: VecDeque<(Duration, Request)>,
    idle: Duration,
    /// When the iteration that is computed ends.
    until: Duration,
    /// Asleep since.
    asleep: Option<Duration>,
    has_asked: bool,
    /// The times at which a request was late.
    late: Vec<Duration>,
    unread_since: Option<Duration>,
}

#[derive(Debug, Default)]
pub struct Outcome {
    /// What the workers have spent on what they have answered, as a part of their time.
    pub goodput: f64,
    /// Milliseconds.
    pub latencies: Vec<f64>,
    pub refused_here: usize,
    pub refused_there: usize,
}

impl Outcome {
    pub fn p99(&self) -> f64 {
        percentile(&self.latencies, 0.99)
    }
}

fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

struct Simulation {
    load: Load,
    random: u64,
    events: BinaryHeap<Reverse<(Duration, u64, What)>>,
    count: u64,
    workers: Vec<Worker>,
    intake: Intake<Request>,
    turn: usize,
    outcome: Outcome,
    done: Duration,
    end: Duration,
}

impl Simulation {
    fn uniform(&mut self) -> f64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.random >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn at(&mut self, time: Duration, what: What) {
        self.count += 1;
        self.events.push(Reverse((time, self.count, what)));
    }

    fn gap(&mut self) -> Duration {
        let mean = (self.load.handler.0 + self.load.handler.1) / 2.0;
        let rate = self.load.offered * self.load.workers as f64 / mean;
        Duration::from_secs_f64(-self.uniform().ln() / rate / 1000.0)
    }

    fn arrive(&mut self, now: Duration) {
        let (from, to) = self.load.handler;
        let takes = Duration::from_secs_f64((from + (to - from) * self.uniform()) / 1000.0);
        let is_new = self.uniform() >= self.load.kept_alive;
        let request = Request { arrived: now, takes, is_new };
        if !is_new {
            let worker = (self.uniform() * self.workers.len() as f64) as usize;
            self.workers[worker].ready.push_back(request);
            self.wake(worker, now);
        } else if !self.intake.is_on() {
            self.turn = (self.turn + 1) % self.workers.len();
            self.push(self.turn, request, now);
        } else {
            self.place_or_hold(request, now);
        }
        let next = now + self.gap();
        if next < self.end {
            self.at(next, What::Arrival);
        }
    }

    fn place_or_hold(&mut self, request: Request, now: Duration) {
        let slots = self.workers.len();
        let next =
            (1..=slots).map(|n| (self.turn + n) % slots).find(|slot| self.intake.may_take(*slot as u16));
        if let Some(slot) = next {
            self.turn = slot;
            self.intake.given(slot as u16, now);
            self.push(slot, request, now);
        } else {
            let refused = self.intake.hold(request, now).len();
            self.outcome.refused_here += refused;
        }
    }

    fn push(&mut self, worker: usize, request: Request, now: Duration) {
        self.workers[worker].channel.push_back((now + MESSAGE, request));
        self.workers[worker].unread_since.get_or_insert(now);
        self.wake(worker, now + MESSAGE);
    }

    fn wake(&mut self, worker: usize, now: Duration) {
        if let Some(since) = self.workers[worker].asleep {
            self.at(now.max(since), What::Turn(worker));
        }
    }

    /// The loop's poll has returned: everything that is there is handled.
    fn turn(&mut self, index: usize, now: Duration) {
        let tick = Duration::from_millis(self.load.tick);
        let jiffies = |time: Duration| (time.as_nanos() / tick.as_nanos().max(1)) as u32;
        let (load, end) = (self.load, self.end);
        let worker = &mut self.workers[index];
        if now < worker.until {
            return;
        }
        if let Some(since) = worker.asleep {
            worker.idle += now - since;
            worker.asleep = None;
        }
        let mut time = now;
        let pushed = worker.channel.iter().take_while(|(there, _)| *there <= now).count();
        let adopted: Vec<Request> = worker.channel.drain(..pushed).map(|(_, request)| request).collect();
        time += ADOPT * adopted.len() as u32;
        if pushed > 0 {
            worker.has_asked = false;
            worker.unread_since = (!worker.channel.is_empty()).then_some(now);
        }
        let ready: Vec<Request> = worker.ready.drain(..).chain(worker.adopted.drain(..)).collect();
        for request in ready {
            // As the kernel tells it.
            let waited = if load.tick == 0 {
                time - request.arrived
            } else {
                (tick * (jiffies(time) - jiffies(request.arrived)))
                    .max(worker.shedder.since_poll(time, worker.idle))
            };
            if load.admission && worker.shedder.refuses(waited, time, worker.idle) {
                worker.late.push(time);
                time += REFUSE;
                self.outcome.refused_there += 1;
                continue;
            }
            time += request.takes;
            if time >= LEAD && time < end {
                self.outcome.latencies.push((time - request.arrived).as_secs_f64() * 1000.0);
                self.done += request.takes + if request.is_new { ADOPT } else { Duration::ZERO };
            }
        }
        worker.shedder.turned(time, worker.idle);
        worker.until = time;
        worker.adopted = adopted;
        let has_work = !worker.ready.is_empty() || !worker.adopted.is_empty();
        let asks = self.intake.is_on() && !worker.has_asked && worker.adopted.is_empty();
        worker.has_asked |= asks;
        let next = worker.channel.front().map(|(there, _)| *there);
        if has_work || next.is_some_and(|there| there <= time) {
            self.at(time, What::Turn(index));
        } else {
            // What arrives while it works wakes it as soon as it sleeps.
            worker.asleep = Some(time);
            if let Some(there) = next {
                self.at(there, What::Turn(index));
            }
        }
        if asks {
            self.at(time + MESSAGE, What::Asks(index));
        }
    }

    fn look(&mut self, now: Duration) {
        let sights: Vec<Sight> = (0..)
            .zip(&self.workers)
            .map(|(slot, worker)| Sight {
                slot,
                is_out: false,
                late_at: worker.late.iter().rev().find(|at| **at <= now).copied(),
                unread_since: worker.unread_since,
            })
            .collect();
        match self.intake.look(&sights, now) {
            Some(Change::Began) => {
                self.workers.iter_mut().for_each(|worker| worker.has_asked = false);
                for worker in 0..self.workers.len() {
                    self.wake(worker, now + MESSAGE);
                }
            }
            Some(Change::Ended) | None => {}
        }
        self.at(now + LOOK, What::Look);
    }

    fn run(load: Load, seed: u64, target: Duration) -> Outcome {
        let worker = || Worker {
            shedder: LoadShedder::new(target, Duration::ZERO, Duration::ZERO),
            ready: VecDeque::new(),
            adopted: Vec::new(),
            channel: VecDeque::new(),
            idle: Duration::ZERO,
            until: Duration::ZERO,
            asleep: Some(Duration::ZERO),
            has_asked: false,
            late: Vec::new(),
            unread_since: None,
        };
        let mut simulation = Self {
            load,
            random: seed,
            events: BinaryHeap::new(),
            count: 0,
            workers: (0..load.workers).map(|_| worker()).collect(),
            intake: Intake::new(target),
            turn: 0,
            outcome: Outcome::default(),
            done: Duration::ZERO,
            end: LEAD + Duration::from_secs(load.seconds),
        };
        simulation.at(Duration::ZERO, What::Arrival);
        if load.admission {
            simulation.at(LOOK, What::Look);
        }
        while let Some(Reverse((now, _, what))) = simulation.events.pop() {
            if now >= simulation.end {
                break;
            }
            let expired = simulation.intake.expire(now).len();
            simulation.outcome.refused_here += expired;
            match what {
                What::Arrival => simulation.arrive(now),
                What::Turn(worker) => simulation.turn(worker, now),
                What::Asks(worker) => {
                    simulation.intake.asks(worker as u16, now);
                    while simulation.intake.may_take(worker as u16) {
                        let newest = simulation.intake.held().checked_sub(1);
                        let Some(request) = newest.and_then(|at| simulation.intake.take(at)) else { break };
                        simulation.intake.given(worker as u16, now);
                        simulation.push(worker, request, now);
                    }
                }
                What::Look => simulation.look(now),
            }
        }
        let time = Duration::from_secs(load.seconds) * load.workers as u32;
        simulation.outcome.goodput = simulation.done.as_secs_f64() / time.as_secs_f64();
        simulation.outcome
    }
}

const LOAD: Load = Load {
    workers: 2,
    handler: (5.0, 20.0),
    offered: 3.0,
    kept_alive: 0.0,
    seconds: 10,
    admission: true,
    tick: 4,
};

/// The p99 of a load of a tenth, milliseconds.
fn unloaded(load: Load, seed: u64) -> f64 {
    let quiet = Load { offered: 0.1, seconds: 20, admission: false, ..load };
    Simulation::run(quiet, seed, Duration::from_secs(1)).p99()
}

/// With half of the unloaded p99 as the target: the outcome, and its p99 as a multiple of the unloaded one.
fn measure(load: Load, seed: u64) -> (Outcome, f64) {
    let quiet = unloaded(load, seed);
    let outcome = Simulation::run(load, seed, Duration::from_secs_f64(quiet / 2000.0));
    let times = outcome.p99() / quiet;
    (outcome, times)
}

#[test]
fn at_three_times_what_saturates_goodput_stays_and_what_is_admitted_is_in_time() {
    for (handler, workers) in [((5.0, 20.0), 1), ((5.0, 20.0), 2), ((10.0, 10.0), 2), ((2.0, 60.0), 8)] {
        for kept_alive in [0.0, 0.5, 1.0] {
            let load = Load { workers, handler, kept_alive, ..LOAD };
            let (outcome, times) = measure(load, 7);
            let goodput = outcome.goodput;
            assert!(goodput >= 0.95 && times <= 2.0, "{load:?}: goodput {goodput:.3}, p99 x {times:.2}");
        }
    }
}

#[test]
fn without_admission_nothing_is_in_time() {
    let (outcome, times) = measure(Load { admission: false, ..LOAD }, 7);
    assert!(times > 50.0 && outcome.refused_here + outcome.refused_there == 0);
}

#[test]
fn most_is_refused_before_it_costs_a_worker_something() {
    let (outcome, _) = measure(LOAD, 7);
    let Outcome { refused_here, refused_there, .. } = outcome;
    assert!(refused_there * 10 < refused_here, "{refused_there} in workers, {refused_here} before");
}

#[test]
fn short_requests_are_held_below_the_target_too() {
    // A refusal in a worker costs a part of what such a request does.
    for (kept_alive, most) in [(0.0, 0.95), (1.0, 0.85)] {
        let load = Load { handler: (0.5, 2.0), kept_alive, seconds: 5, ..LOAD };
        let outcome = Simulation::run(load, 7, Duration::from_millis(50));
        let (goodput, p99) = (outcome.goodput, outcome.p99());
        assert!(goodput >= most && p99 <= 55.0, "kept {kept_alive}: goodput {goodput:.3}, p99 {p99:.1} ms");
    }
}

#[test]
fn workers_with_time_to_spare_refuse_next_to_nothing() {
    for (handler, most) in [((1.0, 4.0), 0.0005), ((5.0, 20.0), 0.03)] {
        for kept_alive in [0.0, 1.0] {
            let load = Load { handler, kept_alive, offered: 0.7, seconds: 60, ..LOAD };
            let outcome = Simulation::run(load, 7, Duration::from_millis(50));
            let refused = outcome.refused_here + outcome.refused_there;
            let part = refused as f64 / (refused + outcome.latencies.len()) as f64;
            assert!(part <= most, "{handler:?}, kept {kept_alive}: {part:.4} refused");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_load_goodput_stays_and_what_is_admitted_is_in_time(
        seed: u64,
        workers in 1..9usize,
        shortest in 4.0..40.0f64,
        spread in 0.0..3.0f64,
        offered in 2.0..8.0f64,
        kept_alive in 0.0..1.0f64,
    ) {
        let handler = (shortest, shortest * (1.0 + spread));
        let load = Load { workers, handler, offered, kept_alive, ..LOAD };
        let (outcome, times) = measure(load, seed);
        let goodput = outcome.goodput;
        prop_assert!(goodput >= 0.9 && times <= 2.0, "{load:?}: goodput {goodput:.3}, p99 x {times:.2}");
    }
}
