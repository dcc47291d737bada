//! Take-back of unread connections: a worker claims a message by reading it, and until then the primary can read it
//! from its duplicate of the worker's end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::super::connection::Connection;
use crate::ipc::control::GroupId;
use crate::ipc::fd_message;
use crate::sys::fds;

/// Connections taken back from a worker's channel.
pub struct Taken {
    pub connections: Vec<Connection>,
    /// The slots from whose workers they were taken.
    pub from: Vec<u16>,
    /// The channel is empty. Otherwise the rest needs more file descriptors than this process has.
    pub whole: bool,
    /// Connections that the kernel dropped for lack of a file descriptor.
    pub lost: usize,
}

impl Default for Taken {
    fn default() -> Self {
        Self { connections: Vec::new(), from: Vec::new(), whole: true, lost: 0 }
    }
}

impl Taken {
    pub fn append(&mut self, mut other: Taken) {
        self.connections.append(&mut other.connections);
        self.from.append(&mut other.from);
        self.whole &= other.whole;
        self.lost += other.lost;
    }
}

/// Empties a channel through `far_end`. `lost` is called with connections of a group that were lost.
pub fn read_back(far_end: &OwnedFd, now: Duration, mut lost: impl FnMut(GroupId, usize)) -> Taken {
    let mut taken = Taken::default();
    loop {
        match fd_message::next_size(far_end.as_fd()) {
            Ok(Some(count)) if !fds::free(count) => {
                taken.whole = false;
                return taken;
            }
            Err(Errno::INTR) => continue,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return taken,
        }
        // The worker may have read it first.
        if let Ok(Some(fd_message)) = fd_message::receive(far_end.as_fd()) {
            taken.lost += fd_message.lost;
            lost(fd_message.header.group, fd_message.lost);
            let received = |fd| Connection::received(fd, &fd_message.header, now);
            taken.connections.extend(fd_message.fds.into_iter().map(received));
        }
    }
}
