//! A listener group: one address, the primary's own listener, a listener for each slot, and the workers that serve
//! there.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::super::command::{ListenFailure, Listening};
use super::super::poller::Poller;
use super::super::settings::Settings;
use super::super::workers::WorkerState;
use super::bind::{self, Bound, UnixFile};
use super::closing::{self, Closing, End};
use super::mode::GroupMode;
use super::shares::{Share, Shares};
use super::sharing::{Decision, Founder, Requester};
use super::steering::Steered;
use crate::balance::{Family, Instruction, MAX_INSTRUCTIONS};
use crate::ipc::control::{Address, GroupId};
use crate::model::WorkerId;
use crate::sys::fds;

/// The opener of an address.
#[derive(Clone, Copy)]
pub struct Opener {
    pub founder: Founder,
    /// The primary opens it, before a program has listened.
    pub is_primary: bool,
    /// A worker opens it after its start.
    pub is_late: bool,
}

pub struct Group {
    id: GroupId,
    address: Address,
    name: String,
    /// Member 0. None once the group is retired: no new connections arrive, accepted ones are still placed.
    primary_listener: Option<OwnedFd>,
    /// By slot; empty when retired, and if the kernel cannot steer.
    members: Vec<OwnedFd>,
    /// By slot: the primary accepts from the slot's listener, because no worker does.
    owned: Vec<bool>,
    shares: Shares,
    /// A draining worker that keeps serving here because no other worker does.
    keeper: Option<WorkerId>,
    local: Option<SocketAddr>,
    file: Option<UnixFile>,
    plain_http: bool,
    opener: Opener,
    /// Set when the primary's program has closed the address: dropped with the group, which ends with the last worker
    /// that serves there.
    released: Option<oneshot::Sender<()>>,
    closing: Option<Closing>,
    mode: GroupMode,
    /// The attached steering program.
    program: Vec<Instruction>,
}

/// A view of an address for `services`.
#[derive(Clone, Copy)]
pub struct AddressView<'a> {
    pub group: GroupId,
    pub name: &'a str,
    pub shares: &'a Shares,
    /// It has not been retired.
    pub is_open: bool,
    pub is_released: bool,
    pub is_closing: bool,
    /// A worker opened it in the course of its work, not at its start.
    pub is_late: bool,
    /// One worker opened it for a purpose of its own.
    pub is_of_one_worker: bool,
}

impl Group {
    pub fn new(id: GroupId, address: Address, bound: Bound, opener: Opener, holds_push: bool) -> Self {
        let members = bound.members.len();
        Self {
            id,
            name: name(&address, bound.local),
            address,
            primary_listener: Some(bound.primary_listener),
            owned: vec![false; members],
            members: bound.members,
            shares: Shares::default(),
            keeper: None,
            local: bound.local,
            file: bound.file,
            plain_http: false,
            opener,
            released: None,
            closing: None,
            mode: GroupMode::new(members > 0, holds_push),
            program: Vec::new(),
        }
    }

    pub fn id(&self) -> GroupId {
        self.id
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn founder(&self) -> Founder {
        self.opener.founder
    }

    /// 0 for unix sockets.
    pub fn port(&self) -> u16 {
        self.local.map_or(0, |local| local.port())
    }

    pub fn members(&self) -> usize {
        self.members.len()
    }

    pub fn is_plain_http(&self) -> bool {
        self.plain_http
    }

    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    pub fn set_share(&mut self, slot: u16, share: Share) {
        self.shares.set(slot, share);
    }

    /// The slot's worker serves here. `plain_http`: drover may send HTTP responses.
    pub fn serve(&mut self, slot: u16, plain_http: bool) {
        self.shares.set(slot, Share::Open);
        self.plain_http = plain_http;
    }

    pub fn mode(&self) -> &GroupMode {
        &self.mode
    }

    pub fn mode_mut(&mut self) -> &mut GroupMode {
        &mut self.mode
    }

    /// `slots`: the cluster's number of slots.
    pub fn view(&self, slots: usize) -> AddressView<'_> {
        AddressView {
            group: self.id,
            name: &self.name,
            shares: &self.shares,
            is_open: self.is_open(),
            is_released: self.is_released(),
            is_closing: self.is_closing(),
            is_late: self.opener.is_late,
            is_of_one_worker: self.is_of_one_worker(slots),
        }
    }

    /// It has not been retired.
    pub fn is_open(&self) -> bool {
        self.primary_listener.is_some()
    }

    /// A listening socket that the program opened itself.
    pub fn is_programs(&self) -> bool {
        matches!(self.address, Address::Descriptor { .. })
    }

    /// Whether this is the group of address `wanted`. Different spellings of an address are the same, and after
    /// `start(port)` a program may use any wildcard.
    pub fn answers_to(&self, wanted: &Address) -> bool {
        if !self.is_open() || self.is_released() || self.is_closing() {
            return false;
        }
        if self.address == *wanted {
            return true;
        }
        let Address::Tcp { host: Some(host), port, .. } = wanted else { return false };
        let (Some(local), Ok(ip)) = (self.local, host.parse::<std::net::IpAddr>()) else { return false };
        let for_all = self.opener.is_primary && matches!(self.address, Address::Tcp { host: None, .. });
        let same_words = local.ip() == ip || (for_all && ip.is_unspecified());
        *port != 0 && matches!(self.address, Address::Tcp { .. }) && local.port() == *port && same_words
    }

    /// Whether a server of the requester may share the open address.
    pub fn admit(&self, requester: Requester, now: Duration) -> Decision {
        self.opener.founder.decide(requester, now)
    }

    /// The failure that another server has the address.
    pub fn taken(&self) -> ListenFailure {
        let host = self.local.map(|local| local.ip().to_string());
        ListenFailure::new(libc::EADDRINUSE, "listen", host)
    }

    /// A worker opened it, but no worker serves or has served here.
    pub fn is_untouched(&self) -> bool {
        !self.opener.is_primary && self.shares.users() == 0
    }

    /// Whether one worker opened it after its start for a purpose of its own: a port of the kernel's choice, or one
    /// that no other of the `slots` serves.
    fn is_of_one_worker(&self, slots: usize) -> bool {
        if self.is_kept() {
            return true;
        }
        let has_no_number = matches!(self.address, Address::Tcp { port: 0, .. });
        self.opener.is_late && (has_no_number || (slots > 1 && self.shares.users() <= 1))
    }

    /// The slot's worker drains, and no replacement serves here so far. If the worker opened the address after its
    /// start and no other worker serves it, it keeps serving it until it closes it or ends: its clients connect to a
    /// port that it has given them (FTP's passive mode). HTTP is excepted: its clients use an address that the
    /// replacement serves again.
    pub fn leave(&mut self, worker: WorkerId) {
        let slot = worker.slot;
        if !self.shares.is_open(slot) {
            return;
        }
        let is_alone = self.shares.beside(slot).all(|share| matches!(share, Share::None | Share::Closed));
        if self.opener.is_late && is_alone && !self.plain_http {
            self.keeper = Some(worker);
        }
        self.shares.set(slot, Share::Orphaned);
    }

    /// The draining worker that keeps serving here, if no other worker serves.
    pub fn keeper(&self) -> Option<WorkerId> {
        self.keeper.filter(|_| self.is_open() && !self.shares.any_open())
    }

    /// The worker has ended or closed its server. Returns whether it was the last that served here.
    pub fn end_keeping(&mut self, worker: WorkerId) -> bool {
        let was_last = self.keeper() == Some(worker);
        self.keeper = self.keeper.filter(|keeper| *keeper != worker);
        was_last
    }

    /// Whether a draining worker still serves here, whether others do or not.
    pub fn is_kept(&self) -> bool {
        self.keeper.is_some()
    }

    /// The primary's program closed it.
    pub fn release(&mut self, gone: oneshot::Sender<()>) {
        self.released = Some(gone);
    }

    pub fn is_released(&self) -> bool {
        self.released.is_some()
    }

    /// Its own listener, or a slot's.
    pub fn listener(&self, slot: Option<u16>) -> Option<&OwnedFd> {
        match slot {
            None => self.primary_listener.as_ref(),
            Some(slot) => self.members.get(usize::from(slot)),
        }
    }

    fn listeners(&self) -> impl Iterator<Item = &OwnedFd> {
        self.primary_listener.iter().chain(&self.members)
    }

    /// A copy of the slot's listener, if a slot requests it. Without a listener of its own the slot gets a copy of the
    /// group's, only for `address()`: only the accept thread accepts there, otherwise the strategy and all limits would
    /// be bypassed.
    pub fn hand_out(&self, slot: Option<u16>) -> Result<Listening, ListenFailure> {
        let own = slot.is_some_and(|slot| self.listener(Some(slot)).is_some());
        let listener = match slot {
            None => None,
            Some(slot) => {
                let listener = self.listener(Some(slot)).or(self.primary_listener.as_ref());
                let copied = listener.map_or(Err(Errno::BADF), |listener| {
                    rustix::io::fcntl_dupfd_cloexec(listener.as_fd(), 0)
                });
                Some(copied.map_err(|errno| ListenFailure::new(errno.raw_os_error(), "listen", None))?)
            }
        };
        Ok(Listening {
            group: self.id,
            host: self.local.map(|local| local.ip().to_string()),
            port: self.port(),
            listener,
            own,
        })
    }

    /// Listeners that the accept thread accepts from, with their slots.
    fn registered(&self) -> impl Iterator<Item = (Option<u16>, &OwnedFd)> {
        let members = self.members.iter().zip(&self.owned).enumerate();
        let owned = members.filter(|(_, (_, owned))| **owned);
        let primary_listener = self.primary_listener.iter().map(|listener| (None, listener));
        primary_listener.chain(owned.map(|(slot, (listener, _))| (Some(slot as u16), listener)))
    }

    pub fn register(&self, poller: &Poller) -> Result<(), Errno> {
        self.registered().try_for_each(|(slot, listener)| poller.add_listener(listener, self.id, slot))
    }

    pub fn deregister(&self, poller: &Poller) {
        self.registered().for_each(|(_, listener)| poller.remove(listener));
    }

    /// Listeners from which their own workers accept, of the slots for which `is_asked` is true, to be polled.
    pub fn polled_by_workers<'a>(
        &'a self,
        is_asked: impl Fn(usize) -> bool + 'a,
    ) -> impl Iterator<Item = (usize, PollFd<'a>)> {
        let members = self.members.iter().zip(&self.owned).enumerate();
        let polled = members.filter(move |(slot, (_, owned))| !**owned && is_asked(*slot));
        polled.map(|(slot, (listener, _))| (slot, PollFd::new(listener, PollFlags::IN)))
    }

    fn steered(&self) -> Steered<'_> {
        Steered {
            group: self.id,
            shares: &self.shares,
            members: self.members.len(),
            plain_http: self.plain_http,
            family: self.family(),
        }
    }

    fn family(&self) -> Family {
        if self.local.is_some_and(|local| local.is_ipv6()) { Family::V6 } else { Family::V4 }
    }

    /// The primary accepts from slots' listeners without an accepting worker. Listeners are never closed: that would
    /// reset their queues. `is_resting`: accepting is paused for lack of file descriptors.
    /// `is_overloaded`: only the accept thread can refuse.
    pub fn own_queues(
        &mut self,
        workers: &[WorkerState],
        poller: &Poller,
        is_resting: bool,
        is_overloaded: bool,
    ) {
        let needs_push = is_overloaded || self.steered().needs_push(workers);
        let mut owned = self.steered().owned(workers);
        for (slot, listener) in self.members.iter().enumerate() {
            if owned[slot] && !self.owned[slot] {
                // While accepting is paused it is registered later, on resume.
                owned[slot] = is_resting || poller.add_listener(listener, self.id, Some(slot as u16)).is_ok();
            } else if self.owned[slot] && !owned[slot] {
                poller.remove(listener);
            }
        }
        self.owned = owned;
        self.mode.hold(needs_push);
    }

    /// Attaches the current steering program.
    ///
    /// # Errors
    /// Why the kernel cannot steer, for people.
    pub fn steer(&mut self, workers: &[WorkerState], settings: &Settings) -> Result<(), String> {
        let Some(primary_listener) = self.primary_listener.as_ref().filter(|_| !self.members.is_empty())
        else {
            return Ok(());
        };
        let program = self.steered().program(workers, self.mode.is_direct(), settings).map_err(|slots| {
            format!(
                "{slots} workers need a steering program of more than {MAX_INSTRUCTIONS} instructions: \
                 connections go through the primary"
            )
        })?;
        if program != self.program {
            bind::attach(primary_listener.as_fd(), &program).map_err(|error| {
                format!(
                    "The kernel accepts no steering program ({error}): connections go through the primary"
                )
            })?;
            self.program = program;
        }
        Ok(())
    }

    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub fn closing(&self) -> Option<&Closing> {
        self.closing.as_ref()
    }

    pub fn closing_mut(&mut self) -> Option<&mut Closing> {
        self.closing.as_mut()
    }

    pub fn take_closing(&mut self) -> Option<End> {
        self.closing.take().map(Closing::into_end)
    }

    /// Begins to close, or adds a reason to close.
    pub fn close(&mut self, end: End, now: Duration) {
        match &mut self.closing {
            Some(closing) => closing.add(end),
            None => {
                let waits = self.bar() && !self.is_local();
                self.closing = Some(Closing::new(end, waits, now));
            }
        }
    }

    /// Drops new handshakes. Returns whether pending handshakes are possible and can be waited for.
    fn bar(&mut self) -> bool {
        match self.address {
            Address::Tcp { .. } => self.listeners().all(|listener| bind::bar(listener.as_fd()).is_ok()),
            Address::Unix { .. } => {
                self.shut_down();
                // Its file is removed: no client can connect any more.
                self.file = None;
                false
            }
            Address::Descriptor { .. } => false,
        }
    }

    /// Its clients are on this machine: the kernel completes their handshakes within the call that begins them. A
    /// search for pending handshakes would take milliseconds (the kernel scans its whole connection table), in which
    /// further SYNs would be dropped.
    fn is_local(&self) -> bool {
        self.local.is_some_and(|local| local.ip().to_canonical().is_loopback())
    }

    /// Whether connections are queued or handshakes pending, as far as the kernel reports them.
    pub fn is_expecting(&self) -> bool {
        let waits = |listener: &OwnedFd| fds::accept_queue(listener.as_fd()).is_ok_and(|count| count > 0);
        // In this order: a handshake that completes meanwhile is in the queue by then.
        closing::has_handshakes(self.family(), self.port()) || self.listeners().any(waits)
    }

    /// Shuts the listeners down, so that clients are refused even if a worker still holds a copy for a moment.
    pub fn shut_down(&self) {
        // The program itself closes a descriptor of its own.
        if !self.is_programs() {
            for listener in self.listeners() {
                // It may already be shut down.
                let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Read);
            }
        }
    }

    /// Releases the address. The sockets must have been removed from the epoll set, because workers may hold copies.
    pub fn retire(&mut self) {
        self.primary_listener = None;
        self.members.clear();
        self.owned.clear();
        self.file = None;
        self.mode.retire();
    }
}

/// The name of the address for people.
fn name(address: &Address, local: Option<SocketAddr>) -> String {
    match (address, local) {
        (Address::Unix { path }, _) => path.clone(),
        (_, Some(local)) => local.to_string(),
        (Address::Tcp { port, .. }, None) => format!("port {port}"),
        (Address::Descriptor { fd }, None) => format!("descriptor {fd}"),
    }
}
