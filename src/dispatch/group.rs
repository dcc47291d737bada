//! A listener group: one address, the primary's own listener, a listener for each slot, which workers serve
//! behind it, and the connections that wait because none may take them.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::oneshot;

use super::bind::{Bound, UnixFile};
use super::closing::Closing;
use super::command::Settings;
use super::outage::Service;
use super::sharing::Founder;
use crate::balance::{Chooser, Family, Mode, RATE_UP, Strategy, Switch};
use crate::ipc::control::{Address, GroupId};
use crate::ipc::fd_message::{FdHeader, IdleKeepAlive};

/// What a connection's first bytes said about where it belongs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint {
    /// The slot that a valid affinity cookie names.
    pub slot: Option<u16>,
    /// The client behind a trusted proxy.
    pub client: Option<IpAddr>,
}

/// An accepted connection that drover still owns.
pub struct Connection {
    pub fd: OwnedFd,
    pub group: GroupId,
    pub client: Option<SocketAddr>,
    /// When it was accepted or came back, on the thread's clock.
    pub since: Duration,
    pub hint: Hint,
    /// It was in a stuck worker's channel once. It is not taken back a second time: when every worker is
    /// slow, moving connections about only makes it worse.
    pub taken_back: bool,
    /// It had a worker before and waits for its next request.
    pub keep_alive: Option<IdleKeepAlive>,
    /// It speaks for many clients (a proxy's): its worker gives it back after each response, to be placed anew.
    pub per_request: bool,
    /// The worker that gave it away: another is to have it.
    pub donor: Option<u16>,
}

impl Connection {
    /// What its next owner is told of it at `now`: it has been silent since it came here.
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
        }
    }
}

/// What a slot's worker does with the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// It has not listened yet.
    None,
    Open,
    /// Its program closed the server.
    Closed,
    /// The worker died or leaves while its door was open; its replacement is expected.
    Orphaned,
}

/// Connections a second above which a listener in push mode is polled, and below half of which it is not any
/// more. A look every 150 us costs what 3,000 wake-ups a second do.
const POLL_RATE: f64 = 6000.0;

pub struct Group {
    pub id: GroupId,
    pub address: Address,
    /// Member 0. None once the group is retired: nothing new comes, what came is still placed.
    pub primary_listener: Option<OwnedFd>,
    /// By slot; empty when retired, and where the kernel cannot steer.
    pub members: Vec<OwnedFd>,
    /// By slot: the primary accepts from the slot's listener, because no worker does.
    pub owned: Vec<bool>,
    /// By slot.
    pub shares: Vec<Share>,
    pub local: Option<SocketAddr>,
    file: Option<UnixFile>,
    pub plain_http: bool,
    /// The primary opened it, before any program said what it wants.
    pub is_primarys: bool,
    /// The primary opened it for every address of the machine, before any program said what it wants.
    pub opened_by_primary: bool,
    /// The primary's program closed it: dropped with the group, which ends with its last door.
    pub released: Option<oneshot::Sender<()>>,
    /// Nothing new is let in, and it closes in a moment.
    pub closing: Option<Closing>,
    /// With whom it is shared.
    pub founder: Founder,
    /// A worker opened it in the course of its work, not at its start.
    pub is_late: bool,
    pub service: Service,
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
}

impl Group {
    /// `held`: an option keeps it in push mode.
    pub fn new(id: GroupId, address: Address, bound: Bound, strategy: Strategy, held: bool) -> Self {
        let members = bound.members.len();
        Self {
            id,
            address,
            primary_listener: Some(bound.primary_listener),
            owned: vec![false; members],
            shares: Vec::new(),
            push_only: members == 0,
            members: bound.members,
            local: bound.local,
            file: bound.file,
            plain_http: false,
            is_primarys: false,
            opened_by_primary: false,
            released: None,
            closing: None,
            founder: Founder::All,
            is_late: false,
            service: Service::default(),
            waiting: VecDeque::new(),
            chooser: Chooser::new(strategy),
            switch: Switch::new(if members == 0 || held { POLL_RATE } else { RATE_UP }),
            mode: Mode::Push,
            busy: false,
            program: Vec::new(),
            direct_total: 0,
        }
    }

    /// Lets go of the address. The sockets must have left the epoll set: workers may hold copies of them.
    pub fn retire(&mut self) {
        self.primary_listener = None;
        self.members.clear();
        self.owned.clear();
        self.file = None;
        self.push_only = true;
        self.mode = Mode::Push;
        self.busy = false;
    }

    /// Its name is gone from the file system: nobody comes by it any more.
    pub fn remove_file(&mut self) {
        self.file = None;
    }

    /// Its clients are refused from now on, though a worker may hold a copy of a listener for a moment.
    pub fn shut_down(&self) {
        // A descriptor of the program's is its own to end.
        if !matches!(self.address, Address::Descriptor { .. }) {
            for listener in self.primary_listener.iter().chain(&self.members) {
                // One that is no listener any more needs no end.
                let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Read);
            }
        }
    }

    /// Its own listener, or a slot's.
    pub fn listener(&self, slot: Option<u16>) -> Option<&OwnedFd> {
        match slot {
            None => self.primary_listener.as_ref(),
            Some(slot) => self.members.get(usize::from(slot)),
        }
    }

    /// Listeners that the accept thread looks after, with their slots.
    pub fn registered(&self) -> impl Iterator<Item = (Option<u16>, &OwnedFd)> {
        let primary_listener = self.primary_listener.as_ref();
        let members = self.members.iter().zip(&self.owned).enumerate();
        let owned = members.filter(|(_, (_, owned))| **owned);
        primary_listener
            .into_iter()
            .map(|primary_listener| (None, primary_listener))
            .chain(owned.map(|(slot, (listener, _))| (Some(slot as u16), listener)))
    }

    /// Is this the group that a program means by `wanted`? The same address in other words is the same, and a
    /// program behind `start(port)` may name its wildcard as it likes.
    pub fn answers_to(&self, wanted: &Address) -> bool {
        if self.primary_listener.is_none() || self.released.is_some() || self.closing.is_some() {
            return false;
        }
        if self.address == *wanted {
            return true;
        }
        let Address::Tcp { host: Some(host), port, .. } = wanted else { return false };
        let (Some(local), Ok(ip)) = (self.local, host.parse::<std::net::IpAddr>()) else { return false };
        let same_words = local.ip() == ip || (self.opened_by_primary && ip.is_unspecified());
        *port != 0 && matches!(self.address, Address::Tcp { .. }) && local.port() == *port && same_words
    }

    /// One worker among `slots` opened it in the course of its work, for an end of its own: a port of the kernel's choice,
    /// or one that no other worker serves.
    pub fn is_of_one_worker(&self, slots: usize) -> bool {
        let has_no_number = matches!(self.address, Address::Tcp { port: 0, .. });
        let users = self.shares.iter().filter(|share| **share != Share::None).count();
        self.is_late && (has_no_number || (slots > 1 && users <= 1))
    }

    /// For people.
    pub fn name(&self) -> String {
        match (&self.address, self.local) {
            (Address::Unix { path }, _) => path.clone(),
            (_, Some(local)) => local.to_string(),
            (Address::Tcp { port, .. }, None) => format!("port {port}"),
            (Address::Descriptor { fd }, None) => format!("descriptor {fd}"),
        }
    }

    pub fn family(&self) -> Family {
        if self.local.is_some_and(|local| local.is_ipv6()) { Family::V6 } else { Family::V4 }
    }

    pub fn share(&self, slot: u16) -> Share {
        self.shares.get(usize::from(slot)).copied().unwrap_or(Share::None)
    }

    pub fn set_share(&mut self, slot: u16, share: Share) {
        let index = usize::from(slot);
        if self.shares.len() <= index {
            self.shares.resize(index + 1, Share::None);
        }
        self.shares[index] = share;
    }

    /// Puts a connection where its age says.
    pub fn enqueue(&mut self, connection: Connection) {
        let at = self.waiting.partition_point(|other| other.since <= connection.since);
        self.waiting.insert(at, connection);
    }

    /// Tells the switch what came, in the terms of the side it is on.
    pub fn reconsider(&mut self, accepted: u32, now: Duration) {
        match self.switch.mode() {
            Mode::Push => self.switch.accepted(accepted, now),
            Mode::Direct => self.switch.sampled(self.direct_total, now),
        };
    }

    /// Every worker that serves or served here has closed its server.
    pub fn is_abandoned(&self) -> bool {
        self.shares.contains(&Share::Closed)
            && self.shares.iter().all(|share| matches!(share, Share::Closed | Share::None))
    }

    /// A worker opened it, and none serves or served here.
    pub fn is_untouched(&self) -> bool {
        !self.is_primarys && self.shares.iter().all(|share| *share == Share::None)
    }

    /// An option that only the accept thread can honour keeps the group in push mode.
    pub fn must_push(settings: &Settings) -> bool {
        settings.max_connections_per_worker.is_some()
            || matches!(settings.affinity, super::Affinity::Cookie { .. })
            || !settings.trusted_proxies.is_empty()
    }
}
