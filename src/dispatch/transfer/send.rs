//! Sending connections to a worker, in order, as many per message as allowed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::super::connection::Connection;
use crate::ipc::fd_message;

/// Sends `pending` on `channel`, at most `max_fds` per message; sent descriptors are closed here. Connections that do
/// not fit into the channel are left in `pending`.
///
/// # Errors
/// The channel is full, has too many descriptors in flight, or its other end is closed.
pub fn send(
    channel: &OwnedFd,
    pending: &mut Vec<Connection>,
    max_fds: usize,
    now: Duration,
) -> Result<(), Errno> {
    while let Some(first) = pending.first() {
        let header = first.header(now);
        let same = |connection: &&Connection| connection.header(now) == header;
        let most = if header.keep_alive.is_some() { 1 } else { max_fds };
        let fds: Vec<BorrowedFd<'_>> =
            pending.iter().take_while(same).take(most).map(|connection| connection.fd.as_fd()).collect();
        match fd_message::send(channel.as_fd(), header, &fds) {
            Ok(()) => {
                let count = fds.len();
                pending.drain(..count);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
