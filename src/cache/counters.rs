//! Counters: 64-bit cells in shared memory, which every process may change without asking the writer. A cell holds
//! `generation << 48 | value`; the generation changes when the cell gets to another counter, so that a late increment
//! changes nobody else's count.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::layout::COUNT_BITS;
use crate::sys::byte_memory::ByteMapping;

/// Counts are below this, and above its negative.
pub const COUNT_LIMIT: i64 = 1 << (COUNT_BITS - 1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    pub cell: u32,
    pub generation: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCounted {
    /// The counter is gone.
    Gone,
    /// The count would not fit into 48 bits.
    OutOfRange,
}

impl Counter {
    /// Adds to the count; returns the new one.
    ///
    /// # Errors
    /// The counter is gone, or its count would be out of range.
    pub fn add(self, memory: &ByteMapping, by: i64) -> Result<i64, NotCounted> {
        let cell = self.of(memory).ok_or(NotCounted::Gone)?;
        let mut before = cell.load(Relaxed);
        loop {
            let count = self.count(before)?.checked_add(by).filter(|count| is_in_range(*count));
            let count = count.ok_or(NotCounted::OutOfRange)?;
            match cell.compare_exchange_weak(before, self.packed(count), AcqRel, Relaxed) {
                Ok(_) => return Ok(count),
                Err(found) => before = found,
            }
        }
    }

    /// Ends the counter if it has this count; a process that counts later asks the writer.
    pub fn end_at(self, memory: &ByteMapping, count: i64) -> bool {
        let ended = self.next().packed(0);
        let exchange = |cell: &std::sync::atomic::AtomicU64| {
            cell.compare_exchange(self.packed(count), ended, AcqRel, Relaxed).is_ok()
        };
        self.of(memory).is_some_and(exchange)
    }

    fn next(self) -> Self {
        Self { generation: self.generation.wrapping_add(1), ..self }
    }

    /// Ends the counter in this memory: an increment of another process is in the count that is returned, or fails. 0: the
    /// count is lost.
    pub fn retire(self, memory: &ByteMapping) -> i64 {
        let ended = self.next().packed(0);
        let count =
            self.of(memory).map_or(Err(NotCounted::Gone), |cell| self.count(cell.swap(ended, AcqRel)));
        count.unwrap_or(0)
    }

    /// Sets the count; the counter must be there.
    pub fn store(self, memory: &ByteMapping, count: i64) {
        if let Some(cell) = self.of(memory) {
            cell.store(self.packed(count), Release);
        }
    }

    /// The count; None: the counter is gone.
    pub fn load(self, memory: &ByteMapping) -> Option<i64> {
        self.of(memory).and_then(|cell| self.count(cell.load(Acquire)).ok())
    }

    fn of(self, memory: &ByteMapping) -> Option<&std::sync::atomic::AtomicU64> {
        let at = self.cell as usize * 8;
        (at + 8 <= memory.size()).then(|| memory.cell(at))
    }

    fn count(self, packed: u64) -> Result<i64, NotCounted> {
        let is_same = packed >> COUNT_BITS == u64::from(self.generation);
        let shift = 64 - COUNT_BITS;
        is_same.then_some(((packed << shift) as i64) >> shift).ok_or(NotCounted::Gone)
    }

    fn packed(self, count: i64) -> u64 {
        u64::from(self.generation) << COUNT_BITS | count as u64 & ((1 << COUNT_BITS) - 1)
    }
}

fn is_in_range(count: i64) -> bool {
    (-COUNT_LIMIT..COUNT_LIMIT).contains(&count)
}

/// The cells that no counter has; the writer's.
pub struct Cells {
    /// Cells from this one on were never used.
    unused: u32,
    count: u32,
    /// The cell that was given back first is used first: late increments of its last counter are over by then.
    idle: VecDeque<u32>,
}

impl Cells {
    pub fn new(memory: &ByteMapping) -> Self {
        Self { unused: 0, count: (memory.size() / 8) as u32, idle: VecDeque::new() }
    }

    /// A counter that begins with `count`; None: all cells are in use, or the count is out of range.
    pub fn take(&mut self, memory: &ByteMapping, count: i64) -> Option<Counter> {
        if !is_in_range(count) {
            return None;
        }
        let cell = if self.unused < self.count {
            self.unused += 1;
            self.unused - 1
        } else {
            self.idle.pop_front()?
        };
        let own = memory.cell(cell as usize * 8);
        let counter = Counter { cell, generation: (own.load(Relaxed) >> COUNT_BITS) as u16 };
        own.store(counter.packed(count), Release);
        Some(counter)
    }

    /// The counter is gone. A worker may have stored anything in the cell, so the next generation follows the writer's.
    pub fn give(&mut self, memory: &ByteMapping, counter: Counter) {
        memory.cell(counter.cell as usize * 8).store(counter.next().packed(0), Release);
        self.idle.push_back(counter.cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory;
    use std::os::fd::AsFd;

    fn memory() -> ByteMapping {
        let memfd = memory::create("drover-test", 4).unwrap();
        ByteMapping::new(memfd.as_fd(), 32).unwrap()
    }

    #[test]
    fn a_counter_counts_in_both_directions_within_48_bits() {
        let memory = memory();
        let mut cells = Cells::new(&memory);
        let counter = cells.take(&memory, -2).unwrap();
        assert_eq!(counter.add(&memory, 5), Ok(3));
        assert_eq!(counter.add(&memory, -10), Ok(-7));
        assert_eq!(counter.load(&memory), Some(-7));
        assert_eq!(counter.add(&memory, COUNT_LIMIT + 6), Ok(COUNT_LIMIT - 1));
        assert_eq!(counter.add(&memory, 1), Err(NotCounted::OutOfRange));
        assert_eq!(counter.add(&memory, i64::MAX), Err(NotCounted::OutOfRange));
        assert_eq!(counter.load(&memory), Some(COUNT_LIMIT - 1));
        assert_eq!(cells.take(&memory, COUNT_LIMIT), None);
    }

    #[test]
    fn a_late_increment_changes_nobody_elses_count() {
        let memory = memory();
        let mut cells = Cells::new(&memory);
        let first = cells.take(&memory, 1).unwrap();
        cells.give(&memory, first);
        let others: Vec<Counter> = (0..4).map(|_| cells.take(&memory, 0).unwrap()).collect();
        assert_eq!(cells.take(&memory, 0), None, "all cells are in use");
        assert_eq!(others[3].cell, first.cell, "the cell that was given back is used last");
        assert_eq!(first.add(&memory, 1), Err(NotCounted::Gone));
        assert_eq!(others[3].load(&memory), Some(0));
        assert_eq!(Counter { cell: 4, generation: 0 }.load(&memory), None, "there is no such cell");
    }

    #[test]
    fn a_counter_is_ended_at_the_expected_count_alone() {
        let memory = memory();
        let counter = Cells::new(&memory).take(&memory, -3).unwrap();
        assert!(!counter.end_at(&memory, 3));
        assert_eq!(counter.add(&memory, 1), Ok(-2));
        assert!(!counter.end_at(&memory, -3));
        assert!(counter.end_at(&memory, -2));
        assert_eq!(counter.add(&memory, 1), Err(NotCounted::Gone));
        assert!(!counter.end_at(&memory, 0));
    }

    #[test]
    fn an_increment_is_in_the_count_of_a_counter_that_ends_or_fails() {
        let (memory, next) = (memory(), memory());
        let counter = Cells::new(&memory).take(&memory, 0).unwrap();
        let (counted, moved) = std::thread::scope(|scope| {
            let counting = scope.spawn(|| (0..).take_while(|_| counter.add(&memory, 1).is_ok()).count());
            while counter.load(&memory) < Some(1000) {}
            let moved = Cells::new(&next).take(&next, 5).unwrap();
            moved.store(&next, counter.retire(&memory));
            (counting.join().unwrap(), moved)
        });
        assert_eq!(moved.load(&next), Some(counted as i64));
        assert_eq!((counter.load(&memory), counter.retire(&memory)), (None, 0));
    }

    #[test]
    fn no_increment_of_several_threads_is_lost() {
        let memory = memory();
        let counter = Cells::new(&memory).take(&memory, 0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| assert!(counter.add(&memory, 1).is_ok())));
            }
        });
        assert_eq!(counter.load(&memory), Some(40_000));
    }
}
