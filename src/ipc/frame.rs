//! The frame of the channels between two processes, as bytes. PURE: no socket, no clock.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | length of what follows the header, little-endian |
//! | 4 | 1 | version, [`VERSION`] |
//! | 5 | 1 | kind, [`Kind`] |
//! | 6 | 1 | flags: bit 0, a descriptor travels with the frame; bit 1, the message goes on in the next frame of its kind |
//! | 7 | 1 | zero |
//! | 8 | 4 | id of the frame, chosen by its sender |
//! | 12 | 4 | id of the frame that this one answers, or 0 |
//! | 16 | | payload; on a sealed channel encrypted, with a tag of [`TAG`] bytes behind it that covers the header too |
//!
//! A control payload is whole and at most [`MAX_CONTROL`] bytes long. A message is cut into frames of at most
//! [`FRAGMENT`] bytes, so that control frames get in between. Both ends write frames; a frame that breaks these
//! rules, or that cannot be opened, ends the channel.

use std::fmt;
use std::ops::DerefMut;

use serde_json::json;
use zeroize::Zeroize;

use super::crypto::{Opener, TAG, WORKER_KEYS};
use super::message::{Envelope, Format, Peer, What};
use crate::error::Error;

pub const HEADER: usize = 16;
pub const VERSION: u8 = 1;
/// Control payloads are small; anything longer is a fault of the sender.
pub const MAX_CONTROL: usize = 1 << 20;
/// The most of a message in one frame.
pub const FRAGMENT: usize = 64 * 1024;
const FLAG_DESCRIPTOR: u8 = 1;
const FLAG_MORE: u8 = 2;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`super::control`] message as JSON.
    Control,
    /// A program's message: [`super::message`].
    Message,
    /// The keys of a worker's channels, [`super::crypto::WorkerKeys`]; comes once, right after the hello, and
    /// everything after it is sealed.
    Keys,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Control => 1,
            Kind::Message => 2,
            Kind::Keys => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Kind::Control),
            2 => Some(Kind::Message),
            3 => Some(Kind::Keys),
            _ => None,
        }
    }

    /// The longest payload of one frame.
    fn most(self) -> usize {
        match self {
            Kind::Control => MAX_CONTROL,
            Kind::Message => FRAGMENT,
            Kind::Keys => WORKER_KEYS,
        }
    }
}

/// Everything before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub id: u32,
    /// The id of the frame this one answers; 0 when it answers none.
    pub answers: u32,
    /// One descriptor travels beside the bytes (SCM_RIGHTS), in the order of the frames.
    pub descriptor: bool,
    /// The message goes on in the next frame.
    pub more: bool,
}

impl Header {
    /// The header's bytes for a payload of this length, tag included.
    pub fn write(self, length: u32) -> [u8; HEADER] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.descriptor, FLAG_DESCRIPTOR) | flag(self.more, FLAG_MORE);
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..8].copy_from_slice(&[VERSION, self.kind.byte(), flags, 0]);
        bytes[8..12].copy_from_slice(&self.id.to_le_bytes());
        bytes[12..].copy_from_slice(&self.answers.to_le_bytes());
        bytes
    }

    /// The header and the length of what follows it.
    ///
    /// # Errors
    /// The bytes are no header.
    pub fn read(bytes: &[u8; HEADER]) -> Result<(Self, usize), FrameError> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[4] != VERSION {
            return Err(FrameError::Version(bytes[4]));
        }
        let kind = Kind::from_byte(bytes[5]).ok_or(FrameError::Kind(bytes[5]))?;
        let flags = bytes[6];
        let more = flags & FLAG_MORE != 0;
        if flags & !(FLAG_DESCRIPTOR | FLAG_MORE) != 0 || bytes[7] != 0 || (more && kind != Kind::Message) {
            return Err(FrameError::Flags(flags | bytes[7]));
        }
        let header =
            Self { kind, id: word(8), answers: word(12), descriptor: flags & FLAG_DESCRIPTOR != 0, more };
        Ok((header, word(0) as usize))
    }
}

/// A frame, or a message that was put together from its frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub header: Header,
    pub payload: Vec<u8>,
}

impl Frame {
    /// What the asker of question `id` is told instead of `peer`'s answer.
    pub fn failure(peer: Peer, id: u32, error: &Error) -> Self {
        let envelope = Envelope { peer, what: What::Failure, format: Format::Json, kind: "" };
        let mut payload = envelope.write();
        payload.extend_from_slice(json!(error).to_string().as_bytes());
        let header = Header { kind: Kind::Message, id: 0, answers: id, descriptor: false, more: false };
        Self { header, payload }
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    TooLong {
        length: usize,
        most: usize,
    },
    Version(u8),
    Kind(u8),
    Flags(u8),
    /// It was not sealed by the peer as the next one, or was changed on its way.
    Forged,
    /// A frame of another message came before the end of this one.
    Interrupted,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong { length, most } => {
                write!(f, "a frame or message of {length} bytes, at most {most} are allowed")
            }
            FrameError::Version(version) => write!(f, "frame version {version}, this side speaks {VERSION}"),
            FrameError::Kind(kind) => write!(f, "unknown frame kind {kind}"),
            FrameError::Flags(flags) => write!(f, "unknown frame flags {flags:#x}"),
            FrameError::Forged => {
                f.write_str("a frame does not authenticate: wrong key, changed, repeated or out of order")
            }
            FrameError::Interrupted => f.write_str("a message was not finished before the next one"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Turns a stream of bytes, however it was cut, into frames and whole messages.
pub struct Decoder {
    buffer: Vec<u8>,
    read: usize,
    /// Everything is sealed from now on. In memory that its owner provides: it has a key.
    opener: Option<Box<dyn DerefMut<Target = Opener> + Send>>,
    /// The longest whole message.
    max_message: usize,
    /// The beginning of a message that goes on.
    begun: Option<Frame>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: Vec::new(), read: 0, opener: None, max_message: FRAGMENT, begun: None }
    }
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whole messages may be so long from now on.
    pub fn allow(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// What comes from now on is sealed.
    pub fn open_with(&mut self, opener: impl DerefMut<Target = Opener> + Send + 'static) {
        self.opener = Some(Box::new(opener));
    }

    /// The next control frame or whole message, or None until more bytes have come.
    ///
    /// # Errors
    /// The stream cannot be read on after an error.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        while let Some(frame) = self.next_piece()? {
            if let Some(whole) = self.put_together(frame)? {
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }

    fn next_piece(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = &mut self.buffer[self.read..];
        let Some((head, body)) = rest.split_first_chunk_mut::<HEADER>() else { return Ok(None) };
        let (header, length) = Header::read(head)?;
        let most = header.kind.most() + if self.opener.is_some() { TAG } else { 0 };
        if length > most {
            return Err(FrameError::TooLong { length, most });
        }
        let Some(sealed) = body.get_mut(..length) else { return Ok(None) };
        let payload = match &mut self.opener {
            Some(opener) => opener.open(head, sealed).ok_or(FrameError::Forged)?,
            None => sealed,
        };
        let frame = Frame { header, payload: payload.to_vec() };
        if header.kind == Kind::Keys {
            payload.zeroize();
        }
        self.read += HEADER + length;
        Ok(Some(frame))
    }

    fn put_together(&mut self, frame: Frame) -> Result<Option<Frame>, FrameError> {
        if frame.header.kind != Kind::Message {
            return Ok(Some(frame));
        }
        let whole = match self.begun.take() {
            None => frame,
            Some(mut begun) => {
                let same = |header: Header| (header.id, header.answers);
                if same(begun.header) != same(frame.header) {
                    return Err(FrameError::Interrupted);
                }
                begun.payload.extend_from_slice(&frame.payload);
                begun.header.more = frame.header.more;
                begun
            }
        };
        let (length, most) = (whole.payload.len(), self.max_message);
        if length > most {
            return Err(FrameError::TooLong { length, most });
        }
        if whole.header.more {
            self.begun = Some(whole);
            return Ok(None);
        }
        Ok(Some(whole))
    }
}

#[cfg(test)]
mod tests;
