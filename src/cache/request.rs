//! What a client asks of the writer, and the answers: payloads of messages on the client's channel. PURE. The number of a
//! request is the id of its message; an answer has it as what it answers.
//!
//! A request, little-endian:
//!
//! | offset | type | |
//! | --- | --- | --- |
//! | 0 | u8 | operation, [`Operation`] |
//! | 1 | u8 | kind of the value, [`Kind`] |
//! | 2 | u8 | flags |
//! | 3 | u8 | kind of the expected value of `CompareAndSet`, or [`NO_VALUE`] |
//! | 4 | u32 | bytes of the key, or of the pattern or tag |
//! | 8 | u32 | bytes of the tags, each followed by a 0 |
//! | 12 | u32 | bytes of the expected value |
//! | 16 | f64 | when the value expires, ms since 1970; 0: never. Of `Increment`: of a new number |
//! | 24 | u32 | ms of grace |
//! | 28 | u32 | ms before the end from which the value may be computed anew |
//! | 32 | i64 | what is added |
//! | 40 | | the key, the tags, the expected value, the value |
//!
//! An answer: `{ status u8, 0 u8 * 7, number f64 }`.

use super::layout::{Key, Kind};

pub const HEADER: usize = 40;
pub const ANSWER: usize = 16;

/// No fresh value is expected.
pub const NO_VALUE: u8 = u8::MAX;

/// The key is UTF-16.
const WIDE: u8 = 1;
/// The client waits for an answer. Without it only failures are answered.
const AWAITED: u8 = 2;
/// The value is the result of the key's flight.
const LANDS: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    Set = 1,
    Delete = 2,
    Increment = 3,
    CompareAndSet = 4,
    /// Removes the entries whose keys match the pattern.
    Invalidate = 5,
    /// Removes the entries with the tag.
    InvalidateTag = 6,
    /// Computes the key's value, or waits for the client that does. With `early` the key may have a fresh value, which is
    /// computed anew.
    Claim = 7,
    /// Does not compute it any more.
    Release = 8,
    /// Is answered when everything before it is visible to all.
    Sync = 9,
    /// Asks for the row of the key's namespace in the figures.
    Namespace = 10,
    /// With `added` 1 the client is told what is evicted and invalidated, with 0 it is not.
    Follow = 11,
    /// As `Claim`, of a task that is done once: its key has no unit 0.
    Once = 12,
    /// The task is done: `lands` tells the others.
    Finish = 13,
    /// The client looks at the memory with the number `added`, and at no earlier one.
    Mapped = 14,
}

impl Operation {
    pub fn from_number(number: u8) -> Option<Self> {
        const ALL: [Operation; 14] = [
            Operation::Set,
            Operation::Delete,
            Operation::Increment,
            Operation::CompareAndSet,
            Operation::Invalidate,
            Operation::InvalidateTag,
            Operation::Claim,
            Operation::Release,
            Operation::Sync,
            Operation::Namespace,
            Operation::Follow,
            Operation::Once,
            Operation::Finish,
            Operation::Mapped,
        ];
        number.checked_sub(1).and_then(|index| ALL.get(usize::from(index)).copied())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request<'a> {
    pub operation: Operation,
    pub is_awaited: bool,
    pub lands: bool,
    pub key: Key<'a>,
    pub kind: Kind,
    pub value: &'a [u8],
    /// Each followed by a 0.
    pub tags: &'a [u8],
    /// None: no fresh value.
    pub expected: Option<(Kind, &'a [u8])>,
    pub expires: u64,
    pub grace: u32,
    pub early: u32,
    pub added: i64,
}

/// The latest time of an end that is kept exactly.
const MAX_EXPIRES: f64 = (1u64 << 53) as f64;

impl<'a> Request<'a> {
    /// A request without a key, a value and options, which nobody waits for.
    pub fn of(operation: Operation) -> Self {
        Self {
            operation,
            is_awaited: false,
            lands: false,
            key: Key { bytes: b"", is_wide: false },
            kind: Kind::Text,
            value: b"",
            tags: b"",
            expected: None,
            expires: 0,
            grace: 0,
            early: 0,
            added: 0,
        }
    }

    /// None: the bytes are no request.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEADER>()?;
        let long = |at: usize| head[at..at + 8].first_chunk::<8>().copied().unwrap_or_default();
        let word =
            |at: usize| u32::from_le_bytes(head[at..at + 4].first_chunk::<4>().copied().unwrap_or_default());
        let [operation, kind, flags, expected_kind, ..] = *head;
        let (key, rest) = rest.split_at_checked(word(4) as usize)?;
        let (tags, rest) = rest.split_at_checked(word(8) as usize)?;
        let (expected, value) = rest.split_at_checked(word(12) as usize)?;
        let is_wide = flags & WIDE != 0;
        let expires = f64::from_le_bytes(long(16));
        let is_valid = flags & !(WIDE | AWAITED | LANDS) == 0
            && (!is_wide || key.len().is_multiple_of(2))
            && tags.last().is_none_or(|last| *last == 0)
            && (0.0..=MAX_EXPIRES).contains(&expires);
        let kind = Kind::from_number(kind).filter(|kind| *kind != Kind::Counter)?;
        let expected = match expected_kind {
            NO_VALUE => None,
            kind => Some((Kind::from_number(kind)?, expected)),
        };
        is_valid.then_some(())?;
        Some(Self {
            operation: Operation::from_number(operation)?,
            is_awaited: flags & AWAITED != 0,
            lands: flags & LANDS != 0,
            key: Key { bytes: key, is_wide },
            kind,
            value,
            tags,
            expected,
            expires: expires as u64,
            grace: word(24),
            early: word(28),
            added: i64::from_le_bytes(long(32)),
        })
    }

    /// The bytes before the key.
    pub fn head(&self) -> [u8; HEADER] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.key.is_wide, WIDE) | flag(self.is_awaited, AWAITED) | flag(self.lands, LANDS);
        let (expected_kind, expected) =
            self.expected.map_or((NO_VALUE, 0), |(kind, value)| (kind as u8, value.len()));
        let mut head = [0; HEADER];
        head[..4].copy_from_slice(&[self.operation as u8, self.kind as u8, flags, expected_kind]);
        for (at, length) in [(4, self.key.bytes.len()), (8, self.tags.len()), (12, expected)] {
            head[at..at + 4].copy_from_slice(&(length as u32).to_le_bytes());
        }
        head[16..24].copy_from_slice(&(self.expires as f64).to_le_bytes());
        head[24..28].copy_from_slice(&self.grace.to_le_bytes());
        head[28..32].copy_from_slice(&self.early.to_le_bytes());
        head[32..].copy_from_slice(&self.added.to_le_bytes());
        head
    }

    /// What follows the head.
    pub fn parts(&self) -> [&'a [u8]; 4] {
        [self.key.bytes, self.tags, self.expected.map_or(&[], |(_, value)| value), self.value]
    }

    /// Its tags, one by one.
    pub fn each_tag(&self) -> impl Iterator<Item = &'a [u8]> {
        self.tags.split(|byte| *byte == 0).filter(|tag| !tag.is_empty())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// It is done; `number`: the count, or how many entries were removed.
    Done = 0,
    /// The key was not there, or had another value.
    No = 1,
    /// The client computes the value now.
    Owned = 2,
    /// The value is there.
    Landed = 3,
    KeyTooLong = 4,
    ValueTooLarge = 5,
    NoRoom = 6,
    NotANumber = 7,
    OutOfRange = 8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub status: Status,
    pub number: f64,
}

impl Status {
    fn from_number(number: u8) -> Option<Self> {
        const ALL: [Status; 9] = [
            Status::Done,
            Status::No,
            Status::Owned,
            Status::Landed,
            Status::KeyTooLong,
            Status::ValueTooLarge,
            Status::NoRoom,
            Status::NotANumber,
            Status::OutOfRange,
        ];
        ALL.get(usize::from(number)).copied()
    }
}

impl Answer {
    /// None: the bytes are no answer.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ANSWER] = bytes.try_into().ok()?;
        let number = f64::from_le_bytes(*bytes.last_chunk::<8>()?);
        Some(Self { status: Status::from_number(bytes[0])?, number })
    }

    pub fn write(self) -> [u8; ANSWER] {
        let mut bytes = [0; ANSWER];
        bytes[0] = self.status as u8;
        bytes[8..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }
}

/// What a notice tells, which is a message without an id: `{ what u8, is_wide u8, 0 u8 * 2, count u32, text }`.
pub mod notice {
    use crate::cache::layout::Key;

    /// The text is a key.
    pub const EVICTED: u8 = 1;
    /// The text is a pattern, `count` the removed entries.
    pub const INVALIDATED: u8 = 2;
    /// The text is a tag, `count` the removed entries.
    pub const UNTAGGED: u8 = 3;
    /// So many notices were dropped, because the client did not read them.
    pub const DROPPED: u8 = 4;
    /// Bytes before the text.
    pub const HEADER: usize = 8;

    /// What it tells, its count and its text. None: the bytes are none.
    pub fn read(bytes: &[u8]) -> Option<(u8, u32, String)> {
        let ([what, is_wide, _, _, count @ ..], text) = bytes.split_first_chunk::<HEADER>()?;
        let key = Key { bytes: text, is_wide: *is_wide != 0 };
        Some((*what, u32::from_le_bytes(*count), key.text()))
    }

    pub fn head(what: u8, is_wide: bool, count: u32) -> [u8; HEADER] {
        let [a, b, c, d] = count.to_le_bytes();
        [what, u8::from(is_wide), 0, 0, a, b, c, d]
    }
}

#[cfg(test)]
impl<'a> Request<'a> {
    /// A request with a value and no options, for tests.
    pub fn example(operation: Operation, key: &'a str) -> Self {
        let key = Key { bytes: key.as_bytes(), is_wide: false };
        Self { is_awaited: true, key, value: b"value", added: 1, ..Self::of(operation) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> Request<'static> {
        Request {
            operation: Operation::CompareAndSet,
            is_awaited: true,
            lands: false,
            key: Key { bytes: b"k\0e\0", is_wide: true },
            kind: Kind::Json,
            value: b"[1]",
            tags: b"red\0big\0",
            expected: Some((Kind::Text, b"old")),
            expires: 1_800_000_000_000,
            grace: 5,
            early: 6,
            added: -7,
        }
    }

    fn bytes(request: &Request<'_>) -> Vec<u8> {
        [&request.head()[..], &request.parts().concat()].concat()
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let request = request();
        assert_eq!(Request::read(&bytes(&request)), Some(request));
        assert_eq!(request.each_tag().collect::<Vec<_>>(), [b"red".as_slice(), b"big"]);
        let without = Request { expected: None, ..request };
        assert_eq!(Request::read(&bytes(&without)), Some(without));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (at, value) in
            [(0, 0), (0, 15), (1, 6), (1, 7), (2, 0x80), (3, 9), (4, 200), (4, 3), (23, 0x80), (23, 0x7f)]
        {
            let mut bytes = bytes(&request());
            bytes[at] = value;
            assert_eq!(Request::read(&bytes), None, "byte {at}: {value}");
        }
        assert_eq!(Request::read(&bytes(&request())[..HEADER - 1]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::read(&bytes);
        }
    }
}
