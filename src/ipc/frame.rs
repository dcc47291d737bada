//! The encoding of frames, which the channels between two processes carry. PURE: no socket, no clock.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | length of the payload, little-endian |
//! | 4 | 1 | version, [`VERSION`] |
//! | 5 | 1 | kind, [`Kind`] |
//! | 6 | 1 | flags: bit 0, a descriptor is sent with the frame; bit 1, the message continues in the next frame of its kind |
//! | 7 | 1 | zero |
//! | 8 | 4 | id of the frame, chosen by its sender |
//! | 12 | 4 | id of the frame that this one answers, or 0 |
//! | 16 | | payload; on a sealed channel encrypted, followed by a tag of [`TAG`] bytes that also covers the header |
//!
//! A control payload is one frame of at most [`MAX_CONTROL`] bytes. A message is split into frames of at most
//! [`FRAGMENT`] bytes, so that control frames can be sent between them. Both ends write frames; a frame that violates
//! these rules, or cannot be opened, ends the channel.

use std::fmt;
use std::ops::DerefMut;

use zeroize::Zeroize;

use super::crypto::{Opener, TAG, WORKER_KEYS};

pub const HEADER: usize = 16;
pub const VERSION: u8 = 1;
/// Maximum length of a control payload; a longer one is an error of the sender.
pub const MAX_CONTROL: usize = 1 << 20;
/// Maximum bytes of a message per frame.
pub const FRAGMENT: usize = 64 * 1024;
const FLAG_DESCRIPTOR: u8 = 1;
const FLAG_MORE: u8 = 2;

/// The kind of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`super::control`] message as JSON.
    Control,
    /// A program's message: [`super::message`].
    Message,
    /// The keys of a worker's channels, [`super::crypto::WorkerKeys`]; sent once, right after the hello. Everything
    /// after it is sealed.
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

    /// Maximum payload length of one frame.
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
    /// The id of the frame that this one answers; 0 if none.
    pub answers: u32,
    /// One descriptor is sent with the frame (SCM_RIGHTS), in the order of the frames.
    pub descriptor: bool,
    /// The message continues in the next frame.
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

    /// The header and the length of the payload.
    ///
    /// # Errors
    /// The bytes are not a valid header.
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

/// A frame, or a message that was assembled from its frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub header: Header,
    pub payload: Vec<u8>,
}

/// The reason that bytes are not a valid frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    TooLong {
        length: usize,
        most: usize,
    },
    Version(u8),
    Kind(u8),
    Flags(u8),
    /// It is not the next frame that the peer sealed, or was modified.
    Forged,
    /// A frame of another message arrived before the end of this one.
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

/// Decodes a stream of bytes, in chunks of any length, into frames and complete messages.
pub struct Decoder {
    /// The stream from `read` to `filled`; the decoder's own buffer, or a lent one.
    buffer: Vec<u8>,
    read: usize,
    filled: usize,
    /// Set if everything is sealed from now on. In memory provided by its owner, because it contains a key.
    opener: Option<Box<dyn DerefMut<Target = Opener> + Send>>,
    /// Maximum length of a message.
    max_message: usize,
    /// The beginning of an incomplete message.
    begun: Option<Frame>,
}

impl Default for Decoder {
    fn default() -> Self {
        let (buffer, read, filled) = (Vec::new(), 0, 0);
        Self { buffer, read, filled, opener: None, max_message: FRAGMENT, begun: None }
    }
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.copy_within(self.read..self.filled, 0);
        self.buffer.truncate(self.waiting());
        self.buffer.extend_from_slice(bytes);
        (self.read, self.filled) = (0, self.buffer.len());
    }

    /// Number of bytes that were not decoded yet.
    pub fn waiting(&self) -> usize {
        self.filled - self.read
    }

    /// Continues the stream in `buffer`, which has space for the undecoded bytes; `give_back` returns it.
    pub fn lend(&mut self, mut buffer: Vec<u8>) {
        let waiting = self.waiting();
        buffer[..waiting].copy_from_slice(&self.buffer[self.read..self.filled]);
        (self.buffer, self.read, self.filled) = (buffer, 0, waiting);
    }

    /// Where the next bytes must be written, in a lent buffer; `fill` sets how many were.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    pub fn fill(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    /// Returns the lent buffer. Undecoded bytes are kept separately in a buffer of their length.
    pub fn give_back(&mut self) -> Vec<u8> {
        let waits = self.buffer[self.read..self.filled].to_vec();
        (self.read, self.filled) = (0, waits.len());
        std::mem::replace(&mut self.buffer, waits)
    }

    /// Sets the maximum length of a message.
    pub fn allow(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// Everything from now on is sealed.
    pub fn open_with(&mut self, opener: impl DerefMut<Target = Opener> + Send + 'static) {
        self.opener = Some(Box::new(opener));
    }

    /// The next control frame or complete message; None if more bytes are needed.
    ///
    /// # Errors
    /// The stream is invalid; it cannot be read further.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Self { buffer, read, filled, opener, max_message, begun } = self;
        loop {
            let rest = &mut buffer[*read..*filled];
            let Some((head, body)) = rest.split_first_chunk_mut::<HEADER>() else { return Ok(None) };
            let (header, length) = Header::read(head)?;
            let most = header.kind.most() + if opener.is_some() { TAG } else { 0 };
            if length > most {
                return Err(FrameError::TooLong { length, most });
            }
            let Some(sealed) = body.get_mut(..length) else { return Ok(None) };
            let payload = match opener {
                Some(opener) => opener.open(head, sealed).ok_or(FrameError::Forged)?,
                None => sealed,
            };
            *read += HEADER + length;
            if header.kind == Kind::Message {
                if let Some(whole) = put_together(begun, header, payload, *max_message)? {
                    return Ok(Some(whole));
                }
                continue;
            }
            let frame = Frame { header, payload: payload.to_vec() };
            if header.kind == Kind::Keys {
                payload.zeroize();
            }
            return Ok(Some(frame));
        }
    }
}

/// Adds a fragment to a message, and returns the message if it is complete.
fn put_together(
    begun: &mut Option<Frame>,
    header: Header,
    piece: &[u8],
    max_message: usize,
) -> Result<Option<Frame>, FrameError> {
    let mut message = begun.take().unwrap_or(Frame { header, payload: Vec::new() });
    let same = |header: Header| (header.id, header.answers);
    if same(message.header) != same(header) {
        return Err(FrameError::Interrupted);
    }
    let (length, most) = (message.payload.len() + piece.len(), max_message);
    if length > most {
        return Err(FrameError::TooLong { length, most });
    }
    message.payload.extend_from_slice(piece);
    message.header.more = header.more;
    if header.more {
        *begun = Some(message);
        return Ok(None);
    }
    Ok(Some(message))
}

#[cfg(test)]
mod tests;
