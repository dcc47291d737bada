//! Sealing what crosses between two processes: ChaCha20-Poly1305 (RFC 8439) with a key for each worker, channel and
//! direction, derived by HKDF-SHA256 (RFC 5869) from the cluster's key. PURE: random bytes are arguments.
//!
//! The nonce is the number of the frame in its direction. It is not sent: a frame that is repeated, left out,
//! swapped or cut does not open under the number that is expected. A key belongs to one spawn of one worker, with a
//! fresh salt, so that no number is ever used twice under it.

use std::fmt;

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
    pub slot: u16,
    pub generation: u32,
    pub channel: Channel,
    pub direction: Direction,
}

impl Purpose {
    fn info(self) -> [u8; 8] {
        let mut info = [0; 8];
        info[..2].copy_from_slice(&self.slot.to_be_bytes());
        info[2..6].copy_from_slice(&self.generation.to_be_bytes());
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
    // One block of HKDF is never too long.
    if let Ok(expanded) = secret.expand(&info, Length) {
        let _ = expanded.fill(&mut *bytes);
    }
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
    pub fn derive(cluster: &Key, salt: &[u8; SALT], slot: u16, generation: u32) -> Self {
        let pair = |channel| {
            let key = |direction| derive(cluster, salt, Purpose { slot, generation, channel, direction });
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
        let mut tag = [0; TAG];
        // The algorithm refuses only what is longer than 256 GB.
        if let Ok(sealed) = sealed {
            tag.copy_from_slice(sealed.as_ref());
        }
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> Key {
        Key::new([byte; KEY])
    }

    fn purpose() -> Purpose {
        Purpose { slot: 3, generation: 7, channel: Channel::Control, direction: Direction::ToWorker }
    }

    fn sealed(sealer: &mut Sealer, header: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = payload.to_vec();
        let tag = sealer.seal(header, &mut bytes);
        bytes.extend_from_slice(&tag);
        bytes
    }

    #[test]
    fn a_key_is_read_as_hex_or_base64_and_anything_else_is_a_passphrase() {
        let plain = Key::new(std::array::from_fn(|index| index as u8));
        let hex: String = plain.bytes().iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(Key::read(&hex), Some(plain.clone()));
        assert_eq!(Key::read(&STANDARD.encode(plain.bytes())), Some(plain.clone()));
        assert_eq!(Key::read(&URL_SAFE_NO_PAD.encode(plain.bytes())), Some(plain.clone()));
        for passphrase in ["correct horse battery staple", "0123", &"z".repeat(64), &"ä".repeat(32)] {
            assert_eq!(Key::read(passphrase), None, "{passphrase}");
        }
    }

    #[test]
    fn a_passphrase_is_stretched_under_its_salt() {
        let stretched = Key::stretch("correct horse battery staple", &[1; 32]).unwrap();
        assert_eq!(Key::stretch("correct horse battery staple", &[1; 32]), Some(stretched.clone()));
        assert_ne!(Key::stretch("correct horse battery staple", &[2; 32]), Some(stretched.clone()));
        assert_ne!(Key::stretch("correct horse battery stapler", &[1; 32]), Some(stretched));
    }

    #[test]
    fn each_worker_spawn_channel_and_direction_has_a_key_of_its_own() {
        let base = purpose();
        let others = [
            Purpose { slot: 4, ..base },
            Purpose { generation: 8, ..base },
            Purpose { channel: Channel::Program, ..base },
            Purpose { direction: Direction::ToPrimary, ..base },
        ];
        let first = derive(&key(1), &[0; SALT], base);
        assert_eq!(first, derive(&key(1), &[0; SALT], base));
        for other in others {
            assert_ne!(first, derive(&key(1), &[0; SALT], other), "{other:?}");
        }
        assert_ne!(first, derive(&key(1), &[1; SALT], base), "a fresh salt, a fresh key");
        assert_ne!(first, derive(&key(2), &[0; SALT], base));
    }

    #[test]
    fn the_derivation_is_hkdf_of_rfc_5869() {
        // Computed with another implementation: HKDF-SHA256, key 32 x 01, salt 32 x 02, info "drover ipc 1" and the purpose.
        let purpose =
            Purpose { slot: 1, generation: 2, channel: Channel::Program, direction: Direction::ToPrimary };
        let derived = derive(&key(1), &[2; SALT], purpose);
        let hex: String = derived.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "2958fff1b06741d69e06a135a53575f25f4a379833f5ec9858a18076306fd175");
    }

    #[test]
    fn a_workers_keys_survive_their_way() {
        let keys = WorkerKeys::derive(&key(1), &[3; SALT], 2, 5);
        let got = WorkerKeys::read(&keys.write()).expect("they are whole");
        assert_eq!(keys.write(), got.write());
        assert_ne!(keys.control.to_worker, keys.program.to_worker);
        assert!(WorkerKeys::read(&[0; 5]).is_none());
    }

    #[test]
    fn frames_open_in_their_order_and_once() {
        let (mut sealer, mut opener) = (Sealer::new(&key(1)), Opener::new(&key(1)));
        let first = sealed(&mut sealer, b"head", b"one");
        let second = sealed(&mut sealer, b"head", b"two");
        assert_eq!(opener.open(b"head", &mut first.clone()).as_deref(), Some(&b"one"[..]));
        assert!(opener.open(b"head", &mut first.clone()).is_none(), "repeated");
        let mut late = Opener::new(&key(1));
        assert!(late.open(b"head", &mut second.clone()).is_none(), "out of order");
    }

    #[test]
    fn a_wrong_key_opens_nothing() {
        let mut bytes = sealed(&mut Sealer::new(&key(1)), b"head", b"one");
        assert!(Opener::new(&key(2)).open(b"head", &mut bytes).is_none());
    }

    #[test]
    fn no_key_shows_in_a_debugged_value() {
        assert!(!format!("{:?}", key(7)).contains('7'));
    }

    proptest! {
        #[test]
        fn whatever_is_changed_or_cut_does_not_open(
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
            cut in 1..=TAG,
        ) {
            let bytes = sealed(&mut Sealer::new(&key(1)), b"head", &payload);
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] ^= 1 << bit;
            prop_assert!(Opener::new(&key(1)).open(b"head", &mut changed).is_none());
            let mut shorter = bytes[..bytes.len() - cut].to_vec();
            prop_assert!(Opener::new(&key(1)).open(b"head", &mut shorter).is_none());
            let mut whole = bytes.clone();
            prop_assert!(Opener::new(&key(1)).open(b"heaD", &mut whole).is_none(), "another header");
            let mut whole = bytes;
            let mut opener = Opener::new(&key(1));
            let opened = opener.open(b"head", &mut whole).map(|opened| opened.to_vec());
            prop_assert_eq!(opened, Some(payload));
        }

        #[test]
        fn what_ring_seals_another_implementation_opens(payload in proptest::collection::vec(any::<u8>(), 0..300), skip in 0..3u64) {
            use chacha20poly1305::aead::{AeadInOut, KeyInit};
            let mut sealer = Sealer::new(&key(9));
            for _ in 0..skip {
                sealer.seal(b"", &mut []);
            }
            let mut bytes = payload.clone();
            let tag = sealer.seal(b"head", &mut bytes);
            let mut number = [0; 12];
            number[4..].copy_from_slice(&skip.to_be_bytes());
            let other = chacha20poly1305::ChaCha20Poly1305::new(key(9).bytes().into());
            other.decrypt_inout_detached(&number.into(), b"head", bytes.as_mut_slice().into(), &tag.into()).unwrap();
            prop_assert_eq!(bytes, payload);
        }
    }
}
