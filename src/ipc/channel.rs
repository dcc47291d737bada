//! Moving frames and their descriptors over a SOCK_STREAM pair. Both ends use these calls; waiting is the caller's
//! business (tokio in the primary, libuv or a plain poll in a worker).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use zeroize::Zeroize;

use super::crypto::{Key, Opener, Sealer, TAG};
use super::frame::{Decoder, FRAGMENT, Frame, FrameError, HEADER, Header, Kind, MAX_CONTROL};
use super::message::Body;
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
/// The beginning of a frame of a message, the longest that most reads leave.
const TAIL: usize = HEADER + FRAGMENT + TAG;
/// Parts of a wire in one write.
const SLICES: usize = 8;

thread_local! {
    /// Every read of a thread goes here, and frames are made of it where it lies: a channel without traffic holds no
    /// memory. Empty while a channel has it.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn take_scratch() -> Vec<u8> {
    let mut scratch = SCRATCH.take();
    scratch.resize(TAIL + READ, 0);
    scratch
}

/// The reading half: bytes and descriptors in, frames out.
#[derive(Default)]
pub struct Receiver {
    decoder: Decoder,
    descriptors: VecDeque<OwnedFd>,
    /// Keys may be among what is read.
    awaits_keys: bool,
    /// The decoder has the thread's scratch.
    has_scratch: bool,
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
        self.return_scratch();
        let mut scratch = take_scratch();
        if self.awaits_keys || self.decoder.waiting() > TAIL {
            let read = receive(socket, &mut scratch[..READ], &mut self.descriptors);
            if let Ok(bytes) = read {
                self.decoder.push(&scratch[..bytes]);
                if self.awaits_keys {
                    scratch[..bytes].zeroize();
                }
            }
            SCRATCH.set(scratch);
            return read;
        }
        self.decoder.lend(scratch);
        self.has_scratch = true;
        let read = receive(socket, &mut self.decoder.room()[..READ], &mut self.descriptors);
        match read {
            Ok(bytes) => self.decoder.fill(bytes),
            Err(_) => self.return_scratch(),
        }
        read
    }

    fn return_scratch(&mut self) {
        if std::mem::take(&mut self.has_scratch) {
            SCRATCH.set(self.decoder.give_back());
        }
    }

    /// The next whole frame and the descriptor that came with it.
    ///
    /// # Errors
    /// The peer broke the protocol; the channel must be ended.
    pub fn next_frame(&mut self) -> io::Result<Option<(Frame, Option<OwnedFd>)>> {
        let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? else {
            self.return_scratch();
            return Ok(None);
        };
        if !frame.header.descriptor {
            return Ok(Some((frame, None)));
        }
        match self.descriptors.pop_front() {
            Some(fd) => Ok(Some((frame, Some(fd)))),
            None => Err(io::Error::other("a frame that promises a descriptor came without one")),
        }
    }
}

/// Bytes into `into`, and the descriptors beside them behind `descriptors`.
fn receive(
    socket: BorrowedFd<'_>,
    into: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(socket, &mut [IoSliceMut::new(into)], &mut control, flags)?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = part {
            descriptors.extend(fds);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a descriptor was lost: this process is at its limit of open files"));
    }
    Ok(message.bytes)
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

/// What waits behind them.
enum Bulk {
    /// A number of whole frames, not sealed yet.
    Chunk(Vec<u8>),
    /// One frame: `head` and then `body`, which others may have a share of.
    Frame { header: Header, head: Vec<u8>, body: Bytes },
}

/// Frames as the socket gets them: bytes of its own, and between them what others have a share of.
#[derive(Default)]
struct Wire {
    own: Vec<u8>,
    /// Each comes where `own` had this length.
    shared: Vec<(usize, Bytes)>,
    length: usize,
    /// Bytes that have gone.
    written: usize,
}

impl Wire {
    fn is_empty(&self) -> bool {
        self.written == self.length
    }

    /// Everything has gone; room for the next time is kept.
    fn clear(&mut self) {
        self.own.clear();
        self.shared.clear();
        (self.length, self.written) = (0, 0);
    }

    /// Adds a frame that consists of these parts, sealed if there is a sealer.
    fn add(&mut self, sealer: Option<&mut Sealer>, header: Header, parts: [&[u8]; 2]) {
        let start = self.own.len();
        let payload: usize = parts.iter().map(|part| part.len()).sum();
        let tag = if sealer.is_some() { TAG } else { 0 };
        let head = header.write((payload + tag) as u32);
        self.own.extend_from_slice(&head);
        parts.iter().for_each(|part| self.own.extend_from_slice(part));
        if let Some(sealer) = sealer {
            let tag = sealer.seal(&head, &mut self.own[start + HEADER..]);
            self.own.extend_from_slice(&tag);
        }
        self.length += self.own.len() - start;
    }

    /// Adds a frame that is not sealed; its body is not copied.
    fn add_shared(&mut self, header: Header, head: &[u8], body: Bytes) {
        self.own.extend_from_slice(&header.write((head.len() + body.len()) as u32));
        self.own.extend_from_slice(head);
        self.length += HEADER + head.len() + body.len();
        self.shared.push((self.own.len(), body));
    }

    /// What has not gone, as far as the slices reach; how many there are.
    fn rest<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let (mut count, mut gone, mut from) = (0, self.written, 0);
        let shared = self.shared.iter().map(|(at, bytes)| (*at, &bytes[..]));
        for (at, shared) in shared.chain([(self.own.len(), &[][..])]) {
            for part in [&self.own[from..at], shared] {
                let skipped = gone.min(part.len());
                gone -= skipped;
                if skipped < part.len() && count < SLICES {
                    slices[count] = IoSlice::new(&part[skipped..]);
                    count += 1;
                }
            }
            from = at;
        }
        count
    }
}

/// The writing half: control frames and messages wait here until the socket takes them, control frames first.
#[derive(Default)]
pub struct Sender {
    urgent: VecDeque<Urgent>,
    /// Messages in frames; `taken` bytes of the first chunk have gone on. In chunks, so that nothing is moved up when
    /// something goes.
    bulk: VecDeque<Bulk>,
    taken: usize,
    /// Bytes in `bulk` that have not gone on.
    queued: usize,
    wire: Wire,
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

    /// Queues a message, `head` and then `body`, in frames; the body is not copied before it must be.
    pub fn push_shared(&mut self, id: u32, answers: u32, head: &[&[u8]], body: &Bytes) {
        self.drop_kept();
        let mut head = head.concat();
        let mut at = 0;
        // The head of a message fits a frame.
        loop {
            let room = (body.len() - at).min(FRAGMENT - head.len());
            let more = at + room < body.len();
            let header = Header { kind: Kind::Message, id, answers, descriptor: false, more };
            self.queued += HEADER + head.len() + room;
            let (head, body) = (std::mem::take(&mut head), body.slice(at..at + room));
            self.bulk.push_back(Bulk::Frame { header, head, body });
            at += room;
            if !more {
                return;
            }
        }
    }

    /// Queues a message, `head` and then `body`, in frames.
    pub fn push_parts(&mut self, id: u32, answers: u32, [first, second]: [&[u8]; 2], body: Body<'_>) {
        match body {
            Body::Copied(bytes) => self.push_message(id, answers, &[first, second, bytes]),
            Body::Shared(bytes) => self.push_shared(id, answers, &[first, second], bytes),
        }
    }

    /// Lets go of a chunk that was kept from the last time.
    fn drop_kept(&mut self) {
        if matches!(self.bulk.back(), Some(Bulk::Chunk(chunk)) if chunk.is_empty()) {
            self.bulk.pop_back();
        }
    }

    /// The header of a frame for what is `left` of a message; how much of it has room there.
    fn begin_fragment(&mut self, id: u32, answers: u32, left: usize) -> usize {
        let room = left.min(FRAGMENT);
        let header = Header { kind: Kind::Message, id, answers, descriptor: false, more: left > room };
        let fits = |chunk: &Vec<u8>| chunk.len() + HEADER + room <= chunk.capacity();
        if !matches!(self.bulk.back(), Some(Bulk::Chunk(chunk)) if fits(chunk)) {
            self.drop_kept();
            self.bulk.push_back(Bulk::Chunk(Vec::with_capacity(CHUNK.max(HEADER + room))));
        }
        // A fragment's length always fits.
        self.append(&header.write(room as u32));
        room
    }

    fn append(&mut self, bytes: &[u8]) {
        if let Some(Bulk::Chunk(chunk)) = self.bulk.back_mut() {
            chunk.extend_from_slice(bytes);
            self.queued += bytes.len();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.queued == 0 && self.wire.is_empty()
    }

    /// No control frame waits; messages may.
    pub fn has_sent_control(&self) -> bool {
        self.urgent.is_empty() && self.wire.is_empty()
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
            while !self.wire.is_empty() {
                self.write(socket)?;
            }
            self.wire.clear();
            self.wipes &= !self.urgent.is_empty();
            self.refill();
            if self.wire.is_empty() {
                self.wire.own.shrink_to(KEEP);
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
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = self.wire.rest(&mut slices);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(socket, &slices[..count], &mut control, flags) {
            Ok(sent) => {
                // The descriptor went with the first byte: the rest goes without.
                self.descriptor = None;
                // A wire with keys shares nothing.
                if self.wipes && self.wire.shared.is_empty() {
                    self.wire.own[self.wire.written..][..sent].zeroize();
                }
                self.wire.written += sent;
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
                    self.wire.add(self.sealer.as_deref_mut(), header, [&payload, &[]]);
                    if header.kind == Kind::Keys {
                        payload.zeroize();
                    }
                    self.descriptor = descriptor.or(self.descriptor.take());
                }
            }
        }
        while self.wire.length < WRITE && self.take_fragment() {}
    }

    /// Puts the next frame of a message on the wire, sealed if this channel is; false when there is none.
    fn take_fragment(&mut self) -> bool {
        let is_last = self.bulk.len() == 1;
        let chunk = match self.bulk.front_mut() {
            Some(Bulk::Chunk(chunk)) => chunk,
            Some(Bulk::Frame { .. }) => return self.take_frame(),
            None => return false,
        };
        let Some((head, body)) = chunk[self.taken..].split_first_chunk::<HEADER>() else { return false };
        // What stands there was written by `begin_fragment`.
        let Ok((header, length)) = Header::read(head) else { return false };
        self.wire.add(self.sealer.as_deref_mut(), header, [&body[..length], &[]]);
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

    /// The same for a frame of its own.
    fn take_frame(&mut self) -> bool {
        let Some(Bulk::Frame { header, head, body }) = self.bulk.pop_front() else { return false };
        self.queued -= HEADER + head.len() + body.len();
        if self.sealer.is_some() || self.wipes {
            self.wire.add(self.sealer.as_deref_mut(), header, [&head, &body]);
        } else {
            self.wire.add_shared(header, &head, body);
        }
        true
    }
}

#[cfg(test)]
mod tests;
