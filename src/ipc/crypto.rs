//! Encryption of the traffic between two processes: ChaCha20-Poly1305 (RFC 8439) with a key for each worker, channel and
//! direction, derived by HKDF-SHA256 (RFC 5869) from the cluster's key. PURE: random bytes are arguments.
//!
//! The nonce is the number of the frame in its direction. It is not sent: a repeated, omitted, reordered or truncated
//! frame cannot be opened with the expected number. A key belongs to one spawn of one worker and has a fresh salt, so
//! that no number is ever used twice with it.

use std::fmt;

use crate::model::WorkerId;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY: usize = 32;
/// Bytes of a salt.
pub const SALT: usize = 32;
/// Bytes of the tag after a sealed payload.
pub const TAG: usize = 16;

/// A secret of 32 bytes, wiped on drop and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<[u8; KEY]>);

impl Key {
    pub fn new(bytes: [u8; KEY]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    /// Parses 64 hexadecimal digits or 32 bytes in base64; None for anything else.
    pub fn read(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY]);
        if text.len() == 2 * KEY && text.is_ascii() {
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
            }
            return Some(Self(bytes));
        }
        let decoded = [STANDARD, URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(text).ok());
        let decoded = Zeroizing::new(decoded.filter(|decoded| decoded.len() == KEY)?);
        bytes.copy_from_slice(&decoded);
        Some(Self(bytes))
    }

    /// Derives a key from a passphrase: Argon2id (RFC 9106) with 19 MiB and two passes, the minimum recommended by OWASP.
    /// None if memory is short.
    pub fn stretch(passphrase: &str, salt: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY]);
        argon2::Argon2::default().hash_password_into(passphrase.as_bytes(), salt, &mut *bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// One of a worker's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Control, and messages to other workers.
    Control,
    /// Messages between the worker's program and the primary's.
    Program,
    /// Requests to the shared cache.
    Cache,
    /// Requests to the fleet.
    Fleet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToWorker,
    ToPrimary,
}

/// The purpose of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    pub worker: WorkerId,
    pub channel: Channel,
    pub direction: Direction,
}

impl Purpose {
    fn info(self) -> [u8; 8] {
        let mut info = [0; 8];
        info[..2].copy_from_slice(&self.worker.slot.to_be_bytes());
        info[2..6].copy_from_slice(&self.worker.generation.to_be_bytes());
        info[6] = self.channel as u8;
        info[7] = self.direction as u8;
        info
    }
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        KEY
    }
}

/// Derives the key for a purpose; `salt` is fresh for each spawn.
pub fn derive(cluster: &Key, salt: &[u8; SALT], purpose: Purpose) -> Key {
    expand(cluster, salt, &[b"drover ipc 1", &purpose.info()])
}

/// Derives a key for what is not a channel of a worker.
pub fn derive_shared(secret: &Key, salt: &[u8; SALT], purpose: &[u8]) -> Key {
    expand(secret, salt, &[purpose])
}

fn expand(secret: &Key, salt: &[u8; SALT], info: &[&[u8]]) -> Key {
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret.bytes());
    let mut bytes = Zeroizing::new([0; KEY]);
    // Cannot fail for one block of HKDF; an underived key must never be used.
    let expanded = secret.expand(info, Length).and_then(|expanded| expanded.fill(&mut *bytes));
    expanded.unwrap_or_else(|_| unreachable!());
    Key(bytes)
}

/// Length of a worker's encoded keys.
pub const WORKER_KEYS: usize = 8 * KEY;

/// The keys of one worker's channels. A worker never gets the cluster's key.
pub struct WorkerKeys {
    pub control: Pair,
    pub program: Pair,
    pub cache: Pair,
    pub fleet: Pair,
}

/// The keys of one channel.
pub struct Pair {
    pub to_worker: Key,
    pub to_primary: Key,
}

impl WorkerKeys {
    pub fn derive(cluster: &Key, salt: &[u8; SALT], worker: WorkerId) -> Self {
        let pair = |channel| {
            let key = |direction| derive(cluster, salt, Purpose { worker, channel, direction });
            Pair { to_worker: key(Direction::ToWorker), to_primary: key(Direction::ToPrimary) }
        };
        Self {
            control: pair(Channel::Control),
            program: pair(Channel::Program),
            cache: pair(Channel::Cache),
            fleet: pair(Channel::Fleet),
        }
    }

    /// Encodes them for their frame.
    pub fn write(&self) -> Vec<u8> {
        let Self { control, program, cache, fleet } = self;
        let keys = [control, program, cache, fleet].map(|pair| [&pair.to_worker, &pair.to_primary]);
        keys.iter().flatten().flat_map(|key| *key.bytes()).collect()
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; WORKER_KEYS] = bytes.try_into().ok()?;
        let key = |index: usize| {
            let mut key = Zeroizing::new([0; KEY]);
            key.copy_from_slice(&bytes[index * KEY..(index + 1) * KEY]);
            Key(key)
        };
        let pair = |first: usize| Pair { to_worker: key(first), to_primary: key(first + 1) };
        Some(Self { control: pair(0), program: pair(2), cache: pair(4), fleet: pair(6) })
    }
}

fn aead(key: &Key) -> LessSafeKey {
    // Cannot fail: any 32 bytes are a key of this algorithm.
    let unbound = UnboundKey::new(&CHACHA20_POLY1305, key.bytes()).unwrap_or_else(|_| unreachable!());
    LessSafeKey::new(unbound)
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The sealing end of a channel.
pub struct Sealer {
    key: LessSafeKey,
    sent: u64,
}

impl Sealer {
    pub fn new(key: &Key) -> Self {
        Self { key: aead(key), sent: 0 }
    }

    /// Encrypts `payload` in place with the header as additional data; returns the tag.
    pub fn seal(&mut self, header: &[u8], payload: &mut [u8]) -> [u8; TAG] {
        let number = self.sent;
        self.sent += 1;
        seal_with(&self.key, number, header, payload)
    }
}

fn seal_with(key: &LessSafeKey, number: u64, header: &[u8], payload: &mut [u8]) -> [u8; TAG] {
    let sealed = key.seal_in_place_separate_tag(nonce(number), Aad::from(header), payload);
    // Fails only above 256 GB; unsealed bytes must never be sent.
    let sealed = sealed.unwrap_or_else(|_| unreachable!());
    let mut tag = [0; TAG];
    tag.copy_from_slice(sealed.as_ref());
    tag
}

/// Encrypts `payload` in place with the header as additional data; returns the tag. `number` is used once with a key.
pub fn seal(key: &Key, number: u64, header: &[u8], payload: &mut [u8]) -> [u8; TAG] {
    seal_with(&aead(key), number, header, payload)
}

/// Decrypts a payload with its tag in place; None: it was not sealed with this key, number and header.
pub fn open<'a>(key: &Key, number: u64, header: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
    aead(key).open_in_place(nonce(number), Aad::from(header), sealed).ok()
}

/// The opening end of a channel.
pub struct Opener {
    key: LessSafeKey,
    received: u64,
}

impl Opener {
    pub fn new(key: &Key) -> Self {
        Self { key: aead(key), received: 0 }
    }

    /// Decrypts a payload with its tag in place. None if it is not the next payload that the peer sealed.
    pub fn open<'a>(&mut self, header: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let nonce = nonce(self.received);
        self.received += 1;
        self.key.open_in_place(nonce, Aad::from(header), sealed).ok()
    }
}

#[cfg(test)]
mod tests;
