//! How a process ended, asked through its pidfd so that no other process can be meant.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid};

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

/// Sends SIGKILL to the process and to those of its group: what it has started and not set apart ends with it, as at a
/// terminal. A process that is gone already is no error.
pub fn kill_with_children(pidfd: BorrowedFd<'_>, pid: u32) {
    // As long as nobody has reaped the process its number is no other group's.
    let is_there = pidfd_send_signal(pidfd, Signal::KILL).is_ok();
    if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| is_there) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Sends SIGTERM (`forced` false) or SIGKILL. A process that is gone already is no error.
pub fn end(pidfd: BorrowedFd<'_>, forced: bool) {
    let _ = pidfd_send_signal(pidfd, if forced { Signal::KILL } else { Signal::TERM });
}
