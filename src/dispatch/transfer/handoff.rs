//! Connections that a worker hands off: idle ones of a worker that drains or has more than its share, and those of
//! trusted proxies after each response. Bytes that their clients have sent since stay in their sockets.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::super::connection::Connection;
use crate::ipc::fd_message;
use crate::sys::fds;

/// The handoffs read from a worker's channel.
pub struct Handoffs {
    pub connections: Vec<Connection>,
    /// The channel is empty. Otherwise the rest needs more file descriptors than this process has.
    pub whole: bool,
    /// The worker asks for new connections.
    pub asks: bool,
}

/// Reads the worker's handoffs from `channel`, the primary's end.
pub fn receive_handoffs(channel: &OwnedFd, now: Duration) -> Handoffs {
    let (mut connections, mut asks) = (Vec::new(), false);
    loop {
        match fd_message::next_size(channel.as_fd()) {
            // A message never has more descriptors, whatever its header says.
            Ok(Some(count)) if !fds::free(count.min(fd_message::MAX)) => {
                return Handoffs { connections, whole: false, asks };
            }
            Err(Errno::INTR) => continue,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Handoffs { connections, whole: true, asks },
        }
        if let Ok(Some(fd_message)) = fd_message::receive(channel.as_fd()) {
            asks |= fd_message.header.asked > 0;
            // The worker does not decide how the connection is treated from now on.
            let received = |fd| Connection {
                taken_back: false,
                per_request: false,
                ..Connection::received(fd, &fd_message.header, now)
            };
            connections.extend(fd_message.fds.into_iter().map(received));
        }
    }
}
