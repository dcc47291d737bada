//! How a process ended, by its pidfd, which cannot refer to another process.

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
        // Reaped elsewhere: it has ended.
        Err(_) => Some(gone),
    }
}

/// Kills and reaps a process that cannot be watched: SIGKILL, and a wait that takes only a moment.
pub fn destroy(pidfd: BorrowedFd<'_>) {
    end(pidfd, true);
    while let Err(Errno::INTR) = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None) {}
    reap(pidfd);
}

/// Sends SIGKILL to the process and to its process group, as at a terminal. A process that has ended already is not an
/// error.
pub fn kill_with_children(pidfd: BorrowedFd<'_>, pid: u32) {
    // As long as the process is not reaped, its number cannot be another group's.
    let is_there = pidfd_send_signal(pidfd, Signal::KILL).is_ok();
    if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| is_there) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Sends SIGTERM (`forced` false) or SIGKILL. A process that has ended already is not an error.
pub fn end(pidfd: BorrowedFd<'_>, forced: bool) {
    let _ = pidfd_send_signal(pidfd, if forced { Signal::KILL } else { Signal::TERM });
}
