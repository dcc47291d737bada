//! Which listeners the accept thread is woken by: each group's own, and those of slots that no worker serves;
//! none while the process is short of descriptors. A listener leaves the epoll set before it is closed, because
//! a worker's copy of it would go on waking the thread.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::accept_loop::AcceptLoop;
use super::command::Report;
use super::group::{Group, Share};
use super::token::Token;
use crate::event::Level;
use crate::ipc::control::GroupId;

/// How long accepting rests when the primary is short of descriptors.
const REST: Duration = Duration::from_millis(10);

fn token(group: GroupId, slot: Option<u16>) -> EventData {
    let token = slot.map_or(Token::PrimaryListener(group), |slot| Token::Slot(group, slot));
    EventData::new_u64(token.pack())
}

impl AcceptLoop {
    /// Begins to accept on a listener; while accepting rests, when it goes on.
    fn register(&self, group: GroupId, slot: Option<u16>, listener: &OwnedFd) -> Result<(), Errno> {
        if self.resting_until.is_some() {
            return Ok(());
        }
        match epoll::add(&self.epoll, listener, token(group, slot), EventFlags::IN) {
            Err(Errno::EXIST) => Ok(()),
            added => added,
        }
    }

    fn deregister(&self, listener: &OwnedFd) {
        // Not in the set: as good.
        let _ = epoll::delete(&self.epoll, listener);
    }

    pub fn register_group(&self, group: &Group) -> Result<(), Errno> {
        group.registered().try_for_each(|(slot, listener)| self.register(group.id, slot, listener))
    }

    pub fn deregister_group(&self, group: &Group) {
        group.registered().for_each(|(_, listener)| self.deregister(listener));
    }

    /// Hardly a descriptor left: connections wait in the kernel's queues until some are free again.
    pub fn rest(&mut self, now: Duration) {
        self.groups.values().for_each(|group| self.deregister_group(group));
        self.resting_until = Some(now + REST);
        if !std::mem::replace(&mut self.said_out_of_descriptors, true) {
            let text = "The primary is short of file descriptors: new connections wait. Raise the limit of open \
                        files (ulimit -n).";
            (self.report)(Report::Notice(Level::Error, text.to_owned()));
        }
    }

    pub fn resume_listeners(&mut self, now: Duration) {
        if self.resting_until.is_some_and(|until| until <= now) {
            self.resting_until = None;
            if self.groups.values().try_for_each(|group| self.register_group(group)).is_err() {
                self.rest(now);
            }
        }
    }

    /// Somebody shut the listener down (`listen({ fd })` shares it): it would wake the thread without end.
    pub fn give_up_listener(&mut self, id: GroupId, slot: Option<u16>) {
        let Some(listener) = self.groups.get(&id).and_then(|group| group.listener(slot)) else { return };
        self.deregister(listener);
        let text = "A listening socket was shut down by another owner: it brings no more connections.";
        (self.report)(Report::Notice(Level::Error, text.to_owned()));
    }

    /// A slot's queue that no worker serves is the primary's: connections of handshakes begun before the
    /// program changed still end there. Listeners are never closed: that would reset them.
    pub fn own_queues(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else { return };
        // With nobody to give them to, a stuck worker's queue stays its own.
        let somebody = !self.direct_slots(group).is_empty();
        let mut owned = vec![true; group.members.len()];
        for channel in self.workers.serving() {
            // A limit of its own is kept exactly by the primary alone.
            let accepts = !channel.fd_pressure && !channel.connection_limits.is_limited(id);
            let serves = group.share(channel.id.slot) == Share::Open && !channel.leaving && accepts;
            if serves
                && !(channel.is_excluded() && somebody)
                && let Some(owned) = owned.get_mut(usize::from(channel.id.slot))
            {
                *owned = false;
            }
        }
        for (slot, listener) in group.members.iter().enumerate() {
            if owned[slot] && !group.owned[slot] {
                owned[slot] = self.register(id, Some(slot as u16), listener).is_ok();
            } else if group.owned[slot] && !owned[slot] {
                self.deregister(listener);
            }
        }
        if let Some(group) = self.groups.get_mut(&id) {
            group.owned = owned;
        }
    }
}
