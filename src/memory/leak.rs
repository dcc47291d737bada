//! Leak detection: whether a worker's memory grows for good, and how sure that is. PURE.
//!
//! The growth is Theil and Sen's slope: the median of the slopes between all pairs of points, which neither single peaks
//! nor a sawtooth move (Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", 1968). It is looked at in
//! two measures: the heap's floor (what a major collection has left) and resident memory, each in two series: the
//! latest readings, and the lowest of every sixteen.
//!
//! Growth alone is no leak. The confidence is the weakest of these:
//! - **trend**: almost all pairs rise; pairs whose load rose as well do not count;
//! - **size**: the growth is worth mentioning, compared with where it began;
//! - **steadiness**: it grows as fast as it began to. A warm-up and a cache that fills become slower;
//! - **readings**: many enough. Growth that reaches the limit within minutes needs eight, any other twenty minutes or
//!   more, because a cache that fills evenly looks the same until it is full;
//! - **siblings**: a worker that has less than another one has settled at is still warming up;
//! - **collections**: resident memory grows for long before V8 collects, so that it counts with the floor, or when the
//!   floor is known to stand still.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::words::{MIB, megabytes, rate, time};

/// Maximum number of points of a series.
pub const POINTS: usize = 64;
/// A point of a long series is the lowest of so many readings.
pub const READINGS_PER_POINT: u32 = 16;

/// Numbers of the latest points that are looked at, besides all of them.
const WINDOWS: [usize; 3] = [10, 20, 40];

/// From this confidence on it is a leak.
pub const LEAK: f64 = 0.8;
/// From this confidence on it is worth to look closer.
pub const SUSPICION: f64 = 0.5;

/// Growth that reaches the limit within this many seconds is urgent.
const URGENT: f64 = 120.0;
/// The most room that counts for that, bytes, however large the machine is: a worker's heap has a limit of its own.
const MAX_ROOM: f64 = 1024.0 * MIB;
/// Growth that is not urgent lasts this many seconds at least.
const MIN_SPAN: f64 = 600.0;
/// A worker may have settled after so many readings.
const SETTLED_READINGS: usize = 20;

/// What a worker does, so that memory that follows the load is no leak.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    pub requests_per_second: f64,
    pub connections: f64,
}

impl Load {
    /// Neither is clearly above `earlier`.
    fn is_comparable(self, earlier: Self) -> bool {
        self.requests_per_second <= earlier.requests_per_second * 1.1 + 2.0
            && self.connections <= earlier.connections * 1.1 + 4.0
    }
}

/// The heap after major collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Bytes in use after the latest one, with external memory.
    pub bytes: u64,
    /// Major collections of this process so far.
    pub collections: u64,
}

/// A worker's memory at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Since any fixed time.
    pub at: Duration,
    pub resident: u64,
    /// None: its runtime does not tell.
    pub floor: Option<Floor>,
    pub load: Load,
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// The heap after major collections, with external memory.
    Heap,
    /// Resident memory.
    Rss,
}

/// What the other workers' memory does in the same measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Siblings {
    /// There are none, or too little is known of them.
    Unknown,
    /// They stay level, below this worker.
    Level,
    /// They grow too.
    Growing,
    /// At least one has settled at more than this worker has.
    Above,
}

/// Whether a worker leaks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub measure: Measure,
    pub bytes_per_second: f64,
    /// 0 to 1; see [`LEAK`].
    pub confidence: f64,
    /// Readings that it is based on.
    pub samples: usize,
    /// The time between the first and the last of them.
    pub seconds: f64,
    /// Where the growth began and where it is, bytes.
    pub from: u64,
    pub to: u64,
    /// Seconds until the limit is reached at this rate; None: no limit is known.
    pub seconds_to_limit: Option<f64>,
    pub siblings: Siblings,
    /// A sentence without a subject: "its heap ... grows by ...".
    pub text: String,
}

impl Verdict {
    pub fn is_leak(&self) -> bool {
        self.confidence >= LEAK
    }

    pub fn is_suspicion(&self) -> bool {
        self.confidence >= SUSPICION
    }
}

#[derive(Clone, Copy, Debug)]
struct Point {
    at: f64,
    bytes: f64,
    load: Load,
    /// Major collections so far.
    collections: u64,
}

/// The latest points, and the lowest of every [`READINGS_PER_POINT`].
#[derive(Debug, Default)]
struct Series {
    recent: VecDeque<Point>,
    long: VecDeque<Point>,
    lowest: Option<Point>,
    /// Readings in `lowest`.
    count: u32,
}

impl Series {
    fn add(&mut self, point: Point) {
        push(&mut self.recent, point);
        let lowest = self.lowest.get_or_insert(point);
        if point.bytes < lowest.bytes {
            *lowest = point;
        }
        self.count += 1;
        if self.count == READINGS_PER_POINT {
            self.long.extend(self.lowest.take());
            self.count = 0;
            self.long.drain(..self.long.len().saturating_sub(POINTS));
        }
    }

    /// The latest points, few and many, because growth may have begun at any time; and the long series.
    fn windows(&self) -> Vec<Vec<Point>> {
        let latest = |count: usize| self.recent.iter().skip(self.recent.len() - count).copied().collect();
        let fewer = WINDOWS.into_iter().filter(|count| *count < self.recent.len());
        let long = self.long.iter().copied().collect();
        fewer.chain([self.recent.len()]).map(latest).chain([long]).collect()
    }
}

fn push(points: &mut VecDeque<Point>, point: Point) {
    points.drain(..(points.len() + 1).saturating_sub(POINTS));
    points.push_back(point);
}

/// A worker's past.
#[derive(Debug, Default)]
struct Past {
    resident: Series,
    floor: Series,
    /// What they do, as of the latest reading, once it was asked for: every other worker's verdict asks.
    resident_state: OnceCell<Option<State>>,
    floor_state: OnceCell<Option<State>>,
    /// Major collections at the latest reading; None: its runtime does not tell.
    collections: Option<u64>,
    /// The time of the latest reading.
    at: f64,
}

impl Past {
    fn series(&self, measure: Measure) -> &Series {
        match measure {
            Measure::Heap => &self.floor,
            Measure::Rss => &self.resident,
        }
    }

    /// Readings since then, as far as they are kept.
    fn readings_since(&self, began: f64) -> usize {
        self.resident.recent.iter().filter(|point| point.at >= began).count()
    }

    /// None: too little is known.
    fn state(&self, measure: Measure) -> Option<State> {
        let known = match measure {
            Measure::Heap => &self.floor_state,
            Measure::Rss => &self.resident_state,
        };
        *known.get_or_init(|| self.find_state(measure))
    }

    fn find_state(&self, measure: Measure) -> Option<State> {
        let points: Vec<Point> = self.series(measure).recent.iter().copied().collect();
        let growth = Growth::of(&points)?;
        if points.len() < 4 || self.readings_since(growth.began) < SETTLED_READINGS {
            return None;
        }
        let grown = growth.recent * growth.span();
        Some(if grown < (growth.to / 20.0).max(8.0 * MIB) { Settled(growth.last) } else { Grows })
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// At so many bytes.
    Settled(f64),
    Grows,
}
use State::{Grows, Settled};

/// The readings of a group of workers that run the same program.
#[derive(Debug)]
pub struct Detector<K> {
    workers: BTreeMap<K, Past>,
}

impl<K> Default for Detector<K> {
    fn default() -> Self {
        Self { workers: BTreeMap::new() }
    }
}

impl<K: Ord> Detector<K> {
    /// Adds a reading. One that is not later than the previous one counts as a millisecond later.
    pub fn observe(&mut self, worker: K, reading: Reading) {
        let past = self.workers.entry(worker).or_default();
        let Reading { resident, floor, load, .. } = reading;
        let at = reading.at.as_secs_f64().max(past.at + 0.001);
        let collections = floor.map_or(0, |floor| floor.collections);
        past.at = at;
        past.resident.add(Point { at, bytes: resident as f64, load, collections });
        // A floor is new only after another collection.
        if let Some(floor) = floor.filter(|floor| floor.collections > past.collections.unwrap_or(0)) {
            past.floor.add(Point { at, bytes: floor.bytes as f64, load, collections });
        }
        past.collections = floor.map(|floor| floor.collections);
        (past.resident_state, past.floor_state) = Default::default();
    }

    /// Forgets a worker that has ended.
    pub fn forget(&mut self, worker: &K) {
        self.workers.remove(worker);
    }

    /// Forgets all workers for which `lives` is false.
    pub fn retain(&mut self, mut lives: impl FnMut(&K) -> bool) {
        self.workers.retain(|worker, _| lives(worker));
    }

    pub fn workers(&self) -> impl Iterator<Item = &K> {
        self.workers.keys()
    }

    /// The likeliest leak of a worker; None while there is nothing to compare, or nothing grows. `limit`: the resident
    /// bytes that it may have.
    pub fn verdict(&self, worker: &K, limit: Option<u64>) -> Option<Verdict> {
        let past = self.workers.get(worker)?;
        let room =
            limit.map(|limit| (limit as f64 - past.resident.recent.back().map_or(0.0, |p| p.bytes)).max(0.0));
        let series = [Measure::Heap, Measure::Rss].into_iter().flat_map(|measure| {
            past.series(measure).windows().into_iter().map(move |points| (measure, points))
        });
        let verdicts =
            series.filter_map(|(measure, points)| self.judge(worker, past, measure, &points, room));
        // The heap's rate is more exact: resident memory also has what is not collected yet.
        verdicts.max_by(|a, b| {
            let rank = |verdict: &Verdict| verdict.is_leak() && verdict.measure == Measure::Heap;
            rank(a).cmp(&rank(b)).then(order(a.confidence, b.confidence))
        })
    }

    fn judge(
        &self,
        worker: &K,
        past: &Past,
        measure: Measure,
        points: &[Point],
        room: Option<f64>,
    ) -> Option<Verdict> {
        let growth = Growth::of(points).filter(|growth| growth.slope > 0.0)?;
        let urgent_room = room.unwrap_or(MAX_ROOM).min(MAX_ROOM);
        let siblings = self.siblings(worker, measure, growth.to);
        let case = Case {
            measure,
            // A limit that is long passed is no reason to hurry about a slow growth.
            is_urgent: urgent_room / growth.slope <= URGENT && growth.slope * URGENT >= 64.0 * MIB,
            siblings,
            evidence: evidence(past, measure, &growth),
            floor: past.floor.recent.back().map_or(0.0, |point| point.bytes),
            samples: past.readings_since(growth.began).max(growth.points),
            silence: past.at - growth.ended,
        };
        let confidence = case.confidence(&growth);
        let seconds_to_limit = room.map(|room| room / growth.slope);
        let text = describe(&case, &growth, seconds_to_limit);
        Some(Verdict {
            measure,
            bytes_per_second: growth.slope,
            confidence,
            samples: case.samples,
            seconds: growth.span(),
            from: growth.from.max(0.0) as u64,
            to: growth.to.max(0.0) as u64,
            seconds_to_limit,
            siblings,
            text,
        })
    }

    fn siblings(&self, worker: &K, measure: Measure, level: f64) -> Siblings {
        let others = self.workers.iter().filter(|(other, _)| *other != worker);
        let (mut settled, mut growing) = (0u32, 0u32);
        for (_, past) in others {
            match past.state(measure) {
                Some(Settled(at)) if at > level * 0.98 => return Siblings::Above,
                Some(Settled(_)) => settled += 1,
                Some(Grows) => growing += 1,
                None => {}
            }
        }
        match (settled, growing) {
            (_, 1..) => Siblings::Growing,
            (1.., 0) => Siblings::Level,
            (0, 0) => Siblings::Unknown,
        }
    }
}

/// The growth of a series.
#[derive(Debug)]
struct Growth {
    points: usize,
    began: f64,
    ended: f64,
    /// Bytes per second: in all the time, in its last two fifths, in its last fifth.
    slope: f64,
    recent: f64,
    latest: f64,
    /// The fraction of comparable pairs that rise.
    rising: f64,
    /// The fraction of pairs that are comparable.
    comparable: f64,
    /// The fitted line's ends, bytes.
    from: f64,
    to: f64,
    /// The median of the last points, bytes.
    last: f64,
    /// Major collections between the first and the last point.
    collections: u64,
}

impl Growth {
    /// None with fewer than three points.
    fn of(points: &[Point]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        if points.len() < 3 {
            return None;
        }
        let mut slopes = slopes(points);
        let pairs = points.len() * (points.len() - 1) / 2;
        let comparable = slopes.len() as f64 / pairs as f64;
        let rising = slopes.iter().filter(|slope| **slope > 0.0).count() as f64 / slopes.len().max(1) as f64;
        let slope = median(&mut slopes)?;
        let late = |part: f64| {
            let since = last.at - (last.at - first.at) * part;
            let index = points.partition_point(|point| point.at < since);
            &points[index.min(points.len() - 3)..]
        };
        // Without comparable pairs nothing says that it grows on.
        let late_slope = |part: f64| median(&mut self::slopes(late(part))).unwrap_or(0.0);
        let (recent, mut latest) = (late_slope(0.4), late_slope(0.2));
        if let ([.., before, last], ..8) = (points, points.len()) {
            latest = latest.min((last.bytes - before.bytes) / (last.at - before.at));
        }
        let last_bytes = median(&mut late(0.4).iter().map(|point| point.bytes).collect::<Vec<_>>())?;
        let mut offsets: Vec<f64> = points.iter().map(|point| point.bytes - slope * point.at).collect();
        let offset = median(&mut offsets)?;
        Some(Self {
            points: points.len(),
            began: first.at,
            ended: last.at,
            slope,
            recent,
            latest,
            rising,
            comparable,
            from: offset + slope * first.at,
            to: offset + slope * last.at,
            last: last_bytes,
            collections: last.collections.saturating_sub(first.collections),
        })
    }

    fn span(&self) -> f64 {
        self.ended - self.began
    }

    fn bytes(&self) -> f64 {
        self.slope * self.span()
    }
}

/// The slopes of all pairs whose load did not rise.
fn slopes(points: &[Point]) -> Vec<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (index, earlier) in points.iter().enumerate() {
        let later = points[index + 1..].iter().filter(|later| later.load.is_comparable(earlier.load));
        slopes.extend(later.map(|later| (later.bytes - earlier.bytes) / (later.at - earlier.at)));
    }
    slopes
}

fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, |a, b| order(*a, *b)).1)
}

fn order(a: f64, b: f64) -> Ordering {
    a.total_cmp(&b)
}

/// What collections say about growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// It is the floor itself, or resident memory that grows with the floor.
    Floor,
    /// The runtime tells nothing about collections.
    Untold,
    /// There were too few collections to know the floor.
    Uncollected,
    /// The floor stands still, or resident memory grows far more: it is outside of the heap.
    Outside,
}

fn evidence(past: &Past, measure: Measure, growth: &Growth) -> Evidence {
    match (measure, past.collections) {
        (Measure::Heap, _) => return Evidence::Floor,
        (Measure::Rss, None) => return Evidence::Untold,
        (Measure::Rss, Some(_)) => {}
    }
    let floors = past.floor.recent.iter().filter(|point| point.at >= growth.began).collect::<Vec<_>>();
    let [.., before, last] = floors.as_slice() else { return Evidence::Uncollected };
    // The latest floors: it may have grown before, while the program warmed up.
    let rate = (last.bytes - before.bytes) / (last.at - before.at);
    if past.at - last.at > growth.span() * 0.6 {
        Evidence::Uncollected
    } else if rate >= growth.slope * 0.3 {
        Evidence::Floor
    } else if growth.collections < 5 {
        Evidence::Uncollected
    } else {
        Evidence::Outside
    }
}

/// What a growth is judged by, besides itself.
#[derive(Debug)]
struct Case {
    measure: Measure,
    is_urgent: bool,
    siblings: Siblings,
    evidence: Evidence,
    /// The latest floor, bytes.
    floor: f64,
    samples: usize,
    /// Seconds since the last point: a floor may be old.
    silence: f64,
}

/// 0 at `none`, 1 at `full`.
fn between(value: f64, none: f64, full: f64) -> f64 {
    ((value - none) / (full - none)).clamp(0.0, 1.0)
}

impl Case {
    fn confidence(&self, growth: &Growth) -> f64 {
        let factors = [
            between(growth.rising, 0.6, 0.9),
            between(growth.comparable, 0.0, 1.0 / 3.0),
            (growth.bytes() / self.min_bytes(growth) * LEAK).min(1.0),
            self.steadiness(growth),
            self.readings(growth),
            if self.siblings == Siblings::Above { 0.3 } else { 1.0 },
            self.collections(growth),
            between(self.silence / growth.span(), 1.0, 0.5),
        ];
        factors.into_iter().fold(1.0, f64::min)
    }

    /// Growth that is worth mentioning.
    fn min_bytes(&self, growth: &Growth) -> f64 {
        let from = growth.from.max(0.0);
        match (self.measure, self.evidence) {
            _ if self.is_urgent => (32.0 * MIB).max(from * 0.25),
            (Measure::Heap, _) => (16.0 * MIB).max(from * 0.1),
            (Measure::Rss, Evidence::Floor | Evidence::Untold) => (64.0 * MIB).max(from * 0.5),
            // What is not collected yet may be twice the floor.
            (Measure::Rss, Evidence::Outside) => (64.0 * MIB + 2.0 * self.floor).max(from * 0.5),
            // V8 would have collected long before that.
            (Measure::Rss, Evidence::Uncollected) => (256.0 * MIB).max(from * 2.0),
        }
    }

    fn steadiness(&self, growth: &Growth) -> f64 {
        let (recent, latest) = (growth.recent / growth.slope, growth.latest / growth.slope);
        if self.is_urgent {
            return between(recent, 0.2, 0.6);
        }
        // What grows far faster at the end has begun within the window: a shorter one decides about it.
        let grows_on = between(recent, 0.5, 0.9).min(between(latest, 0.0, 0.4));
        grows_on.min(between(recent, 2.2, 1.7))
    }

    fn readings(&self, growth: &Growth) -> f64 {
        let (readings, points, seconds) = match (self.measure, self.siblings) {
            (Measure::Heap, _) if self.is_urgent => (8.0, 4.0, 0.0),
            (Measure::Rss, _) if self.is_urgent => (8.0, 8.0, 0.0),
            (Measure::Heap, Siblings::Level) => (20.0, 6.0, MIN_SPAN),
            // A heap that grows fast is collected each time it has doubled, which is seldom.
            (Measure::Heap, _) if growth.to >= 3.0 * growth.from.max(8.0 * MIB) => (40.0, 3.0, MIN_SPAN),
            (Measure::Heap, _) => (40.0, 8.0, MIN_SPAN),
            (Measure::Rss, _) => (50.0, 50.0, MIN_SPAN),
        };
        let shares = [
            self.samples as f64 / readings,
            growth.points as f64 / points,
            if seconds > 0.0 { growth.span() / seconds } else { 1.0 },
        ];
        shares.into_iter().fold(1.0 / LEAK, f64::min) * LEAK
    }

    fn collections(&self, growth: &Growth) -> f64 {
        match self.evidence {
            // The floor itself decides, unless there is no time to wait for more collections.
            Evidence::Floor if self.measure == Measure::Rss && !self.is_urgent => 0.6,
            Evidence::Floor | Evidence::Untold => 1.0,
            Evidence::Outside if self.is_urgent => 0.6,
            Evidence::Outside => 0.85,
            Evidence::Uncollected if growth.bytes() >= self.min_bytes(growth) && !self.is_urgent => 0.85,
            Evidence::Uncollected => 0.6,
        }
    }
}

fn describe(case: &Case, growth: &Growth, seconds_to_limit: Option<f64>) -> String {
    let what = match case.measure {
        Measure::Heap => "heap after major collections",
        Measure::Rss => "resident memory",
    };
    let (from, to) = (megabytes(growth.from.max(0.0)), megabytes(growth.to.max(0.0)));
    let (samples, span) = (case.samples, time(growth.span()));
    let rate = rate(growth.slope);
    let mut text = format!("its {what} grows by {rate}, from {from} to {to} in {samples} samples ({span})");
    text.push_str(match case.evidence {
        Evidence::Outside => ", while its JavaScript heap stands still",
        Evidence::Uncollected => ", with too few collections to know its heap",
        Evidence::Floor | Evidence::Untold => "",
    });
    text.push_str(match case.siblings {
        Siblings::Unknown => "",
        Siblings::Level => "; the other workers' stays level",
        Siblings::Growing => "; the other workers' grows too",
        Siblings::Above => "; another worker has settled at more",
    });
    if let Some(seconds) = seconds_to_limit.filter(|seconds| *seconds < 86_400.0) {
        text.push_str(&format!("; it reaches its limit in {}", time(seconds)));
    }
    text
}

#[cfg(test)]
mod tests;
