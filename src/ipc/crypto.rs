//! Sealing what crosses between two processes: ChaCha20-Poly1305 (RFC 8439) with a key for each worker, channel and
//! direction, derived by HKDF-SHA256 (RFC 5869) from the cluster's key. PURE: random bytes are arguments.
//!
//! The nonce is the number of the frame in its direction. It is not sent: a frame that is repeated, left out,
//! swapped or cut does not open under the number that is expected. A key belongs to one spawn of one worker, with a
//! fresh salt, so that no number is ever used twice under it.

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
/// Bytes behind a sealed payload.
pub const TAG: usize = 16;

/// A secret of 32 bytes, wiped when it is dropped and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<[u8; KEY]>);

impl Key {
    pub fn new(bytes: [u8; KEY]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    /// 32 bytes as 64 hexadecimal digits or in base64; None for anything else.
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

    /// The key that a passphrase stands for: Argon2id (RFC 9106) with 19 MiB and two passes, the least that OWASP
    /// recommends. None without memory.
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

/// Which of a worker's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Control, and messages to other workers.
    Control,
    /// Messages between the worker's program and the primary's.
    Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToWorker,
    ToPrimary,
}

/// What a key is for.
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

/// The key for that purpose; `salt` is fresh for each spawn.
pub fn derive(cluster: &Key, salt: &[u8; SALT], purpose: Purpose) -> Key {
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(cluster.bytes());
    let info: [&[u8]; 2] = [b"drover ipc 1", &purpose.info()];
    let mut bytes = Zeroizing::new([0; KEY]);
    // One block of HKDF is never too long, and a key that was not derived must not be used.
    let expanded = secret.expand(&info, Length).and_then(|expanded| expanded.fill(&mut *bytes));
    expanded.unwrap_or_else(|_| unreachable!());
    Key(bytes)
}

/// Bytes of a worker's keys on their way.
pub const WORKER_KEYS: usize = 4 * KEY;

/// The keys of one worker's channels, and no more than these: it never sees the cluster's key.
pub struct WorkerKeys {
    pub control: Pair,
    pub program: Pair,
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
        Self { control: pair(Channel::Control), program: pair(Channel::Program) }
    }

    /// For the one frame that carries them.
    pub fn write(&self) -> Vec<u8> {
        let Self { control, program } = self;
        let keys = [&control.to_worker, &control.to_primary, &program.to_worker, &program.to_primary];
        keys.iter().flat_map(|key| *key.bytes()).collect()
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; WORKER_KEYS] = bytes.try_into().ok()?;
        let key = |index: usize| {
            let mut key = Zeroizing::new([0; KEY]);
            key.copy_from_slice(&bytes[index * KEY..(index + 1) * KEY]);
            Key(key)
        };
        let pair = |first: usize| Pair { to_worker: key(first), to_primary: key(first + 1) };
        Some(Self { control: pair(0), program: pair(2) })
    }
}

fn aead(key: &Key) -> LessSafeKey {
    // A key of this algorithm is any 32 bytes.
    let unbound = UnboundKey::new(&CHACHA20_POLY1305, key.bytes()).unwrap_or_else(|_| unreachable!());
    LessSafeKey::new(unbound)
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The sending end.
pub struct Sealer {
    key: LessSafeKey,
    sent: u64,
}

impl Sealer {
    pub fn new(key: &Key) -> Self {
        Self { key: aead(key), sent: 0 }
    }

    /// Encrypts `payload` in place under the header; the tag belongs behind it.
    pub fn seal(&mut self, header: &[u8], payload: &mut [u8]) -> [u8; TAG] {
        let nonce = nonce(self.sent);
        self.sent += 1;
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(header), payload);
        // The algorithm refuses only what is longer than 256 GB; nothing leaves that was not sealed.
        let sealed = sealed.unwrap_or_else(|_| unreachable!());
        let mut tag = [0; TAG];
        tag.copy_from_slice(sealed.as_ref());
        tag
    }
}

/// The receiving end.
pub struct Opener {
    key: LessSafeKey,
    received: u64,
}

impl Opener {
    pub fn new(key: &Key) -> Self {
        Self { key: aead(key), received: 0 }
    }

    /// Decrypts a payload with its tag in place. None when it is not the very next one that the peer sealed.
    pub fn open<'a>(&mut self, header: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let nonce = nonce(self.received);
        self.received += 1;
        self.key.open_in_place(nonce, Aad::from(header), sealed).ok()
    }
}

#[cfg(test)]
mod tests;
