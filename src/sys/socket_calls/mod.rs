//! The socket calls of a runtime that accepts connections by itself. Bun calls the C library through its import table
//! (ELF's GOT), whose entries are replaced here: so drover decides what a listening socket of the runtime accepts, and
//! follows the connections that came through it. Everything else goes to the C library unchanged.
//!
//! Seen on: Bun 1.4.4, 1.4.5 (glibc, x64).
//! - `import_table`: finds and replaces the entries.
//! - `calls`: the replacements.

mod calls;
mod import_table;

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use import_table::ImportTable;

/// What the runtime's sockets are, on the thread that has called [`install`]. Called within the runtime's calls, so it must
/// not call JavaScript.
pub trait Sockets {
    /// The next connection for the runtime at this door; None: there is none now.
    fn accept(&self, door: u32) -> Option<OwnedFd>;
    /// The socket whose address the runtime sees as that of the door.
    fn address_of(&self, door: u32) -> Option<RawFd>;
    /// Whether the runtime must not remove this file: the path of a socket that other processes serve.
    fn keeps(&self, path: &CStr) -> bool;
    /// The runtime has read these bytes from a connection that came through a door.
    fn received(&self, fd: RawFd, bytes: &[u8]);
    /// These bytes of the runtime were taken by the kernel.
    fn sent(&self, fd: RawFd, bytes: &[u8]);
    /// The runtime polls the connection in this way from now on.
    fn polled(&self, fd: RawFd, poll: PollEntry);
    /// The runtime has closed the connection.
    fn closed(&self, fd: RawFd);
}

/// A descriptor's entry in an epoll instance of the runtime: the instance, its events, its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollEntry {
    pub poll: RawFd,
    pub events: u32,
    pub data: u64,
}

/// Descriptors with a number above this are not followed: the default of the kernel's limit (fs.nr_open).
const MAX_FD: usize = 1 << 20;

/// What a descriptor is: [`NOTHING`], [`CONNECTION`], or a door's number from [`FIRST_DOOR`] on. Pages of it that are not
/// used take no memory.
static ROLES: [AtomicU32; MAX_FD] = [const { AtomicU32::new(NOTHING) }; MAX_FD];

const NOTHING: u32 = 0;
const CONNECTION: u32 = 1;
const FIRST_DOOR: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    None,
    Connection,
    Door(u32),
}

fn role(fd: RawFd) -> Role {
    let role = usize::try_from(fd).ok().and_then(|at| ROLES.get(at));
    match role.map_or(NOTHING, |role| role.load(Ordering::Relaxed)) {
        NOTHING => Role::None,
        CONNECTION => Role::Connection,
        door => Role::Door(door - FIRST_DOOR),
    }
}

/// Returns false if the descriptor's number is too high.
fn set_role(fd: RawFd, role: Role) -> bool {
    let value = match role {
        Role::None => NOTHING,
        Role::Connection => CONNECTION,
        Role::Door(door) => FIRST_DOOR + door,
    };
    let entry = usize::try_from(fd).ok().and_then(|at| ROLES.get(at));
    entry.inspect(|entry| entry.store(value, Ordering::Relaxed)).is_some()
}

thread_local! {
    static SOCKETS: RefCell<Option<Rc<dyn Sockets>>> = const { RefCell::new(None) };
    /// The door that the next `bind` of this thread gets.
    static NEXT: RefCell<Option<(u32, OwnedFd)>> = const { RefCell::new(None) };
    static BOUND: Cell<bool> = const { Cell::new(false) };
}

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
        entry.replace(*replacement)?;
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

/// Instead of binding its next socket the runtime gets `poll`, whose readiness means that the door has a connection. It takes
/// that for its listening socket.
pub fn bind_next(door: u32, poll: OwnedFd) {
    BOUND.set(false);
    NEXT.set(Some((door, poll)));
}

/// Ends `bind_next`; returns whether the runtime has bound a socket.
pub fn has_bound() -> bool {
    NEXT.set(None);
    BOUND.replace(false)
}

/// The runtime sees the end of a connection, which continues elsewhere: its descriptor refers to a closed socket from now on.
///
/// # Errors
/// No descriptor is left; nothing has changed.
pub fn end(fd: RawFd, entry: PollEntry) -> io::Result<()> {
    let (dead, peer) = UnixStream::pair()?;
    dead.set_nonblocking(true)?;
    drop(peer);
    set_role(fd, Role::None);
    calls::end(fd, dead.as_raw_fd(), entry)
}

/// Calls `act` with this thread's sockets, if there are any and they are not in use.
fn with_sockets<T>(act: impl FnOnce(&dyn Sockets) -> T) -> Option<T> {
    SOCKETS.try_with(|sockets| sockets.try_borrow().ok()?.as_deref().map(act)).ok().flatten()
}
