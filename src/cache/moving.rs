//! Entries on their way to a memory of another size. The store goes on with the memory that it has, while copies of its
//! entries are made in steps; what changes meanwhile is copied again. Nobody reads the copies before all are made.

use super::blocks::Block;
use super::layout::{Kind, entry};
use super::memory::Absent;
use super::space::{Space, encoded};

/// Bytes that cost as much as one more copy.
const BYTES: usize = 4096;
/// How often the work of a step is doubled.
const MAX_DOUBLED: u32 = 24;

/// Bytes and block of a copy.
#[derive(Clone, Copy)]
pub struct Copied {
    pub block: Block,
    pub bytes: u32,
}

#[derive(Clone, Copy)]
enum State {
    None,
    /// It is in the queue.
    Awaited,
    Copied(Copied),
}

/// Why an entry was not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncopied {
    /// It is larger than a value may be there.
    TooLarge,
    NoRoom,
    /// No cell is left for a counter.
    NoCell,
    /// Its bucket has too many entries, of which this one is the last.
    BucketFull(u32),
}

pub struct Moving {
    space: Space,
    /// Maximum bytes of a value there.
    max_value: usize,
    /// Maximum entries of a bucket.
    max_in_bucket: u32,
    /// By id.
    states: Vec<State>,
    /// Ids from this one on were not looked at yet.
    from: u32,
    /// Entries that changed since they were looked at.
    changed: Vec<u32>,
    /// Entries that were copied with a counter, some of them more than once.
    counters: Vec<u32>,
    /// Steps that had changes alone.
    late_steps: u32,
    /// Entries that it evicted.
    pub evicted: usize,
}

impl Moving {
    pub fn new(space: Space, max_value: usize, max_in_bucket: u32) -> Self {
        let (states, changed, counters) = (Vec::new(), Vec::new(), Vec::new());
        let (from, late_steps, evicted) = (0, 0, 0);
        Self { space, max_value, max_in_bucket, states, from, changed, counters, late_steps, evicted }
    }

    /// The work of a step. It is doubled when only changes are left, so that they come to an end however many there are.
    pub fn step(&mut self, work: usize, ids: u32) -> usize {
        if self.from >= ids {
            self.late_steps = (self.late_steps + 1).min(MAX_DOUBLED);
        }
        work << self.late_steps
    }

    /// The cost of a copy.
    pub fn cost(bytes: u32) -> usize {
        1 + bytes as usize / BYTES
    }

    /// The next entry to be copied, of so many; None: all are.
    pub fn next(&mut self, ids: u32) -> Option<u32> {
        if self.from < ids {
            self.from += 1;
            return Some(self.from - 1);
        }
        let next = self.changed.pop()?;
        if matches!(self.state(next), State::Awaited) {
            *self.state(next) = State::None;
        }
        Some(next)
    }

    fn state(&mut self, id: u32) -> &mut State {
        let at = id as usize;
        if at >= self.states.len() {
            self.states.resize(at + 1, State::None);
        }
        &mut self.states[at]
    }

    /// The entry has another value, is new, or is gone (`is_live` false).
    pub fn changed(&mut self, id: u32, is_live: bool) {
        if id >= self.from {
            return;
        }
        let awaits = is_live && !matches!(self.state(id), State::Awaited);
        if let State::Copied(Copied { block, .. }) = *self.state(id) {
            let memory = &self.space.memory;
            let hash = memory.word(block.at() + entry::HASH);
            memory.relink(hash, memory.link_of(block, hash), memory.word(block.at() + entry::NEXT));
            self.space.free(block);
            *self.state(id) = State::None;
        }
        if awaits {
            *self.state(id) = State::Awaited;
            self.changed.push(id);
        }
    }

    /// Copies an entry that is in `block` of `from`.
    ///
    /// # Errors
    /// Why it is not copied; nothing has changed then.
    pub fn copy(&mut self, from: &Space, id: u32, hash: u32, block: Block) -> Result<(), Uncopied> {
        if matches!(self.state(id), State::Copied(_)) {
            return Ok(());
        }
        let kind = from.memory.kind(block).unwrap_or(Kind::Bytes);
        let mut value = from.memory.value(block);
        if value.len() > self.max_value {
            return Err(Uncopied::TooLarge);
        }
        let found = from.memory.with_key(block, |key| self.space.memory.find(hash, key));
        if let Err(Absent { length, last: Some(last) }) = found
            && length >= self.max_in_bucket
        {
            return Err(Uncopied::BucketFull(self.space.memory.word(last.at() + entry::ID)));
        }
        let parts = from.memory.with_key(block, |key| self.space.place(key, value.len()));
        let parts = parts.ok_or(Uncopied::NoRoom)?;
        if kind == Kind::Counter {
            // Its count follows when all are copied.
            let Some(counter) = self.space.cells.take(&self.space.memory.counters, 0) else {
                self.space.give(parts);
                return Err(Uncopied::NoCell);
            };
            value = encoded(counter).into();
            self.counters.push(id);
        }
        let Self { space, .. } = self;
        let head = space.memory.head(hash);
        let next = space.memory.word(head);
        let bytes = from.with_write(block, kind, &value, |write| space.write(&parts, id, hash, next, write));
        space.memory.set_hint(parts[0], from.memory.hint(block));
        space.memory.relink(hash, head, parts[0].0);
        *self.state(id) = State::Copied(Copied { block: parts[0], bytes });
        Ok(())
    }

    /// The memory with all copies, these by their ids, and the entries that are counters.
    pub fn finish(mut self) -> (Space, impl Fn(u32) -> Option<Copied>, Vec<u32>) {
        self.counters.sort_unstable();
        self.counters.dedup();
        let states = self.states;
        let copy = move |id: u32| match states.get(id as usize) {
            Some(State::Copied(copied)) => Some(*copied),
            _ => None,
        };
        (self.space, copy, self.counters)
    }
}
