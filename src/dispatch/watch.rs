//! When is a worker stuck? PURE in spirit: a function of its beat, of whether work waits for it, and of time.
//! A sleeping worker is not stuck, and it is never woken to prove it: only work that was handed over and not
//! taken counts. Once stuck, only a beat is a sign of life: that its work was given to others is none.

use std::time::Duration;

/// Work that lies unread for so long, without one turn of the worker's loop, is better given to others.
pub const STUCK_AFTER: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Default)]
pub struct Pulse {
    beat: u64,
    /// Since when work has been waiting without a beat.
    waiting_since: Option<Duration>,
    stuck: bool,
}

impl Pulse {
    /// The worker's loop has counted to `beat`; `outstanding`: something was handed over that it has not
    /// taken. Is it stuck at `now`?
    pub fn observe(&mut self, beat: u64, outstanding: bool, now: Duration) -> bool {
        let moved = beat != self.beat;
        self.beat = beat;
        if moved || !(outstanding || self.stuck) {
            self.waiting_since = outstanding.then_some(now);
            self.stuck = false;
            return false;
        }
        let since = *self.waiting_since.get_or_insert(now);
        self.stuck |= now.saturating_sub(since) >= STUCK_AFTER;
        self.stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn work_unread_for_50_ms_without_a_beat_is_stuck() {
        let mut pulse = Pulse::default();
        assert!(!pulse.observe(7, true, ms(0)));
        assert!(!pulse.observe(7, true, ms(49)));
        assert!(pulse.observe(7, true, ms(50)));
        assert!(pulse.observe(7, true, ms(500)));
        assert!(!pulse.observe(8, true, ms(501)), "one beat and it is alive");
    }

    #[test]
    fn a_stuck_worker_is_stuck_until_it_beats_though_its_work_was_given_to_others() {
        let mut pulse = Pulse::default();
        pulse.observe(7, true, ms(0));
        assert!(pulse.observe(7, true, ms(50)));
        assert!(pulse.observe(7, false, ms(60)));
        assert!(pulse.observe(7, false, ms(60_000)));
        assert!(!pulse.observe(8, false, ms(60_001)));
        assert!(!pulse.observe(8, false, ms(60_100)));
    }

    #[test]
    fn an_idle_worker_is_never_stuck() {
        let mut pulse = Pulse::default();
        assert!(!pulse.observe(7, false, ms(0)));
        assert!(!pulse.observe(7, false, ms(60_000)));
        assert!(!pulse.observe(7, true, ms(60_001)), "the wait begins with the work");
    }

    #[test]
    fn a_slow_worker_that_beats_is_not_stuck() {
        let mut pulse = Pulse::default();
        for beat in 0..100 {
            assert!(!pulse.observe(beat, true, ms(beat * 49)));
        }
    }
}
