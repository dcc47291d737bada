//! Moving frames and their descriptors over a SOCK_STREAM pair. Both ends use these calls; waiting is the caller's
//! business (tokio in the primary, libuv or a plain poll in a worker).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use zeroize::Zeroize;

use super::crypto::{Key, Opener, Sealer, TAG};
use super::frame::{Decoder, FRAGMENT, Frame, FrameError, HEADER, Header, Kind, MAX_CONTROL};
use crate::sys::hidden::Hidden;

/// The most that one read gives.
pub const READ: usize = 256 * 1024;
/// Bytes that are sealed and handed to the kernel at a time, and a frame at the most beyond.
const WRITE: usize = 128 * 1024;
/// A control frame carries one descriptor; a read may meet the next ones' too.
const MAX_DESCRIPTORS: usize = 8;
/// Room for frames of messages that is made at a time.
const CHUNK: usize = 16 * 1024;
/// What an emptied wire may keep for the next time.
const KEEP: usize = 256 * 1024;

thread_local! {
    /// Every read of a thread goes through here: a channel without traffic holds no memory.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// The reading half: bytes and descriptors in, frames out.
#[derive(Default)]
pub struct Receiver {
    decoder: Decoder,
    descriptors: VecDeque<OwnedFd>,
    /// Keys may be among what is read.
    awaits_keys: bool,
}

impl Receiver {
    /// Whole messages may be so long.
    pub fn allow(&mut self, max_message: usize) {
        self.decoder.allow(max_message);
    }

    /// Keys may come: what is read leaves no trace outside this channel until they are here, or will not come.
    pub fn await_keys(&mut self, awaited: bool) {
        self.awaits_keys = awaited;
    }

    /// What comes after the frame that was read last is sealed.
    ///
    /// # Errors
    /// No memory for a key.
    pub fn open_with(&mut self, key: &Key) -> io::Result<()> {
        self.awaits_keys = false;
        self.decoder.open_with(Hidden::new(Opener::new(key))?);
        Ok(())
    }

    /// Reads what is there without waiting: how many bytes, 0 at the end of the stream. Fewer than [`READ`] mean that
    /// nothing more is there now.
    ///
    /// # Errors
    /// WouldBlock when nothing is there; otherwise the channel is broken.
    pub fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        SCRATCH.with_borrow_mut(|scratch| self.fill_through(socket, scratch))
    }

    fn fill_through(&mut self, socket: BorrowedFd<'_>, scratch: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = recvmsg(socket, &mut [IoSliceMut::new(scratch)], &mut control, flags)?;
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
        let bytes = &mut scratch[..message.bytes];
        self.decoder.push(bytes);
        if self.awaits_keys {
            bytes.zeroize();
        }
        Ok(message.bytes)
    }

    /// The next whole frame and the descriptor that came with it.
    ///
    /// # Errors
    /// The peer broke the protocol; the channel must be ended.
    pub fn next_frame(&mut self) -> io::Result<Option<(Frame, Option<OwnedFd>)>> {
        let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? else { return Ok(None) };
        if !frame.header.descriptor {
            return Ok(Some((frame, None)));
        }
        match self.descriptors.pop_front() {
            Some(fd) => Ok(Some((frame, Some(fd)))),
            None => Err(io::Error::other("a frame that promises a descriptor came without one")),
        }
    }
}

/// What waits before the messages.
enum Urgent {
    Frame {
        header: Header,
        payload: Vec<u8>,
        descriptor: Option<OwnedFd>,
    },
    /// What follows is sealed.
    Seal(Hidden<Sealer>),
}

/// The writing half: control frames and messages wait here until the socket takes them, control frames first.
#[derive(Default)]
pub struct Sender {
    urgent: VecDeque<Urgent>,
    /// Frames of messages, not sealed yet, a number of whole ones in each chunk; `taken` bytes of the first chunk have
    /// gone on. In chunks, so that nothing is moved up when something goes.
    bulk: VecDeque<Vec<u8>>,
    taken: usize,
    /// Bytes in `bulk` that have not gone on.
    queued: usize,
    /// Frames as the socket gets them; `written` of its bytes have gone.
    wire: Vec<u8>,
    written: usize,
    /// Travels with the next byte of `wire`.
    descriptor: Option<OwnedFd>,
    sealer: Option<Hidden<Sealer>>,
    next_id: u32,
    /// Keys are among what is written.
    wipes: bool,
}

impl Sender {
    /// Queues a control frame under an id of its own, which is returned.
    ///
    /// # Errors
    /// The payload is too long; nothing is queued.
    pub fn push(
        &mut self,
        kind: Kind,
        answers: u32,
        payload: Vec<u8>,
        descriptor: Option<OwnedFd>,
    ) -> io::Result<u32> {
        if payload.len() > MAX_CONTROL {
            let (length, most) = (payload.len(), MAX_CONTROL);
            return Err(io::Error::other(FrameError::TooLong { length, most }));
        }
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let id = self.next_id;
        let header = Header { kind, id, answers, descriptor: descriptor.is_some(), more: false };
        self.wipes |= kind == Kind::Keys;
        self.urgent.push_back(Urgent::Frame { header, payload, descriptor });
        Ok(id)
    }

    /// Control frames that are queued from now on are sealed, and every message is.
    ///
    /// # Errors
    /// No memory for a key.
    pub fn seal_with(&mut self, key: &Key) -> io::Result<()> {
        self.urgent.push_back(Urgent::Seal(Hidden::new(Sealer::new(key))?));
        Ok(())
    }

    /// Queues a message, which consists of these parts, in frames.
    pub fn push_message(&mut self, id: u32, answers: u32, parts: &[&[u8]]) {
        let mut left: usize = parts.iter().map(|part| part.len()).sum();
        let mut room = self.begin_fragment(id, answers, left);
        for part in parts {
            let mut part = *part;
            while part.len() > room {
                let (now, later) = part.split_at(room);
                self.append(now);
                left -= room;
                part = later;
                room = self.begin_fragment(id, answers, left);
            }
            self.append(part);
            left -= part.len();
            room -= part.len();
        }
    }

    /// The header of a frame for what is `left` of a message; how much of it has room there.
    fn begin_fragment(&mut self, id: u32, answers: u32, left: usize) -> usize {
        let room = left.min(FRAGMENT);
        let header = Header { kind: Kind::Message, id, answers, descriptor: false, more: left > room };
        let fits = self.bulk.back().is_some_and(|chunk| chunk.len() + HEADER + room <= chunk.capacity());
        if !fits {
            if self.bulk.back().is_some_and(Vec::is_empty) {
                // Kept from the last time, and too small for this.
                self.bulk.pop_back();
            }
            self.bulk.push_back(Vec::with_capacity(CHUNK.max(HEADER + room)));
        }
        // A fragment's length always fits.
        self.append(&header.write(room as u32));
        room
    }

    fn append(&mut self, bytes: &[u8]) {
        if let Some(chunk) = self.bulk.back_mut() {
            chunk.extend_from_slice(bytes);
            self.queued += bytes.len();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.queued == 0 && self.written == self.wire.len()
    }

    /// No control frame waits; messages may.
    pub fn has_sent_control(&self) -> bool {
        self.urgent.is_empty() && self.written == self.wire.len()
    }

    /// Bytes of messages that have not gone on.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Writes as much as the socket takes without waiting. Ok(()) when everything is written.
    ///
    /// # Errors
    /// WouldBlock when the rest must wait; otherwise the channel is broken.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            while self.written < self.wire.len() {
                self.write(socket)?;
            }
            self.wire.clear();
            self.written = 0;
            self.wipes &= !self.urgent.is_empty();
            self.refill();
            if self.wire.is_empty() {
                self.wire.shrink_to(KEEP);
                return Ok(());
            }
        }
    }

    fn write(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = self.descriptor.as_ref().map(|fd| [fd.as_fd()]);
        if let Some(fds) = &fds {
            // One descriptor always fits the space that was made for one.
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let rest = [IoSlice::new(&self.wire[self.written..])];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(socket, &rest, &mut control, flags) {
            Ok(sent) => {
                // The descriptor went with the first byte: the rest goes without.
                self.descriptor = None;
                if self.wipes {
                    self.wire[self.written..self.written + sent].zeroize();
                }
                self.written += sent;
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Control frames first; one with a descriptor begins a write of its own.
    fn refill(&mut self) {
        while let Some(next) = self.urgent.pop_front() {
            match next {
                Urgent::Seal(sealer) => self.sealer = Some(sealer),
                Urgent::Frame { descriptor: Some(_), .. } if !self.wire.is_empty() => {
                    return self.urgent.push_front(next);
                }
                Urgent::Frame { header, mut payload, descriptor } => {
                    seal_onto(&mut self.wire, self.sealer.as_deref_mut(), header, &payload);
                    if header.kind == Kind::Keys {
                        payload.zeroize();
                    }
                    self.descriptor = descriptor.or(self.descriptor.take());
                }
            }
        }
        while self.wire.len() < WRITE && self.take_fragment() {}
    }

    /// Seals the next frame of a message onto the wire; false when there is none.
    fn take_fragment(&mut self) -> bool {
        let is_last = self.bulk.len() == 1;
        let Some(chunk) = self.bulk.front_mut() else { return false };
        let Some((head, body)) = chunk[self.taken..].split_first_chunk::<HEADER>() else { return false };
        // What stands there was written by `begin_fragment`.
        let Ok((header, length)) = Header::read(head) else { return false };
        seal_onto(&mut self.wire, self.sealer.as_deref_mut(), header, &body[..length]);
        self.taken += HEADER + length;
        self.queued -= HEADER + length;
        if self.taken == chunk.len() {
            self.taken = 0;
            if is_last {
                // Kept for the next time.
                chunk.clear();
            } else {
                self.bulk.pop_front();
            }
        }
        true
    }
}

fn seal_onto(wire: &mut Vec<u8>, sealer: Option<&mut Sealer>, header: Header, payload: &[u8]) {
    let tag = if sealer.is_some() { TAG } else { 0 };
    let head = header.write((payload.len() + tag) as u32);
    wire.extend_from_slice(&head);
    let at = wire.len();
    wire.extend_from_slice(payload);
    if let Some(sealer) = sealer {
        let tag = sealer.seal(&head, &mut wire[at..]);
        wire.extend_from_slice(&tag);
    }
}

#[cfg(test)]
mod tests;
