//! When a worker is checked, and the evaluation of the results. PURE: times are on the caller's clock.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Time between the ends of two checks if the first was passed.
    pub interval: Duration,
    /// A check without a result within this time has failed.
    pub timeout: Duration,
    /// Consecutive failures that make a worker unhealthy.
    pub max_failures: u32,
    /// Delay before the check that follows a failed one.
    pub retry_delay: Duration,
    /// Time after a worker became ready; the first check follows one interval later.
    pub grace: Duration,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckAction {
    /// Start a check; its result has this number.
    Check(u32),
    /// The check of this number has timed out.
    TooLate(u32),
}

/// The evaluation of a check's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Passed, like the previous one.
    Well,
    /// Failed, but fewer times than the maximum.
    Failing,
    /// Failed often enough to be replaced. Repeated with every further failure.
    Unhealthy,
    /// It was unhealthy and has passed a check.
    Recovered,
}

/// One worker's checks.
#[derive(Clone, Debug)]
pub struct Checker {
    policy: Policy,
    failures: u32,
    last: u32,
    /// A check is pending.
    is_pending: bool,
    /// The time of the next check, or the timeout of the pending one.
    due: Duration,
}

impl Checker {
    pub fn new(policy: &Policy, ready: Duration) -> Self {
        let due = ready + policy.grace + policy.interval;
        Self { policy: policy.clone(), failures: 0, last: 0, is_pending: false, due }
    }

    /// When `look` has to be called next.
    pub fn due(&self) -> Duration {
        self.due
    }

    /// Consecutive failed checks.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    pub fn is_unhealthy(&self) -> bool {
        self.failures >= self.policy.max_failures
    }

    pub fn look(&mut self, now: Duration) -> Option<CheckAction> {
        if now < self.due {
            return None;
        }
        if self.is_pending {
            return Some(CheckAction::TooLate(self.last));
        }
        self.last = self.last.wrapping_add(1);
        self.is_pending = true;
        self.due = now + self.policy.timeout;
        Some(CheckAction::Check(self.last))
    }

    /// The check of this number has ended; None if it is not the pending one.
    pub fn over(&mut self, number: u32, passed: bool, now: Duration) -> Option<Verdict> {
        if !self.is_pending || number != self.last {
            return None;
        }
        self.is_pending = false;
        let was_unhealthy = self.is_unhealthy();
        if passed {
            self.failures = 0;
            self.due = now + self.policy.interval;
            return Some(if was_unhealthy { Verdict::Recovered } else { Verdict::Well });
        }
        self.failures = self.failures.saturating_add(1);
        if self.is_unhealthy() {
            // The replacement takes time; checks continue, in case the worker cannot be replaced.
            self.due = now + self.policy.interval.max(self.policy.retry_delay);
            return Some(Verdict::Unhealthy);
        }
        self.due = now + self.policy.retry_delay;
        Some(Verdict::Failing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn policy() -> Policy {
        Policy {
            interval: ms(30_000),
            timeout: ms(10_000),
            max_failures: 3,
            retry_delay: ms(1000),
            grace: ms(5000),
        }
    }

    #[test]
    fn the_first_check_comes_after_the_grace_and_an_interval() {
        let mut checker = Checker::new(&policy(), ms(1000));
        assert_eq!(checker.look(ms(35_999)), None);
        assert_eq!(checker.look(ms(36_000)), Some(CheckAction::Check(1)));
        assert_eq!(checker.look(ms(36_001)), None);
        assert_eq!(checker.over(1, true, ms(36_010)), Some(Verdict::Well));
        assert_eq!(checker.due(), ms(66_010));
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_passed_check_well_again() {
        let mut checker = Checker::new(&policy(), ms(0));
        let mut now = checker.due();
        for (number, verdict) in [(1, Verdict::Failing), (2, Verdict::Failing), (3, Verdict::Unhealthy)] {
            assert_eq!(checker.look(now), Some(CheckAction::Check(number)));
            assert_eq!(checker.over(number, false, now), Some(verdict));
            assert_eq!(checker.is_unhealthy(), verdict == Verdict::Unhealthy);
            now = checker.due();
        }
        assert_eq!(checker.look(now), Some(CheckAction::Check(4)));
        assert_eq!(checker.over(4, false, now), Some(Verdict::Unhealthy), "said again");
        now = checker.due();
        assert_eq!(checker.look(now), Some(CheckAction::Check(5)));
        assert_eq!(checker.over(5, true, now), Some(Verdict::Recovered));
        assert_eq!(checker.failures(), 0);
    }

    #[test]
    fn a_failed_check_is_repeated_soon_and_a_passed_one_forgives() {
        let mut checker = Checker::new(&policy(), ms(0));
        let now = checker.due();
        checker.look(now);
        checker.over(1, false, now + ms(5));
        assert_eq!(checker.due(), now + ms(1005));
        checker.look(checker.due());
        assert_eq!(checker.over(2, true, now + ms(1010)), Some(Verdict::Well));
        assert_eq!(checker.failures(), 0);
    }

    #[test]
    fn an_answer_that_comes_too_late_says_nothing() {
        let mut checker = Checker::new(&policy(), ms(0));
        let now = checker.due();
        assert_eq!(checker.look(now), Some(CheckAction::Check(1)));
        assert_eq!(checker.look(now + ms(10_000)), Some(CheckAction::TooLate(1)));
        assert_eq!(checker.over(1, false, now + ms(10_000)), Some(Verdict::Failing));
        assert_eq!(checker.over(1, true, now + ms(10_001)), None);
        assert_eq!(checker.look(checker.due()), Some(CheckAction::Check(2)));
        assert_eq!(checker.over(1, true, checker.due()), None);
    }

    proptest! {
        /// For any results: unhealthy exactly after the maximum of consecutive failures, and the next due time is
        /// always in the future.
        #[test]
        fn unhealthy_is_so_many_failures_in_a_row(outcomes in prop::collection::vec(any::<Option<bool>>(), 1..60)) {
            let mut checker = Checker::new(&policy(), ms(0));
            let mut row = 0;
            for outcome in outcomes {
                let now = checker.due();
                let Some(CheckAction::Check(number)) = checker.look(now) else { panic!("due, and no check is pending") };
                prop_assert!(checker.due() > now);
                let end = if outcome.is_none() { checker.due() } else { now };
                if outcome.is_none() {
                    prop_assert_eq!(checker.look(end), Some(CheckAction::TooLate(number)));
                }
                let passed = outcome.unwrap_or(false);
                checker.over(number, passed, end);
                row = if passed { 0 } else { row + 1 };
                prop_assert_eq!(checker.is_unhealthy(), row >= 3);
                prop_assert!(checker.due() > end);
            }
        }
    }
}
