//! A memory with entries, as the writer knows it: which blocks and cells are free, and how an entry is written. It
//! decides nothing: `store` says what is written, and what is removed for it.

use std::io;

use super::blocks::{Block, Blocks};
use super::counters::{Cells, Counter};
use super::layout::{Key, Kind, WIDE_KEY, entry, more};
use super::memory::Memory;

/// Maximum blocks of a value.
pub const MAX_PARTS: usize = 64;
/// The smallest further block of a value.
const MIN_PART: usize = 64;

/// Ms since 1970.
pub type Millis = u64;

/// A value to be written.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    pub key: Key<'a>,
    pub kind: Kind,
    pub value: &'a [u8],
    /// 0: never.
    pub expires: Millis,
    /// Ms after `expires` for which the stale value may be used.
    pub grace: u32,
    /// Ms before `expires` from which the value may be computed anew.
    pub early: u32,
}

/// Bytes of a counter's value.
const COUNTER: usize = 8;

/// A counter as the value of an entry.
pub fn encoded(counter: Counter) -> [u8; COUNTER] {
    let mut bytes = [0; COUNTER];
    bytes[..4].copy_from_slice(&counter.cell.to_le_bytes());
    bytes[4..].copy_from_slice(&u32::from(counter.generation).to_le_bytes());
    bytes
}

pub struct Space {
    pub memory: Memory,
    pub cells: Cells,
    blocks: Blocks,
}

impl Space {
    /// # Errors
    /// The kernel has no descriptors or memory for it.
    pub fn new(bytes: usize, seed: u32) -> io::Result<Self> {
        let memory = Memory::new(bytes, seed)?;
        Ok(Self {
            blocks: Blocks::new(&memory.cache, memory.arena()),
            cells: Cells::new(&memory.counters),
            memory,
        })
    }

    /// Bytes of the arena in use.
    pub fn used_bytes(&self) -> usize {
        self.memory.arena().len() - self.blocks.free_bytes()
    }

    /// Blocks for an entry: one, or several when there is room in pieces alone. None: there is no room.
    pub fn place(&mut self, key: Key, value: usize) -> Option<Vec<Block>> {
        let head = head(key);
        match self.blocks.take(&self.memory.cache, head + value) {
            Some(block) => Some(vec![block]),
            None => self.place_in_parts(head, value),
        }
    }

    /// The first has `head` bytes at least.
    fn place_in_parts(&mut self, head: usize, value: usize) -> Option<Vec<Block>> {
        let cache = &self.memory.cache;
        let least = ((head + value) / MAX_PARTS).max(MIN_PART);
        if self.blocks.free_bytes() < head + value {
            return None;
        }
        let mut parts = vec![self.blocks.take_largest(cache, head.max(least), head + value)?];
        let mut rest = (head + value).saturating_sub(Blocks::size(cache, parts[0]));
        while rest > 0 {
            let Some(block) =
                self.blocks.take_largest(cache, least.min(rest + more::DATA), rest + more::DATA)
            else {
                parts.into_iter().for_each(|block| self.blocks.give(cache, block));
                return None;
            };
            rest = rest.saturating_sub(Blocks::size(cache, block) - more::DATA);
            parts.push(block);
        }
        Some(parts)
    }

    /// Gives back blocks that were not written.
    pub fn give(&mut self, parts: Vec<Block>) {
        parts.into_iter().for_each(|block| self.blocks.give(&self.memory.cache, block));
    }

    /// Writes an entry to its blocks; `next` follows it in its bucket. Returns their bytes.
    pub fn write(&self, parts: &[Block], id: u32, hash: u32, next: u32, write: &Write<'_>) -> u32 {
        let Write { key, kind, value, expires, grace, early } = *write;
        let (first, further) = (parts[0], &parts[1..]);
        let at = first.at();
        let flags = if key.is_wide { WIDE_KEY } else { 0 };
        let shape = key.units() as u32 | u32::from(kind as u8) << 16 | u32::from(flags) << 24;
        let expires_bits = (expires as f64).to_bits();
        for (field, word) in [
            (entry::NEXT, next),
            (entry::HASH, hash),
            (entry::SHAPE, shape),
            (entry::EXPIRES, expires_bits as u32),
            (entry::EXPIRES + 4, (expires_bits >> 32) as u32),
            (entry::VALUE_BYTES, value.len() as u32),
            (entry::MORE, further.first().map_or(0, |block| block.0)),
            (entry::ID, id),
            (entry::GRACE, grace),
            (entry::EARLY, early),
        ] {
            self.memory.set_word(at + field, word);
        }
        let cache = &self.memory.cache;
        cache.write(at + entry::KEY, key.bytes);
        let head = head(key);
        let room = Blocks::size(cache, first) - head;
        let (part, mut rest) = value.split_at(value.len().min(room));
        cache.write(at + head, part);
        for (index, block) in further.iter().enumerate() {
            let (part, after) = rest.split_at(rest.len().min(Blocks::size(cache, *block) - more::DATA));
            rest = after;
            self.memory.set_word(block.at() + more::NEXT, further.get(index + 1).map_or(0, |next| next.0));
            self.memory.set_word(block.at() + more::BYTES, part.len() as u32);
            cache.write(block.at() + more::DATA, part);
        }
        parts.iter().map(|block| Blocks::size(cache, *block) as u32).sum()
    }

    /// Frees the blocks of an entry that no reader finds any more, and its counter.
    pub fn free(&mut self, block: Block) {
        if let Some(counter) = self.counter(block) {
            self.cells.give(&self.memory.counters, counter);
        }
        let further: Vec<Block> = self.memory.further(block).collect();
        self.blocks.give(&self.memory.cache, block);
        further.into_iter().for_each(|block| self.blocks.give(&self.memory.cache, block));
    }

    pub fn counter(&self, block: Block) -> Option<Counter> {
        let at = self.memory.value_at(block);
        (self.memory.kind(block) == Some(Kind::Counter))
            .then(|| Counter { cell: self.memory.word(at), generation: self.memory.word(at + 4) as u16 })
    }

    /// An entry's kind and bytes; a counter's value is its count as JSON. None: its count is lost.
    pub fn content(&self, block: Block) -> Option<(Kind, Vec<u8>)> {
        match self.counter(block) {
            Some(counter) => {
                Some((Kind::Json, counter.load(&self.memory.counters)?.to_string().into_bytes()))
            }
            None => Some((self.memory.kind(block)?, self.memory.value(block))),
        }
    }

    /// What would write an entry with its key, its times and this value.
    pub fn with_write<T>(
        &self,
        block: Block,
        kind: Kind,
        value: &[u8],
        act: impl FnOnce(&Write<'_>) -> T,
    ) -> T {
        let expires = self.memory.expires(block) as Millis;
        let word = |field: usize| self.memory.word(block.at() + field);
        let (grace, early) = (word(entry::GRACE), word(entry::EARLY));
        self.memory.with_key(block, |key| act(&Write { key, kind, value, expires, grace, early }))
    }
}

/// Bytes of an entry before its value.
fn head(key: Key) -> usize {
    entry::KEY + key.bytes.len().next_multiple_of(4)
}
