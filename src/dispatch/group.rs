//! A listener group: one address, the primary's own listener, a listener for each slot, which workers serve
//! behind it, and the connections that wait because none may take them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::bind::Bound;
use super::command::Settings;
use crate::balance::{Chooser, Family, Mode, RATE_UP, Strategy, Switch};
use crate::ipc::control::{Address, GroupId};

/// An accepted connection that drover still owns.
pub struct Connection {
    pub fd: OwnedFd,
    pub group: GroupId,
    pub client: Option<SocketAddr>,
    /// When it was accepted, on the thread's clock.
    pub since: Duration,
    /// It was in a stuck worker's channel once. It is not taken back a second time: when every worker is
    /// slow, moving connections about only makes it worse.
    pub taken_back: bool,
}

/// What a slot's worker does with the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It has not listened yet.
    None,
    Open,
    /// Its program closed the server.
    Closed,
    /// The worker died or leaves while its door was open; its replacement is expected.
    Orphaned,
}

pub struct Group {
    pub id: GroupId,
    pub address: Address,
    pub front: OwnedFd,
    /// By slot.
    pub members: Vec<OwnedFd>,
    /// By slot: the primary accepts from the slot's listener, because no worker does.
    pub owned: Vec<bool>,
    /// By slot.
    pub doors: Vec<Door>,
    pub local: Option<SocketAddr>,
    path: Option<String>,
    pub plain_http: bool,
    /// The primary opened it for every address of the machine, before any program said what it wants.
    pub opened_by_primary: bool,
    /// What waits for a worker, oldest first.
    pub waiting: VecDeque<Connection>,
    pub chooser: Chooser,
    pub switch: Switch,
    pub mode: Mode,
    /// The kernel cannot steer this group, or an option forbids it.
    pub push_only: bool,
    /// Held in push mode at a rate at which the accept thread looks by itself instead of being woken.
    pub busy: bool,
    /// The program that is attached now.
    pub program: Vec<crate::balance::Instruction>,
    /// Connections since the group left the quiet side of its switch.
    pub direct_total: u64,
    /// Accepting failed for want of descriptors; the listener is left alone until then.
    pub paused_until: Option<Duration>,
}

impl Group {
    pub fn new(id: GroupId, address: Address, bound: Bound, strategy: Strategy) -> Self {
        let members = bound.members.len();
        Self {
            id,
            address,
            front: bound.front,
            owned: vec![false; members],
            doors: Vec::new(),
            push_only: members == 0,
            members: bound.members,
            local: bound.local,
            path: bound.path,
            plain_http: false,
            opened_by_primary: false,
            waiting: VecDeque::new(),
            chooser: Chooser::new(strategy),
            switch: Switch::new(RATE_UP),
            mode: Mode::Push,
            busy: false,
            program: Vec::new(),
            direct_total: 0,
            paused_until: None,
        }
    }

    /// Is this the group that a program means by `wanted`? The same address in other words is the same, and a
    /// program behind `start(port)` may name its wildcard as it likes.
    pub fn answers_to(&self, wanted: &Address) -> bool {
        if self.address == *wanted {
            return true;
        }
        let Address::Tcp { host: Some(host), port, .. } = wanted else { return false };
        let (Some(local), Ok(ip)) = (self.local, host.parse::<std::net::IpAddr>()) else { return false };
        let same_words = local.ip() == ip || (self.opened_by_primary && ip.is_unspecified());
        *port != 0 && matches!(self.address, Address::Tcp { .. }) && local.port() == *port && same_words
    }

    pub fn is_stream(&self) -> bool {
        !matches!(self.address, Address::Udp { .. })
    }

    pub fn family(&self) -> Family {
        if self.local.is_some_and(|local| local.is_ipv6()) { Family::V6 } else { Family::V4 }
    }

    pub fn door(&self, slot: u16) -> Door {
        self.doors.get(usize::from(slot)).copied().unwrap_or(Door::None)
    }

    pub fn set_door(&mut self, slot: u16, door: Door) {
        let index = usize::from(slot);
        if self.doors.len() <= index {
            self.doors.resize(index + 1, Door::None);
        }
        self.doors[index] = door;
    }

    /// Tells the switch what came, in the terms of the side it is on.
    pub fn reconsider(&mut self, accepted: u32, now: Duration) {
        match self.switch.mode() {
            Mode::Push => self.switch.accepted(accepted, now),
            Mode::Direct => self.switch.sampled(self.direct_total, now),
        };
    }

    /// The slots' listeners that the primary accepts from.
    pub fn owned_listeners(&self) -> impl Iterator<Item = (u16, &OwnedFd)> {
        let slots = self.members.iter().enumerate().zip(&self.owned);
        slots.filter(|(_, owned)| **owned).map(|((slot, listener), _)| (slot as u16, listener))
    }

    /// Every program closed its server: nobody will serve this address any more.
    pub fn is_abandoned(&self) -> bool {
        self.doors.contains(&Door::Closed)
            && self.doors.iter().all(|door| matches!(door, Door::Closed | Door::None))
    }

    /// An option that only the accept thread can honour keeps the group in push mode.
    pub fn must_push(settings: &Settings) -> bool {
        settings.max_connections_per_worker.is_some()
            || matches!(settings.affinity, super::Affinity::Cookie { .. })
            || !settings.trusted_proxies.is_empty()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Gone already is as good.
            let _ = rustix::fs::unlink(path);
        }
    }
}
