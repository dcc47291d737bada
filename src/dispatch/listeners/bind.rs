//! Binding the sockets of an address. Member 0 binds *without* SO_REUSEPORT and sets it between bind and
//! listen: a second cluster of the same user gets EADDRINUSE instead of joining the group and taking its
//! connections. The slots' members follow, with one `listen()` after the other, because this order is their index in
//! steering programs.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport, socket_acceptconn, socket_domain,
};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use super::super::address;
use super::super::command::ListenFailure;
use crate::balance::{Family, Instruction, Steering, no_new_handshakes, program};
use crate::ipc::control::{Address, ListenOptions};
use crate::sys::{bpf, fds};

/// Minimum backlog: a queue of this length costs nothing until it is used.
pub const MIN_BACKLOG: u32 = 4096;

/// The sockets of a bound address.
pub struct Bound {
    pub primary_listener: OwnedFd,
    /// Listeners of slots 0.. in order; empty if the kernel cannot steer.
    pub members: Vec<OwnedFd>,
    pub local: Option<SocketAddr>,
    pub file: Option<UnixFile>,
    /// Why there are no members, for the log.
    pub note: Option<String>,
}

/// A unix socket's file; dropping it removes the file, unless another program has replaced it.
pub struct UnixFile {
    path: String,
    /// Device and inode.
    identity: Option<(u64, u64)>,
}

impl UnixFile {
    fn new(path: &str) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // It may have been removed already.
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

/// None if there is no socket.
fn identity(path: &str) -> Option<(u64, u64)> {
    let found = rustix::fs::lstat(path).ok()?;
    let is_socket = FileType::from_raw_mode(found.st_mode) == FileType::Socket;
    is_socket.then_some((found.st_dev, found.st_ino))
}

fn failure(host: &str, syscall: &'static str) -> impl Fn(Errno) -> ListenFailure {
    let host = Some(host.to_owned());
    move |errno| ListenFailure::new(errno.raw_os_error(), syscall, host.clone())
}

pub fn open(address: &Address, options: ListenOptions, slots: u16) -> Result<Bound, ListenFailure> {
    let backlog = i32::try_from(options.backlog.max(MIN_BACKLOG)).unwrap_or(i32::MAX);
    match address {
        Address::Tcp { host, port, ipv6_only, .. } => tcp(host.as_deref(), *port, *ipv6_only, backlog, slots),
        Address::Unix { path } => {
            let bound = unix(path, backlog)?;
            permit(address, options.mode)?;
            Ok(bound)
        }
        Address::Descriptor { fd } => descriptor(*fd),
    }
}

fn tcp(
    host: Option<&str>,
    port: u16,
    ipv6_only: bool,
    backlog: i32,
    slots: u16,
) -> Result<Bound, ListenFailure> {
    let Some(host) = host else {
        // As in Node: every address of the machine, including IPv6 if available.
        let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        return match tcp_at(any6, "::", ipv6_only, backlog, slots) {
            Err(failed) if failed.errno != Errno::ADDRINUSE.raw_os_error() => {
                let any4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
                tcp_at(any4, "0.0.0.0", false, backlog, slots)
            }
            bound_or_taken => bound_or_taken,
        };
    };
    let at = address::parse(host, port).map_err(failure(host, "bind"))?;
    tcp_at(at, host, ipv6_only, backlog, slots)
}

fn tcp_at(
    at: SocketAddr,
    host: &str,
    ipv6_only: bool,
    backlog: i32,
    slots: u16,
) -> Result<Bound, ListenFailure> {
    let primary_listener = tcp_socket(at, ipv6_only).map_err(failure(host, "listen"))?;
    bind(&primary_listener, &at).map_err(failure(host, "listen"))?;
    let grouped = set_socket_reuseport(&primary_listener, true);
    listen(&primary_listener, backlog).map_err(failure(host, "listen"))?;
    let local = address::local(&primary_listener);
    // Steered before there is a second member: no connection is ever assigned to a member by chance, so that removing
    // the members resets no connection.
    let steered =
        grouped.map_err(io::Error::from).and_then(|()| attach(primary_listener.as_fd(), &primary_alone()));
    let made = match local {
        // No `slots`: no members are needed.
        Some(local) if steered.is_ok() => (0..slots).map(|_| channel(local, ipv6_only, backlog)).collect(),
        Some(_) | None => Ok(Vec::new()),
    };
    let note = match (&steered, &made) {
        (Err(error), _) => Some(format!("the kernel accepts no steering program ({error})")),
        (Ok(()), Err(errno)) => Some(format!("listeners for the workers could not be created ({errno})")),
        (Ok(()), Ok(_)) => None,
    };
    Ok(Bound { primary_listener, members: made.unwrap_or_default(), local, file: None, note })
}

/// Assigns every connection to member 0; the same for every address family.
fn primary_alone() -> Vec<Instruction> {
    program(Steering::Primary, Family::V4).unwrap_or_default()
}

/// Steers the whole group that `channel` belongs to.
pub fn attach(channel: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    bpf::attach(channel, &raw(program))
}

/// Drops new handshakes of a listener, in every process that holds it.
pub fn bar(listener: BorrowedFd<'_>) -> io::Result<()> {
    bpf::filter(listener, &raw(&no_new_handshakes()))
}

fn raw(program: &[Instruction]) -> Vec<bpf::RawInstruction> {
    program.iter().map(|step| (step.code, step.jt, step.jf, step.k)).collect()
}

fn tcp_socket(at: SocketAddr, ipv6_only: bool) -> Result<OwnedFd, Errno> {
    let family = if at.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    set_socket_reuseaddr(&socket, true)?;
    if at.is_ipv6() {
        set_ipv6_v6only(&socket, ipv6_only)?;
    }
    Ok(socket)
}

fn channel(local: SocketAddr, ipv6_only: bool, backlog: i32) -> Result<OwnedFd, Errno> {
    let socket = tcp_socket(local, ipv6_only)?;
    set_socket_reuseport(&socket, true)?;
    bind(&socket, &local)?;
    listen(&socket, backlog)?;
    Ok(socket)
}

fn unix(path: &str, backlog: i32) -> Result<Bound, ListenFailure> {
    let failed = failure(path, "listen");
    let address = match path.strip_prefix('\0') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        None => SocketAddrUnix::new(path),
    };
    let address = address.map_err(|errno| match errno {
        // As libuv tells it.
        Errno::NAMETOOLONG => failed(Errno::INVAL),
        errno => failed(errno),
    })?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let primary_listener =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(&failed)?;
    match bind(&primary_listener, &address) {
        Err(Errno::ADDRINUSE) if is_left_behind(path, &address) => {
            // No process listens on the file: its owner was killed. With plain Node, users have to unlink it.
            rustix::fs::unlink(path).map_err(&failed)?;
            bind(&primary_listener, &address).map_err(&failed)?;
        }
        // As libuv tells it.
        Err(Errno::NOENT) => return Err(failed(Errno::ACCESS)),
        bound => bound.map_err(&failed)?,
    }
    let file = (!path.starts_with('\0')).then(|| UnixFile::new(path));
    listen(&primary_listener, backlog).map_err(&failed)?;
    Ok(Bound { primary_listener, members: Vec::new(), local: None, file, note: None })
}

/// Adds permission bits (only read and write) to a unix socket's file, as libuv does for `readableAll` and
/// `writableAll`.
pub fn permit(address: &Address, mode: u32) -> Result<(), ListenFailure> {
    let Address::Unix { path } = address else { return Ok(()) };
    let wanted = Mode::from_raw_mode(mode & 0o666);
    if wanted.is_empty() || path.starts_with('\0') {
        return Ok(());
    }
    let failed = failure(path, "chmod");
    let has = Mode::from_raw_mode(rustix::fs::lstat(path).map_err(&failed)?.st_mode);
    rustix::fs::chmod(path, has | wanted).map_err(&failed)
}

/// Whether the file is a stale socket; other files are never removed.
fn is_left_behind(path: &str, address: &SocketAddrUnix) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    identity(path).is_some() && probe.is_ok_and(|probe| connect(&probe, address) == Err(Errno::CONNREFUSED))
}

/// A listening socket of the primary by its descriptor, for `listen({ fd })`.
fn descriptor(fd: i32) -> Result<Bound, ListenFailure> {
    let failed = |errno: i32| ListenFailure::new(errno, "listen", None);
    // As Node reports it, for any other kind of descriptor.
    let primary_listener = fds::duplicate(fd).map_err(|_| failed(libc::EINVAL))?;
    if rustix::net::sockopt::socket_type(&primary_listener).is_err() {
        return Err(failed(libc::EINVAL));
    }
    let listens = socket_acceptconn(&primary_listener).unwrap_or(false);
    if !listens {
        listen(&primary_listener, MIN_BACKLOG as i32).map_err(|errno| failed(errno.raw_os_error()))?;
    }
    let flags = rustix::fs::fcntl_getfl(&primary_listener).map_err(|errno| failed(errno.raw_os_error()))?;
    rustix::fs::fcntl_setfl(&primary_listener, flags | rustix::fs::OFlags::NONBLOCK)
        .map_err(|errno| failed(errno.raw_os_error()))?;
    let is_unix = socket_domain(primary_listener.as_fd()).is_ok_and(|domain| domain == AddressFamily::UNIX);
    let local = if is_unix { None } else { address::local(&primary_listener) };
    Ok(Bound { primary_listener, members: Vec::new(), local, file: None, note: None })
}
