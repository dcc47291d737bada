//! The worker's end of the connection channel: connections that the primary sends, and those that this worker hands
//! off.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;

use super::fd_pressure::FdPressure;
use crate::ipc::control::GroupId;
use crate::ipc::fd_message::{self, FdHeader, FdMessage, IdleKeepAlive};
use crate::sys::fds;
use crate::sys::uv::{Loop, Poll};

pub struct ConnectionChannel {
    socket: OwnedFd,
    fd_pressure: Rc<FdPressure>,
    /// Number of received connections of each group, including those lost on the way.
    received: RefCell<HashMap<GroupId, u64>>,
    poll: RefCell<Option<Poll>>,
}

impl ConnectionChannel {
    pub fn new(socket: OwnedFd, fd_pressure: Rc<FdPressure>) -> Self {
        Self { socket, fd_pressure, received: RefCell::default(), poll: RefCell::default() }
    }

    /// `ready` is called on the loop when the channel is readable. The handle does not keep the loop alive.
    pub fn watch(&self, uv: Loop, ready: impl FnMut() + 'static) -> io::Result<()> {
        let poll = Poll::start(uv, self.socket.try_clone()?, false, ready)?;
        *self.poll.borrow_mut() = Some(poll);
        Ok(())
    }

    /// Closes the handle on the loop.
    pub fn unwatch(&self) {
        self.poll.borrow_mut().take();
    }

    /// Stops reading until `resume`.
    pub fn stop(&self) {
        if let Some(poll) = self.poll.borrow().as_ref() {
            poll.stop();
        }
    }

    /// Resumes reading.
    pub fn resume(&self) {
        if let Some(poll) = self.poll.borrow().as_ref() {
            // A socket that cannot be polled has ended, which the control channel reports.
            let _ = poll.resume();
        }
    }

    /// The next message. None if there is none, or no room for its descriptors: then polling is paused until `resume`.
    pub fn receive(&self) -> Option<FdMessage> {
        loop {
            if !self.can_receive() {
                self.stop();
                return None;
            }
            match fd_message::receive(self.socket.as_fd()) {
                Ok(Some(message)) => {
                    let count = (message.fds.len() + message.lost) as u64;
                    *self.received.borrow_mut().entry(message.header.group).or_default() += count;
                    return Some(message);
                }
                Err(Errno::INTR) => {}
                // The control channel reports the end.
                Ok(None) => {
                    self.stop();
                    return None;
                }
                Err(_) => return None,
            }
        }
    }

    /// Whether a message is pending and its descriptors fit.
    pub fn has_waiting(&self) -> bool {
        matches!(fd_message::next_size(self.socket.as_fd()), Ok(Some(_))) && self.can_receive()
    }

    /// The group of the connections that are next in the channel. None if the next message has none, or if there is no
    /// room for them.
    pub fn next_group(&self) -> Option<GroupId> {
        match fd_message::next(self.socket.as_fd()) {
            Ok(Some((header, count))) if count > 0 && self.has_room_for(count) => Some(header.group),
            Ok(_) | Err(_) => None,
        }
    }

    fn has_room_for(&self, count: usize) -> bool {
        self.fd_pressure.is_ample() || self.fd_pressure.has_room_for(count)
    }

    /// The kernel drops descriptors that do not fit, so this checks before a read.
    pub fn can_receive(&self) -> bool {
        self.fd_pressure.is_ample()
            || match fd_message::next_size(self.socket.as_fd()) {
                Ok(Some(count)) => self.fd_pressure.has_room_for(count),
                // No message, or the end.
                Ok(None) | Err(_) => true,
            }
    }

    /// Number of received connections of the group.
    pub fn received(&self, group: GroupId) -> u64 {
        self.received.borrow().get(&group).copied().unwrap_or(0)
    }

    pub fn forget(&self, group: GroupId) {
        self.received.borrow_mut().remove(&group);
    }

    /// Asks the primary for new connections, while all workers are saturated.
    ///
    /// # Errors
    /// AGAIN if the primary has not read earlier messages.
    pub fn ask(&self) -> io::Result<()> {
        Ok(fd_message::send(self.socket.as_fd(), FdHeader { asked: 1, ..FdHeader::of(0) }, &[])?)
    }

    /// Wakes the primary's accept thread.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn tell(&self) -> io::Result<()> {
        Ok(fd_message::send(self.socket.as_fd(), FdHeader::of(0), &[])?)
    }

    /// Hands a connection off to another worker, through the primary: `keep_alive` is None if it has had no request
    /// yet. This process keeps its own descriptor, which it must close without shutting the connection down.
    ///
    /// # Errors
    /// AGAIN if the primary has not read earlier handoffs; nothing was sent.
    pub fn hand_off(&self, group: GroupId, fd: i32, keep_alive: Option<IdleKeepAlive>) -> io::Result<()> {
        let connection = fds::duplicate(fd)?;
        let header = FdHeader { keep_alive, ..FdHeader::of(group) };
        Ok(fd_message::send(self.socket.as_fd(), header, &[connection.as_fd()])?)
    }
}
