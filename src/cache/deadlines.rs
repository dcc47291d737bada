//! When entries end. PURE. At most one deadline per entry and life is queued as long as deadlines only move away: when
//! one is reached, the entry's actual deadline decides.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// An entry's id is used again after its removal: `life` tells which use of it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    /// Ms since 1970.
    at: u64,
    id: u32,
    life: u32,
}

#[derive(Default)]
pub struct Deadlines {
    queue: BinaryHeap<Reverse<Deadline>>,
}

/// What an entry's deadline is now.
pub enum Actual {
    /// The entry is gone or never ends.
    None,
    At(u64),
}

impl Deadlines {
    /// The entry ends at `at`; `known`: the deadline that it had before, 0 for none.
    pub fn set(&mut self, id: u32, life: u32, at: u64, known: u64) {
        if at != 0 && (known == 0 || at < known) {
            self.queue.push(Reverse(Deadline { at, id, life }));
        }
    }

    /// An entry that has ended by `now`, if there is one.
    pub fn next_due(&mut self, now: u64, actual: impl Fn(u32, u32) -> Actual) -> Option<u32> {
        while let Some(Reverse(next)) = self.queue.peek().copied().filter(|Reverse(next)| next.at <= now) {
            self.queue.pop();
            match actual(next.id, next.life) {
                Actual::None => {}
                Actual::At(at) if at <= now => return Some(next.id),
                Actual::At(at) => self.queue.push(Reverse(Deadline { at, ..next })),
            }
        }
        None
    }

    /// When `next_due` has to be asked again.
    pub fn next(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse(next)| next.at)
    }

    #[cfg(test)]
    fn queued(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_moves_away_is_queued_once() {
        let mut deadlines = Deadlines::default();
        deadlines.set(1, 0, 10, 0);
        for at in 11..100 {
            deadlines.set(1, 0, at, at - 1);
        }
        assert_eq!(deadlines.queued(), 1);
        assert_eq!(deadlines.next_due(50, |_, _| Actual::At(99)), None);
        assert_eq!(deadlines.next(), Some(99));
        assert_eq!(deadlines.next_due(99, |_, _| Actual::At(99)), Some(1));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_deadline_that_comes_nearer_is_kept() {
        let mut deadlines = Deadlines::default();
        deadlines.set(1, 0, 100, 0);
        deadlines.set(1, 0, 10, 100);
        assert_eq!(deadlines.next_due(10, |_, _| Actual::At(10)), Some(1));
        assert_eq!(deadlines.next_due(100, |_, _| Actual::None), None, "the entry is gone");
    }

    #[test]
    fn an_id_that_is_used_again_does_not_end_with_its_earlier_entry() {
        let mut deadlines = Deadlines::default();
        deadlines.set(1, 0, 10, 0);
        let actual = |_, life| if life == 1 { Actual::At(500) } else { Actual::None };
        deadlines.set(1, 1, 500, 0);
        assert_eq!(deadlines.next_due(20, actual), None);
        assert_eq!(deadlines.next(), Some(500));
    }
}
