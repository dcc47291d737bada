//! The memory of a cache's entries: three memfds, and how readers find an entry in them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

use super::blocks::Block;
use super::layout::{
    APPLIED, BUCKETS, HINT_SPAN, Key, LAYOUT_VERSION, MAX_HINT, UNIT, WIDE_KEY, entry, header, more,
};
use super::layout::{Kind, MAX_CLIENTS};
use crate::sys::byte_memory::ByteMapping;
use crate::sys::memory;

/// Bytes of the arena per bucket.
const BYTES_PER_BUCKET: usize = 128;
/// Bytes of the arena per counter cell.
const BYTES_PER_COUNTER: usize = 256;
/// A page of memory.
const PAGE: usize = 4096;

pub struct Memory {
    pub cache: ByteMapping,
    pub hints: ByteMapping,
    pub counters: ByteMapping,
    pub descriptors: Descriptors,
    seed: u32,
    mask: u32,
    arena: usize,
}

/// What readers map.
pub struct Descriptors {
    pub cache: OwnedFd,
    pub hints: OwnedFd,
    pub counters: OwnedFd,
}

/// An entry in the memory.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub block: Block,
    /// Where its reference is.
    pub link: usize,
}

/// A key is not there.
#[derive(Clone, Copy, Debug)]
pub struct Absent {
    /// Entries in its bucket.
    pub length: u32,
    pub last: Option<Block>,
}

impl Memory {
    /// Memory for `bytes` of entries; all of it counts for the machine only when it is used.
    ///
    /// # Errors
    /// The kernel has no descriptor or memory for it.
    pub fn new(bytes: usize, seed: u32) -> io::Result<Self> {
        let arena_bytes = Self::arena_bytes(bytes);
        let buckets = (arena_bytes / BYTES_PER_BUCKET).next_power_of_two();
        let arena = (BUCKETS + buckets * 8).next_multiple_of(PAGE);
        let [end, hints, counters] =
            [arena + arena_bytes, arena_bytes / HINT_SPAN, arena_bytes / BYTES_PER_COUNTER * 8];
        let create = |name: &str, bytes: usize| {
            let memfd = memory::create(name, bytes / 8)?;
            let mapping = ByteMapping::new(memfd.as_fd(), bytes)?;
            io::Result::Ok((memfd, mapping))
        };
        let (cache_fd, cache) = create("drover-cache", end)?;
        let (hints_fd, hints) = create("drover-cache-hints", hints)?;
        let (counters_fd, counters) = create("drover-cache-counters", counters)?;
        memory::seal_writes(&cache_fd)?;
        memory::seal_size(&hints_fd)?;
        memory::seal_size(&counters_fd)?;
        let mask = buckets as u32 - 1;
        let fields = [
            (header::LAYOUT, LAYOUT_VERSION),
            (header::MASK, mask),
            (header::SEED, seed),
            (header::ARENA, arena as u32),
            (header::END, (end / UNIT) as u32),
        ];
        fields.into_iter().for_each(|(cell, value)| cache.store(cell * 4, value, Relaxed));
        let descriptors = Descriptors { cache: cache_fd, hints: hints_fd, counters: counters_fd };
        Ok(Self { cache, hints, counters, descriptors, seed, mask, arena })
    }

    /// Bytes of the arena of a memory for so many bytes of entries.
    pub fn arena_bytes(bytes: usize) -> usize {
        bytes.next_multiple_of(PAGE)
    }

    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// Tells readers that there is another memory: what they do not find here may be there.
    pub fn retire(&self) {
        self.cache.store(header::RETIRED * 4, 1, Release);
    }

    /// Makes every look a miss from now on, also of what readers know: their versions have changed.
    pub fn empty(&self) {
        for hash in 0..=self.mask {
            let head = self.head(hash);
            if self.word(head) != 0 {
                self.relink(hash, head, 0);
            }
        }
    }

    /// The bytes of the arena.
    pub fn arena(&self) -> std::ops::Range<usize> {
        self.arena..self.cache.size()
    }

    pub fn buckets(&self) -> usize {
        self.mask as usize + 1
    }

    pub fn hash(&self, key: Key) -> u32 {
        key.hash(self.seed)
    }

    fn bucket(&self, hash: u32) -> usize {
        BUCKETS + (hash & self.mask) as usize * 8
    }

    /// The link of a bucket's first entry.
    pub fn head(&self, hash: u32) -> usize {
        self.bucket(hash) + 4
    }

    /// # Errors
    /// It is absent.
    pub fn find(&self, hash: u32, key: Key) -> Result<Found, Absent> {
        let mut link = self.head(hash);
        let mut absent = Absent { length: 0, last: None };
        loop {
            let reference = self.word(link);
            if reference == 0 {
                return Err(absent);
            }
            let block = Block(reference);
            if self.word(block.at() + entry::HASH) == hash && self.has_key(block, key) {
                return Ok(Found { block, link });
            }
            absent = Absent { length: absent.length + 1, last: Some(block) };
            link = block.at() + entry::NEXT;
        }
    }

    /// The link to an entry that is in its bucket.
    pub fn link_of(&self, block: Block, hash: u32) -> usize {
        let mut link = self.head(hash);
        while self.word(link) != block.0 {
            link = Block(self.word(link)).at() + entry::NEXT;
        }
        link
    }

    /// Makes the link of this bucket refer to `reference`: the only change that readers see. They see the state before or
    /// after it, and its version tells them whether what they copied was whole.
    pub fn relink(&self, hash: u32, link: usize, reference: u32) {
        let bucket = self.bucket(hash);
        let version = self.word(bucket);
        self.cache.store(bucket, version.wrapping_add(1), Relaxed);
        fence(Release);
        self.cache.store(link, reference, Release);
        self.cache.store(bucket, version.wrapping_add(2), Release);
        // Blocks that become free now are not written before the version is visible.
        fence(Release);
    }

    pub fn word(&self, at: usize) -> u32 {
        self.cache.load(at, Relaxed)
    }

    pub fn set_word(&self, at: usize, value: u32) {
        self.cache.store(at, value, Relaxed);
    }

    pub fn expires(&self, block: Block) -> f64 {
        let at = block.at() + entry::EXPIRES;
        f64::from_bits(u64::from(self.word(at)) | u64::from(self.word(at + 4)) << 32)
    }

    /// The units of its key, and whether it is UTF-16.
    fn key_shape(&self, block: Block) -> (usize, bool) {
        let shape = self.word(block.at() + entry::SHAPE);
        ((shape & 0xffff) as usize, (shape >> 24) as u8 & WIDE_KEY != 0)
    }

    fn key_bytes(&self, block: Block) -> usize {
        let (units, is_wide) = self.key_shape(block);
        units << u8::from(is_wide)
    }

    fn has_key(&self, block: Block, key: Key) -> bool {
        self.key_shape(block) == (key.units(), key.is_wide)
            && self.cache.with(block.at() + entry::KEY, key.bytes.len(), |bytes| bytes == key.bytes)
    }

    /// What `look` finds in the key of an entry.
    pub fn with_key<T>(&self, block: Block, look: impl FnOnce(Key) -> T) -> T {
        let (_, is_wide) = self.key_shape(block);
        self.cache.with(block.at() + entry::KEY, self.key_bytes(block), |bytes| look(Key { bytes, is_wide }))
    }

    pub fn kind(&self, block: Block) -> Option<Kind> {
        Kind::from_number((self.word(block.at() + entry::SHAPE) >> 16) as u8)
    }

    /// Where the value begins.
    pub fn value_at(&self, block: Block) -> usize {
        block.at() + entry::KEY + self.key_bytes(block).next_multiple_of(4)
    }

    pub fn value(&self, block: Block) -> Vec<u8> {
        let count = self.word(block.at() + entry::VALUE_BYTES) as usize;
        let mut value = Vec::with_capacity(count);
        let parts: Vec<(usize, usize)> =
            self.further(block).map(|next| (next.at() + more::DATA, self.bytes_of(next))).collect();
        let further: usize = parts.iter().map(|(_, bytes)| bytes).sum();
        self.cache.read(self.value_at(block), count - further, &mut value);
        parts.into_iter().for_each(|(at, bytes)| self.cache.read(at, bytes, &mut value));
        value
    }

    fn bytes_of(&self, further: Block) -> usize {
        self.word(further.at() + more::BYTES) as usize
    }

    /// The further blocks of an entry.
    pub fn further(&self, block: Block) -> impl Iterator<Item = Block> {
        let next = |at: usize| Some(Block(self.word(at))).filter(|next| next.0 != 0);
        std::iter::successors(next(block.at() + entry::MORE), move |block| next(block.at() + more::NEXT))
    }

    /// How often an entry was read, at most 3.
    pub fn hint(&self, block: Block) -> u8 {
        self.hint_of(block).load(Relaxed).min(MAX_HINT)
    }

    pub fn set_hint(&self, block: Block, reads: u8) {
        self.hint_of(block).store(reads.min(MAX_HINT), Relaxed);
    }

    fn hint_of(&self, block: Block) -> &std::sync::atomic::AtomicU8 {
        self.hints.byte((block.at() - self.arena) / HINT_SPAN)
    }

    /// The client's writes up to this number are visible.
    pub fn set_applied(&self, client: u32, number: u32) {
        assert!((client as usize) < MAX_CLIENTS, "client {client}");
        self.cache.store(APPLIED + client as usize * 4, number, Release);
    }

    pub fn applied(&self, client: u32) -> u32 {
        self.cache.load(APPLIED + client as usize * 4, Acquire)
    }
}
