//! How many file descriptors are left. At the limit libuv would accept and close a whole queue, and the kernel drops
//! pushed connections that do not fit; drover stops accepting before that, and connections wait in the kernel.
//!
//! A descriptor's number shows that all lower numbers are in use, but not how many higher ones are free. So descriptors
//! are counted, more often the fewer are left.

use std::cell::Cell;

use crate::ipc::fd_message;
use crate::sys::{fds, limits};

/// Below this many free descriptors a worker stops accepting directly, because the application needs some too. (A
/// quarter of the limit if that is very low.)
const MIN: u64 = 64;
/// Descriptors that are left to the application when pushed connections are read.
const LAST: u64 = 8;
/// Maximum descriptors that are opened temporarily if they cannot be counted; more would cost too much.
const MAX_TRIES: u64 = 80;

pub struct FdPressure {
    limit: u64,
    is_high: Cell<bool>,
    /// Connections that may arrive before the next count.
    uncounted: Cell<u64>,
    count: fn() -> Option<u64>,
}

impl FdPressure {
    pub fn new() -> Self {
        Self::with(limits::descriptors(), fds::open_count)
    }

    fn with(limit: u64, count: fn() -> Option<u64>) -> Self {
        Self { limit, is_high: Cell::new(false), uncounted: Cell::new(0), count }
    }

    fn reserve(&self) -> u64 {
        MIN.max(self.limit / 20).min(self.limit / 4)
    }

    /// Whether this many are free.
    fn are_left(&self, wanted: u64) -> bool {
        let Some(open) = (self.count)() else { return self.can_be_taken(wanted.min(MAX_TRIES)) };
        let left = self.limit.saturating_sub(open);
        // The application opens some as well.
        self.uncounted.set(left.saturating_sub(self.reserve()) / 4);
        left >= wanted
    }

    fn can_be_taken(&self, tries: u64) -> bool {
        let free = fds::free(tries as usize);
        self.uncounted.set(if free { tries / 4 } else { 0 });
        free
    }

    /// A connection got the descriptor of this number; returns whether few are left.
    pub fn is_near(&self, fd: i32) -> bool {
        let below = u64::try_from(fd).unwrap_or(0);
        if below + self.reserve() >= self.limit {
            return true;
        }
        match self.uncounted.get().checked_sub(1) {
            Some(rest) => {
                self.uncounted.set(rest);
                false
            }
            None => !self.are_left(self.reserve()),
        }
    }

    /// Whether few descriptors are left.
    pub fn is_high(&self) -> bool {
        self.is_high.get()
    }

    /// Sets whether few descriptors are left; returns whether that has changed.
    pub fn set_high(&self, is_high: bool) -> bool {
        self.is_high.replace(is_high) != is_high
    }

    /// Whether so many are left that any message fits, whatever the application has opened meanwhile.
    pub fn is_ample(&self) -> bool {
        self.uncounted.get() > 4 * fd_message::MAX as u64
    }

    /// Whether this many more descriptors fit.
    pub fn has_room_for(&self, count: usize) -> bool {
        self.are_left(count as u64 + LAST)
    }

    /// Whether enough descriptors are free again, with a margin against flapping.
    pub fn has_recovered(&self) -> bool {
        self.are_left(self.reserve() + self.reserve() / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_number_among_holes_is_no_sign_of_plenty() {
        let fd_pressure = FdPressure::with(128, || Some(100));
        assert!(fd_pressure.is_near(20), "28 are left of which 32 are the application's");
        assert!(fd_pressure.has_room_for(20));
        assert!(!fd_pressure.has_room_for(21));
        assert!(!fd_pressure.has_recovered());
    }

    #[test]
    fn a_high_number_is_a_sign_of_want_without_counting() {
        let fd_pressure = FdPressure::with(1024, || panic!("counted"));
        assert!(fd_pressure.is_near(960));
    }

    #[test]
    fn they_are_counted_the_more_often_the_fewer_are_left() {
        let fd_pressure = FdPressure::with(1024, || Some(100));
        assert!(!fd_pressure.is_ample(), "not known yet");
        assert!(!fd_pressure.is_near(100));
        let apart = fd_pressure.uncounted.get();
        assert_eq!(apart, (924 - 64) / 4);
        (0..apart)
            .for_each(|n| assert!(!fd_pressure.is_near(100) && fd_pressure.uncounted.get() == apart - n - 1));
        let roomy = FdPressure::with(1 << 20, || Some(100));
        assert!(!roomy.is_near(100) && roomy.is_ample());
    }

    #[test]
    fn where_nobody_counts_they_are_tried() {
        let fd_pressure = FdPressure::with(limits::descriptors(), || None);
        assert!(fd_pressure.has_room_for(1));
        assert!(!fd_pressure.is_ample());
    }
}
