//! A connection from its accept until it is sent to a worker.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::address;
use crate::ipc::control::GroupId;
use crate::ipc::fd_message::{FdHeader, IdleKeepAlive};

/// What a connection's first bytes say about its worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint {
    /// The slot that a valid affinity cookie names.
    pub slot: Option<u16>,
    /// The client behind a trusted proxy.
    pub client: Option<IpAddr>,
    /// Its request's path is exempt from admission.
    pub is_exempt: bool,
}

/// An accepted connection that drover still owns.
pub struct Connection {
    pub fd: OwnedFd,
    pub group: GroupId,
    pub client: Option<SocketAddr>,
    /// When it was accepted or returned, on the thread's clock.
    pub since: Duration,
    pub hint: Hint,
    /// It was taken back from an unresponsive worker once. It is not taken back again: when every worker is slow,
    /// moving connections makes it worse.
    pub taken_back: bool,
    /// It had a worker before and is idle between two requests.
    pub keep_alive: Option<IdleKeepAlive>,
    /// It carries requests of many clients (a proxy's connection): its worker returns it after each response, to be
    /// placed again.
    pub per_request: bool,
    /// The worker that handed it off: another one must get it.
    pub donor: Option<u16>,
    /// It is refused unless its request turns out to be exempt from admission.
    pub is_turned_away: bool,
}

impl Connection {
    /// The header for its next worker at `now`; it has been idle since it arrived here.
    pub fn header(&self, now: Duration) -> FdHeader {
        let waited = u32::try_from(now.saturating_sub(self.since).as_millis()).unwrap_or(u32::MAX);
        let keep_alive = self.keep_alive.map(|keep_alive| IdleKeepAlive {
            remaining_ms: keep_alive.remaining_ms.saturating_sub(waited).max(1),
            ..keep_alive
        });
        FdHeader {
            taken_back: self.taken_back,
            keep_alive,
            per_request: self.per_request,
            ..FdHeader::of(self.group)
        }
    }

    pub fn new(fd: OwnedFd, group: GroupId, client: Option<SocketAddr>, now: Duration) -> Self {
        Self {
            fd,
            group,
            client,
            since: now,
            hint: Hint::default(),
            taken_back: false,
            keep_alive: None,
            per_request: false,
            donor: None,
            is_turned_away: false,
        }
    }

    /// A connection that was received with this header.
    pub fn received(fd: OwnedFd, header: &FdHeader, now: Duration) -> Self {
        let client = address::of_peer(&fd);
        Self {
            taken_back: header.taken_back,
            keep_alive: header.keep_alive,
            per_request: header.per_request,
            ..Self::new(fd, header.group, client, now)
        }
    }
}
