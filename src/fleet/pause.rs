//! Pauses between attempts to reach Redis. PURE: randomness is an argument.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Pauses {
    failures: u32,
}

impl Pauses {
    /// The pause after another failed attempt: twice the one before, less a random part of up to a half, so that the
    /// machines of a fleet do not come all at once. `random`: any number.
    pub fn next(&mut self, random: u32) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures += 1;
        whole.mul_f64(1.0 - f64::from(random) / f64::from(u32::MAX) / 2.0)
    }

    /// An attempt has succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_up_to_two_seconds_and_are_spread() {
        let mut pauses = Pauses::default();
        let whole: Vec<u128> = (0..8).map(|_| pauses.next(0).as_millis()).collect();
        assert_eq!(whole, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(pauses.next(u32::MAX), Duration::from_secs(1));
        pauses.reset();
        assert_eq!(pauses.next(0), FIRST);
    }
}
