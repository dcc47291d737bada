//! Which parts of the arena are free: the two-level segregated fit of Masmano et al. (TLSF, 2004). Blocks of any multiple
//! of 16 bytes, merged with free neighbours at once, so that values of all sizes share one arena.
//!
//! The first word of a block is `units << 2 | PREVIOUS_IS_FREE | IS_FREE`. A free block has the references of its list's
//! neighbours after it and its units in its last word. Only the writer uses these words, and only the writer can write
//! them.

use std::sync::atomic::Ordering::Relaxed;

use super::layout::UNIT;
use crate::sys::byte_memory::ByteMapping;

const IS_FREE: u32 = 1;
const PREVIOUS_IS_FREE: u32 = 2;

/// The smallest block, in units.
const MIN_UNITS: u32 = 4;

/// Lists per power of two, as a power of two.
const STEPS: u32 = 3;
const LISTS: usize = 256;

/// Blocks that are tried in the list of the wanted size itself before larger ones are taken.
const MAX_TRIES: usize = 8;

/// A reference to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block(pub u32);

impl Block {
    /// Its first byte.
    pub fn at(self) -> usize {
        self.0 as usize * UNIT
    }
}

pub struct Blocks {
    heads: [u32; LISTS],
    used_lists: [u64; LISTS / 64],
    free_units: u32,
}

impl Blocks {
    /// All of `arena` (bytes from the beginning of the memory) is free.
    pub fn new(memory: &ByteMapping, arena: std::ops::Range<usize>) -> Self {
        let mut blocks = Self { heads: [0; LISTS], used_lists: [0; LISTS / 64], free_units: 0 };
        let (first, end) = ((arena.start / UNIT) as u32, (arena.end / UNIT) as u32);
        // The last unit is never free, so that no block has a neighbour outside.
        memory.store(Block(end - 1).at(), 1 << 2, Relaxed);
        memory.store(Block(first).at(), (end - 1 - first) << 2, Relaxed);
        blocks.insert(memory, first, end - 1 - first);
        blocks
    }

    pub fn free_bytes(&self) -> usize {
        self.free_units as usize * UNIT
    }

    /// Bytes of a block that is in use.
    pub fn size(memory: &ByteMapping, block: Block) -> usize {
        (word(memory, block.0) >> 2) as usize * UNIT
    }

    /// A block of at least `bytes`; None: no free block is large enough.
    pub fn take(&mut self, memory: &ByteMapping, bytes: usize) -> Option<Block> {
        let wanted = units(bytes);
        let start = self.fitting(memory, wanted)?;
        Some(self.claim(memory, start, wanted))
    }

    /// Of the largest free blocks one, of at least `least` bytes and not more than `bytes` need.
    pub fn take_largest(&mut self, memory: &ByteMapping, least: usize, bytes: usize) -> Option<Block> {
        let list = self.used_lists.iter().enumerate().rev().find(|(_, lists)| **lists != 0);
        let list = list.map(|(index, lists)| index * 64 + 63 - lists.leading_zeros() as usize)?;
        let start = self.heads[list];
        let found = word(memory, start) >> 2;
        (found >= units(least)).then(|| self.claim(memory, start, units(bytes).min(found)))
    }

    pub fn give(&mut self, memory: &ByteMapping, block: Block) {
        let (mut start, mut count) = (block.0, word(memory, block.0) >> 2);
        debug_assert!(word(memory, start) & IS_FREE == 0, "it is free already");
        if word(memory, start) & PREVIOUS_IS_FREE != 0 {
            let previous = memory.load(block.at() - 4, Relaxed);
            self.remove(memory, start - previous, previous);
            (start, count) = (start - previous, count + previous);
        }
        let next = start + count;
        if word(memory, next) & IS_FREE != 0 {
            let more = word(memory, next) >> 2;
            self.remove(memory, next, more);
            count += more;
        }
        self.insert(memory, start, count);
    }

    /// The beginning of a free block of at least `wanted` units, the smallest that is found quickly.
    fn fitting(&self, memory: &ByteMapping, wanted: u32) -> Option<u32> {
        let own = list_of(wanted);
        let mut start = self.heads[own];
        for _ in 0..MAX_TRIES {
            if start == 0 {
                break;
            }
            if word(memory, start) >> 2 >= wanted {
                return Some(start);
            }
            start = memory.load(Block(start).at() + 4, Relaxed);
        }
        let first = own + 1;
        let lists = (first / 64..LISTS / 64).find_map(|index| {
            let from = if index == first / 64 { u64::MAX << (first % 64) } else { u64::MAX };
            let lists = self.used_lists[index] & from;
            (lists != 0).then(|| index * 64 + lists.trailing_zeros() as usize)
        });
        lists.map(|list| self.heads[list])
    }

    /// Takes `wanted` units of the free block at `start`.
    fn claim(&mut self, memory: &ByteMapping, start: u32, wanted: u32) -> Block {
        let found = word(memory, start) >> 2;
        self.remove(memory, start, found);
        let rest = found - wanted;
        let taken = if rest >= MIN_UNITS { wanted } else { found };
        // Before a free block there is never another one.
        memory.store(Block(start).at(), taken << 2, Relaxed);
        if taken < found {
            self.insert(memory, start + taken, rest);
        } else {
            let next = start + found;
            memory.store(Block(next).at(), word(memory, next) & !PREVIOUS_IS_FREE, Relaxed);
        }
        Block(start)
    }

    fn insert(&mut self, memory: &ByteMapping, start: u32, count: u32) {
        let list = list_of(count);
        let head = std::mem::replace(&mut self.heads[list], start);
        let at = Block(start).at();
        memory.store(at, count << 2 | IS_FREE, Relaxed);
        memory.store(at + 4, head, Relaxed);
        memory.store(at + 8, 0, Relaxed);
        memory.store(Block(start + count).at() - 4, count, Relaxed);
        let next = start + count;
        memory.store(Block(next).at(), word(memory, next) | PREVIOUS_IS_FREE, Relaxed);
        if head != 0 {
            memory.store(Block(head).at() + 8, start, Relaxed);
        }
        self.used_lists[list / 64] |= 1 << (list % 64);
        self.free_units += count;
    }

    fn remove(&mut self, memory: &ByteMapping, start: u32, count: u32) {
        let list = list_of(count);
        let at = Block(start).at();
        let (next, previous) = (memory.load(at + 4, Relaxed), memory.load(at + 8, Relaxed));
        match previous {
            0 => self.heads[list] = next,
            previous => memory.store(Block(previous).at() + 4, next, Relaxed),
        }
        if next != 0 {
            memory.store(Block(next).at() + 8, previous, Relaxed);
        }
        if self.heads[list] == 0 {
            self.used_lists[list / 64] &= !(1 << (list % 64));
        }
        self.free_units -= count;
    }
}

fn units(bytes: usize) -> u32 {
    (bytes.div_ceil(UNIT) as u32).max(MIN_UNITS)
}

fn word(memory: &ByteMapping, start: u32) -> u32 {
    memory.load(Block(start).at(), Relaxed)
}

/// Sizes below 16 units have a list each, above it each power of two has 8.
fn list_of(units: u32) -> usize {
    let power = 31 - units.max(1).leading_zeros();
    if power < STEPS {
        return units as usize;
    }
    (((power - STEPS + 1) << STEPS) + ((units >> (power - STEPS)) & ((1 << STEPS) - 1))) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::os::fd::AsFd;

    const BYTES: usize = 64 * 1024;

    fn memory() -> ByteMapping {
        let memfd = memory::create("drover-test", BYTES / 8).unwrap();
        ByteMapping::new(memfd.as_fd(), BYTES).unwrap()
    }

    #[test]
    fn sizes_grow_with_their_lists() {
        let lists: Vec<usize> = (1..5000).map(list_of).collect();
        assert!(lists.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] <= pair[0] + 1));
        assert!(list_of(u32::MAX) < LISTS);
    }

    #[test]
    fn what_is_given_back_becomes_one_block() {
        let memory = memory();
        let mut blocks = Blocks::new(&memory, 4096..BYTES);
        let all = blocks.free_bytes();
        let taken: Vec<Block> = (0..100).map(|_| blocks.take(&memory, 200).unwrap()).collect();
        assert_eq!(blocks.free_bytes(), all - 100 * 208);
        // Every second one, then the rest.
        taken.iter().step_by(2).for_each(|block| blocks.give(&memory, *block));
        taken.iter().skip(1).step_by(2).for_each(|block| blocks.give(&memory, *block));
        let whole = blocks.take(&memory, all).unwrap();
        assert_eq!((whole.at(), Blocks::size(&memory, whole), blocks.free_bytes()), (4096, all, 0));
        assert_eq!(blocks.take(&memory, 1), None);
    }

    #[test]
    fn the_largest_block_is_taken_in_part_or_whole() {
        let memory = memory();
        let mut blocks = Blocks::new(&memory, 4096..BYTES);
        let all = blocks.free_bytes();
        let part = blocks.take_largest(&memory, 64, 1000).unwrap();
        assert_eq!(Blocks::size(&memory, part), 1008);
        let rest = blocks.take_largest(&memory, 64, BYTES).unwrap();
        assert_eq!(Blocks::size(&memory, rest), all - 1008);
        blocks.give(&memory, part);
        assert_eq!(blocks.take_largest(&memory, 2000, 2000), None, "the largest has 1008");
    }

    proptest! {
        /// Blocks never overlap, and all bytes are in a block or free.
        #[test]
        fn blocks_are_disjoint_and_none_is_lost(steps in prop::collection::vec((any::<u8>(), 1usize..4000), 1..300)) {
            let memory = memory();
            let mut blocks = Blocks::new(&memory, 4096..BYTES);
            let all = blocks.free_bytes();
            let mut taken: BTreeMap<Block, usize> = BTreeMap::new();
            for (choice, bytes) in steps {
                if choice % 3 == 0 && !taken.is_empty() {
                    let block = *taken.keys().nth(usize::from(choice) % taken.len()).unwrap();
                    taken.remove(&block);
                    blocks.give(&memory, block);
                } else if let Some(block) = match choice % 3 {
                    1 => blocks.take(&memory, bytes),
                    _ => blocks.take_largest(&memory, 64, bytes),
                } {
                    let size = Blocks::size(&memory, block);
                    prop_assert!(choice % 3 != 1 || (bytes..bytes.max(64) + 64).contains(&size));
                    memory.write(block.at() + 4, &vec![0xff; size - 4]);
                    taken.insert(block, size);
                }
                let used: usize = taken.values().sum();
                prop_assert_eq!(used + blocks.free_bytes(), all);
                let ends = taken.iter().map(|(block, size)| block.at() + size);
                prop_assert!(ends.zip(taken.keys().skip(1)).all(|(end, next)| end <= next.at()));
            }
            taken.keys().for_each(|block| blocks.give(&memory, *block));
            prop_assert!(blocks.take(&memory, all).is_some());
        }
    }
}
