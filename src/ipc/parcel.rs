//! Accepted connections on their way to a worker: messages of a SOCK_SEQPACKET pair, each with up to
//! [`MOST`] descriptors of one listener group. The worker's read of a message is its claim; until then the
//! primary can read the message back from its duplicate of the worker's end.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | id of the listener group, little-endian |
//! | 4 | 2 | bit 0: the connections were taken back from another worker |
//! | 6 | 2 | number of descriptors, so that a receiver knows how many the kernel dropped |

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, sendmsg,
};

use super::control::GroupId;

/// Descriptors in one message; the kernel's limit is 253, and small messages are taken back more finely.
pub const MOST: usize = 64;
const TAKEN_BACK: u16 = 1;

/// One message.
#[derive(Debug)]
pub struct Parcel {
    pub group: GroupId,
    pub taken_back: bool,
    pub fds: Vec<OwnedFd>,
    /// Descriptors that the kernel dropped because this process is at its limit.
    pub lost: usize,
}

/// Sends descriptors (at most [`MOST`]) without waiting; the caller still owns them afterwards. A message
/// without descriptors does nothing but wake its reader.
///
/// # Errors
/// AGAIN when the channel is full, TOOMANYREFS when too many descriptors are under way; nothing is sent.
pub fn send(
    channel: BorrowedFd<'_>,
    group: GroupId,
    taken_back: bool,
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut head = [0u8; 8];
    head[..4].copy_from_slice(&group.to_le_bytes());
    head[4..6].copy_from_slice(&u16::from(taken_back).to_le_bytes());
    // At most MOST of them, or the control buffer below refuses.
    head[6..].copy_from_slice(&(fds.len() as u16).to_le_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::MSGSIZE);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(channel, &[IoSlice::new(&head)], &mut control, flags).map(|_| ())
}

/// How many descriptors the next message has, without taking it. None at the end of the channel.
///
/// # Errors
/// AGAIN when there is none.
pub fn next_size(channel: BorrowedFd<'_>) -> Result<Option<usize>, Errno> {
    let mut head = [0u8; 8];
    let (read, _) = recv(channel, &mut head, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    let [.., n0, n1] = head;
    Ok((read > 0).then(|| usize::from(u16::from_le_bytes([n0, n1]))))
}

/// Takes the next message. None at the end of the channel.
///
/// # Errors
/// AGAIN when there is none.
pub fn receive(channel: BorrowedFd<'_>) -> Result<Option<Parcel>, Errno> {
    let mut head = [0u8; 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(channel, &mut [IoSliceMut::new(&mut head)], &mut control, flags)?;
    if message.bytes == 0 {
        return Ok(None);
    }
    let mut fds = Vec::with_capacity(4);
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    let [g0, g1, g2, g3, f0, f1, n0, n1] = head;
    let sent = usize::from(u16::from_le_bytes([n0, n1]));
    Ok(Some(Parcel {
        group: u32::from_le_bytes([g0, g1, g2, g3]),
        taken_back: u16::from_le_bytes([f0, f1]) & TAKEN_BACK != 0,
        lost: sent.saturating_sub(fds.len()),
        fds,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::os::fd::AsFd;

    #[test]
    fn what_the_worker_never_read_can_be_taken_back_after_its_death() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let duplicate = theirs.try_clone().unwrap();
        let (left, right) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        send(ours.as_fd(), 5, true, &[left.as_fd()]).unwrap();
        drop((theirs, left));
        assert_eq!(next_size(duplicate.as_fd()), Ok(Some(1)));
        let parcel = receive(duplicate.as_fd()).unwrap().expect("the message is still there");
        assert_eq!((parcel.group, parcel.taken_back, parcel.fds.len()), (5, true, 1));
        rustix::io::write(&right, b"x").unwrap();
        assert_eq!(receive(duplicate.as_fd()).unwrap_err(), Errno::AGAIN);
    }
    #[test]
    fn a_message_tells_how_many_descriptors_it_has_before_it_is_taken() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        assert_eq!(next_size(theirs.as_fd()), Err(Errno::AGAIN));
        send(ours.as_fd(), 5, false, &[ours.as_fd(), theirs.as_fd()]).unwrap();
        send(ours.as_fd(), 5, false, &[]).unwrap();
        for count in [2, 0] {
            assert_eq!(next_size(theirs.as_fd()), Ok(Some(count)));
            assert_eq!(next_size(theirs.as_fd()), Ok(Some(count)), "it stays");
            let parcel = receive(theirs.as_fd()).unwrap().unwrap();
            assert_eq!((parcel.fds.len(), parcel.lost), (count, 0));
        }
        drop(ours);
        assert_eq!(next_size(theirs.as_fd()), Ok(None));
    }
}
