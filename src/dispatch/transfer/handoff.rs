//! Connections that a worker hands over: idle ones of a worker that leaves or that has more than its share, and those
//! of trusted proxies after each response. What their clients have said since lies in their sockets and goes along.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::super::connection::Connection;
use crate::ipc::fd_message;
use crate::sys::fds;

/// What was read from a worker's channel.
pub struct Handoffs {
    pub connections: Vec<Connection>,
    /// Nothing is left in the channel. Otherwise the rest needs more descriptors than this process has.
    pub whole: bool,
}

/// Reads what the worker has handed over on `channel`, the primary's end.
pub fn receive_handoffs(channel: &OwnedFd, now: Duration) -> Handoffs {
    let mut connections = Vec::new();
    loop {
        match fd_message::next_size(channel.as_fd()) {
            // A message never holds more, whatever it says.
            Ok(Some(count)) if !fds::free(count.min(fd_message::MAX)) => {
                return Handoffs { connections, whole: false };
            }
            Err(Errno::INTR) => continue,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Handoffs { connections, whole: true },
        }
        if let Ok(Some(fd_message)) = fd_message::receive(channel.as_fd()) {
            // How a connection is treated from now on is not the worker's to say.
            let received = |fd| Connection {
                taken_back: false,
                per_request: false,
                ..Connection::received(fd, &fd_message.header, now)
            };
            connections.extend(fd_message.fds.into_iter().map(received));
        }
    }
}
