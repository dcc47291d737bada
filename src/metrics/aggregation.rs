//! Aggregation of the workers' metrics, over workers and over time. PURE.

use std::collections::VecDeque;
use std::time::Duration;

use super::histogram::{BUCKETS, quantile};
use super::layout::page;
use crate::model::Window;

/// The counters of all workers since the start of the cluster, including ended ones. They never decrease.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals {
    /// By [`page::COUNTERS`].
    counters: [f64; page::COUNTERS.len()],
    /// Connections that workers accepted.
    pub connections: u64,
    /// Response times by bucket.
    pub histogram: Vec<f64>,
}

impl Default for Totals {
    fn default() -> Self {
        Self { counters: [0.0; page::COUNTERS.len()], connections: 0, histogram: vec![0.0; BUCKETS] }
    }
}

impl Totals {
    /// `cell`: one of [`page::COUNTERS`]; 0 for another.
    pub fn of(&self, cell: usize) -> f64 {
        page::COUNTERS.iter().position(|counter| *counter == cell).map_or(0.0, |index| self.counters[index])
    }

    pub fn add_counter(&mut self, index: usize, by: f64) {
        self.counters[index] += by;
    }

    pub fn add(&mut self, other: &Totals) {
        self.counters.iter_mut().zip(other.counters).for_each(|(sum, more)| *sum += more);
        self.connections += other.connections;
        self.histogram.iter_mut().zip(&other.histogram).for_each(|(sum, more)| *sum += more);
    }

    /// The difference to an earlier time.
    pub fn since(&self, earlier: &Totals) -> Totals {
        let mut difference = self.clone();
        difference.counters.iter_mut().zip(earlier.counters).for_each(|(now, then)| *now -= then);
        difference.connections = self.connections.saturating_sub(earlier.connections);
        difference
            .histogram
            .iter_mut()
            .zip(&earlier.histogram)
            .for_each(|(now, then)| *now = (*now - then).max(0.0));
        difference
    }

    /// Garbage collections and their seconds.
    pub fn collections(&self) -> (f64, f64) {
        let kinds = (0..page::GC_KINDS.len()).map(|kind| self.collections_of(kind));
        kinds.fold((0.0, 0.0), |(count, seconds), (within, more)| {
            (count + within.iter().sum::<f64>(), seconds + more)
        })
    }

    /// Of one kind: counts per bucket, the last one above all bounds, and their total seconds.
    pub fn collections_of(&self, kind: usize) -> (Vec<f64>, f64) {
        let first = page::GC + kind * page::GC_KIND_CELLS;
        let sum = first + page::GC_KIND_CELLS - 1;
        ((first..sum).map(|cell| self.of(cell)).collect(), self.of(sum))
    }

    /// Requests that drover refused in workers.
    pub fn refused(&self) -> u64 {
        self.of(page::REFUSED) as u64
    }

    /// Mean response time, milliseconds.
    pub fn average(&self) -> f64 {
        let responses = self.of(page::RESPONSES);
        if responses > 0.0 { self.of(page::DURATION) / responses } else { 0.0 }
    }

    /// A quantile of the response time, milliseconds; 0 without any response.
    pub fn quantile(&self, part: f64) -> f64 {
        quantile(&self.histogram, part).map_or(0.0, |microseconds| microseconds / 1000.0)
    }

    /// 5xx responses and requests without a response, as a fraction of finished requests. (Requests in progress of a
    /// worker that died got no response.)
    pub fn error_rate(&self) -> f64 {
        let aborted = self.of(page::ABORTED);
        let over = aborted + (0..5).map(|class| self.of(page::STATUS + class)).sum::<f64>();
        let failed = aborted + self.of(page::STATUS + 4);
        if over > 0.0 { failed / over } else { 0.0 }
    }
}

/// The totals of each second of the last minute: every window of time is a difference of two of them, so that its
/// percentiles are those of exactly its responses.
#[derive(Debug, Default)]
pub struct Windows {
    /// With the time of the sample; the last one is the latest.
    kept: VecDeque<(Duration, Totals)>,
}

impl Windows {
    /// The longest window.
    pub const LONGEST: Duration = Duration::from_secs(60);
    /// A sample may be this much early for a window.
    const EARLY: Duration = Duration::from_millis(500);

    /// Adds the totals at `now` (monotonic, since any fixed moment).
    pub fn add(&mut self, now: Duration, totals: Totals) {
        self.kept.push_back((now, totals));
        while self.kept.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= Self::LONGEST) {
            self.kept.pop_front();
        }
    }

    /// The responses of the last `length`, at most [`Self::LONGEST`]: of a longer time if there was no sample for
    /// longer, of a shorter one if there was none before.
    pub fn over(&self, length: Duration) -> Window {
        let Some((now, last)) = self.kept.back() else { return Window::default() };
        let begins = |at: Duration| now.saturating_sub(at) + Self::EARLY >= length;
        let since = self.kept.iter().rev().find(|(at, _)| begins(*at)).or(self.kept.front());
        let Some((then, first)) = since else { return Window::default() };
        let seconds = now.saturating_sub(*then).as_secs_f64();
        let totals = last.since(first);
        let responses = totals.of(page::RESPONSES);
        Window {
            requests_per_second: if seconds > 0.0 { responses / seconds } else { 0.0 },
            average: totals.average(),
            p50: totals.quantile(0.5),
            p90: totals.quantile(0.9),
            p95: totals.quantile(0.95),
            p99: totals.quantile(0.99),
            p999: totals.quantile(0.999),
            error_rate: totals.error_rate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::histogram::bucket_of;

    fn totals(requests: f64, failed: f64) -> Totals {
        let mut totals = Totals::default();
        for (index, cell) in page::COUNTERS.iter().enumerate() {
            match *cell {
                page::RESPONSES => totals.add_counter(index, requests),
                cell if cell == page::STATUS + 4 => totals.add_counter(index, failed),
                cell if cell == page::STATUS + 1 => totals.add_counter(index, requests - failed),
                page::DURATION => totals.add_counter(index, requests * 3.0),
                _ => {}
            }
        }
        totals
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let mut now = totals(10.0, 1.0);
        now.add(&totals(5.0, 4.0));
        let since = now.since(&totals(10.0, 1.0));
        assert_eq!((since.of(page::RESPONSES), since.error_rate(), since.average()), (5.0, 0.8, 3.0));
    }

    #[test]
    fn nothing_is_no_error_and_takes_no_time() {
        let none = Totals::default();
        assert_eq!((none.error_rate(), none.average(), none.quantile(0.5)), (0.0, 0.0, 0.0));
    }

    /// Windows with samples so many seconds before the last one, each with its number of requests so far.
    fn windows(counts: &[(u64, f64)]) -> Windows {
        let mut windows = Windows::default();
        for (ago, count) in counts {
            windows.add(Duration::from_secs(1000 - ago), totals(*count, 0.0));
        }
        windows
    }

    #[test]
    fn a_rate_is_of_the_last_seconds_or_since_the_last_sample() {
        let rate = |counts: &[(u64, f64)]| windows(counts).over(Duration::from_secs(5)).requests_per_second;
        let often = [(6, 0.0), (5, 10.0), (4, 20.0), (3, 30.0), (2, 40.0), (1, 50.0), (0, 60.0)];
        assert_eq!(rate(&often), 10.0);
        assert_eq!(rate(&[(99, 0.0), (19, 100.0), (0, 290.0)]), 10.0, "nobody looked for 19 s");
        assert_eq!(rate(&[(1, 5.0), (0, 7.0)]), 2.0, "it began a second ago");
        assert_eq!((rate(&[]), rate(&[(0, 7.0)])), (0.0, 0.0));
    }

    #[test]
    fn no_more_is_kept_than_what_a_minute_takes() {
        let windows = windows(&[(200, 0.0), (90, 0.0), (61, 0.0), (60, 0.0), (30, 0.0), (0, 0.0)]);
        assert_eq!(windows.kept.len(), 3, "the last one before the minute, one within, and the latest");
    }

    #[test]
    fn a_spike_is_in_the_percentile_of_its_own_second() {
        let mut windows = Windows::default();
        let mut sum = Totals::default();
        for second in 0..60u64 {
            let milliseconds = if second == 57 { 500.0 } else { 5.0 };
            sum.add(&totals(100.0, 0.0));
            sum.histogram[bucket_of(milliseconds * 1000.0)] += 100.0;
            windows.add(Duration::from_secs(second), sum.clone());
            let own = windows.over(Duration::from_secs(1));
            let expected = if second == 0 { 0.0 } else { milliseconds };
            assert!((own.p99 - expected).abs() <= 0.03 * expected, "second {second}: {own:?}");
        }
        let (short, long) = (windows.over(Duration::from_secs(6)), windows.over(Duration::from_secs(60)));
        assert!(short.p95 > 400.0 && short.p50 < 6.0, "a sixth of the last seconds: {short:?}");
        assert!(long.p95 < 6.0 && long.p99 > 400.0, "a sixtieth of the minute: {long:?}");
    }
}
