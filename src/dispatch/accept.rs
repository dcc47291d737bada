//! The accept thread: one epoll set, one loop. Each round waits, accepts or looks, obeys commands, judges the
//! workers when it is time, and sends what was placed. It sleeps for as long as nothing is outstanding.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::allowance::Allowance;
use super::bind::client_address;
use super::command::{Command, Report, Settings};
use super::crew::Member;
use super::group::{Connection, Group};
use super::peek::Peeks;
use super::place::Hint;
use super::refuse::Refusals;
use super::token::Token;
use crate::balance::{Candidate, Mode};
use crate::event::Level;
use crate::ipc::control::GroupId;
use crate::metrics::layout::page;
use crate::metrics::memory::SharedMemory;

/// Accepted in one go from one listener, so that a flood on one address does not starve the others.
const BATCH: u32 = 64;
/// Between two looks at the workers while something is outstanding.
const WATCH_EVERY: Duration = Duration::from_millis(10);
/// Between two looks while connections wait for a worker.
const QUEUE_EVERY: Duration = Duration::from_millis(4);
const WEIGHTS_EVERY: Duration = Duration::from_millis(100);
/// A worker's own queue may hold connections for a moment after a group left direct mode.
const WATCH_AFTER_DIRECT: Duration = Duration::from_secs(2);
/// Between two looks at a listener that is too busy to be woken for.
const COALESCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 150_000 };
/// How long accepting rests when the primary has no descriptor left.
const REST: Duration = Duration::from_millis(10);

/// Everything the accept thread owns.
pub struct Floor {
    pub settings: Settings,
    pub epoll: OwnedFd,
    wake: OwnedFd,
    commands: Receiver<Command>,
    pub report: Box<dyn Fn(Report) + Send>,
    pub memory: SharedMemory,
    clock: Instant,
    pub groups: BTreeMap<GroupId, Group>,
    pub next_group: GroupId,
    /// By slot.
    pub crew: Vec<Option<Member>>,
    /// Dead workers in whose channels connections lie for which there was no descriptor.
    pub graves: Vec<Member>,
    pub candidates: Vec<Candidate>,
    pub peeks: Peeks,
    pub refusals: Refusals,
    random: u32,
    watched: Duration,
    weighed: Duration,
    watch_until: Duration,
    said_out_of_descriptors: bool,
    pub allowance: Allowance,
    pub over: bool,
}

impl Floor {
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
            crew: Vec::new(),
            graves: Vec::new(),
            candidates: Vec::new(),
            peeks: Peeks::default(),
            refusals: Refusals::default(),
            random: seed | 1,
            watched: Duration::ZERO,
            weighed: Duration::ZERO,
            watch_until: Duration::ZERO,
            said_out_of_descriptors: false,
            allowance: Allowance::new(crate::sys::limits::descriptors()),
            over: false,
        })
    }

    pub fn run(mut self) {
        crate::sys::limits::precise_timers();
        let mut events: Vec<Event> = Vec::with_capacity(64);
        while !self.over {
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
            for event in &events {
                match Token::unpack(event.data.u64()) {
                    Token::Wake => self.obey(now),
                    Token::Front(group) => self.accept_front(group, now),
                    Token::Slot(group, slot) => self.accept_slot(group, slot, now),
                    Token::Peek(id) => self.peeked(id, now),
                    Token::Refused(id) => self.refusals.drain(id),
                }
            }
            self.pass_time(now);
            self.flush(now);
        }
    }

    /// How long the thread may sleep; None: until something happens.
    fn timeout(&self) -> Option<Duration> {
        if self.polls() {
            return Some(Duration::ZERO);
        }
        let queues =
            self.groups.values().any(|group| !group.waiting.is_empty() || group.paused_until.is_some());
        let small = !self.peeks.is_empty() || !self.refusals.is_empty();
        let busy = self.crew.iter().flatten().any(|member| member.under_way() > 0 || member.stuck)
            || !self.graves.is_empty()
            || self.groups.values().any(|group| group.mode == Mode::Direct)
            || self.watched < self.watch_until;
        [(queues, QUEUE_EVERY), (busy, WATCH_EVERY), (small, Duration::from_millis(50))]
            .into_iter()
            .filter_map(|(wanted, every)| wanted.then_some(every))
            .min()
    }

    fn polls(&self) -> bool {
        self.groups.values().any(|group| group.busy)
    }

    fn pass_time(&mut self, now: Duration) {
        if now.saturating_sub(self.watched) >= WATCH_EVERY {
            self.watched = now;
            self.watch(now);
            self.count_direct(now);
        }
        if now.saturating_sub(self.weighed) >= WEIGHTS_EVERY {
            self.weighed = now;
            if self.groups.values().any(|group| group.mode == Mode::Direct) {
                self.watch_until = now + WATCH_AFTER_DIRECT;
                self.restate();
            }
        }
        self.resume_listeners(now);
        self.serve_queues(now);
        for connection in self.expired_peeks(now) {
            self.route(connection, Hint::default(), now);
        }
        self.refusals.expire(now);
    }

    fn accept_front(&mut self, id: GroupId, now: Duration) {
        let accepted = self.accept_from(id, None, now);
        if accepted > 0 {
            self.consider_mode(id, accepted, now);
        }
    }

    fn accept_slot(&mut self, id: GroupId, slot: u16, now: Duration) {
        self.accept_from(id, Some(slot), now);
    }

    fn accept_from(&mut self, id: GroupId, slot: Option<u16>, now: Duration) -> u32 {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (mut accepted, mut near) = (0, false);
        while accepted < BATCH && !near {
            let Some(group) = self.groups.get(&id) else { break };
            let listener = match slot {
                None => &group.front,
                Some(slot) => &group.members[usize::from(slot)],
            };
            match acceptfrom_with(listener, flags) {
                Ok((fd, client)) => {
                    accepted += 1;
                    near = self.allowance.is_near(fd.as_raw_fd());
                    let client = client_address(client);
                    let connection = Connection { fd, group: id, client, since: now, taken_back: false };
                    self.place(connection, now);
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => near = true,
                Err(_) => break,
            }
        }
        if near {
            self.rest(id, now);
        }
        accepted
    }

    /// Empties a listener that is about to be closed. Bounded: clients may come faster than this.
    pub fn accept_all(&mut self, id: GroupId, slot: Option<u16>, now: Duration) {
        let most = self.settings.max_queue / BATCH as usize + 1;
        for _ in 0..most {
            if self.accept_from(id, slot, now) < BATCH {
                return;
            }
        }
    }

    /// Hardly a descriptor left: connections wait in the kernel's queues until some are free again.
    fn rest(&mut self, id: GroupId, now: Duration) {
        if let Some(group) = self.groups.get_mut(&id)
            && group.paused_until.replace(now + REST).is_none()
        {
            let _ = epoll::delete(&self.epoll, &group.front);
            for (_, listener) in group.owned_listeners() {
                let _ = epoll::delete(&self.epoll, listener);
            }
        }
        if !std::mem::replace(&mut self.said_out_of_descriptors, true) {
            let text = "The primary is short of file descriptors: new connections wait. Raise the limit of open \
                        files (ulimit -n).";
            (self.report)(Report::Notice(Level::Error, text.to_owned()));
        }
    }

    fn resume_listeners(&mut self, now: Duration) {
        for group in self.groups.values_mut() {
            if group.paused_until.is_some_and(|until| until <= now) {
                group.paused_until = None;
                let token = EventData::new_u64(Token::Front(group.id).pack());
                let _ = epoll::add(&self.epoll, &group.front, token, EventFlags::IN);
                for (slot, listener) in group.owned_listeners() {
                    let token = EventData::new_u64(Token::Slot(group.id, slot).pack());
                    let _ = epoll::add(&self.epoll, listener, token, EventFlags::IN);
                }
            }
        }
    }

    /// Judges every worker, and takes back what lies with those that are stuck.
    fn watch(&mut self, now: Duration) {
        let mut changed = false;
        let mut taken = Vec::new();
        let judges = self.settings.health_aware && !self.settings.inspected;
        let queued: Vec<bool> = (0..self.crew.len()).map(|slot| self.has_own_queue(slot)).collect();
        for member in self.crew.iter_mut().flatten() {
            let outstanding = member.under_way() > 0 || queued[usize::from(member.slot)];
            let stuck = member.pulse.observe(member.page.get(page::BEAT), outstanding, now) && judges;
            if stuck != member.stuck {
                member.stuck = stuck;
                changed = true;
                let slot = member.slot;
                // One that is short of descriptors says so itself.
                if member.scarce {
                    continue;
                }
                (self.report)(if stuck { Report::Stuck { slot } } else { Report::Recovered { slot } });
            }
        }
        let somebody = self.crew.iter().flatten().any(|member| !member.stuck && !member.leaving);
        if somebody {
            for member in self.crew.iter_mut().flatten().filter(|member| member.stuck) {
                taken.append(&mut member.take_back(false, now));
            }
        }
        for grave in &mut self.graves {
            taken.append(&mut grave.take_back(true, now));
        }
        self.graves.retain(Member::has_unread);
        if changed {
            self.restate();
        }
        for connection in taken {
            self.route(connection, Hint::default(), now);
        }
    }

    /// Do connections wait in a listener that the slot's worker polls itself?
    fn has_own_queue(&self, slot: usize) -> bool {
        let polls = |group: &&Group| group.owned.get(slot) == Some(&false);
        self.groups.values().filter(polls).any(|group| {
            let mut polled = [PollFd::new(&group.members[slot], PollFlags::IN)];
            poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
        })
    }

    /// Adds what workers accepted themselves to the groups' totals, and lets the groups reconsider.
    fn count_direct(&mut self, now: Duration) {
        let mut fresh = 0;
        for member in self.crew.iter_mut().flatten() {
            let accepted = member.page.get(page::ACCEPTED);
            fresh += accepted - member.accepted_seen.min(accepted);
            member.accepted_seen = accepted;
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

    pub fn member_mut(&mut self, slot: u16) -> Option<&mut Member> {
        self.crew.get_mut(usize::from(slot)).and_then(Option::as_mut)
    }

    /// xorshift32: two choices at random need no better.
    pub fn next_random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }

    fn obey(&mut self, now: Duration) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(self.wake.as_fd(), &mut count);
        while let Ok(command) = self.commands.try_recv() {
            self.carry_out(command, now);
        }
    }
}
