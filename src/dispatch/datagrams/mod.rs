//! The datagram sockets that workers share: opening them, and the replies that wait until a multicast group was left.
//! `sockets` knows which worker holds which socket.

mod sockets;

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::sync::oneshot;

use super::address;
use super::command::{Holder, ListenFailure};
use super::fd_budget::FdBudget;
use crate::ipc::control::{Datagram, SocketId};
use crate::model::WorkerId;
use sockets::{Key, Sockets};

pub use sockets::Successor;

/// A worker that waits for the reply whether it is the first member of a multicast group.
struct Joining {
    socket: SocketId,
    membership: String,
    holder: WorkerId,
    reply: oneshot::Sender<bool>,
}

pub struct Datagrams {
    fd_budget: FdBudget,
    sockets: Sockets<OwnedFd>,
    joining: Vec<Joining>,
}

impl Datagrams {
    pub fn new(fd_budget: FdBudget) -> Self {
        Self { fd_budget, sockets: Sockets::default(), joining: Vec::new() }
    }

    /// A copy of the address's socket, which is opened if necessary; the worker holds it from now on.
    ///
    /// # Errors
    /// The kernel's; EMFILE if the remaining file descriptors are reserved for connections.
    pub fn bind(
        &mut self,
        wanted: &Datagram,
        holder: WorkerId,
    ) -> Result<(SocketId, OwnedFd), ListenFailure> {
        let failed = |errno| failure(wanted, errno);
        let at = socket_address(wanted).map_err(failed)?;
        let key = Key { at, ipv6_only: wanted.ipv6_only, nth: wanted.nth };
        let fd_budget = self.fd_budget;
        let has_port = self.sockets.has_port(wanted.port);
        let (id, socket) = self.sockets.bind(key, holder, || {
            let socket = open(at, wanted).map_err(|errno| match failed(errno) {
                failure if has_port => ListenFailure { holder: Holder::Ours, ..failure },
                failure => failure,
            })?;
            // There may be hundreds of short-lived sockets; connections have priority.
            if fd_budget.leaves_no_room(socket.as_raw_fd()) { Err(failed(Errno::MFILE)) } else { Ok(socket) }
        })?;
        let copy = rustix::io::fcntl_dupfd_cloexec(socket.as_fd(), 0);
        let copy = copy.inspect_err(|_| self.sockets.release(id, holder)).map_err(failed)?;
        Ok((id, copy))
    }

    /// The worker releases the socket; it is closed when the last worker does.
    pub fn release(&mut self, id: SocketId, holder: WorkerId) {
        self.sockets.release(id, holder);
        self.answer_joining();
    }

    /// The worker joins a multicast group on the socket. `reply` gets whether it is the first, as soon as no other
    /// worker is just leaving it.
    pub fn join_multicast(
        &mut self,
        socket: SocketId,
        membership: String,
        holder: WorkerId,
        reply: oneshot::Sender<bool>,
    ) {
        self.joining.push(Joining { socket, membership, holder, reply });
        self.answer_joining();
    }

    /// The worker leaves the group. True if it is the last, which must leave it in the kernel and then report `left`.
    pub fn leave_multicast(&mut self, id: SocketId, membership: &str, holder: WorkerId) -> bool {
        self.sockets.leave_multicast(id, membership, holder)
    }

    /// The group was left in the kernel.
    pub fn multicast_left(&mut self, id: SocketId, membership: &str, holder: WorkerId) {
        self.sockets.multicast_left(id, membership, holder);
        self.answer_joining();
    }

    /// The worker drains on its own initiative: its sockets are kept for its replacement.
    pub fn leaves(&mut self, holder: WorkerId) {
        self.sockets.leaves(holder);
    }

    /// The worker has ended.
    pub fn gone(&mut self, holder: WorkerId, successor: Successor) {
        self.sockets.gone(holder, successor);
        self.answer_joining();
    }

    /// The slot's next worker serves.
    pub fn serves(&mut self, slot: u16, now: Duration) {
        self.sockets.serves(slot, now);
    }

    /// Whether the worker holds the socket.
    pub fn is_held(&self, id: SocketId, holder: WorkerId) -> bool {
        self.sockets.is_held(id, holder)
    }

    /// The name of the socket for people.
    pub fn name(&self, id: SocketId) -> Option<String> {
        self.sockets.address(id).map(|address| format!("udp {address}"))
    }

    /// When `expire` has something to do next.
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        self.sockets.due_in(now)
    }

    /// Closes sockets that replacements have not bound in time.
    pub fn expire(&mut self, now: Duration) {
        self.sockets.expire(now);
    }

    /// Closes all sockets. Workers keep their copies.
    pub fn clear(&mut self) {
        self.sockets.clear();
    }

    fn answer_joining(&mut self) {
        for joining in std::mem::take(&mut self.joining) {
            match self.sockets.join(joining.socket, &joining.membership, joining.holder) {
                // The receiver is gone if the worker died meanwhile.
                Some(first) => drop(joining.reply.send(first)),
                None => self.joining.push(joining),
            }
        }
    }
}

/// The failure for a worker whose datagram socket cannot be bound.
pub fn failure(wanted: &Datagram, errno: Errno) -> ListenFailure {
    ListenFailure::new(errno.raw_os_error(), "bind", Some(wanted.host.clone()))
}

/// The address for a datagram socket.
///
/// # Errors
/// INVAL if it is no address of the socket's family, and for IPv4 with `ipv6Only`.
fn socket_address(wanted: &Datagram) -> Result<SocketAddr, Errno> {
    let at = address::parse(&wanted.host, wanted.port)?;
    let fits = at.is_ipv6() == wanted.ipv6 && (wanted.ipv6 || !wanted.ipv6_only);
    if fits { Ok(at) } else { Err(Errno::INVAL) }
}

/// A datagram socket, bound as libuv does it.
fn open(at: SocketAddr, wanted: &Datagram) -> Result<OwnedFd, Errno> {
    let family = if wanted.ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    if wanted.reuse {
        set_socket_reuseaddr(&socket, true)?;
    }
    if wanted.ipv6_only {
        set_ipv6_v6only(&socket, true)?;
    }
    match bind(&socket, &at) {
        // As libuv reports it.
        Err(Errno::AFNOSUPPORT) => Err(Errno::INVAL),
        bound => bound.map(|()| socket),
    }
}
