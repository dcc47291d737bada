//! How long a worker lives that reaches a limit at once. A new worker of the same program reaches it as soon, so that
//! replacements alone would never end: after each of them the next worker of the slot lives twice as long.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Limit;

/// A worker that reaches a limit earlier after its start reaches it at once, and is not replaced before this time.
pub const MIN_LIFE: Duration = Duration::from_secs(10);
/// The life of a worker that reaches a limit at once, as its predecessor did.
const SECOND_LIFE: Duration = Duration::from_secs(60);
/// It doubles so many times.
const MAX_DOUBLINGS: u32 = 4;

#[derive(Debug, Default)]
pub struct Repeats {
    /// How many workers of a slot, one after another, were replaced because they had reached the limit at once.
    counts: BTreeMap<(u16, Limit), u32>,
}

impl Repeats {
    /// How long a worker lives that has reached the limit at once.
    pub fn life(&self, slot: u16, limit: Limit) -> Duration {
        match self.counts.get(&(slot, limit)) {
            None => MIN_LIFE,
            Some(count) => SECOND_LIFE * 2u32.pow((count - 1).min(MAX_DOUBLINGS)),
        }
    }

    /// The slot's worker is replaced because of the limit.
    pub fn replaced(&mut self, slot: u16, limit: Limit, at_once: bool) {
        if at_once {
            *self.counts.entry((slot, limit)).or_default() += 1;
        } else {
            self.counts.remove(&(slot, limit));
        }
    }

    /// Other limits apply.
    pub fn clear(&mut self) {
        self.counts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_life_that_ends_at_once_doubles_the_next_one_up_to_16_minutes() {
        let mut repeats = Repeats::default();
        let mut lives = Vec::new();
        for _ in 0..8 {
            lives.push(repeats.life(3, Limit::Memory).as_secs());
            repeats.replaced(3, Limit::Memory, true);
        }
        assert_eq!(lives, [10, 60, 120, 240, 480, 960, 960, 960]);
        assert_eq!(repeats.life(3, Limit::Cpu), MIN_LIFE);
        assert_eq!(repeats.life(2, Limit::Memory), MIN_LIFE);
        repeats.replaced(3, Limit::Memory, false);
        assert_eq!(repeats.life(3, Limit::Memory), MIN_LIFE);
    }
}
