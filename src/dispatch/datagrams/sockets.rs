//! The datagram sockets that workers share, and which worker holds which. The accept thread only stores them: a socket
//! is opened once per address and closed with its last worker. PURE except for the sockets that it owns.
//!
//! Datagrams that arrive while no worker reads wait in the kernel's queue of the socket. So the socket of a worker that
//! ended is kept for its replacement, until that has served for a moment without binding it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::ipc::control::SocketId;
use crate::model::WorkerId;

/// How long a serving replacement may take to bind its predecessor's sockets.
const SUCCESSION: Duration = Duration::from_secs(1);

/// The identity of a shared socket: the k-th socket of a worker at an address is shared with the k-th of every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub at: SocketAddr,
    pub ipv6_only: bool,
    pub nth: u32,
}

/// The successor of a worker that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Successor {
    None,
    Expected,
    /// It has served since this time.
    Serves(Duration),
}

#[derive(Default)]
struct Membership {
    /// The members of the group. Empty: they have ended, but the socket is still a member in the kernel.
    holders: BTreeSet<WorkerId>,
    /// The last member, which is about to leave the group in the kernel.
    leaving: Option<WorkerId>,
}

struct Shared<S> {
    key: Key,
    socket: S,
    holders: BTreeSet<WorkerId>,
    /// Slots whose next worker may bind it; until when, once that worker serves.
    awaited: BTreeMap<u16, Option<Duration>>,
    /// Its multicast groups.
    memberships: BTreeMap<String, Membership>,
}

impl<S> Shared<S> {
    fn is_abandoned(&self) -> bool {
        self.holders.is_empty() && self.awaited.is_empty()
    }
}

pub struct Sockets<S> {
    sockets: BTreeMap<SocketId, Shared<S>>,
    last: SocketId,
}

impl<S> Default for Sockets<S> {
    fn default() -> Self {
        Self { sockets: BTreeMap::new(), last: 0 }
    }
}

impl<S> Sockets<S> {
    /// The socket of the address, which is opened if necessary; the worker holds it from now on.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn bind<E>(
        &mut self,
        key: Key,
        holder: WorkerId,
        open: impl FnOnce() -> Result<S, E>,
    ) -> Result<(SocketId, &S), E> {
        let found = self.sockets.iter().find(|(_, shared)| shared.key == key).map(|(id, _)| *id);
        let id = found.unwrap_or(self.last + 1);
        let shared = match self.sockets.entry(id) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => {
                let socket = open()?;
                self.last = id;
                place.insert(Shared {
                    key,
                    socket,
                    holders: BTreeSet::new(),
                    awaited: BTreeMap::new(),
                    memberships: BTreeMap::new(),
                })
            }
        };
        shared.holders.insert(holder);
        shared.awaited.remove(&holder.slot);
        Ok((id, &shared.socket))
    }

    /// Whether a socket on this port is open.
    pub fn has_port(&self, port: u16) -> bool {
        self.sockets.values().any(|shared| shared.key.at.port() == port)
    }

    /// Whether the worker holds the socket.
    pub fn is_held(&self, id: SocketId, holder: WorkerId) -> bool {
        self.sockets.get(&id).is_some_and(|shared| shared.holders.contains(&holder))
    }

    /// The requested address: port 0 stays 0.
    pub fn address(&self, id: SocketId) -> Option<SocketAddr> {
        self.sockets.get(&id).map(|shared| shared.key.at)
    }

    /// The worker releases the socket; it is closed when the last worker does.
    pub fn release(&mut self, id: SocketId, holder: WorkerId) {
        if let Some(shared) = self.sockets.get_mut(&id) {
            shared.holders.remove(&holder);
            shared.memberships.values_mut().for_each(|membership| {
                membership.holders.remove(&holder);
            });
            shared.memberships.retain(|_, membership| membership.leaving != Some(holder));
        }
        self.close_abandoned();
    }

    /// The worker joins a multicast group on this socket. True if it is the first, which must join it in the kernel.
    /// None: another worker is just leaving it, and the reply follows after that.
    pub fn join(&mut self, id: SocketId, name: &str, holder: WorkerId) -> Option<bool> {
        let Some(shared) = self.sockets.get_mut(&id) else { return Some(true) };
        let first = !shared.memberships.contains_key(name);
        let membership = shared.memberships.entry(name.to_owned()).or_default();
        if membership.leaving.is_some() {
            return None;
        }
        membership.holders.insert(holder);
        Some(first)
    }

    /// The worker leaves the group. True if it is the last, which must leave it in the kernel and then report `left`.
    pub fn leave_multicast(&mut self, id: SocketId, name: &str, holder: WorkerId) -> bool {
        let membership = self.sockets.get_mut(&id).and_then(|shared| shared.memberships.get_mut(name));
        let Some(membership) = membership else { return true };
        membership.holders.remove(&holder);
        let last = membership.holders.is_empty();
        membership.leaving = last.then_some(holder);
        last
    }

    /// The group was left in the kernel.
    pub fn multicast_left(&mut self, id: SocketId, name: &str, holder: WorkerId) {
        if let Some(shared) = self.sockets.get_mut(&id) {
            shared
                .memberships
                .retain(|other, membership| other != name || membership.leaving != Some(holder));
        }
    }

    /// The worker drains on its own initiative: its sockets are kept for its replacement.
    pub fn leaves(&mut self, holder: WorkerId) {
        for shared in self.sockets.values_mut().filter(|shared| shared.holders.contains(&holder)) {
            shared.awaited.insert(holder.slot, None);
        }
    }

    /// The worker has ended.
    pub fn gone(&mut self, holder: WorkerId, successor: Successor) {
        let ids: Vec<SocketId> = self
            .sockets
            .iter_mut()
            .filter(|(_, shared)| shared.holders.contains(&holder))
            .map(|(id, shared)| {
                let slot = holder.slot;
                let has_it = shared.holders.iter().any(|other| other.slot == slot && *other > holder);
                match successor {
                    Successor::Expected if !has_it => drop(shared.awaited.insert(slot, None)),
                    Successor::Serves(since) if !has_it => {
                        shared.awaited.insert(slot, Some(since + SUCCESSION));
                    }
                    Successor::None | Successor::Expected | Successor::Serves(_) => {}
                }
                *id
            })
            .collect();
        ids.into_iter().for_each(|id| self.release(id, holder));
    }

    /// The slot's next worker serves.
    pub fn serves(&mut self, slot: u16, now: Duration) {
        for until in self.sockets.values_mut().filter_map(|shared| shared.awaited.get_mut(&slot)) {
            *until = Some(now + SUCCESSION);
        }
    }

    /// When `expire` has something to do next.
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        let awaited = self.sockets.values().flat_map(|shared| shared.awaited.values());
        awaited.flatten().min().map(|until| until.saturating_sub(now))
    }

    /// Closes sockets that replacements have not bound in time.
    pub fn expire(&mut self, now: Duration) {
        for shared in self.sockets.values_mut() {
            shared.awaited.retain(|_, until| until.is_none_or(|until| until > now));
        }
        self.close_abandoned();
    }

    /// Closes all sockets. Workers keep their copies.
    pub fn clear(&mut self) {
        self.sockets.clear();
    }

    fn close_abandoned(&mut self) {
        self.sockets.retain(|_, shared| !shared.is_abandoned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(port: u16) -> Key {
        Key { at: SocketAddr::from(([127, 0, 0, 1], port)), ipv6_only: false, nth: 0 }
    }

    /// Binds; a newly opened socket is `name`. Returns its id and the socket.
    fn bind(datagrams: &mut Sockets<char>, key: Key, holder: WorkerId, name: char) -> (SocketId, char) {
        let bound = datagrams.bind(key, holder, || Ok::<_, ()>(name));
        bound.map(|(id, socket)| (id, *socket)).unwrap()
    }

    fn open(datagrams: &Sockets<char>) -> String {
        datagrams.sockets.values().map(|shared| shared.socket).collect()
    }

    #[test]
    fn an_address_is_one_socket_which_the_last_close_closes() {
        let mut datagrams = Sockets::default();
        let first = bind(&mut datagrams, key(53), WorkerId::new(0, 1), 'a');
        assert_eq!(bind(&mut datagrams, key(53), WorkerId::new(1, 1), 'b'), first);
        let other = bind(&mut datagrams, Key { nth: 1, ..key(53) }, WorkerId::new(0, 1), 'c');
        assert_eq!(bind(&mut datagrams, Key { ipv6_only: true, ..key(53) }, WorkerId::new(0, 1), 'd').1, 'd');
        assert_eq!(open(&datagrams), "acd");
        datagrams.release(other.0, WorkerId::new(0, 1));
        datagrams.release(first.0, WorkerId::new(0, 1));
        assert_eq!(open(&datagrams), "ad");
        datagrams.release(first.0, WorkerId::new(0, 1));
        datagrams.release(first.0, WorkerId::new(1, 1));
        assert_eq!(open(&datagrams), "d");
        assert_ne!(
            bind(&mut datagrams, key(53), WorkerId::new(0, 1), 'e').0,
            first.0,
            "no number is used twice"
        );
    }

    #[test]
    fn what_cannot_be_opened_is_nobodys() {
        let mut datagrams = Sockets::<char>::default();
        assert_eq!(datagrams.bind(key(53), WorkerId::new(0, 1), || Err(98)).map(|(id, _)| id), Err(98));
        assert_eq!(open(&datagrams), "");
    }

    #[test]
    fn the_socket_of_a_worker_that_died_waits_for_its_replacement() {
        let mut datagrams = Sockets::default();
        bind(&mut datagrams, key(1), WorkerId::new(0, 1), 'a');
        bind(&mut datagrams, key(2), WorkerId::new(0, 1), 'b');
        datagrams.gone(WorkerId::new(0, 1), Successor::Expected);
        datagrams.expire(SECOND * 1000);
        assert_eq!(open(&datagrams), "ab", "however long it takes to start");
        assert_eq!(bind(&mut datagrams, key(1), WorkerId::new(0, 2), 'x').1, 'a');
        datagrams.serves(0, SECOND);
        assert_eq!(datagrams.due_in(SECOND), Some(SUCCESSION));
        datagrams.expire(SECOND + SUCCESSION);
        assert_eq!(open(&datagrams), "a", "it did not ask for the other one");
        assert_eq!(datagrams.due_in(SECOND), None);
    }

    #[test]
    fn who_dies_before_it_serves_leaves_nothing_and_takes_nothing_away() {
        let mut datagrams = Sockets::default();
        bind(&mut datagrams, key(1), WorkerId::new(0, 1), 'a');
        bind(&mut datagrams, key(1), WorkerId::new(0, 2), 'x');
        bind(&mut datagrams, key(2), WorkerId::new(0, 2), 'b');
        datagrams.gone(WorkerId::new(0, 2), Successor::None);
        assert_eq!(open(&datagrams), "a");
    }

    #[test]
    fn a_worker_that_is_not_replaced_leaves_nothing() {
        let mut datagrams = Sockets::default();
        bind(&mut datagrams, key(1), WorkerId::new(0, 1), 'a');
        datagrams.gone(WorkerId::new(0, 1), Successor::None);
        assert_eq!(open(&datagrams), "");
    }

    #[test]
    fn a_replacement_that_serves_has_a_moment_to_ask() {
        let mut datagrams = Sockets::default();
        bind(&mut datagrams, key(1), WorkerId::new(0, 1), 'a');
        bind(&mut datagrams, key(2), WorkerId::new(0, 1), 'b');
        bind(&mut datagrams, key(1), WorkerId::new(0, 2), 'x');
        datagrams.gone(WorkerId::new(0, 1), Successor::Serves(SECOND));
        assert_eq!(open(&datagrams), "ab");
        datagrams.expire(SECOND + SUCCESSION);
        assert_eq!(open(&datagrams), "a");
    }

    #[test]
    fn what_a_worker_had_that_left_by_itself_is_its_replacements() {
        let mut datagrams = Sockets::default();
        let (id, _) = bind(&mut datagrams, key(1), WorkerId::new(0, 1), 'a');
        datagrams.leaves(WorkerId::new(0, 1));
        datagrams.release(id, WorkerId::new(0, 1));
        datagrams.gone(WorkerId::new(0, 1), Successor::None);
        assert_eq!(open(&datagrams), "a");
        datagrams.serves(0, SECOND);
        datagrams.expire(SECOND + SUCCESSION);
        assert_eq!(open(&datagrams), "");
    }

    const GROUP: &str = "224.0.0.114";

    #[test]
    fn a_multicast_group_is_joined_by_the_first_worker_and_left_by_the_last() {
        let mut datagrams = Sockets::default();
        let mut first = Vec::new();
        let (id, _) = bind(&mut datagrams, key(1), WorkerId::new(0, 1), 'a');
        for slot in 0..3 {
            bind(&mut datagrams, key(1), WorkerId::new(slot, 1), 'x');
            first.push(datagrams.join(id, GROUP, WorkerId::new(slot, 1)));
        }
        assert_eq!(first, [Some(true), Some(false), Some(false)]);
        assert!(!datagrams.leave_multicast(id, GROUP, WorkerId::new(0, 1)));
        datagrams.gone(WorkerId::new(1, 1), Successor::Expected);
        assert!(datagrams.leave_multicast(id, GROUP, WorkerId::new(2, 1)));
        datagrams.multicast_left(id, GROUP, WorkerId::new(2, 1));
        assert_eq!(datagrams.join(id, GROUP, WorkerId::new(2, 1)), Some(true), "it was left");
    }

    #[test]
    fn who_joins_a_multicast_group_that_is_just_left_waits_for_the_kernel_to_know() {
        for dies in [false, true] {
            let mut datagrams = Sockets::default();
            let (id, _) = bind(&mut datagrams, key(1), WorkerId::new(0, 1), 'a');
            bind(&mut datagrams, key(1), WorkerId::new(1, 1), 'x');
            datagrams.join(id, GROUP, WorkerId::new(0, 1));
            assert!(datagrams.leave_multicast(id, GROUP, WorkerId::new(0, 1)));
            assert_eq!(datagrams.join(id, GROUP, WorkerId::new(1, 1)), None);
            datagrams.multicast_left(id, GROUP, WorkerId::new(1, 1));
            datagrams.multicast_left(id, "another", WorkerId::new(0, 1));
            assert_eq!(datagrams.join(id, GROUP, WorkerId::new(1, 1)), None);
            if dies {
                datagrams.gone(WorkerId::new(0, 1), Successor::Expected)
            } else {
                datagrams.multicast_left(id, GROUP, WorkerId::new(0, 1))
            }
            assert_eq!(datagrams.join(id, GROUP, WorkerId::new(1, 1)), Some(true));
        }
    }

    #[test]
    fn a_multicast_group_outlives_the_worker_that_joined_it() {
        let mut datagrams = Sockets::default();
        let (id, _) = bind(&mut datagrams, key(1), WorkerId::new(0, 1), 'a');
        assert_eq!(datagrams.join(id, GROUP, WorkerId::new(0, 1)), Some(true));
        datagrams.gone(WorkerId::new(0, 1), Successor::Expected);
        bind(&mut datagrams, key(1), WorkerId::new(0, 2), 'x');
        assert_eq!(datagrams.join(id, GROUP, WorkerId::new(0, 2)), Some(false), "the socket still hears it");
        assert!(datagrams.leave_multicast(id, GROUP, WorkerId::new(0, 2)));
    }
}
