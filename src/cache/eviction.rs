//! Which entry is evicted: S3-FIFO (Yang et al., SOSP 2023), by bytes. PURE. A new entry joins the small queue; one that
//! was read meanwhile moves on to the main queue, and one that was evicted not long ago joins the main queue at once.

use super::layout::MAX_HINT;

const NONE: u32 = u32::MAX;

/// The small queue's share of all bytes is a tenth.
const SMALL_SHARE: usize = 10;

/// Evictions that are remembered at least.
const MIN_REMEMBERED: usize = 64;

/// How often entries were read; the readers count.
pub trait Reads {
    fn load(&self, id: u32) -> u8;
    fn store(&mut self, id: u32, reads: u8);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Small,
    Main,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Towards the head, where entries join.
    newer: u32,
    /// Towards the tail, where they leave.
    older: u32,
    hash: u32,
    bytes: u32,
    queue: Option<Queue>,
}

#[derive(Debug)]
struct List {
    head: u32,
    tail: u32,
    bytes: usize,
    count: usize,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, bytes: 0, count: 0 }
    }
}

pub struct Eviction {
    nodes: Vec<Node>,
    small: List,
    main: List,
    /// Evicted entries by their hash: `hash << 32 | when`, counted in evictions; 0: none. A later one replaces an earlier
    /// one. Numbers, so that the kernel provides the memory as it is used.
    ghosts: Vec<u64>,
    evictions: u32,
}

impl Eviction {
    /// `ghosts`: how many evicted entries are remembered at most, a power of two.
    pub fn new(ghosts: usize) -> Self {
        Self {
            nodes: Vec::new(),
            small: List::default(),
            main: List::default(),
            ghosts: vec![0; ghosts.next_power_of_two()],
            evictions: 0,
        }
    }

    /// From now on so many evicted entries are remembered at most, the latest.
    pub fn remember_at_most(&mut self, ghosts: usize) {
        let before = std::mem::replace(&mut self.ghosts, vec![0; ghosts.next_power_of_two()]);
        let age = |ghost: u64| self.evictions.wrapping_sub(ghost as u32);
        for ghost in before.into_iter().filter(|ghost| *ghost != 0) {
            let place = (ghost >> 32) as usize & (self.ghosts.len() - 1);
            let known = self.ghosts[place];
            if known == 0 || age(ghost) < age(known) {
                self.ghosts[place] = ghost;
            }
        }
    }

    /// A new entry.
    pub fn insert(&mut self, id: u32, hash: u32, bytes: u32) {
        let queue = if self.was_evicted(hash) { Queue::Main } else { Queue::Small };
        let at = id as usize;
        if at >= self.nodes.len() {
            self.nodes.resize(at + 1, Node { newer: NONE, older: NONE, hash: 0, bytes: 0, queue: None });
        }
        self.nodes[at] = Node { newer: NONE, older: NONE, hash, bytes, queue: None };
        self.join(id, queue);
    }

    /// The entry has another value; it keeps its place.
    pub fn resize(&mut self, id: u32, bytes: u32) {
        let node = &mut self.nodes[id as usize];
        let before = std::mem::replace(&mut node.bytes, bytes);
        if let Some(queue) = node.queue {
            let list = self.list(queue);
            list.bytes = list.bytes + bytes as usize - before as usize;
        }
    }

    /// The entry is gone.
    pub fn remove(&mut self, id: u32) {
        self.leave(id);
    }

    /// Removes the next entry to evict; None: there are no entries.
    pub fn evict(&mut self, reads: &mut impl Reads) -> Option<u32> {
        let share = (self.small.bytes + self.main.bytes) / SMALL_SHARE;
        loop {
            let from_small = self.small.count > 0 && (self.small.bytes > share || self.main.count == 0);
            let id = if from_small { self.small.tail } else { self.main.tail };
            if id == NONE {
                return None;
            }
            let read = reads.load(id).min(MAX_HINT);
            if read == 0 {
                self.leave(id);
                if from_small {
                    self.remember(self.nodes[id as usize].hash);
                }
                return Some(id);
            }
            reads.store(id, if from_small { 0 } else { read - 1 });
            self.leave(id);
            self.join(id, Queue::Main);
        }
    }

    fn remember(&mut self, hash: u32) {
        self.evictions = self.evictions.wrapping_add(1).max(1);
        let place = hash as usize & (self.ghosts.len() - 1);
        self.ghosts[place] = u64::from(hash) << 32 | u64::from(self.evictions);
    }

    /// Whether an entry of this hash was evicted from the small queue, not more evictions ago than the main queue has
    /// entries.
    fn was_evicted(&self, hash: u32) -> bool {
        let ghost = self.ghosts[hash as usize & (self.ghosts.len() - 1)];
        let (its_hash, evicted) = ((ghost >> 32) as u32, ghost as u32);
        let age = self.evictions.wrapping_sub(evicted) as usize;
        evicted != 0 && its_hash == hash && age <= self.main.count.max(MIN_REMEMBERED)
    }

    fn list(&mut self, queue: Queue) -> &mut List {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    fn join(&mut self, id: u32, queue: Queue) {
        let bytes = self.nodes[id as usize].bytes as usize;
        let list = self.list(queue);
        let older = std::mem::replace(&mut list.head, id);
        if older == NONE {
            list.tail = id;
        }
        list.bytes += bytes;
        list.count += 1;
        if older != NONE {
            self.nodes[older as usize].newer = id;
        }
        let node = &mut self.nodes[id as usize];
        (node.newer, node.older, node.queue) = (NONE, older, Some(queue));
    }

    fn leave(&mut self, id: u32) {
        let node = &mut self.nodes[id as usize];
        let Some(queue) = node.queue.take() else { return };
        let Node { newer, older, bytes, .. } = *node;
        match newer {
            NONE => self.list(queue).head = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.list(queue).tail = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        let list = self.list(queue);
        list.bytes -= bytes as usize;
        list.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashMap};

    #[derive(Default)]
    struct Counts(HashMap<u32, u8>);

    impl Reads for Counts {
        fn load(&self, id: u32) -> u8 {
            self.0.get(&id).copied().unwrap_or(0)
        }

        fn store(&mut self, id: u32, reads: u8) {
            self.0.insert(id, reads);
        }
    }

    #[test]
    fn an_entry_that_nobody_reads_leaves_before_those_that_are_read() {
        let (mut eviction, mut reads) = (Eviction::new(64), Counts::default());
        (0..10).for_each(|id| eviction.insert(id, id, 100));
        (0..5).for_each(|id| reads.store(id, 1));
        let evicted: Vec<u32> = std::iter::from_fn(|| eviction.evict(&mut reads)).collect();
        assert_eq!(evicted, [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_entry_that_comes_again_soon_joins_the_main_queue() {
        let (mut eviction, mut reads) = (Eviction::new(64), Counts::default());
        (0..20).for_each(|id| eviction.insert(id, id, 100));
        assert_eq!(eviction.evict(&mut reads), Some(0));
        eviction.insert(0, 0, 100);
        assert_eq!(eviction.main.count, 1);
        assert_eq!(eviction.evict(&mut reads), Some(1), "the small queue goes first");
    }

    #[test]
    fn what_was_evicted_is_remembered_in_a_memory_of_another_size() {
        for ghosts in [16, 4096] {
            let (mut eviction, mut reads) = (Eviction::new(256), Counts::default());
            (0..200).for_each(|id| eviction.insert(id, id, 100));
            (0..100).for_each(|id| assert_eq!(eviction.evict(&mut reads), Some(id)));
            eviction.remember_at_most(ghosts);
            // A part of the latest, in the smaller memory.
            (0..100).for_each(|id| eviction.insert(id, id, 100));
            let expected = if ghosts == 16 { 16 } else { 64 + 1 };
            assert!((1..=expected).contains(&eviction.main.count), "{}", eviction.main.count);
            assert_eq!(eviction.nodes[99].queue, Some(Queue::Main));
        }
    }

    #[test]
    fn a_scan_does_not_evict_what_is_read() {
        let (mut eviction, mut reads) = (Eviction::new(4096), Counts::default());
        (0..100).for_each(|id| eviction.insert(id, id, 1));
        let mut evicted = BTreeSet::new();
        for id in 100..2000 {
            (0..50).for_each(|id| reads.store(id, 3));
            evicted.extend(eviction.evict(&mut reads));
            eviction.insert(id, id, 1);
        }
        assert!((0..50).all(|id| !evicted.contains(&id)), "{evicted:?}");
    }

    proptest! {
        /// The queues know each entry once, with its bytes.
        #[test]
        fn each_entry_is_evicted_once(steps in prop::collection::vec((0u8..4, 0u32..40, 1u32..1000), 1..400)) {
            let (mut eviction, mut reads) = (Eviction::new(64), Counts::default());
            let mut here: HashMap<u32, u32> = HashMap::new();
            for (step, id, bytes) in steps {
                match step {
                    0 if !here.contains_key(&id) => {
                        eviction.insert(id, id * 7, bytes);
                        here.insert(id, bytes);
                    }
                    0 => {
                        eviction.resize(id, bytes);
                        here.insert(id, bytes);
                    }
                    1 => {
                        if here.remove(&id).is_some() {
                            eviction.remove(id);
                        }
                    }
                    2 => reads.store(id, (bytes % 5) as u8),
                    _ => {
                        let evicted = eviction.evict(&mut reads);
                        prop_assert_eq!(evicted.is_some(), !here.is_empty());
                        prop_assert!(evicted.is_none_or(|id| here.remove(&id).is_some()));
                    }
                }
                let bytes: usize = here.values().map(|bytes| *bytes as usize).sum();
                prop_assert_eq!(eviction.small.bytes + eviction.main.bytes, bytes);
                prop_assert_eq!(eviction.small.count + eviction.main.count, here.len());
            }
        }
    }
}
