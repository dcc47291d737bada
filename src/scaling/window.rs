//! The load of the last seconds. Later samples weigh more: the weights fall exponentially so that what is older than
//! the window keeps 0.01 % (Knative's `weighted-exponential` aggregation). A plain mean of 60 s would lag 30 s behind a
//! ramp, and one of 6 s would see a step of twice the target only when it is over.

use super::sample::{Sample, WorkerLoad};
use crate::model::WindowLoad;
use std::collections::VecDeque;
use std::time::Duration;

/// The window that decides.
pub const STABLE: Duration = Duration::from_secs(60);

/// The window that decides in a panic.
pub const PANIC: Duration = Duration::from_secs(6);

/// One of the two windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    Stable,
    Panic,
}

/// What a window forgets: its oldest sample has this weight, relative to the latest.
const OLDEST_WEIGHT: f64 = 1e-4;

/// Above this mean utilisation, in percent, event loops are saturated: it no longer shows how much work waits.
const SATURATED: f64 = 90.0;

/// One sample, summed over the workers that count.
#[derive(Clone, Copy, Debug)]
struct Point {
    at: Duration,
    ready: f64,
    /// In percent.
    cpu: f64,
    /// In percent.
    utilization: f64,
    in_flight: f64,
    queue_length: f64,
    completed: u64,
    /// The demand of the short window that ends here.
    short_demand: f64,
}

impl Point {
    fn of(sample: &Sample) -> Self {
        let counted: Vec<&WorkerLoad> = sample.workers.iter().filter(|worker| worker.counts()).collect();
        let ready = counted.len() as f64;
        let cpu: f64 = counted.iter().map(|worker| worker.cpu.max(0.0)).sum();
        let utilization: f64 = counted.iter().map(|worker| worker.utilization.clamp(0.0, 100.0)).sum();
        Self {
            at: sample.at,
            ready,
            cpu: (cpu / ready.min(sample.usable_cpus).max(f64::MIN_POSITIVE)).min(100.0),
            utilization: utilization / ready.max(1.0),
            in_flight: sample.in_flight as f64,
            queue_length: sample.queue_length as f64,
            completed: sample.completed,
            short_demand: 0.0,
        }
    }

    fn busy_percent(&self) -> f64 {
        self.cpu.max(self.utilization)
    }

    /// In workers.
    fn busy(&self) -> f64 {
        self.ready * self.busy_percent() / 100.0
    }
}

/// The samples of the last 60 s.
#[derive(Clone, Debug, Default)]
pub struct Window {
    points: VecDeque<Point>,
}

impl Window {
    /// A sample without a worker that counts says nothing about the load, and is left out.
    pub fn add(&mut self, sample: &Sample) {
        let point = Point::of(sample);
        while self.points.front().is_some_and(|first| first.at + STABLE <= sample.at) {
            self.points.pop_front();
        }
        if point.ready > 0.0 {
            self.points.push_back(point);
            let demand = self.load(PANIC, sample.at, None).map_or(0.0, |load| load.demand);
            if let Some(point) = self.points.back_mut() {
                point.short_demand = demand;
            }
        }
    }

    /// The highest load of the last minute: what a smaller cluster must be able to carry.
    pub fn peak(&self) -> WindowLoad {
        let highest = |value: fn(&Point) -> f64| self.points.iter().map(value).fold(0.0, f64::max);
        WindowLoad {
            demand: highest(|point| point.short_demand),
            in_flight: highest(|point| point.in_flight),
            queue_length: highest(|point| point.queue_length),
            ..WindowLoad::default()
        }
    }

    /// The load of the last `length`; None without a sample in it.
    pub fn load(&self, length: Duration, now: Duration, p95: Option<f64>) -> Option<WindowLoad> {
        self.weighted(length, now, OLDEST_WEIGHT.powf(1.0 / length.as_secs_f64()), p95)
    }

    /// The same with equal weights: a step down is no matter of the latest seconds.
    pub fn mean(&self, length: Duration, now: Duration, p95: Option<f64>) -> Option<WindowLoad> {
        self.weighted(length, now, 1.0, p95)
    }

    /// `decay`: the weight of a sample relative to that of the next second.
    fn weighted(&self, length: Duration, now: Duration, decay: f64, p95: Option<f64>) -> Option<WindowLoad> {
        let within: Vec<&Point> =
            self.points.iter().rev().take_while(|point| point.at + length > now).collect();
        let (latest, oldest) = (within.first()?, within.last()?);
        let weights: Vec<f64> = within.iter().map(|point| decay.powf(age(point, now))).collect();
        let total: f64 = weights.iter().sum();
        let mean = |value: fn(&Point) -> f64| {
            within.iter().zip(&weights).map(|(point, weight)| value(point) * weight).sum::<f64>() / total
        };
        let mut demand = mean(Point::busy);
        if mean(Point::busy_percent) >= SATURATED {
            demand += waiting(&within, latest, oldest, length);
        }
        Some(WindowLoad {
            demand,
            cpu: mean(|point| point.cpu),
            event_loop_utilization: mean(|point| point.utilization),
            in_flight: mean(|point| point.in_flight),
            queue_length: mean(|point| point.queue_length),
            p95,
        })
    }
}

fn age(point: &Point, now: Duration) -> f64 {
    now.saturating_sub(point.at).as_secs_f64()
}

/// The work that waits for saturated event loops, as the number of workers that would do it within the window: the
/// requests in flight beyond one per worker, at the time that an answer has taken.
fn waiting(within: &[&Point], latest: &Point, oldest: &Point, length: Duration) -> f64 {
    let busy_seconds: f64 = within.iter().map(|point| point.busy()).sum();
    let answered = latest.completed.saturating_sub(oldest.completed) as f64;
    // The oldest point's own second is not part of what was answered since.
    let seconds = (busy_seconds - oldest.busy()).max(0.0);
    let each = seconds / answered.max(1.0);
    let waiting = (latest.in_flight + latest.queue_length - latest.ready).max(0.0);
    waiting * each / length.as_secs_f64()
}
