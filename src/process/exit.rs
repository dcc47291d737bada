//! How a process ended, asked through its pidfd so that no other process can be meant.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::event::Exit;

/// Reaps the process if it has ended.
pub fn reap(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    let gone = Exit { exit_code: None, signal: None };
    match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        Ok(Some(status)) => {
            Some(Exit { exit_code: status.exit_status(), signal: status.terminating_signal() })
        }
        Ok(None) | Err(Errno::INTR) => None,
        // Reaped by somebody else: gone it is.
        Err(_) => Some(gone),
    }
}

/// Ends a process that nobody will watch, and reaps it: SIGKILL, and a wait that is over in an instant.
pub fn destroy(pidfd: BorrowedFd<'_>) {
    end(pidfd, true);
    while let Err(Errno::INTR) = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None) {}
    reap(pidfd);
}

/// Sends SIGTERM (`forced` false) or SIGKILL. A process that is gone already is no error.
pub fn end(pidfd: BorrowedFd<'_>, forced: bool) {
    let _ = pidfd_send_signal(pidfd, if forced { Signal::KILL } else { Signal::TERM });
}
