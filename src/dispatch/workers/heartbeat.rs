//! When a worker is unresponsive. PURE: a function of its heartbeat, its unread work, and time. A sleeping worker is
//! not unresponsive, and is never woken to check it: only unread work counts. Once it is unresponsive, only a heartbeat
//! shows its recovery, not that its work was given to other workers.

use std::time::Duration;

/// Work that is unread for this long, without an iteration of the worker's loop, is given to other workers.
const UNRESPONSIVE_AFTER: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Default)]
pub struct Heartbeat {
    count: u64,
    /// Since when work has been unread without a heartbeat.
    waiting_since: Option<Duration>,
    unresponsive: bool,
}

impl Heartbeat {
    /// Since when work has been unread without a heartbeat.
    pub fn waiting_since(&self) -> Option<Duration> {
        self.waiting_since
    }

    /// `count`: the heartbeat counter; `outstanding`: whether there is unread work. Returns whether the worker is
    /// unresponsive at `now`.
    pub fn observe(&mut self, count: u64, outstanding: bool, now: Duration) -> bool {
        let moved = count != self.count;
        self.count = count;
        if moved || !(outstanding || self.unresponsive) {
            self.waiting_since = outstanding.then_some(now);
            self.unresponsive = false;
            return false;
        }
        let since = *self.waiting_since.get_or_insert(now);
        self.unresponsive |= now.saturating_sub(since) >= UNRESPONSIVE_AFTER;
        self.unresponsive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn work_unread_for_50_ms_without_a_heartbeat_is_unresponsive() {
        let mut heartbeat = Heartbeat::default();
        assert!(!heartbeat.observe(7, true, ms(0)));
        assert!(!heartbeat.observe(7, true, ms(49)));
        assert!(heartbeat.observe(7, true, ms(50)));
        assert!(heartbeat.observe(7, true, ms(500)));
        assert!(!heartbeat.observe(8, true, ms(501)), "one heartbeat and it is alive");
    }

    #[test]
    fn an_unresponsive_worker_stays_so_until_its_heart_beats_though_its_work_was_given_to_others() {
        let mut heartbeat = Heartbeat::default();
        heartbeat.observe(7, true, ms(0));
        assert!(heartbeat.observe(7, true, ms(50)));
        assert!(heartbeat.observe(7, false, ms(60)));
        assert!(heartbeat.observe(7, false, ms(60_000)));
        assert!(!heartbeat.observe(8, false, ms(60_001)));
        assert!(!heartbeat.observe(8, false, ms(60_100)));
    }

    #[test]
    fn an_idle_worker_is_never_unresponsive() {
        let mut heartbeat = Heartbeat::default();
        assert!(!heartbeat.observe(7, false, ms(0)));
        assert!(!heartbeat.observe(7, false, ms(60_000)));
        assert!(!heartbeat.observe(7, true, ms(60_001)), "the wait begins with the work");
    }

    #[test]
    fn a_slow_worker_whose_heart_beats_is_not_unresponsive() {
        let mut heartbeat = Heartbeat::default();
        for count in 0..100 {
            assert!(!heartbeat.observe(count, true, ms(count * 49)));
        }
    }
}
