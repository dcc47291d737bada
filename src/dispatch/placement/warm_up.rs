//! Warm-up: a worker's first requests take many times as long as later ones, because its code is not compiled yet. A
//! roll waits until the last new worker is warm.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::WorkerId;

/// Under load the next worker is replaced this long after the last one, so that V8 compiles the code of one worker
/// while the others are fast.
const PAUSE: Duration = Duration::from_millis(3000);
/// How long requests are counted to detect load.
const LOOK_AFTER: Duration = Duration::from_millis(50);
/// Fewer requests than this in that time do not count as load.
const FEW: f64 = 5.0;

struct Warming {
    worker: WorkerId,
    promoted: Duration,
    /// Requests of the whole cluster at that time.
    requests_then: f64,
    /// How many of its own requests have been counted.
    requests_seen: f64,
    is_reported: bool,
}

/// The workers that serve, and the requests of the cluster.
#[derive(Default)]
pub struct WarmUp {
    by_slot: BTreeMap<u16, Warming>,
    /// Of all workers, including ended ones, as far as counted; it never decreases.
    requests: f64,
}

impl WarmUp {
    /// The worker has got its slot. `requests`: the total requests of each serving worker.
    pub fn promoted(
        &mut self,
        worker: WorkerId,
        requests: impl Iterator<Item = (WorkerId, f64)>,
        now: Duration,
    ) {
        let fresh =
            Warming { worker, promoted: now, requests_then: 0.0, requests_seen: 0.0, is_reported: false };
        self.by_slot.insert(worker.slot, fresh);
        self.count(requests);
        if let Some(warming) = self.by_slot.get_mut(&worker.slot) {
            warming.requests_then = self.requests;
        }
    }

    pub fn gone(&mut self, worker: WorkerId) {
        if self.by_slot.get(&worker.slot).is_some_and(|warming| warming.worker == worker) {
            self.by_slot.remove(&worker.slot);
        }
    }

    /// Whether a worker is still warming up.
    pub fn has_cold(&self) -> bool {
        self.by_slot.values().any(|warming| !warming.is_reported)
    }

    /// The workers that have warmed up or have no load; each is reported once.
    pub fn look(&mut self, requests: impl Iterator<Item = (WorkerId, f64)>, now: Duration) -> Vec<WorkerId> {
        if !self.has_cold() {
            return Vec::new();
        }
        self.count(requests);
        let mut warm = Vec::new();
        for warming in self.by_slot.values_mut().filter(|warming| !warming.is_reported) {
            let time = now.saturating_sub(warming.promoted);
            let idle = time >= LOOK_AFTER && self.requests - warming.requests_then < FEW;
            if time >= PAUSE || idle {
                warming.is_reported = true;
                warm.push(warming.worker);
            }
        }
        warm
    }

    fn count(&mut self, requests: impl Iterator<Item = (WorkerId, f64)>) {
        for (worker, requests) in requests {
            if let Some(warming) = self.by_slot.get_mut(&worker.slot).filter(|other| other.worker == worker) {
                self.requests += requests - warming.requests_seen;
                warming.requests_seen = requests;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: WorkerId = WorkerId::new(0, 1);
    const NEW: WorkerId = WorkerId::new(1, 2);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn under_load_a_worker_is_warm_after_three_seconds() {
        let mut warm_up = WarmUp::default();
        warm_up.promoted(OLD, [(OLD, 0.0)].into_iter(), Duration::ZERO);
        assert_eq!(warm_up.look([(OLD, 100.0)].into_iter(), PAUSE - MS), []);
        assert!(warm_up.has_cold());
        assert_eq!(warm_up.look([(OLD, 100.0)].into_iter(), PAUSE), [OLD]);
        assert_eq!(warm_up.look([(OLD, 100.0)].into_iter(), PAUSE * 2), [], "it is told once");
        assert!(!warm_up.has_cold());
    }

    #[test]
    fn without_load_there_is_nothing_to_be_fast_for() {
        let mut warm_up = WarmUp::default();
        let loads = |old: f64, new: f64| [(OLD, old), (NEW, new)].into_iter();
        warm_up.promoted(OLD, loads(1000.0, 0.0), Duration::ZERO);
        warm_up.promoted(NEW, loads(1000.0, 0.0), PAUSE);
        assert_eq!(warm_up.look(loads(1005.0, 0.0), PAUSE + LOOK_AFTER), [OLD], "five requests are load");
        assert_eq!(warm_up.look(loads(1005.0, 0.0), PAUSE + LOOK_AFTER * 2), []);
        warm_up.promoted(NEW, loads(1005.0, 0.0), PAUSE);
        assert_eq!(warm_up.look(loads(1008.0, 1.0), PAUSE + LOOK_AFTER), [NEW]);
    }

    #[test]
    fn nobody_waits_for_a_worker_that_is_gone() {
        let mut warm_up = WarmUp::default();
        warm_up.promoted(OLD, [(OLD, 0.0)].into_iter(), Duration::ZERO);
        warm_up.gone(WorkerId::new(0, 0));
        assert!(warm_up.has_cold());
        warm_up.gone(OLD);
        assert!(!warm_up.has_cold());
    }
}
