//! Workers that get no new connections because they have unread work and their event loops do not run. On a busy
//! machine this happens often, so it is logged only if it lasts. PURE.

use std::collections::HashMap;
use std::time::Duration;

/// Connections are given to other workers after 50 ms already.
const WORTH_SAYING: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    is_unresponsive: bool,
    /// When it is to be reported, unless it has recovered by then.
    due: Option<Duration>,
    is_reported: bool,
}

/// By slot.
#[derive(Default)]
pub struct Unresponsive(HashMap<u16, State>);

impl Unresponsive {
    /// The slot's worker has unread work, and its event loop does not run.
    pub fn begin(&mut self, slot: u16, now: Duration) {
        let state = self.0.entry(slot).or_default();
        (state.is_unresponsive, state.due) = (true, Some(now + WORTH_SAYING));
    }

    pub fn contains(&self, slot: u16) -> bool {
        self.0.get(&slot).is_some_and(|state| state.is_unresponsive)
    }

    /// The slot's worker is not unresponsive (any more); returns whether it had been reported.
    pub fn end(&mut self, slot: u16) -> bool {
        self.0.remove(&slot).is_some_and(|state| state.is_reported)
    }

    pub fn due(&self) -> Option<Duration> {
        self.0.values().filter_map(|state| state.due).min()
    }

    /// The slots to report now.
    pub fn look(&mut self, now: Duration) -> Vec<u16> {
        let late = self.0.iter_mut().filter(|(_, state)| state.due.is_some_and(|due| due <= now));
        let mut slots: Vec<u16> = late
            .map(|(slot, state)| {
                (state.due, state.is_reported) = (None, true);
                *slot
            })
            .collect();
        slots.sort_unstable();
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn only_what_lasts_is_reported_and_its_end_as_well() {
        let mut unresponsive = Unresponsive::default();
        unresponsive.begin(0, at(0));
        unresponsive.begin(1, at(100));
        assert!(unresponsive.contains(0) && !unresponsive.contains(2));
        assert!(!unresponsive.end(1), "it was never reported");
        assert_eq!((unresponsive.due(), unresponsive.look(at(999))), (Some(at(1000)), vec![]));
        assert_eq!(unresponsive.look(at(1000)), [0]);
        assert_eq!((unresponsive.due(), unresponsive.look(at(5000))), (None, vec![]), "once");
        assert!(unresponsive.end(0), "it was reported");
        assert!(!unresponsive.end(0) && !unresponsive.contains(0));
    }

    #[test]
    fn a_worker_that_recovers_and_stands_still_again_has_its_second_anew() {
        let mut unresponsive = Unresponsive::default();
        unresponsive.begin(3, at(0));
        unresponsive.end(3);
        unresponsive.begin(3, at(900));
        assert_eq!(unresponsive.look(at(1000)), [0u16; 0]);
        assert_eq!(unresponsive.look(at(1900)), [3]);
    }
}
