//! The listener shares of a worker: one for each group that its servers serve. A share accepts on the slot's own
//! listener once this worker has the slot, as long as file descriptors are left and its server has no connection limit.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::sockopt::socket_type;
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, getpeername};

use super::control_channel::ControlChannel;
use super::fd_pressure::FdPressure;
use super::listener_share::ListenerShare;
use super::virtual_listener::{Pushed, VirtualListener};
use crate::ipc::control::{Address, GroupId, ListenOptions, ToPrimary, ToWorker};
use crate::sys::fds;
use crate::sys::socket_calls::SocketName;
use crate::sys::uv::Loop;

/// What a server needs to listen.
pub struct Listened {
    pub group: GroupId,
    pub host: Option<String>,
    pub port: u16,
    /// The descriptor of the listener (or datagram socket), owned by JavaScript now.
    pub fd: i32,
}

/// Why a server cannot listen: the kernel's errno, and the address.
pub struct Refused {
    pub errno: i32,
    pub host: Option<String>,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(match error.kind() {
            io::ErrorKind::TimedOut => libc::ETIMEDOUT,
            _ => libc::ECONNABORTED,
        });
        Self { errno, host: None }
    }
}

/// The group of the trial virtual listener, which no primary uses: it counts them from 0.
pub const TRIAL: GroupId = 1 << 30;

/// Maximum connections that are accepted at once for a virtual listener.
const MAX_COLLECTED: usize = 4096;

/// A batch of accepted connections.
pub struct Accepted {
    pub connections: Vec<OwnedFd>,
    /// Few descriptors are left.
    pub is_near_limit: bool,
}

/// A connection for the runtime at a virtual listener.
pub enum AtVirtualListener {
    /// From the primary, which was counted when it came.
    Pushed(Pushed),
    /// From the slot's own listener.
    Accepted(OwnedFd),
    /// There may be one, but no descriptor for it.
    NoDescriptor,
    Nothing,
}

/// The outcome of an accept.
enum Taken {
    Connection(OwnedFd),
    NoDescriptor,
    /// The primary has closed the address.
    Shut,
    Nothing,
}

fn take_from(listener: BorrowedFd<'_>) -> Taken {
    loop {
        match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(fd) => return Taken::Connection(fd),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(Errno::MFILE | Errno::NFILE) => return Taken::NoDescriptor,
            Err(Errno::INVAL) => return Taken::Shut,
            Err(_) => return Taken::Nothing,
        }
    }
}

/// The identity of a socket on this machine, independent of its descriptor.
fn identity(socket: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(socket)?.st_ino)
}

pub struct ListenerShares {
    uv: Loop,
    control: Rc<ControlChannel>,
    fd_pressure: Rc<FdPressure>,
    /// Listeners that a server requested and does not serve yet; None if only the primary accepts.
    asked: RefCell<HashMap<GroupId, Option<OwnedFd>>>,
    /// Virtual listeners at which a runtime that accepts by itself does not serve yet.
    virtual_listeners: RefCell<HashMap<GroupId, VirtualListener>>,
    /// The listener that JavaScript has of each group, by its socket's identity.
    known: RefCell<HashMap<GroupId, u64>>,
    /// Groups whose server has a connection limit.
    limited: RefCell<HashSet<GroupId>>,
    /// The files of unix sockets.
    paths: RefCell<HashMap<GroupId, String>>,
    /// Groups whose server speaks HTTP/1.1 without TLS.
    plain_http: RefCell<HashSet<GroupId>>,
    shares: RefCell<Vec<ListenerShare>>,
    /// This worker has the slot.
    promoted: Cell<bool>,
}

impl ListenerShares {
    pub fn new(uv: Loop, control: Rc<ControlChannel>, fd_pressure: Rc<FdPressure>) -> Self {
        Self {
            uv,
            control,
            fd_pressure,
            asked: RefCell::default(),
            virtual_listeners: RefCell::default(),
            known: RefCell::default(),
            limited: RefCell::default(),
            paths: RefCell::default(),
            plain_http: RefCell::default(),
            shares: RefCell::default(),
            promoted: Cell::new(false),
        }
    }

    /// Asks the primary for a share of an address.
    pub fn listen(&self, address: Address, options: ListenOptions) -> Result<Listened, Refused> {
        let path = match &address {
            Address::Unix { path } => Some(path.clone()),
            Address::Tcp { .. } | Address::Descriptor { .. } => None,
        };
        match self.control.ask(&ToPrimary::Listen { address, options })? {
            (ToWorker::Listening { group, host, port, own }, Some(listener)) => {
                let polled = if own { Some(listener.try_clone()?) } else { None };
                let known = identity(&listener)?;
                self.asked.borrow_mut().insert(group, polled);
                self.known.borrow_mut().insert(group, known);
                if let Some(path) = path {
                    self.paths.borrow_mut().insert(group, path);
                }
                Ok(Listened { group, host, port, fd: listener.into_raw_fd() })
            }
            (ToWorker::ListenFailed { errno, host }, _) => Err(Refused { errno, host }),
            _ => Err(Refused { errno: libc::EPROTO, host: None }),
        }
    }

    /// For a runtime that accepts by itself: makes the virtual listener of the group's server, and returns what the runtime polls.
    /// `address`: the listener whose address it sees.
    ///
    /// # Errors
    /// EMFILE if connections would not fit beside it.
    pub fn make_virtual_listener(&self, group: GroupId, address: &OwnedFd) -> io::Result<OwnedFd> {
        let Some(listener) = self.asked.borrow_mut().remove(&group) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if !self.fd_pressure.has_recovered() {
            return Err(Errno::MFILE.into());
        }
        let virtual_listener = VirtualListener::new(listener, SocketName::of(address)?)?;
        let polled = virtual_listener.poll()?;
        self.virtual_listeners.borrow_mut().insert(group, virtual_listener);
        Ok(polled)
    }

    /// A virtual listener without listeners, at which nothing is served: for a test of the runtime.
    pub fn make_trial_virtual_listener(&self) -> io::Result<OwnedFd> {
        let address = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        let virtual_listener = VirtualListener::new(None, SocketName::of(&address)?)?;
        let polled = virtual_listener.poll()?;
        self.virtual_listeners.borrow_mut().insert(TRIAL, virtual_listener);
        Ok(polled)
    }

    pub fn remove_trial_virtual_listener(&self) {
        self.virtual_listeners.borrow_mut().remove(&TRIAL);
    }

    /// Calls `act` with the group's virtual listener.
    pub fn with_virtual_listener<T>(
        &self,
        group: GroupId,
        act: impl FnOnce(&VirtualListener) -> T,
    ) -> Option<T> {
        let shares = self.shares.borrow();
        let virtual_listener =
            shares.iter().find(|share| share.group == group).and_then(ListenerShare::virtual_listener);
        match virtual_listener {
            Some(virtual_listener) => Some(act(virtual_listener)),
            // Not served yet: it has an address.
            None => self.virtual_listeners.borrow().get(&group).map(act),
        }
    }

    /// The group's server takes connections from now on. `called` is called when connections wait at the slot's own
    /// listener.
    pub fn serve(&self, group: GroupId, plain_http: bool, called: impl FnMut() + 'static) -> io::Result<()> {
        let share = if let Some(virtual_listener) = self.virtual_listeners.borrow_mut().remove(&group) {
            ListenerShare::through(virtual_listener, group)
        } else if let Some(listener) = self.asked.borrow_mut().remove(&group) {
            ListenerShare::open(self.uv, group, listener, called)?
        } else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if plain_http {
            self.plain_http.borrow_mut().insert(group);
        }
        let is_limited = self.limited.borrow().contains(&group);
        share.set_limited(is_limited);
        if is_limited || !self.accepts() {
            share.pause();
        } else {
            // A virtual listener is closed at first.
            share.resume();
        }
        self.shares.borrow_mut().push(share);
        self.control.send(&ToPrimary::Serving { group, plain_http })
    }

    /// Whether this is the file of a unix socket that workers share, which the primary removes.
    pub fn is_path_of_group(&self, path: &[u8]) -> bool {
        self.paths.borrow().values().any(|one| one.as_bytes() == path)
    }

    pub fn is_plain_http(&self, group: GroupId) -> bool {
        self.plain_http.borrow().contains(&group)
    }

    /// Whether it may accept, considering the server's limit.
    fn accepts(&self) -> bool {
        self.promoted.get() && !self.fd_pressure.is_high()
    }

    /// This worker gets the slot.
    pub fn promote(&self) {
        self.promoted.set(true);
        self.resume();
    }

    /// Pauses accepting.
    pub fn pause(&self) {
        self.shares.borrow().iter().for_each(ListenerShare::pause);
    }

    /// Resumes accepting, where allowed.
    pub fn resume(&self) {
        if self.accepts() {
            self.shares.borrow().iter().for_each(ListenerShare::resume);
        }
    }

    /// Sets whether the group's server has a connection limit.
    pub fn limit(&self, group: GroupId, is_limited: bool) {
        if is_limited {
            self.limited.borrow_mut().insert(group);
        } else {
            self.limited.borrow_mut().remove(&group);
        }
        for share in self.shares.borrow().iter().filter(|share| share.group == group) {
            share.set_limited(is_limited);
            if is_limited {
                share.pause();
            } else if self.accepts() {
                share.resume();
            }
        }
    }

    /// Whether this descriptor is a socket of the program itself that can listen: neither a share of the primary nor
    /// connected, unlike drover's channels.
    pub fn is_programs(&self, fd: i32) -> bool {
        let Ok(socket) = fds::duplicate(fd) else { return false };
        let is_stream = socket_type(&socket) == Ok(SocketType::STREAM);
        let is_share =
            identity(&socket).is_ok_and(|known| self.known.borrow().values().any(|one| *one == known));
        is_stream && !is_share && getpeername(&socket).is_err()
    }

    /// The group's server closes: stops accepting for it. Returns the virtual listener with connections that the runtime has not got.
    pub fn close(&self, group: GroupId) -> Option<VirtualListener> {
        self.asked.borrow_mut().remove(&group);
        self.virtual_listeners.borrow_mut().remove(&group);
        self.known.borrow_mut().remove(&group);
        self.limited.borrow_mut().remove(&group);
        self.plain_http.borrow_mut().remove(&group);
        let mut shares = self.shares.borrow_mut();
        let at = shares.iter().position(|share| share.group == group)?;
        shares.remove(at).into_virtual_listener()
    }

    /// Sets whether the group's connections are next in the connection channel; false if it is not served at a virtual
    /// listener.
    pub fn offer(&self, group: GroupId, is_offered: bool) -> bool {
        let shares = self.shares.borrow();
        let virtual_listener =
            shares.iter().find(|share| share.group == group).and_then(ListenerShare::virtual_listener);
        virtual_listener.into_iter().for_each(|one| one.offer(is_offered));
        virtual_listener.is_some()
    }

    /// Keeps the virtual listener of a closed server, at which the runtime still gets the connections that were sent before.
    pub fn keep_virtual_listener(&self, group: GroupId, virtual_listener: VirtualListener) {
        virtual_listener.leave_listener();
        virtual_listener.offer(false);
        self.virtual_listeners.borrow_mut().insert(group, virtual_listener);
    }

    /// Drops a kept virtual listener if the runtime has got all of its connections.
    pub fn forget_empty_virtual_listener(&self, group: GroupId) {
        self.virtual_listeners
            .borrow_mut()
            .retain(|kept, virtual_listener| *kept != group || virtual_listener.has_pushed());
    }

    /// Whether connections wait at the group's virtual listener.
    pub fn has_waiting(&self, group: GroupId) -> bool {
        self.with_virtual_listener(group, VirtualListener::has_pushed).unwrap_or(false)
    }

    /// How many connections wait at the group's virtual listener.
    pub fn count_waiting(&self, group: GroupId) -> usize {
        self.with_virtual_listener(group, VirtualListener::count_pushed).unwrap_or(0)
    }

    /// Accepts what waits at the slot's own listener, for the runtime at the group's virtual listener; returns how many.
    pub fn collect_at_virtual_listener(&self, group: GroupId) -> usize {
        let mut collected = Vec::new();
        while collected.len() < MAX_COLLECTED
            && let Some(Some(Taken::Connection(connection))) = self
                .with_virtual_listener(group, |virtual_listener| virtual_listener.with_listener(take_from))
        {
            let is_near_limit = self.fd_pressure.is_near(connection.as_raw_fd());
            collected.push(Pushed { connection, keep_alive: None, per_request: false, is_probe: false });
            if is_near_limit {
                break;
            }
        }
        let count = collected.len();
        self.with_virtual_listener(group, |virtual_listener| virtual_listener.push(collected));
        count
    }

    /// Releases every listener at once: the primary has ended, and a new primary may bind the port.
    pub fn clear(&self) {
        self.asked.borrow_mut().clear();
        for share in self.shares.take() {
            let group = share.group;
            if let Some(virtual_listener) = share.into_virtual_listener() {
                self.keep_virtual_listener(group, virtual_listener);
                self.forget_empty_virtual_listener(group);
            }
        }
    }

    /// The groups at whose listeners this worker may accept.
    pub fn accepting(&self) -> Vec<GroupId> {
        let shares = self.shares.borrow();
        shares.iter().filter(|_| self.promoted.get()).map(|share| share.group).collect()
    }

    /// Accepts connections of the slot's own listener, up to `most`.
    pub fn accept(&self, group: GroupId, most: usize) -> Accepted {
        let mut connections = Vec::with_capacity(8);
        let mut is_near_limit = false;
        while connections.len() < most && !is_near_limit {
            let shares = self.shares.borrow();
            let share = shares.iter().find(|share| share.group == group);
            let Some(taken) = share.and_then(ListenerShare::listener).map(|listener| take_from(listener))
            else {
                break;
            };
            drop(shares);
            match taken {
                Taken::Connection(fd) => {
                    is_near_limit = self.fd_pressure.is_near(fd.as_raw_fd());
                    connections.push(fd);
                }
                Taken::NoDescriptor => is_near_limit = true,
                Taken::Shut => self.leave_listener(group),
                Taken::Nothing => break,
            }
        }
        Accepted { connections, is_near_limit }
    }

    /// The next connection for the runtime at the group's virtual listener. `receive` receives those that are next in the
    /// connection channel.
    pub fn accept_at_virtual_listener(&self, group: GroupId, receive: impl FnOnce()) -> AtVirtualListener {
        let taken = self.with_virtual_listener(group, |virtual_listener| {
            if !virtual_listener.begin_take() {
                return AtVirtualListener::Nothing;
            }
            if virtual_listener.awaits_offered() {
                receive();
            }
            if let Some(connection) = virtual_listener.take_pushed() {
                return AtVirtualListener::Pushed(connection);
            }
            match virtual_listener.with_listener(take_from) {
                Some(Taken::Connection(fd)) => AtVirtualListener::Accepted(fd),
                Some(Taken::NoDescriptor) => AtVirtualListener::NoDescriptor,
                Some(Taken::Shut) => {
                    virtual_listener.leave_listener();
                    AtVirtualListener::Nothing
                }
                Some(Taken::Nothing) | None => {
                    virtual_listener.end_take();
                    AtVirtualListener::Nothing
                }
            }
        });
        taken.unwrap_or(AtVirtualListener::Nothing)
    }

    /// The primary has closed the address: the listener has no more connections, and would wake the loop endlessly.
    fn leave_listener(&self, group: GroupId) {
        let mut shares = self.shares.borrow_mut();
        if let Some(share) = shares.iter_mut().find(|share| share.group == group) {
            // Without memory for a timer it is unchanged until its server closes.
            let _ = share.leave_listener(self.uv);
        }
    }

    /// Sets whether the share keeps the process alive, by `server.ref()` and `server.unref()`.
    pub fn keep_alive(&self, group: GroupId, keep: bool) {
        let shares = self.shares.borrow();
        shares.iter().filter(|share| share.group == group).for_each(|share| share.hold(keep));
    }

    pub fn keeps_alive(&self, group: GroupId) -> bool {
        self.shares.borrow().iter().any(|share| share.group == group && share.holds())
    }
}
