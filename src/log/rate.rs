//! `logging.maxRate`: so many lines a second of one source, the rest counted. PURE.

/// A second's allowance, refilled at each second's beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    second: u64,
    taken: u32,
    /// In this second, and in those before it.
    dropped: u64,
    unreported: u64,
}

impl Rate {
    /// May one more line of at most `most` a second be written at `now_ms`?
    pub fn allows(&mut self, most: u32, now_ms: u64) -> bool {
        self.turn(now_ms);
        if self.taken < most {
            self.taken += 1;
            return true;
        }
        self.dropped += 1;
        false
    }

    fn turn(&mut self, now_ms: u64) {
        let second = now_ms / 1000;
        if second != self.second {
            (self.second, self.taken) = (second, 0);
            self.unreported += std::mem::take(&mut self.dropped);
        }
    }

    /// How many lines were dropped in seconds that are over; told once.
    pub fn settle(&mut self, now_ms: u64) -> Option<u64> {
        self.turn(now_ms);
        Some(std::mem::take(&mut self.unreported)).filter(|dropped| *dropped > 0)
    }

    /// Something was dropped and is not told yet.
    pub fn has_dropped(&self) -> bool {
        self.dropped + self.unreported > 0
    }

    /// What was dropped and not told yet, this second's among it.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped) + std::mem::take(&mut self.unreported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_allowance_and_what_was_dropped_is_told_once() {
        let mut rate = Rate::default();
        let written = (0..10).filter(|_| rate.allows(3, 5000)).count();
        assert_eq!((written, rate.settle(5999)), (3, None));
        assert!(rate.allows(3, 6000) && rate.has_dropped());
        assert_eq!((rate.settle(6000), rate.settle(7000)), (Some(7), None));
        assert!((0..5).filter(|_| rate.allows(3, 8000)).count() == 3 && rate.take_dropped() == 2);
    }
}
