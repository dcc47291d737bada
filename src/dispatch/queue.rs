//! Connections that wait because no worker can take them, by group and oldest first.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::connection::Connection;
use crate::ipc::control::GroupId;

pub struct Queues {
    max: usize,
    timeout: Duration,
    /// Only groups with waiting connections.
    by_group: BTreeMap<GroupId, VecDeque<Connection>>,
    len: usize,
}

impl Queues {
    /// At most `max` connections wait, for at most `timeout`.
    pub fn new(max: usize, timeout: Duration) -> Self {
        Self { max, timeout, by_group: BTreeMap::new(), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn is_full(&self) -> bool {
        self.len >= self.max
    }

    /// Whether connections of this group wait; they go first.
    pub fn is_waited_in(&self, group: GroupId) -> bool {
        self.by_group.contains_key(&group)
    }

    pub fn groups(&self) -> Vec<GroupId> {
        self.by_group.keys().copied().collect()
    }

    /// Inserts a connection by its age; returns it if there is no room.
    pub fn push(&mut self, connection: Connection) -> Result<(), Connection> {
        // A handed-off connection has no request yet: only the number of file descriptors limits it.
        if connection.keep_alive.is_none() && self.is_full() {
            return Err(connection);
        }
        let waiting = self.by_group.entry(connection.group).or_default();
        let at = waiting.partition_point(|other| other.since <= connection.since);
        waiting.insert(at, connection);
        self.len += 1;
        Ok(())
    }

    pub fn first(&self, group: GroupId) -> Option<&Connection> {
        self.by_group.get(&group).and_then(VecDeque::front)
    }

    /// Whether it has waited for too long.
    pub fn is_late(&self, connection: &Connection, now: Duration) -> bool {
        now.saturating_sub(connection.since) >= self.timeout
    }

    pub fn pop(&mut self, group: GroupId) -> Option<Connection> {
        let waiting = self.by_group.get_mut(&group)?;
        let first = waiting.pop_front();
        if waiting.is_empty() {
            self.by_group.remove(&group);
        }
        self.len -= usize::from(first.is_some());
        first
    }

    /// Takes the waiting connections of a group that was removed.
    pub fn take(&mut self, group: GroupId) -> VecDeque<Connection> {
        let waiting = self.by_group.remove(&group).unwrap_or_default();
        self.len -= waiting.len();
        waiting
    }

    /// Takes all waiting connections.
    pub fn take_all(&mut self) -> Vec<Connection> {
        self.len = 0;
        std::mem::take(&mut self.by_group).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::fd_message::IdleKeepAlive;
    use rustix::event::{EventfdFlags, eventfd};

    const MS: Duration = Duration::from_millis(1);

    fn connection(group: GroupId, since: Duration) -> Connection {
        Connection::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap(), group, None, since)
    }

    #[test]
    fn the_oldest_of_a_group_is_first_whenever_it_came() {
        let mut queues = Queues::new(9, MS);
        for (group, since) in [(1, 5), (2, 1), (1, 3), (1, 4)] {
            assert!(queues.push(connection(group, MS * since)).is_ok());
        }
        assert_eq!((queues.len(), queues.groups()), (4, vec![1, 2]));
        let order: Vec<Duration> = std::iter::from_fn(|| queues.pop(1)).map(|first| first.since).collect();
        assert_eq!(order, [MS * 3, MS * 4, MS * 5]);
        assert!(!queues.is_waited_in(1) && queues.is_waited_in(2));
        assert_eq!((queues.take(2).len(), queues.len()), (1, 0));
    }

    #[test]
    fn what_does_not_fit_comes_back_but_for_what_asks_for_nothing_yet() {
        let mut queues = Queues::new(1, MS);
        assert!(queues.push(connection(1, MS)).is_ok());
        assert!(queues.push(connection(2, MS)).is_err());
        let keep_alive = Some(IdleKeepAlive { remaining_ms: 1, served: 1 });
        assert!(queues.push(Connection { keep_alive, ..connection(2, MS) }).is_ok());
        assert_eq!((queues.take_all().len(), queues.len()), (2, 0));
    }

    #[test]
    fn a_connection_is_late_when_its_time_is_over() {
        let queues = Queues::new(1, MS * 10);
        let waiting = connection(1, MS);
        assert!(!queues.is_late(&waiting, MS * 10) && queues.is_late(&waiting, MS * 11));
    }
}
