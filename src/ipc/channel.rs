//! Transport of frames and their descriptors over a SOCK_STREAM pair. Both ends use these calls, which never block; the
//! caller waits (with tokio in the primary, with libuv or a plain poll in a worker).

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

/// Maximum bytes per read.
pub const READ: usize = 256 * 1024;
/// Bytes that are sealed and written at a time; at most one frame more.
const WRITE: usize = 128 * 1024;
/// Maximum descriptors per read: a control frame has one, but a read may contain several frames.
const MAX_DESCRIPTORS: usize = 8;
/// Size of the chunks allocated for frames of messages.
const CHUNK: usize = 16 * 1024;
/// Maximum capacity kept by an empty write buffer.
const KEEP: usize = 256 * 1024;
/// Capacity for the beginning of a message frame, which most reads leave at their end.
const TAIL: usize = HEADER + FRAGMENT + TAG;
/// Maximum slices per write.
const SLICES: usize = 8;

thread_local! {
    /// The read buffer of a thread, shared by its channels; frames are decoded in place, so an idle channel holds no
    /// memory. Empty while a channel uses it.
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
    /// The bytes read may contain keys.
    awaits_keys: bool,
    /// The decoder is using the thread's read buffer.
    has_scratch: bool,
}

impl Receiver {
    /// Sets the maximum length of a message.
    pub fn allow(&mut self, max_message: usize) {
        self.decoder.allow(max_message);
    }

    /// While keys may arrive, the shared read buffer is wiped after each read.
    pub fn await_keys(&mut self, awaited: bool) {
        self.awaits_keys = awaited;
    }

    /// Everything after the last frame read is sealed.
    ///
    /// # Errors
    /// No memory for a key.
    pub fn open_with(&mut self, key: &Key) -> io::Result<()> {
        self.awaits_keys = false;
        self.decoder.open_with(Hidden::new(Opener::new(key))?);
        Ok(())
    }

    /// Reads available bytes without blocking, and returns their number; 0 at the end of the stream. Fewer than [`READ`]
    /// bytes mean that no more are available now.
    ///
    /// # Errors
    /// WouldBlock if no bytes are available; otherwise the channel is broken.
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

    /// The next complete frame and its descriptor.
    ///
    /// # Errors
    /// The peer violated the protocol; the channel must be closed.
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
            None => Err(io::Error::other("a frame arrived without its descriptor")),
        }
    }
}

/// Receives bytes into `into`, and appends their descriptors to `descriptors`.
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

/// An entry of the control queue, which is written before messages.
enum Urgent {
    Frame {
        header: Header,
        payload: Vec<u8>,
        descriptor: Option<OwnedFd>,
    },
    /// Everything that follows is sealed.
    Seal(Hidden<Sealer>),
}

/// An entry of the message queue.
enum Bulk {
    /// Complete frames that are not sealed yet.
    Chunk(Vec<u8>),
    /// One frame: `head`, then `body`, which may be shared.
    Frame { header: Header, head: Vec<u8>, body: Bytes },
}

/// Encoded frames for the socket: owned bytes, with shared bodies between them.
#[derive(Default)]
struct Wire {
    own: Vec<u8>,
    /// Shared bodies; each is inserted at this offset of `own`.
    shared: Vec<(usize, Bytes)>,
    length: usize,
    /// Bytes already written.
    written: usize,
}

impl Wire {
    fn is_empty(&self) -> bool {
        self.written == self.length
    }

    /// Everything was written: empties the buffer but keeps some capacity.
    fn clear(&mut self) {
        self.own.clear();
        self.shared.clear();
        (self.length, self.written) = (0, 0);
    }

    /// Appends a frame that consists of these parts, sealed if there is a sealer.
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

    /// Appends an unsealed frame without copying its body.
    fn add_shared(&mut self, header: Header, head: &[u8], body: Bytes) {
        self.own.extend_from_slice(&header.write((head.len() + body.len()) as u32));
        self.own.extend_from_slice(head);
        self.length += HEADER + head.len() + body.len();
        self.shared.push((self.own.len(), body));
    }

    /// Fills the slices with bytes to write; returns how many slices are used.
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

/// The writing half: control frames and messages are queued here until the socket accepts them, control frames first.
#[derive(Default)]
pub struct Sender {
    urgent: VecDeque<Urgent>,
    /// Messages in frames; `taken` bytes of the first chunk were passed on. In chunks, so that nothing has to be moved
    /// when bytes are removed.
    bulk: VecDeque<Bulk>,
    taken: usize,
    /// Bytes in `bulk` that were not passed on yet.
    queued: usize,
    wire: Wire,
    /// Sent with the next byte of `wire`.
    descriptor: Option<OwnedFd>,
    sealer: Option<Hidden<Sealer>>,
    next_id: u32,
    /// The bytes to write contain keys.
    wipes: bool,
}

impl Sender {
    /// Queues a control frame with a new id, which is returned.
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

    /// Seals control frames queued from now on, and every message.
    ///
    /// # Errors
    /// No memory for a key.
    pub fn seal_with(&mut self, key: &Key) -> io::Result<()> {
        self.urgent.push_back(Urgent::Seal(Hidden::new(Sealer::new(key))?));
        Ok(())
    }

    /// Queues a message that consists of these parts, in frames.
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

    /// Queues a message, `head` and then `body`, in frames; the body is copied only if necessary.
    pub fn push_shared(&mut self, id: u32, answers: u32, head: &[&[u8]], body: &Bytes) {
        self.drop_kept();
        let mut head = head.concat();
        let mut at = 0;
        // The head of a message fits into a frame.
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

    /// Frees a chunk that was kept for reuse.
    fn drop_kept(&mut self) {
        if matches!(self.bulk.back(), Some(Bulk::Chunk(chunk)) if chunk.is_empty()) {
            self.bulk.pop_back();
        }
    }

    /// Writes the header of a frame for the remaining `left` bytes of a message; returns how many of them fit.
    fn begin_fragment(&mut self, id: u32, answers: u32, left: usize) -> usize {
        let room = left.min(FRAGMENT);
        let header = Header { kind: Kind::Message, id, answers, descriptor: false, more: left > room };
        let fits = |chunk: &Vec<u8>| chunk.len() + HEADER + room <= chunk.capacity();
        if !matches!(self.bulk.back(), Some(Bulk::Chunk(chunk)) if fits(chunk)) {
            self.drop_kept();
            self.bulk.push_back(Bulk::Chunk(Vec::with_capacity(CHUNK.max(HEADER + room))));
        }
        // Cannot fail: a fragment's length fits.
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

    /// Whether no control frame is queued; messages may be.
    pub fn has_sent_control(&self) -> bool {
        self.urgent.is_empty() && self.wire.is_empty()
    }

    /// Bytes of messages that were not passed on yet.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Writes as much as the socket accepts without blocking. Ok(()) when everything is written.
    ///
    /// # Errors
    /// WouldBlock if bytes remain; otherwise the channel is broken.
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
            // Cannot fail: the buffer has space for one descriptor.
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = self.wire.rest(&mut slices);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(socket, &slices[..count], &mut control, flags) {
            Ok(sent) => {
                // The descriptor was sent with the first byte.
                self.descriptor = None;
                // A write buffer with keys has no shared bodies.
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

    /// Control frames first; a frame with a descriptor starts a separate write.
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

    /// Moves the next frame of a message to the write buffer, sealed if this channel is; false if there is none.
    fn take_fragment(&mut self) -> bool {
        let is_last = self.bulk.len() == 1;
        let chunk = match self.bulk.front_mut() {
            Some(Bulk::Chunk(chunk)) => chunk,
            Some(Bulk::Frame { .. }) => return self.take_frame(),
            None => return false,
        };
        let Some((head, body)) = chunk[self.taken..].split_first_chunk::<HEADER>() else { return false };
        // The header was written by `begin_fragment`.
        let Ok((header, length)) = Header::read(head) else { return false };
        self.wire.add(self.sealer.as_deref_mut(), header, [&body[..length], &[]]);
        self.taken += HEADER + length;
        self.queued -= HEADER + length;
        if self.taken == chunk.len() {
            self.taken = 0;
            if is_last {
                // Kept for reuse.
                chunk.clear();
            } else {
                self.bulk.pop_front();
            }
        }
        true
    }

    /// The same for a frame with a shared body.
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
