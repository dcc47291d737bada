//! How many descriptors are left. libuv would accept and close a whole queue at the limit; drover stops
//! accepting before it, and connections wait where nobody loses them.

use std::cell::Cell;

use crate::sys::{fds, limits};

/// Below so many free descriptors a worker accepts no more by itself: the application needs some too. (Where
/// the limit is very low, a quarter of it.)
const LEAST: u64 = 64;
/// So many are left to the application when pushed connections are taken.
const LAST: usize = 8;
/// Probing for more costs more than it tells.
const MOST_PROBES: u64 = 80;

pub struct Headroom {
    limit: u64,
    scarce: Cell<bool>,
}

impl Headroom {
    pub fn new() -> Self {
        Self { limit: limits::descriptors(), scarce: Cell::new(false) }
    }

    fn reserve(&self) -> u64 {
        LEAST.max(self.limit / 20).min(self.limit / 4)
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

    /// Do so many more descriptors fit?
    pub fn has_room_for(&self, count: usize) -> bool {
        fds::free(count + LAST)
    }

    /// Enough free descriptors again, with something to spare so that it does not flap.
    pub fn has_recovered(&self) -> bool {
        let wanted = self.reserve() + self.reserve() / 4;
        let next = fds::next_free().map_or(self.limit, |fd| u64::try_from(fd).unwrap_or(0));
        // The next number tells at once that few are left. That many are it does not tell: it may be a hole
        // below numbers that are taken.
        next + wanted < self.limit && fds::free(wanted.min(MOST_PROBES) as usize)
    }
}
