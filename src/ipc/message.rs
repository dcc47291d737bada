//! A program's message between two processes: an envelope (peer, kind, type) before a body that is opaque here. PURE.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 2 | slot of the peer, little-endian, or [`PRIMARY`]; from a worker: the receiver; to a worker: the sender |
//! | 2 | 4 | generation of that worker, 0 for the primary |
//! | 6 | 1 | the kind of message, [`What`] |
//! | 7 | 1 | the encoding of the body, [`Format`] |
//! | 8 | 2 | length of the type |
//! | 10 | | type, UTF-8; then the body |
//!
//! The ids of a request and of its response are in the frame's header. The sender in an envelope is set by the primary,
//! never by the sender itself.

use bytes::Bytes;
use serde_json::json;

use crate::error::Error;
use crate::model::WorkerId;

/// Length of the envelope before the type.
pub const ENVELOPE: usize = 10;
/// Length of the peer, which is first in the envelope.
const PEER: usize = 6;
/// The primary, in place of a slot.
const PRIMARY: u16 = u16::MAX;
/// Maximum bytes of a type.
pub const MAX_TYPE: usize = 1024;
/// A body of at least this many bytes is shared rather than copied.
pub const SHARED: usize = 16 * 1024;
/// Maximum bytes of a message besides its body.
pub const BESIDE: usize = ENVELOPE + MAX_TYPE;

/// One end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    Primary,
    Worker(WorkerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A notification, without a response.
    Notify,
    Request,
    Answer,
    /// The request failed: the body is `{ code, message, ... }` as JSON.
    Failure,
}

/// The encoding of a body. JavaScript reads it; only JSON can be validated against a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    /// The runtime's structured clone.
    Clone,
    /// The length of a JSON text, the text, then the length and bytes of each buffer that the text refers to; lengths
    /// have 32 bits, little-endian.
    JsonAndBuffers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub peer: Peer,
    pub what: What,
    pub format: Format,
    pub kind: &'a str,
}

/// Encodes a peer.
fn write_peer(peer: Peer) -> [u8; PEER] {
    let WorkerId { slot, generation } = match peer {
        Peer::Primary => WorkerId::new(PRIMARY, 0),
        Peer::Worker(worker) => worker,
    };
    let ([s0, s1], [g0, g1, g2, g3]) = (slot.to_le_bytes(), generation.to_le_bytes());
    [s0, s1, g0, g1, g2, g3]
}

impl Envelope<'_> {
    /// The bytes before the body; the type is truncated to [`MAX_TYPE`].
    pub fn write(&self) -> Vec<u8> {
        let (head, kind) = self.parts();
        [&head[..], kind].concat()
    }

    /// The same as two consecutive parts.
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
    /// The envelope and the body after it; None if the bytes are not a message.
    pub fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = bytes.split_first_chunk::<ENVELOPE>()?;
        let [s0, s1, g0, g1, g2, g3, what, format, l0, l1] = *head;
        let peer = match (u16::from_le_bytes([s0, s1]), u32::from_le_bytes([g0, g1, g2, g3])) {
            (PRIMARY, 0) => Peer::Primary,
            // The primary has no generation.
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

/// The body of an outgoing message.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Copied for every receiver.
    Copied(&'a [u8]),
    /// Shared between all receivers, which pays for a large body.
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

/// A received message. Its envelope was decoded once; the type and the body remain in the received payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender's id, which a response refers to.
    pub id: u32,
    /// The id of the request that it answers, or 0.
    pub answers: u32,
    pub peer: Peer,
    pub what: What,
    pub format: Format,
    /// Where the body begins.
    body: usize,
    payload: Vec<u8>,
}

impl Message {
    /// None if the payload is not a message. The ids are those of the frame.
    pub fn read(id: u32, answers: u32, payload: Vec<u8>) -> Option<Self> {
        let (Envelope { peer, what, format, kind }, _) = Envelope::read(&payload)?;
        let body = ENVELOPE + kind.len();
        Some(Self { id, answers, peer, what, format, body, payload })
    }

    /// The failure of the request `answers`, delivered to its requester instead of `peer`'s response.
    pub fn failure(peer: Peer, answers: u32, error: &Error) -> Self {
        let (what, format) = (What::Failure, Format::Json);
        let mut payload = Envelope { peer, what, format, kind: "" }.write();
        payload.extend_from_slice(json!(error).to_string().as_bytes());
        Self { id: 0, answers, peer, what, format, body: ENVELOPE, payload }
    }

    pub fn kind(&self) -> &str {
        // It was validated when the envelope was read.
        std::str::from_utf8(&self.payload[ENVELOPE..self.body]).unwrap_or_default()
    }

    pub fn body(&self) -> &[u8] {
        &self.payload[self.body..]
    }

    pub fn envelope(&self) -> Envelope<'_> {
        Envelope { peer: self.peer, what: self.what, format: self.format, kind: self.kind() }
    }

    /// The payload for another process, with `peer` in its envelope.
    pub fn into_payload(mut self, peer: Peer) -> Vec<u8> {
        readdress(&mut self.payload, peer);
        self.payload
    }
}

/// Replaces the receiver in the envelope of a worker's message by its sender.
pub fn readdress(payload: &mut [u8], from: Peer) {
    if let Some(peer) = payload.first_chunk_mut() {
        *peer = write_peer(from);
    }
}

/// The JSON text of a body, without the buffers that it refers to; None for a structured clone.
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
