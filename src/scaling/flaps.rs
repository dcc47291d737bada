//! Steps in one direction soon after one in the other. Each doubles the idle time that a step down needs (uWSGI's
//! `cheaper-busyness` does the same), so that a load with a period does not start and end workers for ever.

use std::time::Duration;

/// The idle time grows to this multiple at most.
const MAX_FACTOR: u32 = 16;

/// Without a flap for this long the idle time is the configured one again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Up,
    Down,
}

#[derive(Clone, Copy, Debug)]
pub struct Flaps {
    factor: u32,
    latest_flap: Option<Duration>,
    latest_step: Option<(Step, Duration)>,
}

impl Default for Flaps {
    fn default() -> Self {
        Self { factor: 1, latest_flap: None, latest_step: None }
    }
}

impl Flaps {
    /// A step was made. It is a flap if the latest one, at most `within` ago, went the other way.
    pub fn stepped(&mut self, step: Step, now: Duration, within: Duration) {
        let is_flap = self.latest_step.is_some_and(|(latest, at)| latest != step && now <= at + within);
        if is_flap {
            self.factor = (self.factor(now) * 2).min(MAX_FACTOR);
            self.latest_flap = Some(now);
        }
        self.latest_step = Some((step, now));
    }

    /// How many times the configured idle time a step down needs.
    pub fn factor(&self, now: Duration) -> u32 {
        let is_forgiven = self.latest_flap.is_none_or(|at| now >= at + FORGIVEN_AFTER);
        if is_forgiven { 1 } else { self.factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_flap_doubles_up_to_sixteen_times() {
        let mut flaps = Flaps::default();
        let mut step = Step::Up;
        for (at, expected) in [1, 2, 4, 8, 16, 16].into_iter().enumerate() {
            let at = s(at as u64 * 100);
            flaps.stepped(step, at, s(300));
            assert_eq!(flaps.factor(at), expected, "{at:?}");
            step = if step == Step::Up { Step::Down } else { Step::Up };
        }
    }

    #[test]
    fn steps_in_one_direction_or_far_apart_are_no_flaps() {
        for steps in [
            [(Step::Up, 0), (Step::Up, 1), (Step::Up, 2)],
            [(Step::Up, 0), (Step::Down, 301), (Step::Down, 302)],
            [(Step::Down, 0), (Step::Up, 301), (Step::Down, 602)],
        ] {
            let mut flaps = Flaps::default();
            for (step, at) in steps {
                flaps.stepped(step, s(at), s(300));
            }
            assert_eq!(flaps.factor(s(603)), 1, "{steps:?}");
        }
    }

    #[test]
    fn an_hour_without_a_flap_forgives() {
        let mut flaps = Flaps::default();
        flaps.stepped(Step::Up, s(0), s(300));
        flaps.stepped(Step::Down, s(10), s(300));
        assert_eq!(flaps.factor(s(3609)), 2);
        assert_eq!(flaps.factor(s(3610)), 1);
        flaps.stepped(Step::Up, s(3700), s(4000));
        assert_eq!(flaps.factor(s(3700)), 2, "from the beginning");
    }
}
