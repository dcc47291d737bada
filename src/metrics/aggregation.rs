//! Aggregation of the workers' metrics. PURE.

use super::histogram::{BUCKETS, quantile};
use super::layout::page;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
