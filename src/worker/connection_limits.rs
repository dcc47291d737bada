//! How many connections the servers of a runtime that accepts by itself take, if they have a limit. PURE. The primary sends
//! connections until the worker has received as many as were last granted.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::ipc::control::GroupId;

struct Limit {
    /// Connections that the server may have at a time.
    most: u32,
    /// The primary may send until the worker has received so many, in total.
    granted: u64,
}

/// What a group has now.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Open connections, and those that the runtime has not taken yet.
    pub open: usize,
    /// Connections that the primary has sent so far, in total.
    pub received: u64,
}

#[derive(Default)]
pub struct ConnectionLimits(RefCell<HashMap<GroupId, Limit>>);

impl ConnectionLimits {
    /// The group's server may have `most` connections at a time; returns what to grant.
    pub fn set(&self, group: GroupId, most: u32, standing: Standing) -> u64 {
        let granted = granted(most, standing);
        self.0.borrow_mut().insert(group, Limit { most, granted });
        granted
    }

    /// It has no limit any more.
    pub fn remove(&self, group: GroupId) {
        self.0.borrow_mut().remove(&group);
    }

    /// Connections have ended: calls `grant` for each group that has used up what was granted and has room again.
    pub fn renew(&self, standing: impl Fn(GroupId) -> Standing, mut grant: impl FnMut(GroupId, u64)) {
        for (group, limit) in self.0.borrow_mut().iter_mut() {
            let standing = standing(*group);
            let next = granted(limit.most, standing);
            if standing.received >= limit.granted && next > limit.granted {
                limit.granted = next;
                grant(*group, next);
            }
        }
    }
}

fn granted(most: u32, Standing { open, received }: Standing) -> u64 {
    received + u64::from(most).saturating_sub(open as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_server_is_granted_what_has_ended() {
        let limits = ConnectionLimits::default();
        assert_eq!(limits.set(1, 3, Standing { open: 1, received: 5 }), 7);
        let renewed = |open, received| {
            let mut granted = None;
            limits.renew(|_| Standing { open, received }, |_, total| granted = Some(total));
            granted
        };
        assert_eq!(renewed(1, 6), None, "the primary may still send one");
        assert_eq!(renewed(3, 7), None, "full");
        assert_eq!(renewed(2, 7), Some(8));
        assert_eq!(renewed(2, 7), None, "granted already");
        assert_eq!(renewed(0, 8), Some(11));
        limits.remove(1);
        assert_eq!(renewed(0, 20), None);
    }

    #[test]
    fn a_server_with_more_connections_than_its_new_limit_is_granted_none() {
        let limits = ConnectionLimits::default();
        assert_eq!(limits.set(1, 2, Standing { open: 4, received: 4 }), 4);
    }
}
