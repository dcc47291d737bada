//! The entries of the cache, as their one writer sees them. Everything that decides (queues, deadlines, tags) is in the
//! writer's own memory; readers need only what is in the shared memory. Time is an argument.

use super::blocks::Block;
use super::counters::NotCounted;
use super::deadlines::{Actual, Deadlines};
use super::eviction::{Eviction, Reads};
use super::layout::{Key, Kind, MAX_KEY_UNITS, entry, figure};
use super::memory::Memory;
use super::moving::{Moving, Uncopied};
use super::pattern;
use super::request::{Operation, Request};
use super::space::{Space, encoded};
use super::statistics::{Board, Rows};
use super::tags::Tags;
use std::io;
use std::sync::Arc;

pub use super::space::{Millis, Write};

/// Entries of a bucket; one more evicts the last. It bounds a reader's steps whatever the keys are.
const MAX_IN_BUCKET: u32 = 16;

/// A value is at most this part of the arena.
const VALUE_SHARE: usize = 8;

/// Bytes of a request for its head, key and tags.
const MAX_BESIDE: usize = 64 * 1024;

/// How much the cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    pub entries: usize,
}

impl Limits {
    /// Maximum bytes of a request: a value and the one that is expected before it, the key and the tags.
    pub fn max_request(self) -> usize {
        self.bytes / VALUE_SHARE * 2 + MAX_BESIDE
    }
}

/// Why a value was not stored. What the key had before is gone then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The key has more units than `MAX_KEY_UNITS`.
    KeyTooLong,
    /// The value is larger than an eighth of the cache.
    ValueTooLarge,
    /// There is no room, whatever is evicted.
    NoRoom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotIncremented {
    /// The value is no whole number.
    NotANumber,
    OutOfRange,
    Refused(Refused),
}

/// Why an entry is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Deleted,
    Invalidated,
    Expired,
    Evicted,
}

/// The writer's knowledge of an entry, by its id.
#[derive(Clone, Copy)]
struct Meta {
    block: Block,
    hash: u32,
    /// When the entry is removed: after its grace. 0: never.
    ends: Millis,
    /// Which use of the id this is.
    life: u32,
    is_live: bool,
    /// Bytes of its blocks.
    bytes: u32,
    /// Of its namespace's figures.
    row: u8,
}

pub struct Store {
    space: Space,
    /// None: it has the size that it should have.
    moving: Option<Moving>,
    eviction: Eviction,
    deadlines: Deadlines,
    tags: Tags,
    metas: Vec<Meta>,
    idle_ids: Vec<u32>,
    entries: usize,
    max_entries: usize,
    rows: Rows,
    /// What was evicted, if somebody wants to know.
    evicted: Option<Vec<EvictedKey>>,
}

/// The entries are in another memory.
pub struct Moved {
    /// The memory that they were in, with what it had: it must be emptied before anything changes.
    pub before: Memory,
    /// Entries that were evicted because of the new size.
    pub evicted: usize,
}

/// The key of an evicted entry.
pub struct EvictedKey {
    pub bytes: Vec<u8>,
    pub is_wide: bool,
}

struct Hints<'a> {
    memory: &'a Memory,
    metas: &'a [Meta],
}

impl Reads for Hints<'_> {
    fn load(&self, id: u32) -> u8 {
        self.memory.hint(self.metas[id as usize].block)
    }

    fn store(&mut self, id: u32, reads: u8) {
        self.memory.set_hint(self.metas[id as usize].block, reads);
    }
}

impl Store {
    /// `seed`: a random number, so that nobody outside can choose keys for one bucket.
    ///
    /// # Errors
    /// The kernel has no descriptors or memory for it.
    pub fn new(limits: Limits, seed: u32) -> io::Result<Self> {
        let space = Space::new(limits.bytes, seed)?;
        Ok(Self {
            max_entries: limits.entries,
            moving: None,
            eviction: Eviction::new(space.memory.buckets()),
            deadlines: Deadlines::default(),
            tags: Tags::default(),
            metas: Vec::new(),
            idle_ids: Vec::new(),
            entries: 0,
            rows: Rows::new(Board::new()?),
            evicted: None,
            space,
        })
    }

    pub fn memory(&self) -> &Memory {
        &self.space.memory
    }

    pub fn entries(&self) -> usize {
        self.entries
    }

    /// The figures of the namespaces.
    pub fn board(&self) -> &Arc<Board> {
        &self.rows.board
    }

    /// The row of the figures of a key's namespace.
    pub fn row_of(&mut self, key: Key) -> u8 {
        self.rows.of(key)
    }

    /// Keeps what is evicted from now on for `take_evicted`, or does not.
    pub fn keep_evicted(&mut self, keeps: bool) {
        self.evicted = keeps.then(Vec::new);
    }

    pub fn take_evicted(&mut self) -> Vec<EvictedKey> {
        self.evicted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Bytes of the arena in use.
    pub fn used_bytes(&self) -> usize {
        self.space.used_bytes()
    }

    /// # Errors
    /// There is no room for it; what the key had is gone then.
    pub fn set<'a>(
        &mut self,
        write: Write<'_>,
        tags: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Refused> {
        let stored = self.put(write);
        match stored {
            Ok(id) => {
                self.tags.set(id, tags);
                self.rows.board.add(self.metas[id as usize].row, figure::SETS, 1);
            }
            Err(_) => {
                let row = self.rows.of(write.key);
                self.rows.board.add(row, figure::REFUSED, 1);
                self.delete(write.key);
            }
        }
        stored.map(drop)
    }

    fn put(&mut self, write: Write<'_>) -> Result<u32, Refused> {
        let Write { key, value, expires, grace, .. } = write;
        if key.units() > MAX_KEY_UNITS {
            return Err(Refused::KeyTooLong);
        }
        if value.len() > self.space.memory.arena().len() / VALUE_SHARE {
            return Err(Refused::ValueTooLarge);
        }
        let parts = self.place(key, value.len()).ok_or(Refused::NoRoom)?;
        // After `place`, which may have evicted the entry itself.
        let hash = self.space.memory.hash(key);
        let found = match self.space.memory.find(hash, key) {
            Err(absent) if absent.length >= MAX_IN_BUCKET => {
                if let Some(last) = absent.last {
                    self.remove(self.id_of(last), Removal::Evicted);
                }
                None
            }
            found => found.ok(),
        };
        let old = found.map(|found| found.block);
        let (id, link) = match found {
            Some(found) => (self.id_of(found.block), found.link),
            None => {
                if self.entries >= self.max_entries {
                    self.evict();
                }
                (self.new_id(), self.space.memory.head(hash))
            }
        };
        let next = self.space.memory.word(old.map_or(link, |old| old.at() + entry::NEXT));
        let bytes = self.space.write(&parts, id, hash, next, &write);
        let first = parts[0];
        self.space.memory.set_hint(first, old.map_or(0, |old| self.space.memory.hint(old) + 1));
        self.space.memory.relink(hash, link, first.0);

        let row = if old.is_some() { self.metas[id as usize].row } else { self.rows.of(key) };
        let before = if old.is_some() { self.metas[id as usize].bytes } else { 0 };
        self.rows.board.add(row, figure::BYTES, i64::from(bytes) - i64::from(before));
        match old {
            Some(old) => {
                self.space.free(old);
                self.eviction.resize(id, bytes);
            }
            None => {
                self.eviction.insert(id, hash, bytes);
                self.entries += 1;
                self.rows.board.add(row, figure::ENTRIES, 1);
            }
        }
        let ends = if expires == 0 { 0 } else { expires + u64::from(grace) };
        let meta = &mut self.metas[id as usize];
        let known = std::mem::replace(&mut meta.ends, ends);
        (meta.block, meta.hash, meta.is_live, meta.bytes, meta.row) = (first, hash, true, bytes, row);
        self.deadlines.set(id, meta.life, ends, if old.is_some() { known } else { 0 });
        self.changed(id, true);
        Ok(id)
    }

    /// Blocks for an entry; others are evicted for it. None: there is no room, whatever is evicted.
    fn place(&mut self, key: Key, value: usize) -> Option<Vec<Block>> {
        loop {
            if let Some(parts) = self.space.place(key, value) {
                return Some(parts);
            }
            self.evict()?;
        }
    }

    /// Evicts an entry; None: there is none.
    fn evict(&mut self) -> Option<()> {
        let evicted = self.eviction.evict(&mut Hints { memory: &self.space.memory, metas: &self.metas })?;
        self.remove(evicted, Removal::Evicted);
        Some(())
    }

    /// The entry has another value, is new, or is gone.
    fn changed(&mut self, id: u32, is_live: bool) {
        if let Some(moving) = &mut self.moving {
            moving.changed(id, is_live);
        }
    }

    /// Begins to move the entries to a memory of so many bytes, which `move_on` does in steps. A move that goes on is given
    /// up.
    ///
    /// # Errors
    /// The kernel has no descriptors or memory for it; the memory stays as it is.
    pub fn resize(&mut self, bytes: usize) -> io::Result<()> {
        self.moving = None;
        if Memory::arena_bytes(bytes) != self.space.memory.arena().len() {
            let space = Space::new(bytes, self.space.memory.seed())?;
            let max_value = space.memory.arena().len() / VALUE_SHARE;
            self.moving = Some(Moving::new(space, max_value, MAX_IN_BUCKET));
        }
        Ok(())
    }

    pub fn is_moving(&self) -> bool {
        self.moving.is_some()
    }

    /// Copies some entries, about `work` of them, and evicts those that have no room where they go. When all are copied the
    /// new memory takes over; the one before must be emptied before anything else changes.
    pub fn move_on(&mut self, work: usize) -> Option<Moved> {
        let ids = self.metas.len() as u32;
        let mut left = self.moving.as_mut()?.step(work, ids);
        while let Some(id) = self.moving.as_mut()?.next(ids) {
            left = left.saturating_sub(self.copy(id));
            if left == 0 {
                return None;
            }
        }
        self.moving.take().map(|moving| self.take_over(moving))
    }

    /// Copies an entry, unless it is evicted; returns the cost.
    fn copy(&mut self, id: u32) -> usize {
        let mut cost = 0;
        while let Meta { block, hash, is_live: true, bytes, .. } = self.metas[id as usize]
            && let Some(moving) = &mut self.moving
        {
            cost += Moving::cost(bytes);
            match moving.copy(&self.space, id, hash, block) {
                Ok(()) => break,
                Err(Uncopied::NoCell) => {
                    self.make_plain(id);
                    continue;
                }
                // It is there, so there is one to evict.
                Err(Uncopied::NoRoom) => drop(self.evict()),
                Err(Uncopied::TooLarge) => self.remove(id, Removal::Evicted),
                Err(Uncopied::BucketFull(last)) => self.remove(last, Removal::Evicted),
            }
            self.moving.iter_mut().for_each(|moving| moving.evicted += 1);
        }
        cost.max(1)
    }

    /// Makes a counter a number that the writer alone changes.
    fn make_plain(&mut self, id: u32) {
        let block = self.metas[id as usize].block;
        let Some(counter) = self.space.counter(block) else { return };
        let text = counter.retire(&self.space.memory.counters).to_string();
        let (key, is_wide) = self.space.memory.with_key(block, |key| (key.bytes.to_vec(), key.is_wide));
        let tags: Vec<Box<[u8]>> = self.tags.of(id).map(Into::into).collect();
        let expires = self.space.memory.expires(block) as Millis;
        let [grace, early] =
            [entry::GRACE, entry::EARLY].map(|field| self.space.memory.word(block.at() + field));
        let key = Key { bytes: &key, is_wide };
        match self.put(Write { key, kind: Kind::Json, value: text.as_bytes(), expires, grace, early }) {
            Ok(id) => self.tags.set(id, tags.iter().map(AsRef::as_ref)),
            Err(_) => drop(self.delete(key)),
        }
    }

    fn take_over(&mut self, moving: Moving) -> Moved {
        let evicted = moving.evicted;
        let (space, copy_of, counters) = moving.finish();
        let before = std::mem::replace(&mut self.space, space);
        before.memory.retire();
        for id in counters {
            let block = self.metas[id as usize].block;
            let copied = copy_of(id).and_then(|copied| self.space.counter(copied.block));
            if let Some(counter) = copied
                && let Some(known) = before.counter(block)
            {
                counter.store(&self.space.memory.counters, known.retire(&before.memory.counters));
            }
        }
        for (id, meta) in (0u32..).zip(&mut self.metas).filter(|(_, meta)| meta.is_live) {
            let Some(copied) = copy_of(id) else { continue };
            if copied.bytes != meta.bytes {
                let more = i64::from(copied.bytes) - i64::from(meta.bytes);
                self.rows.board.add(meta.row, figure::BYTES, more);
                self.eviction.resize(id, copied.bytes);
            }
            (meta.block, meta.bytes) = (copied.block, copied.bytes);
        }
        self.eviction.remember_at_most(self.space.memory.buckets());
        Moved { before: before.memory, evicted }
    }

    fn id_of(&self, block: Block) -> u32 {
        self.space.memory.word(block.at() + entry::ID)
    }

    fn new_id(&mut self) -> u32 {
        self.idle_ids.pop().unwrap_or_else(|| {
            self.metas.push(Meta {
                block: Block(0),
                hash: 0,
                ends: 0,
                life: 0,
                is_live: false,
                bytes: 0,
                row: 0,
            });
            self.metas.len() as u32 - 1
        })
    }

    fn remove(&mut self, id: u32, why: Removal) {
        let Meta { block, hash, bytes, row, .. } = self.metas[id as usize];
        if let (Removal::Evicted, Some(evicted)) = (why, &mut self.evicted) {
            let keep = |key: Key| EvictedKey { bytes: key.bytes.to_vec(), is_wide: key.is_wide };
            evicted.push(self.space.memory.with_key(block, keep));
        }
        let link = self.space.memory.link_of(block, hash);
        self.space.memory.relink(hash, link, self.space.memory.word(block.at() + entry::NEXT));
        self.eviction.remove(id);
        self.tags.remove(id);
        self.space.free(block);
        let meta = &mut self.metas[id as usize];
        (meta.life, meta.is_live) = (meta.life.wrapping_add(1), false);
        self.idle_ids.push(id);
        self.entries -= 1;
        self.changed(id, false);
        let board = &self.rows.board;
        board.add(row, figure::ENTRIES, -1);
        board.add(row, figure::BYTES, -i64::from(bytes));
        match why {
            Removal::Deleted => {}
            Removal::Invalidated => board.add(row, figure::INVALIDATED, 1),
            Removal::Expired => board.add(row, figure::EXPIRED, 1),
            Removal::Evicted => board.add(row, figure::EVICTED, 1),
        }
    }

    /// Whether the key was there.
    pub fn delete(&mut self, key: Key) -> bool {
        let found = self.space.memory.find(self.space.memory.hash(key), key);
        if let Ok(found) = found {
            self.remove(self.id_of(found.block), Removal::Deleted);
        }
        found.is_ok()
    }

    /// A fresh value's kind and bytes. A counter's value is its count as JSON.
    pub fn get(&self, key: Key, now: Millis) -> Option<(Kind, Vec<u8>)> {
        self.fresh(key, now).and_then(|block| self.space.content(block))
    }

    fn fresh(&self, key: Key, now: Millis) -> Option<Block> {
        let block = self.space.memory.find(self.space.memory.hash(key), key).ok()?.block;
        let expires = self.space.memory.expires(block);
        (expires == 0.0 || expires > now as f64).then_some(block)
    }

    /// Adds to a number; one that is absent begins with 0 and `expires`.
    ///
    /// # Errors
    /// The key has something else, or there is no room for the number.
    pub fn increment(
        &mut self,
        key: Key,
        by: i64,
        expires: Millis,
        now: Millis,
    ) -> Result<i64, NotIncremented> {
        let out_of_range = NotIncremented::OutOfRange;
        let found = self.fresh(key, now);
        if let Some(counter) = found.and_then(|block| self.space.counter(block)) {
            match counter.add(&self.space.memory.counters, by) {
                Ok(count) => return Ok(count),
                Err(NotCounted::OutOfRange) => return Err(out_of_range),
                // A worker has stored another generation in the cell: the count is lost.
                Err(NotCounted::Gone) => {}
            }
        }
        let before = found.map_or(Ok(0), |block| {
            let text =
                self.space.content(block).map_or(Ok("0".into()), |(_, value)| String::from_utf8(value));
            text.ok().and_then(|text| text.parse().ok()).ok_or(NotIncremented::NotANumber)
        })?;
        let count = i64::checked_add(before, by).ok_or(out_of_range)?;
        let (expires, grace) = found.map_or((expires, 0), |block| {
            (self.space.memory.expires(block) as u64, self.space.memory.word(block.at() + entry::GRACE))
        });
        let tags: Vec<Box<[u8]>> =
            found.map(|block| self.tags.of(self.id_of(block)).map(Into::into).collect()).unwrap_or_default();
        let text = count.to_string();
        let counter = self.space.cells.take(&self.space.memory.counters, count);
        let encoded = counter.map(encoded);
        // Without a cell the number is a value like others, which the writer alone changes.
        let (kind, value) = match &encoded {
            Some(encoded) => (Kind::Counter, &encoded[..]),
            None => (Kind::Json, text.as_bytes()),
        };
        let write = Write { key, kind, value, expires, grace, early: 0 };
        let stored = self.set(write, tags.iter().map(AsRef::as_ref));
        if let (Err(_), Some(counter)) = (stored, counter) {
            self.space.cells.give(&self.space.memory.counters, counter);
        }
        stored.map(|()| count).map_err(NotIncremented::Refused)
    }

    /// Writes if the key has exactly this fresh value, or None: no fresh value. Returns whether it had.
    ///
    /// # Errors
    /// There is no room for the new value.
    pub fn compare_and_set<'a>(
        &mut self,
        expected: Option<(Kind, &[u8])>,
        write: Write<'_>,
        tags: impl IntoIterator<Item = &'a [u8]>,
        now: Millis,
    ) -> Result<bool, Refused> {
        let block = self.fresh(write.key, now);
        let found = block.and_then(|block| self.space.content(block));
        if found.as_ref().map(|(kind, value)| (*kind, value.as_slice())) != expected {
            return Ok(false);
        }
        // Processes count without the writer: what they add between the comparison and the change must not be lost.
        let counter = block.and_then(|block| self.space.counter(block));
        if let (Some(counter), Some((_, count))) = (counter, found) {
            let count = std::str::from_utf8(&count).ok().and_then(|count| count.parse().ok());
            if !count.is_some_and(|count| counter.end_at(&self.space.memory.counters, count)) {
                return Ok(false);
            }
        }
        self.set(write, tags).map(|()| true)
    }

    /// Maximum bytes of a request.
    pub fn max_request(&self) -> usize {
        Limits { bytes: self.space.memory.arena().len(), entries: 0 }.max_request()
    }

    /// Passes the entries that have not ended to `act`, as the requests that set them. A counter is its count as JSON.
    ///
    /// # Errors
    /// The first of `act`.
    pub fn for_each<E>(
        &self,
        now: Millis,
        mut act: impl FnMut(&Request<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (id, meta) in (0u32..).zip(&self.metas) {
            if !meta.is_live || (meta.ends != 0 && meta.ends <= now) {
                continue;
            }
            let Some((kind, value)) = self.space.content(meta.block) else { continue };
            let tags: Vec<u8> = self.tags.of(id).flat_map(|tag| [tag, &[0]].concat()).collect();
            let (key, is_wide) =
                self.space.memory.with_key(meta.block, |key| (key.bytes.to_vec(), key.is_wide));
            act(&Request {
                operation: Operation::Set,
                is_awaited: false,
                lands: false,
                key: Key { bytes: &key, is_wide },
                kind,
                value: &value,
                tags: &tags,
                expected: None,
                expires: self.space.memory.expires(meta.block) as Millis,
                grace: self.space.memory.word(meta.block.at() + entry::GRACE),
                early: self.space.memory.word(meta.block.at() + entry::EARLY),
                added: 0,
            })?;
        }
        Ok(())
    }

    /// Removes the entries with a tag; returns how many.
    pub fn invalidate_tag(&mut self, tag: &[u8]) -> usize {
        let ids = self.tags.with(tag);
        ids.iter().for_each(|id| self.remove(*id, Removal::Invalidated));
        ids.len()
    }

    /// Removes the entries whose keys match, among `count` ids from `from` on; returns how many, and where to go on. An
    /// entry that is set during such a scan may be removed too.
    pub fn invalidate(&mut self, pattern: Key, from: u32, count: u32) -> (usize, Option<u32>) {
        let end = from.saturating_add(count).min(self.metas.len() as u32);
        let mut removed = 0;
        for id in from..end {
            let Meta { block, is_live, .. } = self.metas[id as usize];
            if is_live && self.space.memory.with_key(block, |key| is_match(pattern, key)) {
                self.remove(id, Removal::Invalidated);
                removed += 1;
            }
        }
        (removed, (end < self.metas.len() as u32).then_some(end))
    }

    /// Removes all entries but those of some namespaces, whose keys begin with one of these texts; returns how many.
    pub fn clear(&mut self, but: &[String]) -> usize {
        let spared = |key: Key| {
            let text = key.text();
            but.iter().any(|beginning| text.starts_with(beginning))
        };
        let all = 0..self.metas.len() as u32;
        let removed: Vec<u32> = all
            .filter(|id| {
                let Meta { block, is_live, .. } = self.metas[*id as usize];
                is_live && !self.space.memory.with_key(block, spared)
            })
            .collect();
        removed.iter().for_each(|id| self.remove(*id, Removal::Invalidated));
        removed.len()
    }

    /// Removes at most `most` entries that have ended; returns when to do it again.
    pub fn expire(&mut self, now: Millis, most: usize) -> Option<Millis> {
        for _ in 0..most {
            let metas = &self.metas;
            let due = self.deadlines.next_due(now, |id, life| match metas[id as usize] {
                Meta { is_live: true, life: own, ends, .. } if own == life && ends != 0 => Actual::At(ends),
                _ => Actual::None,
            });
            match due {
                Some(id) => self.remove(id, Removal::Expired),
                None => return self.deadlines.next(),
            }
        }
        self.deadlines.next().map(|next| next.max(now))
    }
}

/// Compares units with units: a latin1 pattern matches wide keys too, and the other way round.
fn is_match(pattern: Key, key: Key) -> bool {
    let star = u16::from(b'*');
    match (pattern.is_wide, key.is_wide) {
        (false, false) => pattern::matches(pattern.bytes, key.bytes, b'*'),
        _ => pattern::matches(&units(pattern), &units(key), star),
    }
}

fn units(key: Key) -> Vec<u16> {
    if key.is_wide {
        key.bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
    } else {
        key.bytes.iter().map(|byte| u16::from(*byte)).collect()
    }
}

#[cfg(test)]
mod tests;
