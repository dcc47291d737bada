//! The history of the cluster's metrics: one point per second for ten minutes, before that the mean of ten points.
//! PURE. Bounded by the retention time.

use std::collections::VecDeque;

use crate::model::ClusterMetrics;

/// A series: its name in the monitoring API, and how it is read.
type Series = (&'static str, fn(&ClusterMetrics) -> f64);

const KEPT: [Series; 12] = [
    ("requestsPerSecond", |metrics| metrics.sample.requests_per_second),
    ("averageResponseTime", |metrics| metrics.sample.average_response_time),
    ("p50", |metrics| metrics.sample.p50),
    ("p90", |metrics| metrics.sample.p90),
    ("p99", |metrics| metrics.sample.p99),
    ("errorRate", |metrics| metrics.sample.error_rate),
    ("cpuUsage", |metrics| metrics.sample.cpu_usage),
    ("memoryUsage", |metrics| metrics.memory_usage as f64),
    ("eventLoopLag", |metrics| metrics.event_loop_lag),
    ("queueLength", |metrics| metrics.queue_length as f64),
    ("activeConnections", |metrics| metrics.active_connections as f64),
    ("activeWorkers", |metrics| metrics.active_workers as f64),
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

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970.
    pub at: u64,
    pub values: [f32; SERIES.len()],
}

impl Point {
    pub fn of(metrics: &ClusterMetrics) -> Self {
        Self { at: metrics.timestamp, values: KEPT.map(|(_, read)| read(metrics) as f32) }
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
        let mut mean = Point { at: point.at, values: [0.0; SERIES.len()] };
        for (index, value) in mean.values.iter_mut().enumerate() {
            *value = self.leaving.iter().map(|point| point.values[index]).sum::<f32>() / THINNED as f32;
        }
        self.leaving.clear();
        self.coarse.push_back(mean);
        if self.coarse.len() > self.max_coarse {
            self.coarse.pop_front();
        }
    }

    /// `[time, value]` of a series from `from` (milliseconds since 1970) on, as means over `step` milliseconds; 0: as
    /// stored. None for an unknown series.
    pub fn range(&self, series: &str, from: u64, step: u64) -> Option<Vec<(u64, f64)>> {
        let index = SERIES.iter().position(|name| *name == series)?;
        let kept = self.coarse.iter().chain(&self.leaving).chain(&self.fine);
        let points =
            kept.filter(|point| point.at >= from).map(|point| (point.at, f64::from(point.values[index])));
        if step == 0 {
            return Some(points.collect());
        }
        let mut means: Vec<(u64, f64, f64)> = Vec::new();
        for (at, value) in points {
            let begin = at - at % step;
            match means.last_mut().filter(|(last, ..)| *last == begin) {
                Some((_, sum, count)) => (*sum, *count) = (*sum + value, *count + 1.0),
                None => means.push((begin, value, 1.0)),
            }
        }
        Some(means.into_iter().map(|(at, sum, count)| (at, sum / count)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(seconds: u64, keeps: u64) -> History {
        let mut history = History::new(keeps);
        for second in 0..seconds {
            history.add(Point { at: second * 1000, values: [second as f32; SERIES.len()] });
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
    fn little_retention_keeps_no_thinned_points() {
        assert_eq!(filled(1000, 60).range("p99", 0, 0).unwrap().len(), FINE);
    }
}
