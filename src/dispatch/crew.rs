//! The workers as the accept thread knows them: their channels, what was sent and not yet taken, and whether
//! they may have more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::allowance::Allowance;
use super::group::Connection;
use super::watch::Pulse;
use crate::ipc::parcel;
use crate::metrics::layout::page;
use crate::metrics::memory::Page;
use crate::sys::fds;

/// How long a worker whose channel was full is left alone.
const BACK_OFF: Duration = Duration::from_millis(2);

pub struct Member {
    pub slot: u16,
    pub generation: u32,
    channel: OwnedFd,
    far_end: OwnedFd,
    pub page: Page,
    /// Connections given to this worker, less those taken back.
    sent: u64,
    /// How many of `page::ACCEPTED` have been counted.
    pub accepted_seen: u64,
    pub pulse: Pulse,
    pub stuck: bool,
    pub scarce: bool,
    pub leaving: bool,
    blocked_until: Duration,
    pending: Vec<Connection>,
}

impl Member {
    pub fn new(slot: u16, generation: u32, channel: OwnedFd, far_end: OwnedFd, page: Page) -> Self {
        Self {
            slot,
            generation,
            channel,
            far_end,
            page,
            sent: 0,
            accepted_seen: 0,
            pulse: Pulse::default(),
            stuck: false,
            scarce: false,
            leaving: false,
            blocked_until: Duration::ZERO,
            pending: Vec::new(),
        }
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

    /// May it be given one more through its channel now?
    pub fn has_room(&self, now: Duration, allowance: Allowance, most_connections: Option<u32>) -> bool {
        // One that is short of descriptors takes what it has room for; the others wait in the primary, where
        // they can go to any worker.
        let most_under_way = if self.scarce { 1 } else { allowance.under_way() };
        !self.leaving
            && now >= self.blocked_until
            && self.under_way() < most_under_way
            && most_connections.is_none_or(|most| self.connections() < most)
    }

    /// The connection is this worker's now; it goes out with the next `flush`.
    pub fn give(&mut self, connection: Connection) {
        self.sent += 1;
        self.pending.push(connection);
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends what was given. What the channel does not take is handed back to be placed elsewhere.
    pub fn flush(&mut self, now: Duration, allowance: Allowance) -> Vec<Connection> {
        let most = if self.scarce { 1 } else { allowance.message() };
        let mut pending = std::mem::take(&mut self.pending);
        while let Some(first) = pending.first() {
            let (group, taken_back) = (first.group, first.taken_back);
            let same =
                |connection: &&Connection| connection.group == group && connection.taken_back == taken_back;
            let fds: Vec<BorrowedFd<'_>> =
                pending.iter().take_while(same).take(most).map(|connection| connection.fd.as_fd()).collect();
            match parcel::send(self.channel.as_fd(), group, taken_back, &fds) {
                Ok(()) => {
                    let count = fds.len();
                    pending.drain(..count);
                }
                Err(Errno::INTR) => {}
                Err(_) => {
                    // Full, too many in flight, or gone (its death is on the way): not this worker now.
                    self.blocked_until = now + BACK_OFF;
                    self.sent -= pending.len() as u64;
                    return pending;
                }
            }
        }
        self.pending = pending;
        Vec::new()
    }

    /// Does something lie in its channel? After the worker's death only `take_back` changes that.
    pub fn has_unread(&self) -> bool {
        matches!(parcel::next_size(self.far_end.as_fd()), Ok(Some(_)))
    }

    /// Takes back what the worker has not read, as far as there are descriptors for it: the kernel drops what
    /// does not fit. `all` also what was taken back from another worker before.
    pub fn take_back(&mut self, all: bool, now: Duration) -> Vec<Connection> {
        let mut taken = Vec::new();
        let mut keep = Vec::new();
        while let Ok(Some(count)) = parcel::next_size(self.far_end.as_fd())
            && fds::free(count)
        {
            match parcel::receive(self.far_end.as_fd()) {
                Ok(Some(parcel)) => {
                    let parcel_back = parcel.taken_back;
                    let into = if parcel_back && !all { &mut keep } else { &mut taken };
                    into.extend(parcel.fds.into_iter().map(|fd| Connection {
                        client: super::place::peer_address(&fd),
                        fd,
                        group: parcel.group,
                        since: now,
                        taken_back: true,
                    }));
                }
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.sent -= taken.len() as u64;
        self.pending.splice(0..0, keep);
        if all {
            let pending = std::mem::take(&mut self.pending);
            self.sent = self.sent.saturating_sub(pending.len() as u64);
            taken.extend(pending);
        }
        taken
    }
}
