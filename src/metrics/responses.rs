//! Counts requests and their responses in a worker's page, for a runtime whose connections the core follows. PURE but for the
//! page. Where the core cannot, lib/http/response-metrics.js counts in the same way.

use std::time::Duration;

use super::histogram;
use super::layout::page;
use super::memory::Cells;

/// Decay of the response-time peak per response.
const DECAY: f64 = 0.1;

pub fn count_request(cells: &Cells) {
    cells.raise(page::REQUESTS, 1.0);
}

/// `status` 0: it never reached its client. `is_measured`: more is counted than dispatch needs.
pub fn count_response(cells: &Cells, duration: Duration, status: u16, is_measured: bool) {
    let micros = duration.as_secs_f64() * 1e6;
    cells.raise(page::DURATION, micros / 1000.0);
    let latency = cells.float(page::LATENCY);
    let peak = if micros > latency { micros } else { latency + (micros - latency) * DECAY };
    cells.set(page::LATENCY, peak.to_bits());
    if status >= 500 {
        cells.raise(page::FAILED, 1.0);
        cells.raise(page::STREAK, 1.0);
    } else if status != 0 {
        cells.set(page::STREAK, 0f64.to_bits());
    }
    if is_measured {
        cells.raise(page::HISTOGRAM + histogram::bucket_of(micros), 1.0);
        match usize::from(status / 100) {
            digit @ 1..=5 => cells.raise(page::STATUS + digit - 1, 1.0),
            _ => cells.raise(page::ABORTED, 1.0),
        }
    }
    // Last, so that a reader that sees no active request sees the counts of all finished ones.
    cells.raise(page::RESPONSES, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::memory::SharedMemory;
    use crate::model::WorkerId;

    #[test]
    fn each_response_is_counted_by_status_and_time() {
        let (memory, _memfds) = SharedMemory::create(0).unwrap();
        let page = memory.page(WorkerId { slot: 1, generation: 1 });
        let cells = page.cells();
        for (ms, status) in [(10, 200), (1, 503), (1, 500), (1, 0)] {
            count_request(cells);
            count_response(cells, Duration::from_millis(ms), status, true);
        }
        let read = |cell| cells.float(cell);
        assert_eq!((read(page::REQUESTS), read(page::RESPONSES), read(page::DURATION)), (4.0, 4.0, 13.0));
        assert_eq!((read(page::STATUS + 1), read(page::STATUS + 4), read(page::ABORTED)), (1.0, 2.0, 1.0));
        assert_eq!((read(page::FAILED), read(page::STREAK)), (2.0, 2.0));
        assert_eq!(read(page::HISTOGRAM + histogram::bucket_of(1000.0)), 3.0);
        assert!(read(page::LATENCY) < 10_000.0 && read(page::LATENCY) > 7000.0);
        count_response(cells, Duration::ZERO, 404, false);
        assert_eq!((read(page::STREAK), read(page::STATUS + 3)), (0.0, 0.0));
    }
}
