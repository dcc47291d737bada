//! `logging.maxRate`: a limit of lines per second for one source; further lines are counted. PURE.

/// The lines of the current second, reset when a second begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    second: u64,
    taken: u32,
    /// Number of dropped lines, in the current second and in earlier ones.
    dropped: u64,
    unreported: u64,
}

impl Rate {
    /// Whether another line may be written at `now_ms`, with at most `most` per second.
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

    /// The number of lines dropped in past seconds; reported once.
    pub fn settle(&mut self, now_ms: u64) -> Option<u64> {
        self.turn(now_ms);
        Some(std::mem::take(&mut self.unreported)).filter(|dropped| *dropped > 0)
    }

    /// Whether dropped lines were not reported yet.
    pub fn has_dropped(&self) -> bool {
        self.dropped + self.unreported > 0
    }

    /// The number of dropped lines that were not reported yet, including the current second.
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
