//! Socket addresses, as returned by the kernel and as written by programs.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketFlags, SocketType, getpeername, getsockname, socket_with,
};

/// A zone (`fe80::1%eth0`) is the interface that a link-local address belongs to, by name or number.
pub fn parse(host: &str, port: u16) -> Result<SocketAddr, Errno> {
    let (ip, zone) = host.split_once('%').map_or((host, None), |(ip, zone)| (ip, Some(zone)));
    match (ip.parse().map_err(|_| Errno::INVAL)?, zone) {
        (IpAddr::V6(ip), Some(zone)) => Ok(SocketAddrV6::new(ip, port, 0, interface(zone)?).into()),
        (ip, _) => Ok(SocketAddr::new(ip, port)),
    }
}

fn interface(zone: &str) -> Result<u32, Errno> {
    if let Ok(number) = zone.parse() {
        return Ok(number);
    }
    let any = socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    name_to_index(&any, zone).map_err(|_| Errno::INVAL)
}

/// The local address of a socket; None for unix sockets.
pub fn local(socket: &OwnedFd) -> Option<SocketAddr> {
    getsockname(socket).ok().and_then(|address| SocketAddr::try_from(address).ok())
}

/// The client's address, as returned by `accept`; None on a unix socket.
pub fn of_client(any: Option<SocketAddrAny>) -> Option<SocketAddr> {
    any.and_then(|address| SocketAddr::try_from(address).ok())
}

/// The client of a connection that was read back from a channel.
pub fn of_peer(fd: &OwnedFd) -> Option<SocketAddr> {
    of_client(getpeername(fd).ok().flatten())
}
