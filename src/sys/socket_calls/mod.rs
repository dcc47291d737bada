//! The socket calls of a runtime that accepts connections by itself. Bun calls the C library through its import table
//! (ELF's GOT), whose entries are replaced here: so drover decides what a listening socket of the runtime accepts, and
//! follows the connections that came through it. Everything else goes to the C library unchanged.
//!
//! Seen on: Bun 1.4.4, 1.4.5 (glibc, x64).
//! - `import_table`: finds and replaces the entries.
//! - `followed`: which descriptors are followed, and who decides about them.
//! - `socket_name`: what the runtime sees as the address of a virtual listener.
//! - `calls`: the replacements.

mod calls;
mod followed;
mod import_table;
mod socket_name;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use followed::{BOUND, NEXT, POLLED, Role, SOCKETS, role, set_role};
pub use followed::{PollEntry, Sockets};
use import_table::ImportTable;
pub use socket_name::SocketName;

/// `sockets` decides from now on, for the calling thread.
///
/// # Errors
/// The runtime does not make these calls through an import table, or the table cannot be changed: nothing was changed.
pub fn install(sockets: Rc<dyn Sockets>) -> io::Result<()> {
    let table = ImportTable::of_program()?;
    let entries = calls::REPLACEMENTS.map(|(name, _)| table.entry(name));
    for ((name, _), entry) in calls::REPLACEMENTS.iter().zip(&entries) {
        if entry.is_none() {
            let text = format!("{} is not in the program's import table", name.to_string_lossy());
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
    }
    SOCKETS.set(Some(sockets));
    for ((_, replacement), entry) in calls::REPLACEMENTS.iter().zip(entries.into_iter().flatten()) {
        // SAFETY: each replacement has the type of the function of its name, and calls it except for followed sockets.
        unsafe { entry.replace(*replacement) }?;
    }
    Ok(())
}

/// Whether [`install`] finds all it needs in this process.
///
/// # Errors
/// What is missing.
pub fn check() -> io::Result<()> {
    let table = ImportTable::of_program()?;
    match calls::REPLACEMENTS.iter().find(|(name, _)| table.entry(name).is_none()) {
        None => Ok(()),
        Some((name, _)) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{} is not in the program's import table", name.to_string_lossy()),
        )),
    }
}

/// The calling thread's sockets are the runtime's own from now on.
pub fn uninstall() {
    SOCKETS.set(None);
    NEXT.set(None);
}

/// Instead of binding its next socket the runtime gets `poll`, whose readiness means that the virtual listener has a connection. It takes
/// that for its listening socket.
pub fn bind_next(virtual_listener: u32, poll: OwnedFd) {
    BOUND.set(false);
    NEXT.set(Some((virtual_listener, poll)));
}

/// Ends `bind_next`; returns whether the runtime has bound a socket.
pub fn has_bound() -> bool {
    NEXT.set(None);
    BOUND.replace(false)
}

/// The runtime takes this datagram socket over, which is shared with other processes: [`stop_reading`] may follow.
pub fn follow_datagrams(fd: RawFd) {
    set_role(fd, Role::Datagrams);
}

/// The runtime reads no more datagrams from the socket, which are for the other processes. It may still send.
///
/// # Errors
/// The kernel's.
pub fn stop_reading(fd: RawFd) -> io::Result<()> {
    if role(fd) != Role::Datagrams {
        return Ok(());
    }
    set_role(fd, Role::Unread);
    let polled = POLLED.with_borrow_mut(|polled| polled.remove(&fd));
    polled.map_or(Ok(()), |entry| calls::mute(fd, entry))
}

/// A socket whose peer has closed. It takes the place of a connection that continues elsewhere, whose end the runtime sees.
pub struct Ending(UnixStream);

impl Ending {
    /// Made before the connection is handed off, which would have two owners if this failed afterwards.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let (dead, _peer) = UnixStream::pair()?;
        dead.set_nonblocking(true)?;
        Ok(Self(dead))
    }

    /// The descriptor refers to this socket from now on, polled as the connection was.
    ///
    /// # Errors
    /// `fd` is not open, or was not polled.
    pub fn take_place(self, fd: RawFd, entry: PollEntry) -> io::Result<()> {
        set_role(fd, Role::None);
        calls::end(fd, self.0.as_raw_fd(), entry)
    }
}
