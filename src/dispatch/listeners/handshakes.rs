//! Pending handshakes with a port: clients that have sent their SYN and whose last ACK has not arrived. The kernel
//! reports them by sock_diag(7), which needs no privilege.

use std::mem::MaybeUninit;

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// SOCK_DIAG_BY_FAMILY: the request, and each socket that is found.
const BY_FAMILY: u16 = 20;
/// NLMSG_DONE: no (more) sockets.
const DONE: u16 = 3;
/// NLM_F_REQUEST and NLM_F_DUMP.
const REQUEST: u16 = 0x301;
const TCP: u8 = 6;
/// The TCP state in which a handshake waits for its last ACK, as a bit.
const SYN_RECEIVED: u32 = 1 << 3;
/// struct nlmsghdr, struct inet_diag_req_v2.
const LENGTH: u32 = 16 + 56;

/// Whether a handshake with a listener of that family and port is pending, at any local address.
///
/// # Errors
/// The kernel does not support it (no inet_diag), or a sandbox forbids it.
pub fn are_under_way(family: AddressFamily, port: u16) -> Result<bool, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(SOCK_DIAG))?;
    sendto(&kernel, &question(family, port), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [MaybeUninit::<u8>::uninit(); 8192];
    // The reply is available when the request is sent; its first message is sufficient.
    let ((answer, _), _) = recv(&kernel, &mut answer, RecvFlags::empty())?;
    found(answer)
}

fn question(family: AddressFamily, port: u16) -> Vec<u8> {
    let mut question = Vec::with_capacity(LENGTH as usize);
    question.extend(LENGTH.to_ne_bytes());
    question.extend(BY_FAMILY.to_ne_bytes());
    question.extend(REQUEST.to_ne_bytes());
    // Sequence number and port: there is one request on this socket.
    question.extend([0; 8]);
    question.extend([family.as_raw() as u8, TCP, 0, 0]);
    question.extend(SYN_RECEIVED.to_ne_bytes());
    question.extend(port.to_be_bytes());
    // Any client, any address.
    question.resize(LENGTH as usize, 0);
    question
}

/// The result of the first message of a reply.
fn found(answer: &[u8]) -> Result<bool, Errno> {
    let kind = answer.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    match kind {
        Some(BY_FAMILY) => Ok(true),
        Some(DONE) => Ok(false),
        _ => Err(Errno::OPNOTSUPP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_of_an_answer_says_whether_there_is_one() {
        let message = |kind: u16| [&20u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 14]].concat();
        assert_eq!(found(&message(BY_FAMILY)), Ok(true));
        assert_eq!(found(&message(DONE)), Ok(false));
        assert_eq!(found(&message(2)), Err(Errno::OPNOTSUPP), "an error");
        assert_eq!(found(&[0; 3]), Err(Errno::OPNOTSUPP), "cut short");
    }

    #[test]
    fn a_question_is_as_long_as_it_says() {
        let question = question(AddressFamily::INET, 80);
        assert_eq!(question.len(), LENGTH as usize);
        assert_eq!(question[24..26], [0, 80]);
    }
}
