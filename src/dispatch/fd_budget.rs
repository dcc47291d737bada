//! How many descriptors the accept thread may use for what, as a function of the limit of open files, which
//! the workers have inherited.

use crate::ipc::fd_message;

/// Listeners of slots in one process, whatever its limit: each costs the kernel memory, and a program that opens
/// hundreds of addresses is busy on few of them.
const MAX_MEMBERS: u64 = 2048;

/// Connections that may be under way to one worker: one that has so many unread is behind anyway.
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

    /// Connections under way to one worker. An unprivileged user may have no more than RLIMIT_NOFILE in flight
    /// to all (unix(7)), and what a worker never read must find place here when it is taken back.
    pub fn under_way(self) -> u64 {
        (self.limit / 8).clamp(1, MAX_UNDER_WAY)
    }

    /// Connections in one message: no more than half of what a worker keeps in reserve, because it takes a
    /// message whole and the kernel drops what does not fit.
    pub fn message(self) -> usize {
        usize::try_from(self.limit / 8).unwrap_or(fd_message::MAX).clamp(1, fd_message::MAX)
    }

    /// How many listeners for slots a new address may have: all that are `wanted`, or none. `held`: those that other
    /// addresses have; `open`: descriptors of all kinds that are taken. An eighth of the limit is for such listeners,
    /// and only while half of it stays free.
    pub fn members(self, wanted: u16, held: u64, open: u64) -> u16 {
        let wants = u64::from(wanted);
        let fit = held + wants <= (self.limit / 8).min(MAX_MEMBERS) && open + wants < self.limit / 2;
        if fit { wanted } else { 0 }
    }

    /// An accepted connection got this number, so that all below are taken. Must accepting rest, for the sake
    /// of what may be taken back?
    pub fn is_near(self, fd: i32) -> bool {
        u64::try_from(fd).unwrap_or(0) + self.reserve() >= self.limit
    }

    /// A datagram socket got this number. Is no more room left for such? As much again as the reserve is for
    /// connections, so that sockets that a program opens never take their place.
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
        // (limit, wanted, held, open) and how many there are.
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
