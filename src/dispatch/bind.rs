//! Binding the sockets of an address. Member 0 binds *without* SO_REUSEPORT and sets it between bind and
//! listen: a second cluster of the same user gets EADDRINUSE instead of joining the group and taking its
//! connections. The members of the slots come after, one `listen()` at a time, because that order is the
//! index by which steering programs name them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::{
    set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport, socket_acceptconn, socket_domain,
};
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, bind, connect, getsockname,
    listen, socket_with,
};

use super::command::ListenFailure;
use crate::ipc::control::Address;
use crate::sys::fds;

/// Whatever a program asks for, a queue this long costs nothing until it is needed.
const LEAST_BACKLOG: u32 = 4096;

/// What `bind` made of an address.
pub struct Bound {
    pub front: OwnedFd,
    /// Listeners of slots 0.. in order; empty where the kernel cannot steer.
    pub members: Vec<OwnedFd>,
    pub local: Option<SocketAddr>,
    /// A unix socket's file, to be unlinked when the group closes.
    pub path: Option<String>,
    /// Why there are no members, if that is worth saying.
    pub note: Option<String>,
}

fn failure(host: &str, syscall: &'static str) -> impl Fn(Errno) -> ListenFailure {
    let host = Some(host.to_owned());
    move |errno| ListenFailure { errno: errno.raw_os_error(), syscall, host: host.clone() }
}

pub fn open(address: &Address, backlog: u32, slots: u16) -> Result<Bound, ListenFailure> {
    let backlog = i32::try_from(backlog.max(LEAST_BACKLOG)).unwrap_or(i32::MAX);
    match address {
        Address::Tcp { host, port, ipv6_only, .. } => tcp(host.as_deref(), *port, *ipv6_only, backlog, slots),
        Address::Unix { path } => unix(path, backlog),
        Address::Descriptor { fd } => descriptor(*fd),
        Address::Udp { host, port, ipv6, ipv6_only, reuse, .. } => {
            udp(host, *port, *ipv6, *ipv6_only, *reuse)
        }
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
        // As Node: every address of the machine, IPv6 included where there is IPv6.
        let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        return match tcp_at(any6, "::", ipv6_only, backlog, slots) {
            Err(failed) if failed.errno != Errno::ADDRINUSE.raw_os_error() => {
                let any4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
                tcp_at(any4, "0.0.0.0", false, backlog, slots)
            }
            bound_or_taken => bound_or_taken,
        };
    };
    let Some(ip) = parse_ip(host) else { return Err(failure(host, "bind")(Errno::INVAL)) };
    tcp_at(SocketAddr::new(ip, port), host, ipv6_only, backlog, slots)
}

/// A zone (`fe80::1%eth0`) is not kept: Node drops it too once a name is resolved.
fn parse_ip(host: &str) -> Option<IpAddr> {
    host.split('%').next().and_then(|address| address.parse().ok())
}

fn tcp_at(
    at: SocketAddr,
    host: &str,
    ipv6_only: bool,
    backlog: i32,
    slots: u16,
) -> Result<Bound, ListenFailure> {
    let front = tcp_socket(at, ipv6_only).map_err(failure(host, "listen"))?;
    bind(&front, &at).map_err(failure(host, "listen"))?;
    let steerable = set_socket_reuseport(&front, true).is_ok();
    listen(&front, backlog).map_err(failure(host, "listen"))?;
    let local = local_address(&front);
    let (mut members, mut note) = (Vec::new(), None);
    if let (true, Some(local)) = (steerable, local) {
        match (0..slots).map(|_| member(local, ipv6_only, backlog)).collect() {
            Ok(all) => members = all,
            Err(errno) => {
                note = Some(format!("listeners for the workers could not be made ({errno})"));
            }
        }
    }
    Ok(Bound { front, members, local, path: None, note })
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

fn member(local: SocketAddr, ipv6_only: bool, backlog: i32) -> Result<OwnedFd, Errno> {
    let socket = tcp_socket(local, ipv6_only)?;
    set_socket_reuseport(&socket, true)?;
    bind(&socket, &local)?;
    listen(&socket, backlog)?;
    Ok(socket)
}

pub fn local_address(socket: &OwnedFd) -> Option<SocketAddr> {
    getsockname(socket).ok().and_then(|address| SocketAddr::try_from(address).ok())
}

fn unix(path: &str, backlog: i32) -> Result<Bound, ListenFailure> {
    let failed = failure(path, "listen");
    let address = match path.strip_prefix('\0') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        None => SocketAddrUnix::new(path),
    };
    let address = address.map_err(&failed)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let front = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(&failed)?;
    match bind(&front, &address) {
        Err(Errno::ADDRINUSE) if is_left_behind(&address) => {
            // Nobody listens behind the file: its owner was killed. Node's users unlink it by hand.
            rustix::fs::unlink(path).map_err(&failed)?;
            bind(&front, &address).map_err(&failed)?;
        }
        // As libuv tells it.
        Err(Errno::NOENT) => return Err(failed(Errno::ACCESS)),
        bound => bound.map_err(&failed)?,
    }
    listen(&front, backlog).map_err(&failed)?;
    let file = (!path.starts_with('\0')).then(|| path.to_owned());
    Ok(Bound { front, members: Vec::new(), local: None, path: file, note: None })
}

fn is_left_behind(address: &SocketAddrUnix) -> bool {
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    probe.is_ok_and(|probe| connect(&probe, address) == Err(Errno::CONNREFUSED))
}

/// A listening socket that the primary holds under a number, as `listen({ fd })` names it.
fn descriptor(fd: i32) -> Result<Bound, ListenFailure> {
    let failed = |errno: i32| ListenFailure { errno, syscall: "listen", host: None };
    let front = fds::duplicate(fd).map_err(|error| failed(error.raw_os_error().unwrap_or(libc::EBADF)))?;
    let listens = socket_acceptconn(&front).unwrap_or(false);
    if !listens {
        listen(&front, LEAST_BACKLOG as i32).map_err(|errno| failed(errno.raw_os_error()))?;
    }
    let flags = rustix::fs::fcntl_getfl(&front).map_err(|errno| failed(errno.raw_os_error()))?;
    rustix::fs::fcntl_setfl(&front, flags | rustix::fs::OFlags::NONBLOCK)
        .map_err(|errno| failed(errno.raw_os_error()))?;
    let is_unix = socket_domain(front.as_fd()).is_ok_and(|domain| domain == AddressFamily::UNIX);
    let local = if is_unix { None } else { local_address(&front) };
    Ok(Bound { front, members: Vec::new(), local, path: None, note: None })
}

fn udp(host: &str, port: u16, ipv6: bool, ipv6_only: bool, reuse: bool) -> Result<Bound, ListenFailure> {
    let failed = failure(host, "bind");
    let Some(ip) = parse_ip(host) else { return Err(failed(Errno::INVAL)) };
    let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let front = socket_with(family, SocketType::DGRAM, flags, None).map_err(&failed)?;
    if reuse {
        set_socket_reuseaddr(&front, true).map_err(&failed)?;
    }
    if ipv6_only {
        set_ipv6_v6only(&front, true).map_err(&failed)?;
    }
    bind(&front, &SocketAddr::new(ip, port)).map_err(&failed)?;
    let local = local_address(&front);
    Ok(Bound { front, members: Vec::new(), local, path: None, note: None })
}

/// The client's address, as `accept` tells it; None on a unix socket.
pub fn client_address(any: Option<SocketAddrAny>) -> Option<SocketAddr> {
    any.and_then(|address| SocketAddr::try_from(address).ok())
}
