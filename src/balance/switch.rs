//! When a listener switches from push mode to direct mode and back: a function of counts and time. It attaches no
//! programs and knows no options: a listener that is fixed to one mode (`dispatch`, a limit, a kernel without BPF) does
//! not use it.

use std::time::Duration;

/// New connections per second above which the kernel should assign connections. Below it exact placement is cheap.
pub const RATE_UP: f64 = 3000.0;

/// Accepts per window: with 64 random arrivals the relative standard deviation of the rate is an eighth.
const WINDOW_ACCEPTS: u64 = 64;

/// Window of direct mode. Counts of workers lag behind by one iteration of their loops.
const WINDOW_TIME: Duration = Duration::from_millis(20);

/// How long every window must be on the other side of the threshold. A pool that opens its connections at once, or
/// clients that reconnect after a restart, are done before that, and get the exact placement of push mode.
const SETTLE: Duration = Duration::from_millis(100);

/// What chooses the worker of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The accept thread, exactly by the strategy.
    Push,
    /// The kernel, by the steering program.
    Direct,
}

/// The decision for one listener group; it starts in push mode.
///
/// Direct above `rate_up`, push below half of it, and only if the rate has been there in every window for 100 ms: a
/// rate between the two keeps the current mode, and random fluctuation does not switch it.
#[derive(Debug)]
pub struct Switch {
    rate_up: f64,
    mode: Mode,
    /// Accepted in push mode so far.
    pushed: u64,
    window: Option<Window>,
    /// The start of the first of the consecutive windows on the other side of the threshold.
    beyond: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    start: Duration,
    total: u64,
}

impl Switch {
    /// `rate_up` in connections per second; [`RATE_UP`] is the measured default.
    pub fn new(rate_up: f64) -> Self {
        Self { rate_up, mode: Mode::Push, pushed: 0, window: None, beyond: None }
    }

    /// `n` connections were accepted by the accept thread at `now` (any steady clock). `Some` if the mode changes. In
    /// direct mode these are late handshakes and are ignored.
    pub fn accepted(&mut self, n: u32, now: Duration) -> Option<Mode> {
        if self.mode == Mode::Direct {
            return None;
        }
        self.pushed += u64::from(n);
        let (count, time) = self.since_window_start(self.pushed, now)?;
        if count < WINDOW_ACCEPTS {
            return None;
        }
        let fast = count as f64 > self.rate_up * time.as_secs_f64();
        self.close_window(fast, Mode::Direct, self.pushed, now)
    }

    /// The workers have accepted `total_direct` connections themselves up to `now`, a monotonic count. `Some` if the
    /// mode changes. To be called about every 20 ms in direct mode.
    pub fn sampled(&mut self, total_direct: u64, now: Duration) -> Option<Mode> {
        if self.mode == Mode::Push {
            return None;
        }
        let (count, time) = self.since_window_start(total_direct, now)?;
        if time < WINDOW_TIME {
            return None;
        }
        let slow = (count as f64) < self.rate_up / 2.0 * time.as_secs_f64();
        self.close_window(slow, Mode::Push, total_direct, now)
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Opens the first window of a mode, which has no count to compare with yet.
    fn since_window_start(&mut self, total: u64, now: Duration) -> Option<(u64, Duration)> {
        let Some(window) = self.window else {
            self.window = Some(Window { start: now, total });
            return None;
        };
        Some((total.saturating_sub(window.total), now.saturating_sub(window.start)))
    }

    fn close_window(&mut self, beyond: bool, other: Mode, total: u64, now: Duration) -> Option<Mode> {
        let window = self.window.replace(Window { start: now, total })?;
        if !beyond {
            self.beyond = None;
            return None;
        }
        let since = *self.beyond.get_or_insert(window.start);
        if now.saturating_sub(since) < SETTLE {
            return None;
        }
        self.mode = other;
        self.window = None;
        self.beyond = None;
        Some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mode::{Direct, Push};

    /// A clock, and the total that workers would report.
    struct Simulation {
        switch: Switch,
        now: Duration,
        direct: u64,
        pending_channels: u64,
        changes: Vec<Mode>,
    }

    impl Simulation {
        fn new() -> Self {
            let switch = Switch::new(RATE_UP);
            Self { switch, now: Duration::from_secs(7), direct: 0, pending_channels: 1, changes: Vec::new() }
        }

        /// Arrivals of a Poisson process with its own generator; a sample every 20 ms.
        fn run(&mut self, rate: f64, time: Duration) -> &[Mode] {
            self.changes.clear();
            let end = self.now + time;
            let mut sample = self.now;
            while self.now < end {
                self.pending_channels =
                    self.pending_channels.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                let uniform = ((self.pending_channels >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
                self.now += Duration::from_secs_f64(-uniform.ln() / rate);
                while sample < self.now {
                    self.changes.extend(self.switch.sampled(self.direct, sample));
                    sample += Duration::from_millis(20);
                }
                match self.switch.mode() {
                    Push => self.changes.extend(self.switch.accepted(1, self.now)),
                    Direct => self.direct += 1,
                }
            }
            &self.changes
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_busy_listener_goes_direct_once_and_a_quiet_one_comes_back_once() {
        for busy in [4_000.0, 10_000.0, 30_000.0] {
            let mut simulation = Simulation::new();
            assert_eq!(simulation.run(busy, SECOND), [Direct], "{busy}/s");
            assert_eq!(simulation.run(200.0, SECOND), [Push], "after {busy}/s");
        }
    }

    #[test]
    fn a_rate_between_half_and_full_keeps_the_mode_it_has() {
        for rate in [1_900.0, 2_100.0, 2_400.0] {
            let mut simulation = Simulation::new();
            assert_eq!(simulation.run(rate, 60 * SECOND), [], "push at {rate}/s");
            simulation.run(10_000.0, SECOND);
            assert_eq!(simulation.run(rate, 60 * SECOND), [], "direct at {rate}/s");
        }
    }

    #[test]
    fn the_mode_does_not_flap_at_either_threshold() {
        for rate in [RATE_UP, RATE_UP / 2.0] {
            let mut simulation = Simulation::new();
            simulation.run(10_000.0, SECOND);
            let changes = simulation.run(rate, 60 * SECOND).len();
            assert!(changes <= 1, "{changes} changes in a minute at {rate}/s");
        }
    }

    #[test]
    fn a_burst_is_placed_exactly() {
        let mut switch = Switch::new(RATE_UP);
        let burst = (0..50).map(|n| switch.accepted(64, SECOND + Duration::from_millis(n)));
        assert_eq!(burst.flatten().count(), 0);
        assert_eq!(switch.mode(), Push);
    }

    #[test]
    fn the_change_comes_within_a_few_windows_of_the_settling_time() {
        let mut switch = Switch::new(RATE_UP);
        let step = Duration::from_millis(5);
        let up = (0..).map(|n| step * n).find(|&now| switch.accepted(50, now).is_some()).unwrap();
        assert_eq!(up, Duration::from_millis(100));
        let down = (0..).map(|n| up + step * n).find(|&now| switch.sampled(9, now).is_some()).unwrap();
        assert_eq!(down - up, Duration::from_millis(100));
    }

    #[test]
    fn one_long_quiet_sample_is_enough_to_come_back() {
        let mut simulation = Simulation::new();
        simulation.run(10_000.0, SECOND);
        let (direct, now) = (simulation.direct, simulation.now);
        simulation.switch.sampled(direct, now);
        assert_eq!(simulation.switch.sampled(direct + 3, now + SECOND), Some(Push));
    }

    #[test]
    fn a_quiet_moment_starts_the_settling_time_anew() {
        let mut switch = Switch::new(RATE_UP);
        let mut now = Duration::ZERO;
        for _ in 0..20 {
            for _ in 0..9 {
                now += Duration::from_millis(10);
                assert_eq!(switch.accepted(64, now), None);
            }
            now += Duration::from_millis(40);
            assert_eq!(switch.accepted(64, now), None);
        }
    }

    #[test]
    fn a_clock_or_a_count_that_goes_back_does_no_harm() {
        let mut switch = Switch::new(RATE_UP);
        assert_eq!(switch.accepted(100, SECOND), None);
        assert_eq!(switch.accepted(100, Duration::ZERO), None);
        let mut simulation = Simulation::new();
        simulation.run(10_000.0, SECOND);
        assert_eq!(simulation.switch.sampled(0, simulation.now + Duration::from_millis(20)), None);
        assert_eq!(simulation.switch.mode(), Direct);
    }
}
