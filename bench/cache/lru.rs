//! The least recently used entry is evicted.

use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Copy)]
struct Entry {
    bytes: usize,
    used: u64,
}

pub struct Lru {
    room: usize,
    bytes: usize,
    entries: HashMap<usize, Entry>,
    order: BTreeMap<u64, usize>,
    clock: u64,
}

impl Lru {
    pub fn new(room: usize) -> Self {
        Self { room, bytes: 0, entries: HashMap::new(), order: BTreeMap::new(), clock: 0 }
    }

    /// Whether the key was there; it is afterwards.
    pub fn visit(&mut self, key: usize, bytes: usize) -> bool {
        self.clock += 1;
        let known = self.entries.insert(key, Entry { bytes, used: self.clock });
        self.order.insert(self.clock, key);
        if let Some(Entry { used, .. }) = known {
            self.order.remove(&used);
            return true;
        }
        self.bytes += bytes;
        while self.bytes > self.room {
            let Some(entry) = self.order.pop_first().and_then(|(_, oldest)| self.entries.remove(&oldest))
            else {
                break;
            };
            self.bytes -= entry.bytes;
        }
        false
    }
}
