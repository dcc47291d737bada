//! Closing an address without a reset. A client whose handshake is done believes that it is served; a listener that
//! closes resets those in its queue and those whose last ACK is on its way. So an address closes in this order: no new
//! handshake is let in, what is in the queues is accepted, handshakes under way end (for `MAX_LENGTH` at most), and then
//! it closes, for the copies that workers hold too. A client that comes meanwhile repeats its SYN after a second, and
//! is refused by then.
//!
//! A unix socket that is shut down takes no new connections and keeps its queue, and has no handshakes. A descriptor
//! of the program's stays open for its owner; what it has queued is served when the cluster stops.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::AddressFamily;
use tokio::sync::oneshot;

use super::accept_loop::{AcceptLoop, BATCH};
use super::bind;
use super::group::{Connection, Group};
use super::handshakes;
use crate::balance::Family;
use crate::ipc::control::{Address, GroupId};
use crate::model::WorkerId;
use crate::sys::fds;

/// Handshakes under way are waited for so long: more than the round trip of a client that is not far.
const MAX_LENGTH: Duration = Duration::from_millis(50);
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Connections that a listener's queue holds, unless its program asked for a longer one.
const MAX_QUEUED: usize = bind::MIN_BACKLOG as usize;

/// The last worker that serves the address closes its server. What the address brings until its end is this worker's.
pub struct Last {
    pub worker: WorkerId,
    /// Answered when the address is closed.
    pub reply: oneshot::Sender<bool>,
}

/// Why an address closes.
pub enum End {
    /// The cluster stops. The group stays for what was accepted there.
    Stop,
    Last(Last),
    /// Nobody serves there: what comes until the end is refused.
    Unserved,
}

/// The cluster stops.
pub struct ClosingAll {
    /// Connections that wait for a worker have until then.
    until: Duration,
    /// Dropped when every address has closed.
    told: Vec<oneshot::Sender<()>>,
}

/// An address that closes: nothing new is let in.
pub struct Closing {
    look_at: Duration,
    until: Duration,
    end: End,
}

impl Group {
    /// Lets nothing new in. Returns whether handshakes may be under way, which can be waited for.
    fn bar(&mut self) -> bool {
        let listeners = || self.primary_listener.iter().chain(&self.members);
        match self.address {
            Address::Tcp { .. } => listeners().all(|listener| bind::bar(listener.as_fd()).is_ok()),
            Address::Unix { .. } => {
                self.shut_down();
                self.remove_file();
                false
            }
            Address::Descriptor { .. } => false,
        }
    }

    /// Its clients are on this machine: the kernel ends their handshakes within the call that begins them. To look for
    /// them all the same takes milliseconds (the kernel reads its whole table of connections), in which clients come
    /// that have to repeat their SYN.
    fn is_local(&self) -> bool {
        self.local.is_some_and(|local| local.ip().to_canonical().is_loopback())
    }

    /// Whether something waits in a queue or is on its way there, as far as the kernel tells.
    fn is_expecting(&self) -> bool {
        let waits = |listener: &_| fds::accept_queue(AsFd::as_fd(listener)).is_ok_and(|count| count > 0);
        let port = self.local.map_or(0, |local| local.port());
        let families = match self.family() {
            Family::V4 => &[AddressFamily::INET][..],
            Family::V6 => &[AddressFamily::INET6, AddressFamily::INET],
        };
        let is_starting = |family: &AddressFamily| handshakes::are_under_way(*family, port).unwrap_or(true);
        // In this order: a handshake that ends meanwhile is in the queue then.
        families.iter().any(is_starting) || self.primary_listener.iter().chain(&self.members).any(waits)
    }
}

impl AcceptLoop {
    /// The cluster stops: its addresses close. `gone` is dropped when they have, and when every connection that the
    /// kernel had accepted is with a worker.
    pub fn retire(&mut self, gone: oneshot::Sender<()>, now: Duration) {
        self.datagrams.clear();
        let closing_all =
            self.closing_all.get_or_insert_with(|| ClosingAll { until: now + MAX_LENGTH, told: Vec::new() });
        closing_all.told.push(gone);
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.begin_to_close(id, End::Stop, now);
        }
    }

    pub fn begin_to_close(&mut self, id: GroupId, end: End, now: Duration) {
        let Some(group) = self.groups.get_mut(&id).filter(|group| group.primary_listener.is_some()) else {
            return;
        };
        match (&mut group.closing, end) {
            // The worker that waits for its end waits on.
            (Some(_), End::Stop | End::Unserved) => {}
            (Some(closing), End::Last(last)) => closing.end = End::Last(last),
            (None, end) => {
                let is_barred = group.bar();
                let waits = is_barred && !group.is_local() && !matches!(end, End::Unserved);
                let until = if waits { now + MAX_LENGTH } else { now };
                group.closing = Some(Closing { look_at: now, until, end });
            }
        }
        self.go_on_closing(id, now);
    }

    /// Goes on with every address that closes; called each round.
    pub fn close_what_closes(&mut self, now: Duration) {
        let closes = |group: &&Group| group.closing.is_some();
        let ids: Vec<GroupId> = self.groups.values().filter(closes).map(|group| group.id).collect();
        ids.into_iter().for_each(|id| self.go_on_closing(id, now));
    }

    pub fn closes_in(&self, now: Duration) -> Option<Duration> {
        let closing = self.groups.values().filter_map(|group| group.closing.as_ref());
        let closing_all = self.closing_all.iter().map(|closing_all| closing_all.until);
        closing.map(|closing| closing.look_at).chain(closing_all).map(|at| at.saturating_sub(now)).min()
    }

    /// Tells who waits for it that every address has closed, and that what was accepted there is with the workers.
    /// What finds no worker in time is refused.
    pub fn tell_retired(&mut self, now: Duration) {
        let Some(closing_all) = &self.closing_all else { return };
        let closes = self.groups.values().any(|group| group.closing.is_some());
        if closes || (self.waiting() > 0 && now < closing_all.until) {
            return;
        }
        let waiting: Vec<Connection> =
            self.groups.values_mut().flat_map(|group| std::mem::take(&mut group.waiting)).collect();
        waiting.into_iter().for_each(|connection| self.refuse(connection));
        self.closing_all = None;
    }

    fn go_on_closing(&mut self, id: GroupId, now: Duration) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let Some(closing) = group.closing.as_mut().filter(|closing| closing.look_at <= now) else { return };
        closing.look_at = now + LOOK_INTERVAL;
        let is_over = closing.until <= now;
        self.accept_waiting(id, now);
        if is_over || !self.groups.get(&id).is_some_and(Group::is_expecting) {
            self.close_at_last(id, now);
        }
    }

    /// Takes what the kernel has queued, from every listener, as far as it can be placed.
    fn accept_waiting(&mut self, id: GroupId, now: Duration) {
        for slot in self.emptied(id) {
            while self.waiting() < self.settings.max_queue && self.accept_from(id, slot, now) > 0 {}
        }
    }

    /// The listeners whose queues are emptied. One of the program's stays open for its owner with what is in its queue,
    /// unless the cluster stops.
    fn emptied(&self, id: GroupId) -> Vec<Option<u16>> {
        let Some(group) = self.groups.get(&id) else { return Vec::new() };
        let stops = group.closing.as_ref().is_some_and(|closing| matches!(closing.end, End::Stop));
        if matches!(group.address, Address::Descriptor { .. }) && !stops {
            return Vec::new();
        }
        std::iter::once(None).chain((0..group.members.len() as u16).map(Some)).collect()
    }

    fn close_at_last(&mut self, id: GroupId, now: Duration) {
        for slot in self.emptied(id) {
            // A queue that something may still join is not emptied for ever.
            let most = self.settings.max_queue.max(MAX_QUEUED) / BATCH as usize + 1;
            let _ = (0..most).find(|_| self.accept_from(id, slot, now) < BATCH);
        }
        let Some(group) = self.groups.get_mut(&id) else { return };
        let Some(Closing { end, .. }) = group.closing.take() else { return };
        if !matches!(end, End::Unserved) {
            // Nobody looks at their first bytes any more.
            let fresh = self.fresh_peeks_of(id);
            fresh.into_iter().for_each(|connection| self.route(connection, now));
        }
        // What was placed is with its workers before they hear of the end.
        self.flush(now);
        match end {
            End::Stop => self.let_go(id),
            End::Unserved => self.shut_group(id),
            End::Last(Last { worker, reply }) => {
                if let Some((_, channel)) = self.workers.find(worker) {
                    channel.connection_limits.forget(id);
                }
                self.shut_group(id);
                // The worker reads what it was given before it closes.
                let _ = reply.send(false);
            }
        }
    }

    /// The address is free for others. The group stays for what was accepted there.
    fn let_go(&mut self, id: GroupId) {
        let silent = self.peeks_of(id);
        let Some(group) = self.groups.get(&id) else { return };
        self.deregister_group(group);
        group.shut_down();
        if let Some(group) = self.groups.get_mut(&id) {
            group.retire();
        }
        silent.into_iter().for_each(|connection| self.refuse(connection));
    }
}
