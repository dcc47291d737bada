//! Push or direct mode of one address: the decision of its switch, and what overrides it. PURE.

use std::time::Duration;

use super::super::settings::{DispatchMode, Settings};
use crate::balance::{Mode, RATE_UP, Strategy, Switch};

/// Connections per second above which a listener in push mode is polled, until the rate falls below half of it. Polling
/// every 150 us costs as much as 3,000 wake-ups per second.
const POLL_RATE: f64 = 6000.0;

pub struct GroupMode {
    switch: Switch,
    mode: Mode,
    /// The kernel cannot steer this group.
    push_only: bool,
    /// Its current workers need push mode.
    is_held: bool,
    /// Held in push mode at a rate at which the accept thread polls instead of being woken.
    busy: bool,
    /// Connections since the group left push mode.
    direct_total: u64,
}

impl GroupMode {
    /// `can_steer`: the address has listeners for slots. `holds_push`: an option keeps it in push mode.
    pub fn new(can_steer: bool, holds_push: bool) -> Self {
        let rate = if can_steer && !holds_push { RATE_UP } else { POLL_RATE };
        Self {
            switch: Switch::new(rate),
            mode: Mode::Push,
            push_only: !can_steer,
            is_held: false,
            busy: false,
            direct_total: 0,
        }
    }

    pub fn is_direct(&self) -> bool {
        self.mode == Mode::Direct
    }

    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Sets whether its workers need push mode; the next `consider` uses it.
    pub fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Switches to push mode permanently. Returns whether steering was possible before.
    pub fn give_up_steering(&mut self) -> bool {
        self.mode = Mode::Push;
        !std::mem::replace(&mut self.push_only, true)
    }

    /// No more connections arrive.
    pub fn retire(&mut self) {
        self.give_up_steering();
        self.busy = false;
    }

    /// Counts connections that workers have accepted themselves. Returns whether the mode has to be considered.
    pub fn count_direct(&mut self, accepted: u64) -> bool {
        if self.is_direct() {
            self.direct_total += accepted;
        }
        self.is_direct() || self.busy
    }

    /// Updates the mode; returns whether it has changed. `accepted`: connections that the accept thread has just
    /// accepted.
    pub fn consider(&mut self, accepted: u32, settings: &Settings, now: Duration) -> bool {
        if self.push_only || self.is_held || settings.holds_push() {
            self.direct_total += u64::from(accepted);
            self.measure(accepted, now);
            self.busy = self.switch.mode() == Mode::Direct;
            return std::mem::replace(&mut self.mode, Mode::Push) == Mode::Direct;
        }
        self.busy = false;
        let wanted = match settings.mode {
            DispatchMode::Push | DispatchMode::Direct => Mode::Direct,
            DispatchMode::Auto if settings.strategy == Strategy::Os => Mode::Direct,
            DispatchMode::Auto => {
                if self.is_direct() {
                    // While a worker warms up the primary accepts for it.
                    self.direct_total += u64::from(accepted);
                }
                self.measure(accepted, now);
                self.switch.mode()
            }
        };
        std::mem::replace(&mut self.mode, wanted) != wanted
    }

    /// Passes the counts to the switch, in the form of its current mode.
    fn measure(&mut self, accepted: u32, now: Duration) {
        match self.switch.mode() {
            Mode::Push => self.switch.accepted(accepted, now),
            Mode::Direct => self.switch.sampled(self.direct_total, now),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Accepts this many connections in each of 300 milliseconds from `start` on; returns whether the mode ever
    /// changed.
    fn accept(mode: &mut GroupMode, a_millisecond: u32, start: u32) -> bool {
        let settings = Settings::example();
        let mut changed = false;
        for ms in start..start + 300 {
            changed |= mode.consider(a_millisecond, &settings, MS * ms);
        }
        changed
    }

    #[test]
    fn a_fast_address_is_left_to_the_kernel_unless_it_cannot_steer() {
        let mut mode = GroupMode::new(true, false);
        assert!(!accept(&mut mode, 1, 0) && !mode.is_direct());
        assert!(accept(&mut mode, 10, 300) && mode.is_direct() && !mode.is_busy());
        for mut mode in [GroupMode::new(false, false), GroupMode::new(true, true)] {
            mode.hold(true);
            assert!(!accept(&mut mode, 10, 0) && !mode.is_direct() && mode.is_busy());
        }
    }

    #[test]
    fn workers_that_need_push_mode_hold_it_and_let_go_of_it() {
        let mut mode = GroupMode::new(true, false);
        accept(&mut mode, 10, 0);
        mode.hold(true);
        assert!(mode.consider(0, &Settings::example(), MS * 300) && !mode.is_direct());
        mode.hold(false);
        assert!(mode.consider(0, &Settings::example(), MS * 301) && mode.is_direct());
        assert!(!mode.is_busy(), "the kernel wakes the workers");
    }

    #[test]
    fn a_kernel_that_takes_no_program_is_not_asked_again() {
        let mut mode = GroupMode::new(true, false);
        accept(&mut mode, 10, 0);
        assert!(mode.give_up_steering() && !mode.is_direct());
        assert!(!mode.give_up_steering());
        assert!(!accept(&mut mode, 10, 300) && !mode.is_direct());
    }

    #[test]
    fn the_mode_that_is_asked_for_is_taken_at_once() {
        let direct = Settings { mode: DispatchMode::Direct, ..Settings::example() };
        let mut mode = GroupMode::new(true, false);
        assert!(mode.consider(0, &direct, MS) && mode.is_direct());
        let push = Settings { mode: DispatchMode::Push, ..Settings::example() };
        assert!(mode.consider(0, &push, MS) && !mode.is_direct());
    }
}
