//! The history of the cluster's metrics: one point per second for ten minutes, before that one for ten seconds. A
//! point has the percentiles and rates of its own time, so that a spike is as high as it was; the other values are
//! means. PURE. Bounded by the retention time.

use std::collections::VecDeque;

use crate::model::{ClusterMetrics, Window};

/// How a series is read.
#[derive(Clone, Copy)]
enum Read {
    /// Of the responses of the point's time; points are merged by their mean.
    Responses(fn(&Window) -> f64),
    /// The same; points are merged by their maximum, because a percentile has no mean.
    Percentile(fn(&Window) -> f64),
    /// Of the moment.
    Gauge(fn(&ClusterMetrics) -> f64),
}

use Read::{Gauge, Percentile, Responses};

/// The series: the name in the monitoring API, and how it is read.
const KEPT: [(&str, Read); 12] = [
    ("requestsPerSecond", Responses(|window| window.requests_per_second)),
    ("averageResponseTime", Responses(|window| window.average)),
    ("p50", Percentile(|window| window.p50)),
    ("p90", Percentile(|window| window.p90)),
    ("p99", Percentile(|window| window.p99)),
    ("errorRate", Responses(|window| window.error_rate)),
    ("cpuUsage", Gauge(|metrics| metrics.sample.cpu_usage)),
    ("memoryUsage", Gauge(|metrics| metrics.memory_usage as f64)),
    ("eventLoopLag", Gauge(|metrics| metrics.event_loop_lag)),
    ("queueLength", Gauge(|metrics| metrics.queue_length as f64)),
    ("activeConnections", Gauge(|metrics| metrics.active_connections as f64)),
    ("activeWorkers", Gauge(|metrics| metrics.active_workers as f64)),
];

/// Names of the series in the monitoring API.
pub const SERIES: [&str; KEPT.len()] = {
    let mut names = [""; KEPT.len()];
    let mut at = 0;
    while at < KEPT.len() {
        names[at] = KEPT[at].0;
        at += 1;
    }
    names
};

/// Number of points that are kept at full resolution.
const FINE: usize = 600;
/// Number of points that are merged into one for the time before.
const THINNED: usize = 10;

type Values = [f32; SERIES.len()];

/// A second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970.
    pub at: u64,
    pub values: Values,
    /// The same, with the responses of the ten seconds that end with this one.
    pub of_ten: Values,
}

impl Point {
    /// `second`, `ten`: the responses of the last second, and of the last ten.
    pub fn of(metrics: &ClusterMetrics, second: &Window, ten: &Window) -> Self {
        let values = |window: &Window| {
            KEPT.map(|(_, read)| match read {
                Responses(read) | Percentile(read) => read(window) as f32,
                Gauge(read) => read(metrics) as f32,
            })
        };
        Self { at: metrics.timestamp, values: values(second), of_ten: values(ten) }
    }
}

pub struct History {
    fine: VecDeque<Point>,
    coarse: VecDeque<Point>,
    max_coarse: usize,
    /// Points on their way from `fine` to `coarse`.
    leaving: Vec<Point>,
}

impl History {
    /// Keeps the last `seconds`, with one point per second.
    pub fn new(seconds: u64) -> Self {
        let beyond = usize::try_from(seconds).unwrap_or(usize::MAX).saturating_sub(FINE);
        let max_coarse = beyond.div_ceil(THINNED).min(1 << 20);
        Self { fine: VecDeque::new(), coarse: VecDeque::new(), max_coarse, leaving: Vec::new() }
    }

    pub fn add(&mut self, point: Point) {
        self.fine.push_back(point);
        if self.fine.len() > FINE
            && let Some(oldest) = self.fine.pop_front()
        {
            self.thin(oldest);
        }
    }

    fn thin(&mut self, point: Point) {
        self.leaving.push(point);
        if self.leaving.len() < THINNED || self.max_coarse == 0 {
            self.leaving.truncate(if self.max_coarse == 0 { 0 } else { THINNED });
            return;
        }
        let mut values = point.of_ten;
        for (index, (_, read)) in KEPT.iter().enumerate() {
            if matches!(read, Gauge(_)) {
                let sum: f32 = self.leaving.iter().map(|point| point.values[index]).sum();
                values[index] = sum / THINNED as f32;
            }
        }
        self.leaving.clear();
        self.coarse.push_back(Point { at: point.at, values, of_ten: values });
        if self.coarse.len() > self.max_coarse {
            self.coarse.pop_front();
        }
    }

    /// `[time, value]` of a series from `from` (milliseconds since 1970) on, as means over `step` milliseconds, of
    /// percentiles the highest; 0: as stored. None for an unknown series.
    pub fn range(&self, series: &str, from: u64, step: u64) -> Option<Vec<(u64, f64)>> {
        let index = SERIES.iter().position(|name| *name == series)?;
        let kept = self.coarse.iter().chain(&self.leaving).chain(&self.fine);
        let points =
            kept.filter(|point| point.at >= from).map(|point| (point.at, f64::from(point.values[index])));
        if step == 0 {
            return Some(points.collect());
        }
        let by_maximum = matches!(KEPT[index].1, Percentile(_));
        let mut merged: Vec<(u64, f64, f64)> = Vec::new();
        for (at, value) in points {
            let begin = at - at % step;
            match merged.last_mut().filter(|(last, ..)| *last == begin) {
                Some((_, highest, _)) if by_maximum => *highest = highest.max(value),
                Some((_, sum, count)) => (*sum, *count) = (*sum + value, *count + 1.0),
                None => merged.push((begin, value, 1.0)),
            }
        }
        Some(merged.into_iter().map(|(at, sum, count)| (at, sum / count)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(seconds: u64, keeps: u64) -> History {
        let mut history = History::new(keeps);
        for second in 0..seconds {
            let values = [second as f32; SERIES.len()];
            history.add(Point { at: second * 1000, values, of_ten: values });
        }
        history
    }

    #[test]
    fn an_hour_is_kept_in_nine_hundred_points() {
        let history = filled(10_000, 3600);
        let points = history.range("p99", 0, 0).unwrap();
        assert!(points.len() <= 600 + 300 + THINNED);
        let (first, last) = (points[0], points[points.len() - 1]);
        assert!(first.0 >= (10_000 - 3600 - 20) * 1000, "older ones are gone");
        assert_eq!(last, (9_999_000, 9_999.0));
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
    }

    #[test]
    fn a_step_gives_the_mean_of_what_lies_in_it() {
        let points = filled(20, 3600).range("cpuUsage", 0, 10_000).unwrap();
        assert_eq!(points, [(0, 4.5), (10_000, 14.5)]);
        assert_eq!(filled(20, 3600).range("nothing", 0, 0), None);
    }

    #[test]
    fn a_step_gives_the_highest_percentile_of_what_lies_in_it() {
        assert_eq!(filled(20, 3600).range("p99", 0, 10_000).unwrap(), [(0, 9.0), (10_000, 19.0)]);
    }

    #[test]
    fn an_old_point_has_the_percentile_of_its_ten_seconds() {
        let mut history = History::new(3600);
        for second in 0..(FINE as u64 + 10) {
            let (values, of_ten) = ([second as f32; SERIES.len()], [500.0; SERIES.len()]);
            history.add(Point { at: second * 1000, values, of_ten });
        }
        let first = |series: &str| history.range(series, 0, 0).unwrap()[0];
        assert_eq!((first("p99"), first("cpuUsage")), ((9000, 500.0), (9000, 4.5)));
        assert_eq!(history.range("p99", 0, 0).unwrap()[1], (10_000, 10.0));
    }

    #[test]
    fn little_retention_keeps_no_thinned_points() {
        assert_eq!(filled(1000, 60).range("p99", 0, 0).unwrap().len(), FINE);
    }
}
