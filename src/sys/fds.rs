//! Descriptors that reach drover as numbers (inherited, or named by JavaScript), and socket options that
//! rustix does not know.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::net::sockopt::set_tcp_cork;
use rustix::net::{Shutdown, shutdown};

/// Takes over a descriptor that this process holds under a number and nobody else owns.
///
/// # Errors
/// EBADF when nothing is open under that number.
pub fn take(fd: RawFd) -> io::Result<OwnedFd> {
    check_open(fd)?;
    // SAFETY: the descriptor is open (checked above); the caller hands over the only ownership there is: an
    // inherited descriptor named in the environment, or one that drover itself gave to JavaScript.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Duplicates a descriptor that belongs to somebody else, with close-on-exec set.
///
/// # Errors
/// EBADF when nothing is open under that number, EMFILE at the descriptor limit.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    check_open(fd)?;
    // SAFETY: open (checked above) and borrowed only for the one call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    borrowed.try_clone_to_owned()
}

/// What lies under `number`, which belongs to somebody else, becomes what `by` is, with close-on-exec set. The number
/// stays.
///
/// # Errors
/// EBADF when nothing is open under that number.
pub fn replace(number: RawFd, by: &OwnedFd) -> io::Result<()> {
    check_open(number)?;
    // SAFETY: open (checked above); ManuallyDrop leaves the number to its owner.
    let mut target = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(rustix::io::dup3(by, &mut target, rustix::io::DupFlags::CLOEXEC)?)
}

/// Holds back partial packets of a TCP connection that somebody else owns, or lets them go.
///
/// # Errors
/// EBADF when nothing is open under that number, EOPNOTSUPP for what is no TCP connection.
pub fn cork(fd: RawFd, hold: bool) -> io::Result<()> {
    check_open(fd)?;
    // SAFETY: open (checked above) and borrowed only for the one call.
    Ok(set_tcp_cork(unsafe { BorrowedFd::borrow_raw(fd) }, hold)?)
}

/// Sends FIN on a connection that somebody else owns, with what was held back.
///
/// # Errors
/// EBADF when nothing is open under that number, ENOTCONN when the client is gone.
pub fn finish(fd: RawFd) -> io::Result<()> {
    check_open(fd)?;
    // SAFETY: open (checked above) and borrowed only for the one call.
    Ok(shutdown(unsafe { BorrowedFd::borrow_raw(fd) }, Shutdown::Write)?)
}

fn check_open(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_GETFD takes no pointer and changes nothing.
    if fd < 0 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(())
}

/// How many connections wait in a listener's accept queue (tcpi_unacked of a listening socket, tcp(7)).
pub fn accept_queue(listener: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: tcp_info is plain data for which all zeroes is a value.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `info`.
    let result = unsafe {
        libc::getsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(info.tcpi_unacked) } else { Err(io::Error::last_os_error()) }
}

/// How many descriptors this process has open; None where the kernel does not count them (before Linux 6.2,
/// proc_pid_fd(5)).
pub fn open_count() -> Option<u64> {
    let folder = rustix::fs::stat("/proc/self/fd").ok()?;
    u64::try_from(folder.st_size).ok().filter(|count| *count > 0)
}

/// Are so many descriptors free? Takes them all for a moment.
pub fn free(count: usize) -> bool {
    let Ok(probe) = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC) else { return false };
    let more: Result<Vec<OwnedFd>, _> =
        (1..count).map(|_| rustix::io::fcntl_dupfd_cloexec(&probe, 0)).collect();
    more.is_ok()
}

/// The number that the next descriptor of this process would get. All below it are taken, so that a number
/// near the limit means that few are left.
///
/// # Errors
/// EMFILE when none is left.
pub fn next_free() -> io::Result<RawFd> {
    let probe = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
    Ok(probe.as_raw_fd())
}
