//! How many descriptors are left. libuv would accept and close a whole queue at the limit; drover stops
//! accepting before it, and connections wait where nobody loses them.

use std::cell::Cell;

use crate::sys::{fds, limits};

/// Below so many free descriptors a worker accepts no more by itself: the application needs some too.
const LEAST: u64 = 64;
/// Below so many it takes not even pushed connections, which the kernel would drop.
const LAST: u64 = 8;

pub struct Headroom {
    limit: u64,
    scarce: Cell<bool>,
}

impl Headroom {
    pub fn new() -> Self {
        Self { limit: limits::descriptors(), scarce: Cell::new(false) }
    }

    fn reserve(&self) -> u64 {
        LEAST.max(self.limit / 20)
    }

    /// A descriptor got this number: all below are taken. Are few left?
    pub fn is_near(&self, fd: i32) -> bool {
        u64::try_from(fd).unwrap_or(0) + self.reserve() >= self.limit
    }

    pub fn is_scarce(&self) -> bool {
        self.scarce.get()
    }

    /// Sets whether descriptors are scarce; was it otherwise before?
    pub fn set_scarce(&self, scarce: bool) -> bool {
        self.scarce.replace(scarce) != scarce
    }

    /// May a pushed connection be taken?
    pub fn takes_pushed(&self) -> bool {
        !self.is_scarce() || self.next_free() + LAST < self.limit
    }

    /// Enough free descriptors again, with something to spare so that it does not flap.
    pub fn has_recovered(&self) -> bool {
        self.next_free() + self.reserve() + self.reserve() / 4 < self.limit
    }

    fn next_free(&self) -> u64 {
        fds::next_free().map_or(self.limit, |fd| u64::try_from(fd).unwrap_or(0))
    }
}
