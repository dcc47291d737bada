//! Descriptors that reach drover as numbers (inherited, or from JavaScript), and socket options that rustix lacks.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_reuseaddr, set_tcp_cork};
use rustix::net::{Shutdown, shutdown};

/// Takes ownership of an open descriptor, given by number, that has no other owner.
///
/// # Errors
/// EBADF if the descriptor is not open.
pub fn take(fd: RawFd) -> io::Result<OwnedFd> {
    check_open(fd)?;
    // SAFETY: the descriptor is open (checked above); the caller hands over the only ownership there is: an
    // inherited descriptor named in the environment, or one that drover itself gave to JavaScript.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Duplicates a descriptor that has another owner, with close-on-exec set.
///
/// # Errors
/// EBADF if the descriptor is not open, EMFILE at the limit of file descriptors.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    check_open(fd)?;
    // SAFETY: open (checked above) and borrowed only for the one call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    borrowed.try_clone_to_owned()
}

/// Makes descriptor `number`, which has another owner, refer to the file of `by`, with close-on-exec set. The number is
/// unchanged.
///
/// # Errors
/// EBADF if the descriptor is not open.
pub fn replace(number: RawFd, by: &OwnedFd) -> io::Result<()> {
    check_open(number)?;
    // SAFETY: open (checked above); ManuallyDrop leaves the number to its owner.
    let mut target = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(rustix::io::dup3(by, &mut target, rustix::io::DupFlags::CLOEXEC)?)
}

/// Corks or uncorks a TCP connection that has another owner.
///
/// # Errors
/// EBADF if the descriptor is not open, EOPNOTSUPP if it is not a TCP connection.
pub fn cork(fd: RawFd, hold: bool) -> io::Result<()> {
    check_open(fd)?;
    // SAFETY: open (checked above) and borrowed only for the one call.
    Ok(set_tcp_cork(unsafe { BorrowedFd::borrow_raw(fd) }, hold)?)
}

/// Whether other sockets with `SO_REUSEADDR` may have the address of a socket that has another owner.
///
/// # Errors
/// EBADF if the descriptor is not open.
pub fn set_reuse_address(fd: RawFd, reuse: bool) -> io::Result<()> {
    check_open(fd)?;
    // SAFETY: open (checked above) and borrowed only for the one call.
    Ok(set_socket_reuseaddr(unsafe { BorrowedFd::borrow_raw(fd) }, reuse)?)
}

/// Sends FIN, with corked bytes, on a connection that has another owner.
///
/// # Errors
/// EBADF if the descriptor is not open, ENOTCONN if the client has disconnected.
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
    tcp_info(listener.as_raw_fd()).map(|info| info.tcpi_unacked)
}

/// How long ago the last bytes of a TCP connection arrived in the kernel, whose clock may count in steps of some
/// milliseconds. None for another descriptor.
pub fn since_last_byte(connection: RawFd) -> Option<Duration> {
    let info = tcp_info(connection).ok()?;
    Some(Duration::from_millis(info.tcpi_last_data_recv.into()))
}

/// Whether any of the descriptors is readable now. One that is no longer open is not.
pub fn any_readable(descriptors: &[RawFd]) -> bool {
    let poll = |fd: &RawFd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 };
    let mut polled: Vec<libc::pollfd> = descriptors.iter().map(poll).collect();
    if polled.is_empty() {
        return false;
    }
    // SAFETY: the kernel writes into so many entries of the vector, and takes any number as a descriptor.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 0) };
    polled.iter().any(|one| one.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0)
}

fn tcp_info(socket: RawFd) -> io::Result<libc::tcp_info> {
    // SAFETY: tcp_info is plain data for which all zeroes is a value.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `info`.
    let result = unsafe {
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut len)
    };
    if result == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

/// Number of open descriptors of this process; None if the kernel does not count them (before Linux 6.2,
/// proc_pid_fd(5)).
pub fn open_count() -> Option<u64> {
    let folder = rustix::fs::stat("/proc/self/fd").ok()?;
    u64::try_from(folder.st_size).ok().filter(|count| *count > 0)
}

/// Whether this many descriptors are free. Opens them all temporarily.
pub fn free(count: usize) -> bool {
    let Ok(probe) = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC) else { return false };
    let more: Result<Vec<OwnedFd>, _> =
        (1..count).map(|_| rustix::io::fcntl_dupfd_cloexec(&probe, 0)).collect();
    more.is_ok()
}

/// The number that the next descriptor of this process would get. All lower numbers are in use, so a number near the
/// limit means that few are left.
///
/// # Errors
/// EMFILE if none is left.
pub fn next_free() -> io::Result<RawFd> {
    let probe = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
    Ok(probe.as_raw_fd())
}
