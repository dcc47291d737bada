//! The I/O priority of a thread: ioprio_set(2).

use std::io;

use rustix::process::Pid;

/// IOPRIO_CLASS_BE, level 0: the highest without privileges.
pub const BEST_EFFORT_FIRST: libc::c_int = 2 << 13;
pub(super) const WHO_PROCESS: libc::c_int = 1;

/// The calling thread's.
///
/// # Errors
/// The kernel's.
pub fn own() -> io::Result<libc::c_int> {
    // SAFETY: no pointers.
    let priority = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
    libc::c_int::try_from(priority)
        .ok()
        .filter(|priority| *priority >= 0)
        .ok_or_else(io::Error::last_os_error)
}

/// Sets that of any thread.
///
/// # Errors
/// The kernel's: the thread has ended, or belongs to another user.
pub fn set(thread: Pid, priority: libc::c_int) -> io::Result<()> {
    let thread = thread.as_raw_nonzero().get();
    // SAFETY: no pointers.
    let set = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, thread, priority) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
