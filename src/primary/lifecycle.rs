//! The start and the end of a cluster: the calls that wait for them, and the drains that wait for the addresses to
//! close.

use std::time::Duration;

use crate::ipc::control::StopSignal;
use crate::model::WorkerId;

#[derive(Default)]
pub(super) struct Lifecycle {
    /// Pending calls of `start` and `stop`.
    starting: Vec<u32>,
    stopping: Vec<u32>,
    /// `start` was settled: from then on the cluster's health is published.
    is_started: bool,
    /// The signal that caused the stop, if any.
    stop_signal: Option<StopSignal>,
    /// Drains that wait for the addresses to close, each with its deadline.
    held_back: Option<Vec<(WorkerId, Duration)>>,
    is_over: bool,
}

impl Lifecycle {
    pub fn start(&mut self, id: u32) {
        self.starting.push(id);
    }

    /// The start is settled; returns the pending calls. `serves`: some worker became ready.
    pub fn started(&mut self, serves: bool) -> Vec<u32> {
        self.is_started |= serves;
        std::mem::take(&mut self.starting)
    }

    pub fn is_started(&self) -> bool {
        self.is_started
    }

    pub fn stop(&mut self, id: u32) {
        self.stopping.push(id);
    }

    /// Whether a stop was requested.
    pub fn stops(&self) -> bool {
        !self.stopping.is_empty()
    }

    pub fn signalled(&mut self, signal: StopSignal) {
        self.stop_signal = Some(signal);
    }

    pub fn stop_signal(&self) -> Option<StopSignal> {
        self.stop_signal
    }

    /// Every worker has ended; returns the pending calls.
    pub fn stopped(&mut self) -> Vec<u32> {
        self.is_over = true;
        std::mem::take(&mut self.stopping)
    }

    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The addresses are about to close: workers keep serving until then, so that they serve everything accepted
    /// before.
    pub fn hold_drains(&mut self) {
        self.held_back.get_or_insert_default();
    }

    /// Delays a drain; false if it does not have to wait.
    pub fn hold(&mut self, worker: WorkerId, gone_by: Duration) -> bool {
        let Some(drains) = &mut self.held_back else { return false };
        drains.push((worker, gone_by));
        true
    }

    /// The addresses have closed; returns the delayed drains.
    pub fn release_drains(&mut self) -> Vec<(WorkerId, Duration)> {
        self.held_back.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drains_wait_for_the_addresses_and_for_nothing_else() {
        let mut lifecycle = Lifecycle::default();
        let (first, second) = (WorkerId::new(0, 1), WorkerId::new(1, 1));
        let gone_by = Duration::from_secs(1);
        assert!(!lifecycle.hold(first, gone_by), "a roll: nothing closes");
        lifecycle.hold_drains();
        assert!(lifecycle.hold(first, gone_by) && lifecycle.hold(second, gone_by));
        lifecycle.hold_drains();
        assert_eq!(lifecycle.release_drains(), [(first, gone_by), (second, gone_by)], "asked for twice");
        assert!(!lifecycle.hold(first, gone_by), "the addresses have closed");
        assert_eq!(lifecycle.release_drains(), []);
    }

    #[test]
    fn whoever_waits_for_the_start_or_the_stop_is_answered_once() {
        let mut lifecycle = Lifecycle::default();
        lifecycle.start(1);
        lifecycle.start(2);
        assert_eq!(lifecycle.started(false), [1, 2]);
        assert!(!lifecycle.is_started(), "a start that failed");
        assert_eq!(lifecycle.started(true), [] as [u32; 0]);
        assert!(lifecycle.is_started() && !lifecycle.stops());
        lifecycle.stop(3);
        assert!(lifecycle.stops() && !lifecycle.is_over());
        assert_eq!(lifecycle.stopped(), [3]);
        assert!(lifecycle.is_over());
    }
}
