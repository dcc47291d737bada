//! How many deaths a slot may have in a window of time before its circuit opens (the restart intensity of
//! Erlang/OTP's supervisor), and the delay of the next start. Pure functions of timestamps.

use std::collections::VecDeque;
use std::time::Duration;

use super::policy::Policy;

/// The deaths of one slot within the window.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    deaths: VecDeque<Duration>,
}

/// The consequence of a death for the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    RestartAfter(Duration),
    /// More than `max_restarts` in the window.
    Open,
}

impl Budget {
    /// Counts a death at `now`. The first death in the window of a worker that had been ready causes no delay: a single
    /// crash should be repaired at once.
    pub fn death(&mut self, policy: &Policy, slot: u16, had_been_ready: bool, now: Duration) -> Verdict {
        self.deaths.push_back(now);
        self.forget_before(now.saturating_sub(policy.restart_window));
        let count = self.deaths.len() as u32;
        if count > policy.max_restarts {
            return Verdict::Open;
        }
        if count == 1 && had_been_ready {
            return Verdict::RestartAfter(Duration::ZERO);
        }
        let doublings = count - if had_been_ready { 2 } else { 1 };
        let delay = policy.restart_delay.saturating_mul(1 << doublings.min(20));
        let delay = delay.saturating_add(jitter(delay, slot, count)).min(policy.max_restart_delay);
        Verdict::RestartAfter(delay)
    }

    fn forget_before(&mut self, limit: Duration) {
        while self.deaths.front().is_some_and(|death| *death < limit) {
            self.deaths.pop_front();
        }
    }
}

/// Up to a tenth of `delay`, spread over slots and attempts, so that workers that died of a common cause do not all
/// start at the same moment. A hash instead of a random number: the same facts give the same actions.
fn jitter(delay: Duration, slot: u16, attempt: u32) -> Duration {
    let mut mixed = (u64::from(slot) << 32 | u64::from(attempt)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    delay.mul_f64((mixed >> 40) as f64 / (1u64 << 24) as f64 / 10.0)
}
