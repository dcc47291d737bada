//! The accept thread's epoll set: what may wake it, and which part of dispatch an event belongs to.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::ipc::control::GroupId;
use crate::model::WorkerId;

/// The source of an event; packed into the 64 bits that epoll stores with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Commands are pending.
    Wake,
    /// The group's own listener (member 0) has connections.
    PrimaryListener(GroupId),
    /// A slot's listener that the primary accepts from has connections.
    Slot(GroupId, u16),
    /// The worker hands off connections.
    Handoffs(WorkerId),
    /// First bytes of a connection that is peeked at before it is placed.
    Peek(u32),
    /// A refused connection that is being drained.
    Refused(u32),
}

impl Token {
    fn pack(self) -> u64 {
        match self {
            Token::Wake => 0,
            Token::PrimaryListener(group) => 1 << 56 | u64::from(group),
            Token::Slot(group, slot) => 2 << 56 | u64::from(slot) << 32 | u64::from(group),
            Token::Peek(id) => 3 << 56 | u64::from(id),
            Token::Refused(id) => 4 << 56 | u64::from(id),
            Token::Handoffs(worker) => 5 << 56 | u64::from(worker.slot) << 32 | u64::from(worker.generation),
        }
    }

    fn unpack(bits: u64) -> Self {
        let low = bits as u32;
        match bits >> 56 {
            1 => Token::PrimaryListener(low),
            2 => Token::Slot(low, (bits >> 32) as u16),
            3 => Token::Peek(low),
            4 => Token::Refused(low),
            5 => Token::Handoffs(WorkerId { slot: (bits >> 32) as u16, generation: low }),
            _ => Token::Wake,
        }
    }
}

pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    pub fn new() -> Result<Self, Errno> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Waits for at most `timeout` (None: until an event) and replaces `tokens` by the events.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(
        &self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
        tokens: &mut Vec<Token>,
    ) -> Result<(), Errno> {
        events.clear();
        tokens.clear();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        tokens.extend(events.iter().map(|event| Token::unpack(event.data.u64())));
        Ok(())
    }

    pub fn add_wake(&self, wake: &OwnedFd) -> Result<(), Errno> {
        self.add(wake, Token::Wake, EventFlags::IN)
    }

    /// Adds a listener; a listener that is in the set already stays there.
    pub fn add_listener(&self, listener: &OwnedFd, group: GroupId, slot: Option<u16>) -> Result<(), Errno> {
        let token = slot.map_or(Token::PrimaryListener(group), |slot| Token::Slot(group, slot));
        match self.add(listener, token, EventFlags::IN) {
            Err(Errno::EXIST) => Ok(()),
            added => added,
        }
    }

    /// Edge-triggered: handoffs that cannot be read for lack of file descriptors must not wake the thread again and
    /// again.
    pub fn add_handoffs(&self, channel: &OwnedFd, worker: WorkerId) -> Result<(), Errno> {
        self.add(channel, Token::Handoffs(worker), EventFlags::IN | EventFlags::ET)
    }

    /// Edge-triggered, because half a header would otherwise wake the thread endlessly.
    pub fn add_peek(&self, connection: &OwnedFd, id: u32) -> Result<(), Errno> {
        self.add(connection, Token::Peek(id), EventFlags::IN | EventFlags::RDHUP | EventFlags::ET)
    }

    pub fn add_refused(&self, connection: &OwnedFd, id: u32) -> Result<(), Errno> {
        self.add(connection, Token::Refused(id), EventFlags::IN | EventFlags::RDHUP)
    }

    pub fn remove(&self, fd: &OwnedFd) {
        // It may not be in the set.
        let _ = epoll::delete(&self.epoll, fd);
    }

    fn add(&self, fd: &OwnedFd, token: Token, flags: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token.pack()), flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        let tokens = [
            Token::Wake,
            Token::PrimaryListener(7),
            Token::Slot(u32::MAX, 1023),
            Token::Peek(9),
            Token::Refused(3),
            Token::Handoffs(WorkerId { slot: 1023, generation: u32::MAX }),
        ];
        for token in tokens {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
