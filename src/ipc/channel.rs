//! Moving frames and their descriptors over a control channel: one SOCK_STREAM pair a worker. Both ends use
//! these calls; waiting is the caller's business (tokio in the primary, libuv or a plain poll in a worker).

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::frame::{Decoder, Frame};

const READ: usize = 64 * 1024;
/// A control frame carries one descriptor; a read may meet the next one's too.
const MOST_DESCRIPTORS: usize = 8;

/// The reading half: bytes and descriptors in, frames out.
#[derive(Default)]
pub struct Receiver {
    decoder: Decoder,
    descriptors: VecDeque<OwnedFd>,
}

impl Receiver {
    /// Reads what is there without waiting. Ok(false) at the end of the stream.
    ///
    /// # Errors
    /// WouldBlock when nothing is there; otherwise the channel is broken.
    pub fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        let mut bytes = [0u8; READ];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                self.descriptors.extend(fds);
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other(
                "a descriptor was lost: this process is at its limit of open files",
            ));
        }
        self.decoder.push(&bytes[..message.bytes]);
        Ok(message.bytes > 0)
    }

    /// The next whole frame and the descriptor that came with it.
    ///
    /// # Errors
    /// The peer broke the protocol; the channel must be ended.
    pub fn next_frame(&mut self) -> io::Result<Option<(Frame, Option<OwnedFd>)>> {
        let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? else { return Ok(None) };
        if !frame.descriptor {
            return Ok(Some((frame, None)));
        }
        match self.descriptors.pop_front() {
            Some(fd) => Ok(Some((frame, Some(fd)))),
            None => Err(io::Error::other("a frame that promises a descriptor came without one")),
        }
    }
}

/// The writing half: frames wait here until the socket takes them.
#[derive(Default)]
pub struct Sender {
    queue: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    written: usize,
    next_id: u32,
}

impl Sender {
    /// Queues a frame under an id of its own, which is returned.
    ///
    /// # Errors
    /// The payload is too long; nothing is queued.
    pub fn push(&mut self, mut frame: Frame, descriptor: Option<OwnedFd>) -> io::Result<u32> {
        self.next_id = self.next_id.wrapping_add(1).max(1);
        frame.id = self.next_id;
        frame.descriptor = descriptor.is_some();
        let mut bytes = Vec::new();
        frame.encode(&mut bytes).map_err(io::Error::other)?;
        self.queue.push_back((bytes, descriptor));
        Ok(frame.id)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Writes as much as the socket takes without waiting. Ok(()) when everything is written.
    ///
    /// # Errors
    /// WouldBlock when the rest must wait; otherwise the channel is broken.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        while let Some((bytes, descriptor)) = self.queue.front_mut() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = descriptor.as_ref().map(|fd| [fd.as_fd()]);
            if let Some(fds) = &fds {
                // One descriptor always fits the space that was made for one.
                control.push(SendAncillaryMessage::ScmRights(fds));
            }
            let rest = [IoSlice::new(&bytes[self.written..])];
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let sent = sendmsg(socket, &rest, &mut control, flags)?;
            // The descriptor went with the first byte: the rest of the frame goes without.
            *descriptor = None;
            self.written += sent;
            if self.written == bytes.len() {
                self.queue.pop_front();
                self.written = 0;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::frame::Kind;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
    }

    fn frame(payload: &[u8]) -> Frame {
        Frame { kind: Kind::Control, id: 0, answers: 0, descriptor: false, payload: payload.to_vec() }
    }

    #[test]
    fn descriptors_arrive_with_their_own_frames() {
        let (a, b) = pair();
        let (mut sender, mut receiver) = (Sender::default(), Receiver::default());
        let (left, right) = pair();
        sender.push(frame(b"plain"), None).unwrap();
        sender.push(frame(b"with"), Some(left)).unwrap();
        sender.push(frame(b"after"), None).unwrap();
        sender.flush(a.as_fd()).unwrap();
        let mut got = Vec::new();
        while got.len() < 3 {
            receiver.fill(b.as_fd()).unwrap();
            while let Some((frame, fd)) = receiver.next_frame().unwrap() {
                got.push((frame.payload, fd));
            }
        }
        assert!(got[0].1.is_none() && got[2].1.is_none());
        let left = got.remove(1).1.expect("the second frame had a descriptor");
        rustix::io::write(&left, b"x").unwrap();
        let mut byte = [0u8; 1];
        assert_eq!(rustix::io::read(&right, &mut byte).unwrap(), 1);
    }

    #[test]
    fn what_the_socket_does_not_take_waits_and_nothing_is_lost() {
        let (a, b) = pair();
        let (mut sender, mut receiver) = (Sender::default(), Receiver::default());
        let payload = vec![9u8; 300_000];
        for _ in 0..4 {
            sender.push(frame(&payload), None).unwrap();
        }
        let mut got = 0;
        while got < 4 {
            match sender.flush(a.as_fd()) {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            receiver.fill(b.as_fd()).unwrap();
            while let Some((frame, _)) = receiver.next_frame().unwrap() {
                assert_eq!(frame.payload, payload);
                got += 1;
            }
        }
        assert!(sender.is_empty());
    }

    #[test]
    fn the_end_of_the_stream_is_told() {
        let (a, b) = pair();
        drop(a);
        assert!(!Receiver::default().fill(b.as_fd()).unwrap());
    }
}
