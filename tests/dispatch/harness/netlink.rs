//! Sets up a new network namespace: brings its loopback interface up and adds the addresses of a test (rtnetlink(7)).

use std::net::{IpAddr, Ipv6Addr};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// The index of the loopback interface: the first in every namespace.
const LOOPBACK: u32 = 1;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
/// NLM_F_REQUEST and NLM_F_ACK.
const REQUEST: u16 = 5;
/// NLM_F_CREATE and NLM_F_EXCL.
const CREATE: u16 = 0x600;
const UP: u32 = 1;
const HOST_SCOPE: u8 = 254;
const LINK_SCOPE: u8 = 253;
/// IFA_F_NODAD: usable at once.
const NO_DAD: u8 = 2;
const LOCAL: u16 = 2;
const ADDRESS: u16 = 1;

/// Brings up the loopback interface of this network namespace and adds addresses to it.
pub fn raise_loopback(addresses: &[IpAddr]) {
    let mut link = vec![0, 0];
    link.extend(0u16.to_ne_bytes());
    for word in [LOOPBACK, UP, UP] {
        link.extend(word.to_ne_bytes());
    }
    request(NEW_LINK, REQUEST, &link);
    super::eventually("::1 can be used", || is_usable(Ipv6Addr::LOCALHOST).then_some(()));
    addresses.iter().for_each(|address| add(*address));
}

fn add(address: IpAddr) {
    let (family, length, attribute, bytes) = match address {
        IpAddr::V4(ip) => (AddressFamily::INET, 32, LOCAL, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::INET6, 128, ADDRESS, ip.octets().to_vec()),
    };
    let is_link_local = matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let scope = if is_link_local { LINK_SCOPE } else { HOST_SCOPE };
    let mut body = vec![family.as_raw() as u8, length, NO_DAD, scope];
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend((4 + bytes.len() as u16).to_ne_bytes());
    body.extend(attribute.to_ne_bytes());
    body.extend(bytes);
    request(NEW_ADDRESS, REQUEST | CREATE, &body);
    if let IpAddr::V6(ip) = address {
        super::eventually("the new address can be used", || is_usable(ip).then_some(()));
    }
}

/// An IPv6 address is tentative at first, and its local route is added later still.
fn is_usable(ip: Ipv6Addr) -> bool {
    const TENTATIVE: u32 = 0x40;
    const LOCAL_ROUTE: u32 = 0x8000_0000;
    let hex: String = ip.octets().iter().map(|byte| format!("{byte:02x}")).collect();
    let flags = |file: &str, column: usize, has: fn(u32) -> bool| {
        let table = std::fs::read_to_string(file).unwrap();
        let rows = table.lines().filter(|row| row.starts_with(&hex));
        let mut flags =
            rows.filter_map(|row| u32::from_str_radix(row.split_whitespace().nth(column)?, 16).ok());
        flags.any(has)
    };
    flags("/proc/self/net/if_inet6", 4, |flags| flags & TENTATIVE == 0)
        && flags("/proc/self/net/ipv6_route", 8, |flags| flags & LOCAL_ROUTE != 0)
}

/// Sends one request and waits for the kernel's acknowledgement.
fn request(kind: u16, flags: u16, body: &[u8]) {
    let route = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap();
    let mut message = Vec::new();
    message.extend((16 + body.len() as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    sendto(&route, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).unwrap();
    let mut answer = [0u8; 128];
    let (length, _) = recv(&route, &mut answer, RecvFlags::empty()).unwrap();
    assert!(length >= 20, "a short answer");
    let errno = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    assert_eq!(errno, 0, "rtnetlink refuses request {kind}");
}
