//! Warming up: a worker's first requests take many times as long as later ones, because none of its code is
//! compiled. Whoever replaces one worker after the other waits until the last one is warm.

use std::time::Duration;

use super::accept_loop::AcceptLoop;
use super::command::Report;
use super::worker_channel::WorkerChannel;
use crate::metrics::layout::page;

/// Under load the next worker is replaced so long after the last: what V8 compiles meanwhile it compiles while the
/// others are fast.
const PAUSE: Duration = Duration::from_millis(3000);
/// In so long a cluster that is in use brings requests.
const LOOK_AFTER: Duration = Duration::from_millis(50);
/// Fewer requests than these in that time are no load that a cold worker could harm.
const FEW: f64 = 5.0;

impl AcceptLoop {
    /// Requests that all workers together have got, those that are gone as well: it never goes back.
    pub fn all_requests(&mut self) -> f64 {
        for channel in self.workers.serving_mut() {
            let requests = channel.page.float(page::REQUESTS);
            self.requests += requests - channel.requests_seen;
            channel.requests_seen = requests;
        }
        self.requests
    }

    /// Somebody's warming up is waited for.
    pub fn has_cold(&self) -> bool {
        self.workers.serving().any(|channel| !channel.reported_warm)
    }

    pub fn report_warmed_up(&mut self, now: Duration) {
        if !self.has_cold() {
            return;
        }
        let requests = self.all_requests();
        let idle = |channel: &WorkerChannel| {
            now.saturating_sub(channel.promoted) >= LOOK_AFTER && requests - channel.requests_then < FEW
        };
        for channel in self.workers.serving_mut().filter(|channel| !channel.reported_warm) {
            if now.saturating_sub(channel.promoted) >= PAUSE || idle(channel) {
                channel.reported_warm = true;
                (self.report)(Report::WarmedUp { worker: channel.id });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::memory::SharedMemory;
    use crate::model::WorkerId;
    use rustix::event::{EventfdFlags, eventfd};

    const WORKER: WorkerId = WorkerId::new(0, 1);

    fn channel(memory: &SharedMemory) -> WorkerChannel {
        let channel = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let mut channel = WorkerChannel::new(WORKER, channel(), channel(), memory.page(WORKER));
        channel.promoted = Duration::from_secs(10);
        channel
    }

    fn set(memory: &SharedMemory, cell: usize, value: f64) {
        memory.page(WORKER).set(cell, value.to_bits());
    }

    #[test]
    fn a_worker_is_warm_after_a_second_or_a_thousand_answers() {
        let (memory, _) = SharedMemory::create(0).unwrap();
        let channel = channel(&memory);
        assert!(!channel.is_warm(Duration::from_millis(10_999)));
        assert!(channel.is_warm(Duration::from_secs(11)));
        set(&memory, page::RESPONSES, 1000.0);
        assert!(channel.is_warm(Duration::from_secs(10)));
    }

    #[test]
    fn a_cold_worker_has_room_for_one_and_for_one_more_with_every_64_answers() {
        let (memory, _) = SharedMemory::create(0).unwrap();
        let channel = channel(&memory);
        assert!(channel.has_slow_room());
        memory.page(WORKER).add(page::ACCEPTED, 1);
        assert!(!channel.has_slow_room());
        set(&memory, page::RESPONSES, 63.0);
        assert!(!channel.has_slow_room());
        set(&memory, page::RESPONSES, 64.0);
        assert!(channel.has_slow_room());
        memory.page(WORKER).add(page::ACCEPTED, 1);
        assert!(!channel.has_slow_room());
        set(&memory, page::CLOSED, 1.0);
        assert!(channel.has_slow_room());
    }
}
