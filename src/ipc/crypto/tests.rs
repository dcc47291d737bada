//! Keys, and what a sealed payload survives.

use super::*;
use proptest::prelude::*;

fn key(byte: u8) -> Key {
    Key::new([byte; KEY])
}

fn purpose() -> Purpose {
    Purpose { worker: WorkerId::new(3, 7), channel: Channel::Control, direction: Direction::ToWorker }
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
        Purpose { worker: WorkerId::new(4, 7), ..base },
        Purpose { worker: WorkerId::new(3, 8), ..base },
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
        Purpose { worker: WorkerId::new(1, 2), channel: Channel::Program, direction: Direction::ToPrimary };
    let derived = derive(&key(1), &[2; SALT], purpose);
    let hex: String = derived.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "2958fff1b06741d69e06a135a53575f25f4a379833f5ec9858a18076306fd175");
}

#[test]
fn a_workers_keys_survive_their_way() {
    let keys = WorkerKeys::derive(&key(1), &[3; SALT], WorkerId::new(2, 5));
    let got = WorkerKeys::read(&keys.write()).expect("they are whole");
    assert_eq!(keys.write(), got.write());
    assert_ne!(keys.control.to_worker, keys.program.to_worker);
    assert_ne!(keys.cache.to_worker, keys.program.to_worker);
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
