//! The code between fork and exec of a worker: its process group, the parent-death signal, the inherited descriptors at
//! their numbers. It makes only async-signal-safe calls.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::orphan;

/// The first inherited descriptor of a worker; 0, 1 and 2 are the standard streams.
pub const FIRST_INHERITED: RawFd = 3;

/// Starts `command` in a process group of its own with `inherited` as descriptors 3, 4, 5 ... The calling thread must
/// live as long as the process: the worker takes its end for the primary's death.
///
/// # Errors
/// The error of fork, exec or the set-up in between; the child has then ended already.
pub fn spawn(command: &mut Command, inherited: &[OwnedFd]) -> io::Result<Child> {
    let primary = rustix::process::getpid();
    let count = inherited.len() as RawFd;
    let targets = FIRST_INHERITED..FIRST_INHERITED + count;
    // Copies above the target numbers first, or one target could overwrite another's source.
    let sources: Vec<OwnedFd> = inherited
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, targets.end).map_err(io::Error::from))
        .collect::<io::Result<_>>()?;
    let numbers: Vec<(RawFd, RawFd)> = sources.iter().map(AsRawFd::as_raw_fd).zip(targets).collect();
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec and makes only async-signal-safe calls (dup2, prctl,
    // getppid, signal); it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            for &(source, target) in &numbers {
                // dup2 clears close-on-exec, so the worker inherits it.
                if libc::dup2(source, target) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            orphan::rearm()?;
            if libc::getppid() != primary.as_raw_nonzero().get() {
                // The primary died before the request took effect: this child would get no signal.
                libc::_exit(1);
            }
            Ok(())
        });
    }
    let child = command.spawn();
    drop(sources);
    child
}
