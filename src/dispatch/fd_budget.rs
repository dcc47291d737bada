//! The accept thread's budget of file descriptors, as a function of the limit of open files, which the workers inherit.

use crate::ipc::fd_message;

/// Maximum number of slots' listeners in one process, whatever its limit: each uses kernel memory, and a program with
/// hundreds of addresses is busy on few of them.
const MAX_MEMBERS: u64 = 2048;

/// Maximum number of unread connections of one worker: a worker with more is behind anyway.
const MAX_UNDER_WAY: u64 = 128;

#[derive(Clone, Copy, Debug)]
pub struct FdBudget {
    limit: u64,
}

impl FdBudget {
    /// `limit`: the soft RLIMIT_NOFILE of this process.
    pub fn new(limit: u64) -> Self {
        Self { limit }
    }

    /// Maximum number of unread connections of one worker. An unprivileged user may have at most RLIMIT_NOFILE
    /// descriptors in flight in total (unix(7)), and unread connections must fit into this process when they are taken
    /// back.
    pub fn under_way(self) -> u64 {
        (self.limit / 8).clamp(1, MAX_UNDER_WAY)
    }

    /// Maximum number of connections in one message: half of a worker's reserve, because a message is read as a whole
    /// and the kernel drops what does not fit.
    pub fn message(self) -> usize {
        usize::try_from(self.limit / 8).unwrap_or(fd_message::MAX).clamp(1, fd_message::MAX)
    }

    /// How many slots' listeners a new address may have: all that are `wanted`, or none. `held`: those of other
    /// addresses; `open`: all open descriptors. An eighth of the limit is available for such listeners, and only while
    /// half of the limit is free.
    pub fn members(self, wanted: u16, held: u64, open: u64) -> u16 {
        let wants = u64::from(wanted);
        let fit = held + wants <= (self.limit / 8).min(MAX_MEMBERS) && open + wants < self.limit / 2;
        if fit { wanted } else { 0 }
    }

    /// An accepted connection got this descriptor, so all lower numbers are in use. Returns whether accepting must
    /// pause, to leave room for connections that may be taken back.
    pub fn is_near(self, fd: i32) -> bool {
        u64::try_from(fd).unwrap_or(0) + self.reserve() >= self.limit
    }

    /// A datagram socket got this descriptor. Returns whether there is no room for more. Twice the reserve is kept for
    /// connections, so that a program's sockets never displace them.
    pub fn leaves_no_room(self, fd: i32) -> bool {
        u64::try_from(fd).unwrap_or(0) + 2 * self.reserve() >= self.limit
    }

    fn reserve(self) -> u64 {
        MAX_UNDER_WAY.min(self.limit / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_slots_are_made_while_they_fit() {
        // (limit, wanted, held, open) and the expected number.
        for (limit, wanted, held, open, members) in [
            (1024, 4, 0, 50, 4),
            (1024, 4, 124, 400, 4),
            (1024, 4, 125, 400, 0),
            (1024, 4, 0, 507, 4),
            (1024, 4, 0, 508, 0),
            (1024, 64, 64, 150, 64),
            (1024, 64, 65, 150, 0),
            (256, 64, 0, 40, 0),
            (64, 4, 0, 20, 4),
            (64, 4, 0, 29, 0),
            (16, 4, 0, 2, 0),
            (1 << 20, 64, 1984, 4000, 64),
            (1 << 20, 64, 1985, 4000, 0),
            (u64::MAX, 1024, 1024, 4000, 1024),
            (0, 1, 0, 0, 0),
        ] {
            let fd_budget = FdBudget::new(limit);
            assert_eq!(fd_budget.members(wanted, held, open), members, "{limit} {wanted} {held} {open}");
        }
    }

    #[test]
    fn datagram_sockets_leave_room_for_connections() {
        for (limit, most) in [(16, 7), (256, 127), (1024, 767), (1 << 20, (1 << 20) - 257)] {
            let fd_budget = FdBudget::new(limit);
            let room = (0..).take_while(|fd| !fd_budget.leaves_no_room(*fd)).last();
            assert_eq!(room, Some(most), "{limit}");
            assert!(!fd_budget.is_near(most + 1), "{limit}");
        }
    }

    #[test]
    fn what_comes_back_from_a_worker_fits_into_the_reserve() {
        for limit in [16, 64, 128, 256, 1024, 1 << 20, u64::MAX] {
            let fd_budget = FdBudget::new(limit);
            let first_near = (0..=i32::MAX).find(|fd| fd_budget.is_near(*fd) || *fd > 1 << 21);
            let left = limit - first_near.map_or(0, |fd| fd as u64);
            assert!(fd_budget.under_way() <= left, "{limit}");
            assert!(fd_budget.message() as u64 <= fd_budget.under_way(), "{limit}");
        }
    }
}
