//! What the replaced calls share: which descriptors are followed, and who decides about them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::socket_name::SocketName;

/// What the runtime's sockets are, on the thread that has called [`install`]. Called within the runtime's calls, so it must
/// not call JavaScript.
pub trait Sockets {
    /// The next connection for the runtime at this virtual listener; None: there is none now.
    fn accept(&self, virtual_listener: u32) -> Option<OwnedFd>;
    /// What the runtime sees as the address of the virtual listener.
    fn address_of(&self, virtual_listener: u32) -> Option<SocketName>;
    /// Whether the runtime must not remove this file: the path of a socket that other processes serve.
    fn keeps(&self, path: &CStr) -> bool;
    /// The runtime has read these bytes from a connection that came through a virtual listener.
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

/// What a descriptor is: one of the following numbers, or a virtual listener's from [`FIRST_VIRTUAL_LISTENER`] on. Pages of it that
/// are not used take no memory.
static ROLES: [AtomicU32; MAX_FD] = [const { AtomicU32::new(NOTHING) }; MAX_FD];

const NOTHING: u32 = 0;
const CONNECTION: u32 = 1;
const DATAGRAMS: u32 = 2;
const UNREAD: u32 = 3;
const FIRST_VIRTUAL_LISTENER: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    None,
    Connection,
    /// A datagram socket that is shared with other processes.
    Datagrams,
    /// The same, which the runtime does not read any more.
    Unread,
    VirtualListener(u32),
}

pub(super) fn role(fd: RawFd) -> Role {
    let role = usize::try_from(fd).ok().and_then(|at| ROLES.get(at));
    match role.map_or(NOTHING, |role| role.load(Ordering::Relaxed)) {
        NOTHING => Role::None,
        CONNECTION => Role::Connection,
        DATAGRAMS => Role::Datagrams,
        UNREAD => Role::Unread,
        virtual_listener => Role::VirtualListener(virtual_listener - FIRST_VIRTUAL_LISTENER),
    }
}

/// Returns false if the descriptor's number is too high.
pub(super) fn set_role(fd: RawFd, role: Role) -> bool {
    let value = match role {
        Role::None => NOTHING,
        Role::Connection => CONNECTION,
        Role::Datagrams => DATAGRAMS,
        Role::Unread => UNREAD,
        Role::VirtualListener(virtual_listener) => FIRST_VIRTUAL_LISTENER + virtual_listener,
    };
    let entry = usize::try_from(fd).ok().and_then(|at| ROLES.get(at));
    entry.inspect(|entry| entry.store(value, Ordering::Relaxed)).is_some()
}

thread_local! {
    pub(super) static SOCKETS: RefCell<Option<Rc<dyn Sockets>>> = const { RefCell::new(None) };
    /// The virtual listener that the next `bind` of this thread gets.
    pub(super) static NEXT: RefCell<Option<(u32, OwnedFd)>> = const { RefCell::new(None) };
    pub(super) static BOUND: Cell<bool> = const { Cell::new(false) };
    /// How the runtime polls the descriptors of [`Role::Datagrams`].
    pub(super) static POLLED: RefCell<BTreeMap<RawFd, PollEntry>> = const { RefCell::new(BTreeMap::new()) };
}

/// Calls `act` with this thread's sockets, if there are any and they are not in use.
pub(super) fn with_sockets<T>(act: impl FnOnce(&dyn Sockets) -> T) -> Option<T> {
    SOCKETS.try_with(|sockets| sockets.try_borrow().ok()?.as_deref().map(act)).ok().flatten()
}
