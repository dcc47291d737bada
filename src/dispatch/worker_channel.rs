//! The workers as the accept thread knows them: their channels, what was sent and not yet taken, and whether
//! they may have more.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::connection_limit::ConnectionLimits;
use super::fd_budget::FdBudget;
use super::group::Connection;
use super::heartbeat::Heartbeat;
use crate::ipc::control::{GroupId, SocketId};
use crate::ipc::fd_message::{self, FdHeader};
use crate::metrics::layout::page;
use crate::metrics::memory::Page;
use crate::model::WorkerId;
use crate::sys::fds;

/// A worker is warm when it has answered so many requests: its code is compiled by then.
const WARM_RESPONSES: f64 = 1000.0;
/// Or when it has had its slot for so long, whatever it answered.
const WARM_AFTER: Duration = Duration::from_secs(1);

/// A cold worker may have one connection more at a time for each so many answers.
const ANSWERS_A_CONNECTION: f64 = 64.0;

/// How long a worker whose channel was full is left alone.
const BACK_OFF: Duration = Duration::from_millis(2);

pub struct WorkerChannel {
    pub id: WorkerId,
    channel: OwnedFd,
    far_end: OwnedFd,
    pub page: Page,
    /// Connections given to this worker, less those taken back.
    sent: u64,
    /// How many of `page::ACCEPTED` have been counted.
    pub accepted_seen: u64,
    pub heartbeat: Heartbeat,
    pub unresponsive: bool,
    /// It is not well in another's judgement: new work goes to the others while there are others.
    pub excluded: bool,
    /// A debugger may stop it.
    pub inspected: bool,
    pub fd_pressure: bool,
    pub leaving: bool,
    blocked_until: Duration,
    pending: Vec<Connection>,
    /// Something was given that was never in another worker's channel: worth reading its channel for, once it
    /// is stuck.
    can_take_back: bool,
    /// Groups that it serves, with what its server is, until it is promoted: from then on the groups know.
    pub prepared: BTreeMap<GroupId, bool>,
    /// Groups of which it has got a share and that it does not serve yet.
    pub asked: BTreeSet<GroupId>,
    /// Datagram sockets that it bound at its start and has still.
    pub first_sockets: BTreeSet<SocketId>,
    /// It gave connections away for which there was no descriptor.
    pub has_unread_handoffs: bool,
    /// When it got its slot.
    pub promoted: Duration,
    /// Requests of the whole cluster at that time.
    pub requests_then: f64,
    /// How many of its own have been counted.
    pub requests_seen: f64,
    pub reported_warm: bool,
    /// Connections that it has given away.
    pub given: u64,
    /// What its servers take.
    pub connection_limits: ConnectionLimits,
}

/// What was read back from a worker's channel.
pub struct Taken {
    pub connections: Vec<Connection>,
    /// Nothing is left in the channel. Otherwise the rest needs more descriptors than this process has.
    pub whole: bool,
    /// Connections that the kernel dropped for want of a descriptor.
    pub lost: usize,
}

impl Default for Taken {
    fn default() -> Self {
        Self { connections: Vec::new(), whole: true, lost: 0 }
    }
}

impl Taken {
    pub fn append(&mut self, mut other: Taken) {
        self.connections.append(&mut other.connections);
        self.whole &= other.whole;
        self.lost += other.lost;
    }
}

impl WorkerChannel {
    pub fn new(id: WorkerId, channel: OwnedFd, far_end: OwnedFd, page: Page) -> Self {
        Self {
            id,
            channel,
            far_end,
            page,
            sent: 0,
            accepted_seen: 0,
            heartbeat: Heartbeat::default(),
            unresponsive: false,
            excluded: false,
            inspected: false,
            fd_pressure: false,
            leaving: false,
            blocked_until: Duration::ZERO,
            pending: Vec::new(),
            can_take_back: false,
            prepared: BTreeMap::new(),
            asked: BTreeSet::new(),
            first_sockets: BTreeSet::new(),
            has_unread_handoffs: false,
            promoted: Duration::ZERO,
            requests_then: 0.0,
            requests_seen: 0.0,
            reported_warm: false,
            given: 0,
            connection_limits: ConnectionLimits::default(),
        }
    }

    /// The primary's end.
    pub fn channel(&self) -> &OwnedFd {
        &self.channel
    }

    /// Given to the worker and not taken by it yet.
    pub fn under_way(&self) -> u64 {
        self.sent.saturating_sub(self.page.get(page::PUSHED))
    }

    /// Open in the worker or on their way to it.
    pub fn connections(&self) -> u32 {
        let opened = self.sent + self.page.get(page::ACCEPTED);
        u32::try_from(opened.saturating_sub(self.page.closed())).unwrap_or(u32::MAX)
    }

    /// New work is better given to others.
    pub fn is_excluded(&self) -> bool {
        self.unresponsive || self.excluded
    }

    /// Stays and makes progress, as far as is known.
    pub fn is_well(&self) -> bool {
        !self.leaving && !self.is_excluded()
    }

    /// Has it served long enough to be as fast as it will be?
    pub fn is_warm(&self, now: Duration) -> bool {
        now.saturating_sub(self.promoted) >= WARM_AFTER || self.page.float(page::RESPONSES) >= WARM_RESPONSES
    }

    /// One that is cold gets one connection, and one more at a time for so many requests that it has answered: its
    /// first ones take many times as long as later ones, and what comes meanwhile would wait behind them.
    pub fn has_slow_room(&self) -> bool {
        f64::from(self.connections()) <= (self.page.float(page::RESPONSES) / ANSWERS_A_CONNECTION).floor()
    }

    /// May it be given one more through its channel now?
    pub fn has_room(&self, now: Duration, fd_budget: FdBudget, max_connections: Option<u32>) -> bool {
        // One that is short of descriptors takes what it has room for; the others wait in the primary, where
        // they can go to any worker.
        let max_under_way = if self.fd_pressure { 1 } else { fd_budget.under_way() };
        !self.leaving
            && now >= self.blocked_until
            && self.under_way() < max_under_way
            && max_connections.is_none_or(|most| self.connections() < most)
    }

    /// The connection is this worker's now; it goes out with the next `flush`.
    pub fn assign(&mut self, connection: Connection) {
        self.sent += 1;
        self.connection_limits.given(connection.group);
        self.can_take_back |= !connection.taken_back;
        self.pending.push(connection);
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends what was given. What the channel does not take is handed back to be placed elsewhere.
    pub fn flush(&mut self, now: Duration, fd_budget: FdBudget) -> Vec<Connection> {
        let most = if self.fd_pressure { 1 } else { fd_budget.message() };
        let mut pending = std::mem::take(&mut self.pending);
        while let Some(first) = pending.first() {
            let header = first.header(now);
            let same = |connection: &&Connection| connection.header(now) == header;
            let most = if header.keep_alive.is_some() { 1 } else { most };
            let fds: Vec<BorrowedFd<'_>> =
                pending.iter().take_while(same).take(most).map(|connection| connection.fd.as_fd()).collect();
            match fd_message::send(self.channel.as_fd(), header, &fds) {
                Ok(()) => {
                    let count = fds.len();
                    pending.drain(..count);
                }
                Err(Errno::INTR) => {}
                Err(_) => {
                    // Full, too many in flight, or gone (its death is on the way): not this worker now.
                    self.blocked_until = now + BACK_OFF;
                    self.forget(&pending);
                    return pending;
                }
            }
        }
        self.pending = pending;
        Vec::new()
    }

    /// Wakes a stuck worker when it can be woken: its beat then says that it is well. It gets no other work by
    /// which that could be seen.
    pub fn wake_up(&self) {
        // A full channel will wake it as well, and the dead need no waking.
        let _ = fd_message::send(self.channel.as_fd(), FdHeader::of(0), &[]);
    }

    /// Asks for idle connections that others are to have.
    pub fn ask_for(&self, count: u32) {
        // A full channel means that it has not even read what it got; the next look asks again.
        let _ = fd_message::send(self.channel.as_fd(), FdHeader { asked: count, ..FdHeader::of(0) }, &[]);
    }

    /// Takes back from a stuck worker what one of the `takers` may have. Once a connection: when every worker
    /// is slow, moving connections about only makes it worse.
    pub fn take_back(&mut self, takers: &BTreeSet<GroupId>, now: Duration) -> Taken {
        if !self.can_take_back || takers.is_empty() {
            return Taken::default();
        }
        let mut taken = self.read_back(now);
        let (moving, staying) = std::mem::take(&mut taken.connections)
            .into_iter()
            .partition(|connection| !connection.taken_back && takers.contains(&connection.group));
        taken.connections = moving;
        taken.connections.iter_mut().for_each(|connection| connection.taken_back = true);
        self.forget(&taken.connections);
        // Sent again before what was given since.
        self.pending.splice(0..0, staying);
        self.can_take_back = !taken.whole || self.pending.iter().any(|connection| !connection.taken_back);
        taken
    }

    /// Takes back all that the worker has not read, and what was not even sent.
    pub fn take_all(&mut self, now: Duration) -> Taken {
        let mut taken = self.read_back(now);
        taken.connections.append(&mut self.pending);
        self.forget(&taken.connections);
        taken
    }

    /// These were given and are not this worker's any more.
    fn forget(&mut self, connections: &[Connection]) {
        self.sent = self.sent.saturating_sub(connections.len() as u64);
        connections.iter().for_each(|connection| self.connection_limits.taken_back(connection.group, 1));
    }

    fn read_back(&mut self, now: Duration) -> Taken {
        let taken = self.empty_channel(now);
        if self.unresponsive {
            // The last knock came back too.
            self.wake_up();
        }
        taken
    }

    fn empty_channel(&mut self, now: Duration) -> Taken {
        let mut taken = Taken::default();
        loop {
            match fd_message::next_size(self.far_end.as_fd()) {
                Ok(Some(count)) if !fds::free(count) => {
                    taken.whole = false;
                    return taken;
                }
                Err(Errno::INTR) => continue,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return taken,
            }
            // The worker may have been faster.
            if let Ok(Some(fd_message)) = fd_message::receive(self.far_end.as_fd()) {
                taken.lost += fd_message.lost;
                self.sent = self.sent.saturating_sub(fd_message.lost as u64);
                self.connection_limits.taken_back(fd_message.header.group, fd_message.lost as u64);
                taken.connections.extend(fd_message.fds.into_iter().map(|fd| {
                    let client = super::placement::peer_address(&fd);
                    Connection {
                        taken_back: fd_message.header.taken_back,
                        keep_alive: fd_message.header.keep_alive,
                        per_request: fd_message.header.per_request,
                        ..Connection::new(fd, fd_message.header.group, client, now)
                    }
                }));
            }
        }
    }
}
