//! Carrying out the commands: addresses open and close, workers come and go.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};

use super::accept::Floor;
use super::bind::{self, Bound};
use super::command::{Command, ListenFailure, Listening, Report};
use super::crew::Member;
use super::group::{Door, Group};
use super::place::Hint;
use super::token::Token;
use crate::balance::{Family, Steering, program};
use crate::event::Level;
use crate::ipc::control::{Address, GroupId};
use crate::metrics::layout::header;
use crate::sys::bpf;

impl Floor {
    pub fn carry_out(&mut self, command: Command, now: Duration) {
        match command {
            Command::Listen { address, backlog, slot, reply } => {
                // Nobody waits any more when the asking worker died meanwhile.
                let _ = reply.send(self.listen(address, backlog, slot));
            }
            Command::Join { slot, generation, channel, far_end, page } => {
                let index = usize::from(slot);
                if self.crew.len() <= index {
                    self.crew.resize_with(index + 1, || None);
                }
                self.crew[index] = Some(Member::new(slot, generation, channel, far_end, page));
            }
            Command::Serve { slot, generation, group, plain_http } => {
                self.serve(slot, generation, group, plain_http, now);
            }
            Command::Close { slot, generation, group, reply } => {
                self.close(slot, generation, group, now);
                let _ = reply.send(());
            }
            Command::Scarce { slot, generation, scarce } => {
                if let Some(member) = self.current(slot, generation) {
                    member.scarce = scarce;
                    // Others may have room for what it cannot take.
                    let unread = if scarce { member.take_back(true, now) } else { Vec::new() };
                    self.restate();
                    unread.into_iter().for_each(|connection| self.route(connection, Hint::default(), now));
                }
            }
            Command::Drain { slot, generation } => {
                if let Some(member) = self.current(slot, generation) {
                    // What it has not read yet it still reads, before it closes its doors.
                    member.leaving = true;
                    self.restate();
                }
            }
            Command::Leave { slot, generation } => {
                if let Some(member) = self.current(slot, generation) {
                    member.leaving = true;
                    self.orphan_doors(slot);
                    self.restate();
                }
            }
            Command::Dead { slot, generation } => self.bury(slot, generation, now),
            Command::Retire => self.retire(now),
            Command::Shutdown => {
                let ids: Vec<GroupId> = self.groups.keys().copied().collect();
                ids.into_iter().for_each(|id| self.close_group(id));
                self.over = true;
            }
        }
    }

    fn current(&mut self, slot: u16, generation: u32) -> Option<&mut Member> {
        self.member_mut(slot).filter(|member| member.generation == generation)
    }

    fn listen(
        &mut self,
        address: Address,
        backlog: u32,
        slot: Option<u16>,
    ) -> Result<Listening, ListenFailure> {
        let open = self.groups.values().find(|group| group.answers_to(&address)).map(|group| group.id);
        let id = match open {
            Some(id) => id,
            None => self.open(address, backlog, slot.is_none())?,
        };
        let Some(group) = self.groups.get_mut(&id) else {
            return Err(ListenFailure { errno: libc::EINVAL, syscall: "listen", host: None });
        };
        let listener = match slot {
            None => None,
            Some(slot) => {
                let own = group.members.get(usize::from(slot)).unwrap_or(&group.front);
                let copied = rustix::io::fcntl_dupfd_cloexec(own.as_fd(), 0).map_err(|errno| {
                    ListenFailure { errno: errno.raw_os_error(), syscall: "listen", host: None }
                })?;
                Some(copied)
            }
        };
        Ok(Listening {
            group: id,
            host: group.local.map(|local| local.ip().to_string()),
            port: group.local.map_or(0, |local| local.port()),
            listener,
        })
    }

    fn open(&mut self, address: Address, backlog: u32, by_primary: bool) -> Result<GroupId, ListenFailure> {
        let mut bound = bind::open(&address, backlog, self.settings.slots)?;
        if let Err(error) = own_all(&bound) {
            // Closed before anybody can have connected to them.
            bound.members.clear();
            bound.note.get_or_insert(format!("the kernel takes no steering program ({error})"));
        }
        if let Some(note) = &bound.note {
            let text = format!("Connections go through the primary: {note}");
            (self.report)(Report::Notice(Level::Warn, text));
        }
        let id = self.next_group;
        self.next_group += 1;
        let for_all = matches!(address, Address::Tcp { host: None, .. });
        let mut group = Group::new(id, address, bound, self.effective_strategy());
        group.opened_by_primary = by_primary && for_all;
        if group.is_stream() {
            let token = EventData::new_u64(Token::Front(id).pack());
            epoll::add(&self.epoll, &group.front, token, EventFlags::IN).map_err(|errno| ListenFailure {
                errno: errno.raw_os_error(),
                syscall: "listen",
                host: None,
            })?;
        }
        let port = group.local.map_or(0, |local| local.port());
        if group.is_stream() && port != 0 && self.memory.get(header::PORT) == 0 {
            self.memory.set(header::PORT, u64::from(port));
            (self.report)(Report::Port(port));
        }
        self.groups.insert(id, group);
        self.restate();
        Ok(id)
    }

    fn serve(&mut self, slot: u16, generation: u32, id: GroupId, plain_http: bool, now: Duration) {
        if self.current(slot, generation).is_none() {
            return;
        }
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.set_door(slot, Door::Open);
        group.plain_http = plain_http;
        self.restate();
        self.consider_mode(id, 0, now);
        self.serve_queues(now);
    }

    fn close(&mut self, slot: u16, generation: u32, id: GroupId, now: Duration) {
        if self.current(slot, generation).is_none() {
            return;
        }
        let Some(group) = self.groups.get_mut(&id) else { return };
        // The door of a worker that leaves waits for its replacement.
        if group.door(slot) != Door::Orphaned {
            group.set_door(slot, Door::Closed);
        }
        let abandoned = group.is_abandoned();
        // What lies in its channel for this door would find it closed; the rest comes round again.
        let unread = self.current(slot, generation).map(|member| member.take_back(true, now));
        if abandoned {
            // Nobody serves the address any more: a client is refused by the kernel, as with one process.
            self.close_group(id);
        } else {
            self.restate();
        }
        for connection in unread.into_iter().flatten() {
            self.route(connection, Hint::default(), now);
        }
        self.serve_queues(now);
    }

    /// The cluster stops: the addresses are free for others at once. Connections that the kernel has queued
    /// already are answered, not reset.
    fn retire(&mut self, now: Duration) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            let members = self.groups.get(&id).map_or(0, |group| group.members.len() as u16);
            self.accept_all(id, None, now);
            (0..members).for_each(|slot| self.accept_all(id, Some(slot), now));
            self.close_group(id);
        }
    }

    fn close_group(&mut self, id: GroupId) {
        let waiting = self.groups.get_mut(&id).map(|group| std::mem::take(&mut group.waiting));
        for connection in waiting.into_iter().flatten() {
            self.refuse(connection);
        }
        self.groups.remove(&id);
    }

    /// The slot's worker serves no more, and its replacement is expected.
    fn orphan_doors(&mut self, slot: u16) {
        for group in self.groups.values_mut().filter(|group| group.door(slot) == Door::Open) {
            group.set_door(slot, Door::Orphaned);
        }
    }

    /// Order matters: no more sends, then what was never read comes back, then its queues are ours.
    fn bury(&mut self, slot: u16, generation: u32, now: Duration) {
        if self.current(slot, generation).is_none() {
            return;
        }
        let Some(mut gone) = self.crew.get_mut(usize::from(slot)).and_then(Option::take) else { return };
        let left = gone.take_back(true, now);
        if gone.has_unread() {
            self.graves.push(gone);
        }
        self.orphan_doors(slot);
        self.restate();
        left.into_iter().for_each(|connection| self.route(connection, Hint::default(), now));
    }
}

/// Sends everything to the primary's own listener; the proof that the kernel can steer this group.
fn own_all(bound: &Bound) -> std::io::Result<()> {
    if bound.members.is_empty() {
        return Ok(());
    }
    let steps = program(Steering::Primary, Family::V4).unwrap_or_default();
    let raw: Vec<bpf::RawInstruction> =
        steps.iter().map(|step| (step.code, step.jt, step.jf, step.k)).collect();
    let front: &OwnedFd = &bound.front;
    bpf::attach(front.as_fd(), &raw)
}
