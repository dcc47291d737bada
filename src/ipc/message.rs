//! A program's message between two processes: who, what and which type, before a body that is opaque here. PURE.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 2 | slot of the peer, little-endian, or [`PRIMARY`]; from a worker: for whom; to a worker: from whom |
//! | 2 | 4 | generation of that worker, 0 for the primary |
//! | 6 | 1 | what it is, [`What`] |
//! | 7 | 1 | how the body is written, [`Format`] |
//! | 8 | 2 | length of the type |
//! | 10 | | type, UTF-8; then the body |
//!
//! The ids of a question and of its answer are the frame's. From whom a message is says the primary, never the
//! sender.

use bytes::Bytes;
use serde_json::json;

use crate::error::Error;
use crate::model::WorkerId;

/// Bytes before the type.
pub const ENVELOPE: usize = 10;
/// Bytes of the peer, with which the envelope begins.
const PEER: usize = 6;
/// In place of a slot.
const PRIMARY: u16 = u16::MAX;
/// Bytes of a type.
pub const MAX_TYPE: usize = 1024;
/// A body of so many bytes is shared rather than copied.
pub const SHARED: usize = 16 * 1024;
/// What a message may have beside its body.
pub const BESIDE: usize = ENVELOPE + MAX_TYPE;

/// One end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    Primary,
    Worker(WorkerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Nobody waits for an answer.
    Notify,
    Request,
    Answer,
    /// The question was not answered: the body is `{ code, message, ... }` as JSON.
    Failure,
}

/// How a body is written. Its reader is JavaScript; a schema is held against JSON alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    /// The structured clone of the runtime.
    Clone,
    /// The length of a JSON text, the text, then for each buffer that it mentions its length and bytes; lengths are
    /// 32 bits, little-endian.
    JsonAndBuffers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub peer: Peer,
    pub what: What,
    pub format: Format,
    pub kind: &'a str,
}

/// A peer on the wire.
fn write_peer(peer: Peer) -> [u8; PEER] {
    let WorkerId { slot, generation } = match peer {
        Peer::Primary => WorkerId::new(PRIMARY, 0),
        Peer::Worker(worker) => worker,
    };
    let ([s0, s1], [g0, g1, g2, g3]) = (slot.to_le_bytes(), generation.to_le_bytes());
    [s0, s1, g0, g1, g2, g3]
}

impl Envelope<'_> {
    /// The bytes before the body; what is beyond [`MAX_TYPE`] of the type is left out.
    pub fn write(&self) -> Vec<u8> {
        let (head, kind) = self.parts();
        [&head[..], kind].concat()
    }

    /// The same in two parts, which stand one behind the other.
    pub fn parts(&self) -> ([u8; ENVELOPE], &[u8]) {
        let kind = &self.kind.as_bytes()[..self.kind.floor_char_boundary(MAX_TYPE)];
        let mut head = [0; ENVELOPE];
        head[..PEER].copy_from_slice(&write_peer(self.peer));
        head[PEER..PEER + 2].copy_from_slice(&[self.what as u8, self.format as u8]);
        head[PEER + 2..].copy_from_slice(&(kind.len() as u16).to_le_bytes());
        (head, kind)
    }
}

impl<'a> Envelope<'a> {
    /// The envelope and the body behind it; None when the bytes are no message.
    pub fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = bytes.split_first_chunk::<ENVELOPE>()?;
        let [s0, s1, g0, g1, g2, g3, what, format, l0, l1] = *head;
        let peer = match (u16::from_le_bytes([s0, s1]), u32::from_le_bytes([g0, g1, g2, g3])) {
            (PRIMARY, 0) => Peer::Primary,
            // There is one primary.
            (PRIMARY, _) => return None,
            (slot, generation) => Peer::Worker(WorkerId { slot, generation }),
        };
        let what =
            [What::Notify, What::Request, What::Answer, What::Failure].into_iter().nth(usize::from(what))?;
        let format =
            [Format::Json, Format::Clone, Format::JsonAndBuffers].into_iter().nth(usize::from(format))?;
        let (kind, body) = rest.split_at_checked(usize::from(u16::from_le_bytes([l0, l1])))?;
        let kind = std::str::from_utf8(kind).ok().filter(|kind| kind.len() <= MAX_TYPE)?;
        Some((Self { peer, what, format, kind }, body))
    }
}

/// The body of a message that is sent.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// It is copied to wherever it goes.
    Copied(&'a [u8]),
    /// Whoever it goes to has a share of it: worth it for a large one.
    Shared(&'a Bytes),
}

impl<'a> Body<'a> {
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Body::Copied(bytes) => bytes,
            Body::Shared(bytes) => bytes,
        }
    }
}

/// A message that has come. Its envelope was read once; the type and the body stay where they lie in what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its sender's id for it, which an answer names.
    pub id: u32,
    /// The id of the question that it answers, or 0.
    pub answers: u32,
    pub peer: Peer,
    pub what: What,
    pub format: Format,
    /// Where the body begins.
    body: usize,
    payload: Vec<u8>,
}

impl Message {
    /// None when the payload is no message. The ids are the frame's.
    pub fn read(id: u32, answers: u32, payload: Vec<u8>) -> Option<Self> {
        let (Envelope { peer, what, format, kind }, _) = Envelope::read(&payload)?;
        let body = ENVELOPE + kind.len();
        Some(Self { id, answers, peer, what, format, body, payload })
    }

    /// What the requester of question `answers` is told instead of `peer`'s answer.
    pub fn failure(peer: Peer, answers: u32, error: &Error) -> Self {
        let (what, format) = (What::Failure, Format::Json);
        let mut payload = Envelope { peer, what, format, kind: "" }.write();
        payload.extend_from_slice(json!(error).to_string().as_bytes());
        Self { id: 0, answers, peer, what, format, body: ENVELOPE, payload }
    }

    pub fn kind(&self) -> &str {
        // It was looked at when the envelope was read.
        std::str::from_utf8(&self.payload[ENVELOPE..self.body]).unwrap_or_default()
    }

    pub fn body(&self) -> &[u8] {
        &self.payload[self.body..]
    }

    pub fn envelope(&self) -> Envelope<'_> {
        Envelope { peer: self.peer, what: self.what, format: self.format, kind: self.kind() }
    }

    /// As it goes on to another process, in whose envelope `peer` stands.
    pub fn into_payload(mut self, peer: Peer) -> Vec<u8> {
        readdress(&mut self.payload, peer);
        self.payload
    }
}

/// Says of a message that came from a worker from whom it is, in place of for whom.
pub fn readdress(payload: &mut [u8], from: Peer) {
    if let Some(peer) = payload.first_chunk_mut() {
        *peer = write_peer(from);
    }
}

/// The JSON text of a body, without the buffers that it mentions; None for a structured clone.
pub fn json_of(format: Format, body: &[u8]) -> Option<&[u8]> {
    match format {
        Format::Json => Some(body),
        Format::Clone => None,
        Format::JsonAndBuffers => {
            let (length, rest) = body.split_first_chunk::<4>()?;
            rest.get(..u32::from_le_bytes(*length) as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer() -> impl Strategy<Value = Peer> {
        prop_oneof![
            Just(Peer::Primary),
            (0..1024u16, any::<u32>())
                .prop_map(|(slot, generation)| Peer::Worker(WorkerId { slot, generation })),
        ]
    }

    proptest! {
        #[test]
        fn messages_survive_the_wire(
            peer in peer(),
            what in prop_oneof![Just(What::Notify), Just(What::Request), Just(What::Answer), Just(What::Failure)],
            format in prop_oneof![Just(Format::Json), Just(Format::Clone), Just(Format::JsonAndBuffers)],
            kind in ".{0,40}",
            body in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let envelope = Envelope { peer, what, format, kind: &kind };
            let bytes = [envelope.write(), body.clone()].concat();
            prop_assert_eq!(Envelope::read(&bytes), Some((envelope, &body[..])));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some((envelope, body)) = Envelope::read(&bytes) {
                json_of(envelope.format, body);
            }
        }
    }

    #[test]
    fn a_type_beyond_all_measure_is_cut_at_a_character() {
        let kind = "ä".repeat(MAX_TYPE);
        let envelope =
            Envelope { peer: Peer::Primary, what: What::Notify, format: Format::Json, kind: &kind };
        let bytes = envelope.write();
        let (read, _) = Envelope::read(&bytes).expect("it is whole");
        assert_eq!(read.kind.len(), MAX_TYPE);
    }

    #[test]
    fn the_json_of_a_body_is_found_behind_its_length() {
        let body = [&7u32.to_le_bytes()[..], b"{\"a\":1}", &[9; 20]].concat();
        assert_eq!(json_of(Format::JsonAndBuffers, &body), Some(&b"{\"a\":1}"[..]));
        assert_eq!(json_of(Format::JsonAndBuffers, &body[..8]), None);
        assert_eq!(json_of(Format::Clone, &body), None);
    }
}
