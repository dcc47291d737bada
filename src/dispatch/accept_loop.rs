//! The accept thread: one epoll set, one loop. Each round waits, accepts or looks, obeys commands, judges the
//! workers when it is time, and sends what was placed. It sleeps for as long as nothing is outstanding.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::bind::client_address;
use super::closing::ClosingAll;
use super::command::{Command, Joining, Report, Settings};
use super::datagrams::Datagrams;
use super::fd_budget::FdBudget;
use super::first_bytes::FirstBytes;
use super::group::{Connection, Group};
use super::refusal::Refusals;
use super::sharing::Reservation;
use super::succession::Succession;
use super::token::Token;
use super::worker_channel::WorkerChannel;
use super::worker_table::WorkerTable;
use crate::balance::{Candidate, Mode, Rebalance};
use crate::event::Level;
use crate::ipc::control::GroupId;
use crate::metrics::layout::{header, page};
use crate::metrics::memory::SharedMemory;

/// Accepted in one go from one listener, so that a flood on one address does not starve the others.
pub const BATCH: u32 = 64;
/// Between two looks at the workers while something is outstanding.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);
/// Between two looks while connections wait for a worker.
const QUEUE_INTERVAL: Duration = Duration::from_millis(4);
const WEIGHTS_INTERVAL: Duration = Duration::from_millis(100);
/// A worker's own queue may hold connections for a moment after a group left direct mode.
const WATCH_AFTER_DIRECT: Duration = Duration::from_secs(2);
/// Between two looks at a listener that is too busy to be woken for.
const COALESCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 150_000 };
/// How long the thread outlives the order to end, for clients that still read their refusal.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Everything the accept thread owns.
pub struct AcceptLoop {
    pub settings: Settings,
    pub epoll: OwnedFd,
    wake: OwnedFd,
    commands: Receiver<Command>,
    pub report: Box<dyn Fn(Report) + Send>,
    pub memory: SharedMemory,
    clock: Instant,
    pub groups: BTreeMap<GroupId, Group>,
    pub next_group: GroupId,
    /// Ports that workers have tried a moment ago.
    pub reservations: Vec<Reservation>,
    pub datagrams: Datagrams<OwnedFd>,
    pub joining: Vec<Joining>,
    /// Replacements that wait until they serve what their predecessors do.
    pub successions: Vec<Succession>,
    /// Every worker has started, or has used up its budget: from then on a lost address is told.
    pub is_started: bool,
    /// When the workers' addresses are compared.
    pub compare_at: Option<Duration>,
    pub workers: WorkerTable,
    /// The dead whose channels hold connections that could not be taken back yet for want of descriptors.
    pub dead: Vec<WorkerChannel>,
    pub candidates: Vec<Candidate>,
    pub first_bytes: FirstBytes,
    pub refusals: Refusals,
    random: u32,
    /// Requests so far, as far as they have been counted.
    pub requests: f64,
    pub rebalanced: Duration,
    pub rebalance: Rebalance,
    watched: Duration,
    weighed: Duration,
    watch_until: Duration,
    /// Accepting failed for want of descriptors; the listeners are left alone until then.
    pub resting_until: Option<Duration>,
    pub said_out_of_descriptors: bool,
    /// It was said that an address has no listeners for slots because there are too few descriptors.
    pub said_few_members: bool,
    pub fd_budget: FdBudget,
    pub closing_all: Option<ClosingAll>,
    /// Shutdown was ordered; the thread ends by then.
    pub over_at: Option<Duration>,
}

impl AcceptLoop {
    pub fn new(
        settings: Settings,
        wake: OwnedFd,
        commands: Receiver<Command>,
        report: Box<dyn Fn(Report) + Send>,
        memory: SharedMemory,
        seed: u32,
    ) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, EventData::new_u64(Token::Wake.pack()), EventFlags::IN)?;
        Ok(Self {
            settings,
            epoll,
            wake,
            commands,
            report,
            memory,
            clock: Instant::now(),
            groups: BTreeMap::new(),
            next_group: 1,
            reservations: Vec::new(),
            datagrams: Datagrams::default(),
            joining: Vec::new(),
            successions: Vec::new(),
            is_started: false,
            compare_at: None,
            workers: WorkerTable::default(),
            dead: Vec::new(),
            candidates: Vec::new(),
            first_bytes: FirstBytes::default(),
            refusals: Refusals::default(),
            random: seed | 1,
            requests: 0.0,
            rebalanced: Duration::ZERO,
            rebalance: Rebalance::default(),
            watched: Duration::ZERO,
            weighed: Duration::ZERO,
            watch_until: Duration::ZERO,
            resting_until: None,
            said_out_of_descriptors: false,
            said_few_members: false,
            fd_budget: FdBudget::new(crate::sys::limits::descriptors()),
            closing_all: None,
            over_at: None,
        })
    }

    pub fn run(mut self) {
        crate::sys::limits::precise_timers();
        let mut events: Vec<Event> = Vec::with_capacity(64);
        while !self.is_over() {
            events.clear();
            if self.polls() {
                // Thousands a second and no help from the kernel: a batch for each look costs less than a wake-up
                // for each connection. Only as long as the rate lasts.
                let _ = rustix::thread::nanosleep(&COALESCE);
            }
            let timeout = self.timeout().map(|timeout| Timespec {
                tv_sec: timeout.as_secs() as i64,
                tv_nsec: i64::from(timeout.subsec_nanos()),
            });
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    let text = format!("The accept thread cannot wait for connections: {errno}");
                    return (self.report)(Report::Notice(Level::Error, text));
                }
            }
            let now = self.clock.elapsed();
            // Who waits longest goes first.
            self.serve_queues(now);
            for event in &events {
                match Token::unpack(event.data.u64()) {
                    Token::Wake => self.take_commands(now),
                    Token::PrimaryListener(group) => self.accept_primary(group, now),
                    Token::Slot(group, slot) => self.accept_slot(group, slot, now),
                    Token::Peek(id) => self.peeked(id, now),
                    Token::Refused(id) => self.refusals.drain(id),
                    Token::Handoffs(worker) => self.take_handoffs(worker, now),
                }
            }
            self.pass_time(now);
            self.flush(now);
            self.tell_retired(now);
            self.memory.set(header::QUEUED, self.waiting() as u64);
        }
    }

    /// The thread's clock.
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    fn is_over(&self) -> bool {
        self.over_at.is_some_and(|at| self.refusals.is_empty() || self.clock.elapsed() >= at)
    }

    /// Refuses what waits and closes everything; the thread ends when the refused have read it.
    pub fn end(&mut self, now: Duration) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        ids.into_iter().for_each(|id| self.close_group(id));
        self.datagrams.clear();
        self.over_at.get_or_insert(now + LAST_WORDS);
    }

    /// How long the thread may sleep; None: until something happens.
    fn timeout(&self) -> Option<Duration> {
        if self.polls() {
            return Some(Duration::ZERO);
        }
        let queues = self.groups.values().any(|group| !group.waiting.is_empty())
            || self.resting_until.is_some()
            || !self.dead.is_empty()
            || self.workers.all().any(|channel| channel.has_unread_handoffs);
        let small = !self.refusals.is_empty();
        let busy = self.workers.serving().any(|channel| channel.under_way() > 0 || channel.unresponsive)
            || self.groups.values().any(|group| group.mode == Mode::Direct)
            || self.watched < self.watch_until
            || self.has_cold();
        [(queues, QUEUE_INTERVAL), (busy, WATCH_INTERVAL), (small, Duration::from_millis(50))]
            .into_iter()
            .filter_map(|(wanted, every)| wanted.then_some(every))
            .chain(self.rebalances_in())
            .chain(self.datagrams.due_in(self.clock.elapsed()))
            .chain(self.first_bytes.due_in(self.clock.elapsed()))
            .chain(self.compares_in(self.clock.elapsed()))
            .chain(self.closes_in(self.clock.elapsed()))
            .min()
    }

    fn polls(&self) -> bool {
        self.groups.values().any(|group| group.busy)
    }

    fn pass_time(&mut self, now: Duration) {
        if now.saturating_sub(self.watched) >= WATCH_INTERVAL {
            self.watched = now;
            self.watch(now);
            self.report_warmed_up(now);
            self.count_direct(now);
        }
        if now.saturating_sub(self.weighed) >= WEIGHTS_INTERVAL {
            self.weighed = now;
            if self.groups.values().any(|group| group.mode == Mode::Direct) {
                self.watch_until = now + WATCH_AFTER_DIRECT;
                self.sync_routing();
            }
        }
        self.resume_listeners(now);
        self.take_back_from_dead(now);
        self.take_late_handoffs(now);
        self.rebalance_connections(now);
        self.expire_peeks(now);
        self.serve_queues(now);
        self.refusals.expire(now);
        self.datagrams.expire(now);
        self.compare_siblings(now);
        self.close_what_closes(now);
    }

    fn accept_primary(&mut self, id: GroupId, now: Duration) {
        let accepted = self.accept_from(id, None, now);
        if accepted > 0 {
            self.consider_mode(id, accepted, now);
        }
    }

    fn accept_slot(&mut self, id: GroupId, slot: u16, now: Duration) {
        self.accept_from(id, Some(slot), now);
    }

    pub fn accept_from(&mut self, id: GroupId, slot: Option<u16>, now: Duration) -> u32 {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (mut accepted, mut near) = (0, false);
        while accepted < BATCH && !near {
            let Some(listener) = self.groups.get(&id).and_then(|group| group.listener(slot)) else { break };
            match acceptfrom_with(listener, flags) {
                Ok((fd, client)) => {
                    accepted += 1;
                    near = self.fd_budget.is_near(fd.as_raw_fd());
                    self.place(Connection::new(fd, id, client_address(client), now), now);
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => near = true,
                Err(Errno::INVAL) => {
                    // One that closes was shut down here.
                    if self.groups.get(&id).is_some_and(|group| group.closing.is_none()) {
                        self.give_up_listener(id, slot);
                    }
                    break;
                }
                // None left, or one that the network took away again.
                Err(_) => break,
            }
        }
        if near {
            self.rest(now);
        }
        accepted
    }

    /// Adds what workers accepted themselves to the groups' totals, and lets the groups reconsider.
    fn count_direct(&mut self, now: Duration) {
        let mut fresh = 0;
        for channel in self.workers.serving_mut() {
            let accepted = channel.page.get(page::ACCEPTED);
            fresh += accepted - channel.accepted_seen.min(accepted);
            channel.accepted_seen = accepted;
        }
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            if let Some(group) = self.groups.get_mut(&id) {
                match group.mode {
                    Mode::Direct => group.direct_total += fresh,
                    Mode::Push if group.busy => {}
                    Mode::Push => continue,
                }
                self.consider_mode(id, 0, now);
            }
        }
    }

    pub fn channel_mut(&mut self, slot: u16) -> Option<&mut WorkerChannel> {
        self.workers.in_slot_mut(slot)
    }

    /// xorshift32: two choices at random need no better.
    pub fn next_random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }

    fn take_commands(&mut self, now: Duration) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(self.wake.as_fd(), &mut count);
        while let Ok(command) = self.commands.try_recv() {
            let moves_shares = command.moves_shares();
            self.carry_out(command, now);
            if moves_shares {
                self.look_for_outages(now);
            }
        }
        self.review_successions();
    }
}
