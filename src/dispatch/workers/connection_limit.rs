//! How many connections a worker's servers take: a server may have its own limit (`maxConnections`), and its worker
//! reports the total number of connections up to which it takes them, like the window of a TCP receiver. So no
//! connection is sent in vain, even if messages cross. PURE.

use std::collections::BTreeMap;

use crate::ipc::control::GroupId;

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Sent so far, less those taken back.
    given: u64,
    /// None: any number.
    upto: Option<u64>,
}

/// Of one worker, by group.
#[derive(Debug, Default)]
pub struct ConnectionLimits(BTreeMap<GroupId, Window>);

impl ConnectionLimits {
    pub fn given(&mut self, group: GroupId) {
        self.0.entry(group).or_default().given += 1;
    }

    /// Some were taken back or lost.
    pub fn taken_back(&mut self, group: GroupId, count: u64) {
        let window = self.0.entry(group).or_default();
        window.given = window.given.saturating_sub(count);
    }

    /// Sets the limit of a group. Returns whether it has become limited or unlimited.
    pub fn set(&mut self, group: GroupId, upto: Option<u64>) -> bool {
        let window = self.0.entry(group).or_default();
        let before = std::mem::replace(&mut window.upto, upto);
        before.is_some() != upto.is_some()
    }

    /// The server has closed, and another may open: both sides count from 0.
    pub fn forget(&mut self, group: GroupId) {
        self.0.remove(&group);
    }

    /// The groups that have a limit.
    pub fn limited(&self) -> impl Iterator<Item = GroupId> {
        self.0.iter().filter(|(_, window)| window.upto.is_some()).map(|(group, _)| *group)
    }

    pub fn has_room(&self, group: GroupId) -> bool {
        self.0.get(&group).is_none_or(|window| window.upto.is_none_or(|upto| window.given < upto))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_limited(connection_limits: &ConnectionLimits) -> bool {
        connection_limits.limited().any(|group| group == 1)
    }

    #[test]
    fn a_worker_gets_what_it_said_that_it_takes_and_no_more() {
        let mut connection_limits = ConnectionLimits::default();
        (0..5).for_each(|_| connection_limits.given(1));
        assert!(
            connection_limits.has_room(1) && !is_limited(&connection_limits),
            "without a word there is no limit"
        );
        assert!(connection_limits.set(1, Some(6)));
        assert!(connection_limits.has_room(1));
        connection_limits.given(1);
        assert!(!connection_limits.has_room(1));
        assert!(connection_limits.has_room(2), "another server's limit is its own");
        connection_limits.taken_back(1, 1);
        assert!(connection_limits.has_room(1));
        connection_limits.given(1);
        assert!(!connection_limits.set(1, Some(7)), "it is limited as before");
        assert!(connection_limits.has_room(1));
        assert!(connection_limits.set(1, None) && connection_limits.has_room(1));
        connection_limits.set(1, Some(0));
        connection_limits.forget(1);
        assert!(connection_limits.has_room(1) && !is_limited(&connection_limits));
    }

    #[test]
    fn a_word_that_crosses_connections_on_their_way_counts_them() {
        let mut connection_limits = ConnectionLimits::default();
        (0..3).for_each(|_| connection_limits.given(1));
        // Sent when the worker had received one of the three and had room for one more.
        connection_limits.set(1, Some(2));
        assert!(!connection_limits.has_room(1));
    }
}
