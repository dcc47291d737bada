//! The messages of the connection channel, which carry connections to a worker and idle ones back: messages of a
//! SOCK_SEQPACKET pair, each with up to [`MAX`] descriptors of one listener group. A worker takes the connections by
//! reading the message; until then the primary can read it back from its duplicate of the worker's end.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | id of the listener group, little-endian |
//! | 4 | 2 | bit 0: the connections were taken back from another worker; bit 1: `IdleKeepAlive` follows; bit 2: a request
//! | | | for connections; bit 3: they are returned after each response |
//! | 6 | 2 | number of descriptors, so that a receiver knows how many the kernel dropped |
//! | 8 | 4 | remaining keep-alive time in milliseconds |
//! | 12 | 4 | number of requests on the connection so far, or number of requested connections |

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, sendmsg,
};

use super::control::GroupId;

/// Maximum descriptors per message. The kernel's limit is 253; with small messages fewer connections are taken back at a time.
pub const MAX: usize = 64;
const TAKEN_BACK: u16 = 1;
const KEEP_ALIVE: u16 = 2;
const ASKED: u16 = 4;
const PER_REQUEST: u16 = 8;
const HEAD: usize = 16;

/// The state of a connection that another worker has served: it is idle between two requests, also for the next worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleKeepAlive {
    /// Remaining keep-alive time in milliseconds.
    pub remaining_ms: u32,
    /// Number of requests on it so far.
    pub served: u32,
}

/// The header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdHeader {
    pub group: GroupId,
    /// The connections were taken back from another worker's channel.
    pub taken_back: bool,
    pub keep_alive: Option<IdleKeepAlive>,
    /// To a worker: a proxy's connections, which are returned after each response and then placed again.
    pub per_request: bool,
    /// In a message without descriptors: to a worker, the number of idle connections to hand off; from a worker while
    /// all are saturated, that it takes new ones.
    pub asked: u32,
}

impl FdHeader {
    pub fn of(group: GroupId) -> Self {
        Self { group, taken_back: false, keep_alive: None, per_request: false, asked: 0 }
    }

    fn write(self, count: u16) -> [u8; HEAD] {
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        let flags = flag(self.taken_back, TAKEN_BACK)
            | flag(self.keep_alive.is_some(), KEEP_ALIVE)
            | flag(self.asked > 0, ASKED)
            | flag(self.per_request, PER_REQUEST);
        let IdleKeepAlive { remaining_ms, served } =
            self.keep_alive.unwrap_or(IdleKeepAlive { remaining_ms: 0, served: self.asked });
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&self.group.to_le_bytes());
        head[4..6].copy_from_slice(&flags.to_le_bytes());
        head[6..8].copy_from_slice(&count.to_le_bytes());
        head[8..12].copy_from_slice(&remaining_ms.to_le_bytes());
        head[12..].copy_from_slice(&served.to_le_bytes());
        head
    }

    fn read(head: &[u8; HEAD]) -> (Self, usize) {
        let [g0, g1, g2, g3, f0, f1, n0, n1, q0, q1, q2, q3, s0, s1, s2, s3] = *head;
        let flags = u16::from_le_bytes([f0, f1]);
        let remaining_ms = u32::from_le_bytes([q0, q1, q2, q3]);
        let served = u32::from_le_bytes([s0, s1, s2, s3]);
        let keep_alive = (flags & KEEP_ALIVE != 0).then_some(IdleKeepAlive { remaining_ms, served });
        let group = u32::from_le_bytes([g0, g1, g2, g3]);
        let asked = if flags & ASKED == 0 { 0 } else { served };
        let (taken_back, per_request) = (flags & TAKEN_BACK != 0, flags & PER_REQUEST != 0);
        let header = Self { group, taken_back, keep_alive, per_request, asked };
        (header, usize::from(u16::from_le_bytes([n0, n1])))
    }
}

/// A received message.
#[derive(Debug)]
pub struct FdMessage {
    pub header: FdHeader,
    pub fds: Vec<OwnedFd>,
    /// Number of descriptors that the kernel dropped because this process is at its limit.
    pub lost: usize,
}

/// Sends descriptors (at most [`MAX`]) without blocking; the caller still owns them afterwards. A message without
/// descriptors only wakes its reader.
///
/// # Errors
/// AGAIN if the channel is full, TOOMANYREFS if too many descriptors are in flight; nothing is sent.
pub fn send(channel: BorrowedFd<'_>, header: FdHeader, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    // The control buffer below has space for MAX descriptors.
    let head = header.write(fds.len() as u16);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::MSGSIZE);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(channel, &[IoSlice::new(&head)], &mut control, flags).map(|_| ())
}

/// The header of the next message, which stays in the channel, and its number of descriptors. None at the end of the
/// channel.
///
/// # Errors
/// AGAIN when there is none.
pub fn next(channel: BorrowedFd<'_>) -> Result<Option<(FdHeader, usize)>, Errno> {
    let mut head = [0u8; HEAD];
    let (read, _) = recv(channel, &mut head, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok((read > 0).then(|| FdHeader::read(&head)))
}

/// The number of descriptors of the next message; otherwise as [`next`].
pub fn next_size(channel: BorrowedFd<'_>) -> Result<Option<usize>, Errno> {
    Ok(next(channel)?.map(|(_, count)| count))
}

/// Receives the next message. None at the end of the channel.
///
/// # Errors
/// AGAIN when there is none.
pub fn receive(channel: BorrowedFd<'_>) -> Result<Option<FdMessage>, Errno> {
    let mut head = [0u8; HEAD];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX))];
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
    if message.bytes != HEAD {
        // Not a message of drover: its descriptors are closed and counted.
        return Ok(Some(FdMessage { header: FdHeader::of(0), lost: fds.len(), fds: Vec::new() }));
    }
    let (header, sent) = FdHeader::read(&head);
    Ok(Some(FdMessage { header, lost: sent.saturating_sub(fds.len()), fds }))
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
        let keep_alive = Some(IdleKeepAlive { remaining_ms: 4_999, served: 70_000 });
        let header = FdHeader { group: 5, taken_back: true, keep_alive, per_request: true, asked: 0 };
        send(ours.as_fd(), header, &[left.as_fd()]).unwrap();
        drop((theirs, left));
        assert_eq!(next_size(duplicate.as_fd()), Ok(Some(1)));
        let fd_message = receive(duplicate.as_fd()).unwrap().expect("the message is still there");
        assert_eq!((fd_message.header, fd_message.fds.len()), (header, 1));
        rustix::io::write(&right, b"x").unwrap();
        assert_eq!(receive(duplicate.as_fd()).unwrap_err(), Errno::AGAIN);
    }

    #[test]
    fn a_message_tells_how_many_descriptors_it_has_before_it_is_taken() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        assert_eq!(next_size(theirs.as_fd()), Err(Errno::AGAIN));
        send(ours.as_fd(), FdHeader::of(5), &[ours.as_fd(), theirs.as_fd()]).unwrap();
        send(ours.as_fd(), FdHeader { asked: 3, ..FdHeader::of(5) }, &[]).unwrap();
        for count in [2, 0] {
            assert_eq!(next_size(theirs.as_fd()), Ok(Some(count)));
            assert_eq!(next_size(theirs.as_fd()), Ok(Some(count)), "it stays");
            let fd_message = receive(theirs.as_fd()).unwrap().unwrap();
            assert_eq!((fd_message.fds.len(), fd_message.lost), (count, 0));
            assert_eq!(fd_message.header.asked, if count == 0 { 3 } else { 0 });
        }
        drop(ours);
        assert_eq!(next_size(theirs.as_fd()), Ok(None));
    }
}
