//! The frame of the control channel, as bytes. PURE: no socket, no clock.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | payload length, little-endian, at most [`MAX_PAYLOAD`] |
//! | 4 | 1 | version, [`VERSION`] |
//! | 5 | 1 | kind, [`Kind`] |
//! | 6 | 1 | flags: bit 0, a descriptor travels with the frame |
//! | 7 | 1 | zero |
//! | 8 | 4 | id of the frame, chosen by its sender |
//! | 12 | 4 | id of the frame that this one answers, or 0 |
//! | 16 | | payload |
//!
//! Both ends write frames; a frame that breaks these rules ends the channel.

use std::fmt;

pub const HEADER: usize = 16;
pub const VERSION: u8 = 1;
/// Control payloads are small; anything longer is a fault of the sender.
pub const MAX_PAYLOAD: usize = 1 << 20;
const FLAG_DESCRIPTOR: u8 = 1;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`super::control`] message as JSON.
    Control,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Control => 1,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Kind::Control),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub id: u32,
    /// The id of the frame this one answers; 0 when it answers none.
    pub answers: u32,
    /// One descriptor travels beside the bytes (SCM_RIGHTS), in the order of the frames.
    pub descriptor: bool,
    pub payload: Vec<u8>,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    TooLong(usize),
    Version(u8),
    Kind(u8),
    Flags(u8),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong(len) => {
                write!(f, "a frame of {len} bytes, at most {MAX_PAYLOAD} are allowed")
            }
            FrameError::Version(version) => write!(f, "frame version {version}, this side speaks {VERSION}"),
            FrameError::Kind(kind) => write!(f, "unknown frame kind {kind}"),
            FrameError::Flags(flags) => write!(f, "unknown frame flags {flags:#x}"),
        }
    }
}

impl std::error::Error for FrameError {}

impl Frame {
    /// Appends the frame's bytes to `out`.
    ///
    /// # Errors
    /// [`FrameError::TooLong`]; nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let len = self.payload.len();
        let length = u32::try_from(len).map_err(|_| FrameError::TooLong(len))?;
        if len > MAX_PAYLOAD {
            return Err(FrameError::TooLong(len));
        }
        out.reserve(HEADER + len);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[VERSION, self.kind.byte(), u8::from(self.descriptor), 0]);
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.answers.to_le_bytes());
        out.extend_from_slice(&self.payload);
        Ok(())
    }
}

/// Turns a stream of bytes, however it was cut, into frames.
#[derive(Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    read: usize,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or None until more bytes have come.
    ///
    /// # Errors
    /// The stream cannot be read on after an error.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = &self.buffer[self.read..];
        let Some((header, body)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if header[4] != VERSION {
            return Err(FrameError::Version(header[4]));
        }
        let kind = Kind::from_byte(header[5]).ok_or(FrameError::Kind(header[5]))?;
        if header[6] & !FLAG_DESCRIPTOR != 0 || header[7] != 0 {
            return Err(FrameError::Flags(header[6] | header[7]));
        }
        let length = word(0) as usize;
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        let Some(payload) = body.get(..length) else { return Ok(None) };
        let frame = Frame {
            kind,
            id: word(8),
            answers: word(12),
            descriptor: header[6] & FLAG_DESCRIPTOR != 0,
            payload: payload.to_vec(),
        };
        self.read += HEADER + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame() -> impl Strategy<Value = Frame> {
        (any::<u32>(), any::<u32>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300)).prop_map(
            |(id, answers, descriptor, payload)| Frame {
                kind: Kind::Control,
                id,
                answers,
                descriptor,
                payload,
            },
        )
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut_of_the_stream(
            frames in proptest::collection::vec(frame(), 1..8),
            cuts in proptest::collection::vec(1usize..64, 1..40),
        ) {
            let mut bytes = Vec::new();
            for frame in &frames {
                frame.encode(&mut bytes).unwrap();
            }
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                decoder.push(now);
                rest = later;
                while let Some(frame) = decoder.next_frame().unwrap() {
                    got.push(frame);
                }
            }
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn arbitrary_bytes_never_panic_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    fn header(change: impl FnOnce(&mut Vec<u8>)) -> Result<Option<Frame>, FrameError> {
        let mut bytes = Vec::new();
        let frame = Frame { kind: Kind::Control, id: 1, answers: 0, descriptor: false, payload: vec![7] };
        frame.encode(&mut bytes).unwrap();
        change(&mut bytes);
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        decoder.next_frame()
    }

    #[test]
    fn a_frame_that_breaks_the_rules_is_refused() {
        assert_eq!(header(|bytes| bytes[4] = 9), Err(FrameError::Version(9)));
        assert_eq!(header(|bytes| bytes[5] = 9), Err(FrameError::Kind(9)));
        assert_eq!(header(|bytes| bytes[6] = 8), Err(FrameError::Flags(8)));
        assert_eq!(header(|bytes| bytes[2] = 0xff), Err(FrameError::TooLong(0xff_0001)));
    }

    #[test]
    fn the_sender_refuses_a_payload_that_is_too_long() {
        let payload = vec![0; MAX_PAYLOAD + 1];
        let frame = Frame { kind: Kind::Control, id: 1, answers: 0, descriptor: false, payload };
        let mut out = Vec::new();
        assert_eq!(frame.encode(&mut out), Err(FrameError::TooLong(MAX_PAYLOAD + 1)));
        assert!(out.is_empty());
    }
}
