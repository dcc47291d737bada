//! Warming up: a worker's first requests take many times as long as later ones, because none of its code is
//! compiled. Whoever replaces one worker after the other waits until the last one is warm.

use std::time::Duration;

use super::accept::Floor;
use super::command::Report;
use super::crew::Member;
use crate::metrics::layout::page;

/// Under load the next worker is replaced so long after the last: what V8 compiles meanwhile it compiles while the
/// others are fast.
const PAUSE: Duration = Duration::from_millis(3000);
/// In so long a cluster that is in use brings requests.
const LOOK_AFTER: Duration = Duration::from_millis(50);
/// Fewer requests than these in that time are no load that a cold worker could harm.
const FEW: f64 = 5.0;

impl Floor {
    /// Requests that all workers together have got, those that are gone as well: it never goes back.
    pub fn all_requests(&mut self) -> f64 {
        for member in self.crew.serving_mut() {
            let requests = member.page.float(page::REQUESTS);
            self.requests += requests - member.requests_seen;
            member.requests_seen = requests;
        }
        self.requests
    }

    /// Somebody's warming up is waited for.
    pub fn has_cold(&self) -> bool {
        self.crew.serving().any(|member| !member.told_warm)
    }

    pub fn tell_warm(&mut self, now: Duration) {
        if !self.has_cold() {
            return;
        }
        let requests = self.all_requests();
        let idle = |member: &Member| {
            now.saturating_sub(member.promoted) >= LOOK_AFTER && requests - member.requests_then < FEW
        };
        for member in self.crew.serving_mut().filter(|member| !member.told_warm) {
            if now.saturating_sub(member.promoted) >= PAUSE || idle(member) {
                member.told_warm = true;
                (self.report)(Report::Warm { worker: member.id });
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

    fn member(memory: &SharedMemory) -> Member {
        let channel = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let mut member = Member::new(WORKER, channel(), channel(), memory.page(WORKER));
        member.promoted = Duration::from_secs(10);
        member
    }

    fn set(memory: &SharedMemory, cell: usize, value: f64) {
        memory.page(WORKER).set(cell, value.to_bits());
    }

    #[test]
    fn a_worker_is_warm_after_a_second_or_a_thousand_answers() {
        let (memory, _) = SharedMemory::create(0).unwrap();
        let member = member(&memory);
        assert!(!member.is_warm(Duration::from_millis(10_999)));
        assert!(member.is_warm(Duration::from_secs(11)));
        set(&memory, page::RESPONSES, 1000.0);
        assert!(member.is_warm(Duration::from_secs(10)));
    }

    #[test]
    fn a_cold_worker_has_room_for_one_and_for_one_more_with_every_64_answers() {
        let (memory, _) = SharedMemory::create(0).unwrap();
        let member = member(&memory);
        assert!(member.has_slow_room());
        memory.page(WORKER).add(page::ACCEPTED, 1);
        assert!(!member.has_slow_room());
        set(&memory, page::RESPONSES, 63.0);
        assert!(!member.has_slow_room());
        set(&memory, page::RESPONSES, 64.0);
        assert!(member.has_slow_room());
        memory.page(WORKER).add(page::ACCEPTED, 1);
        assert!(!member.has_slow_room());
        set(&memory, page::CLOSED, 1.0);
        assert!(member.has_slow_room());
    }
}
