//! Encryption of what passes over Redis: ChaCha20-Poly1305 with a key for each run of each machine, derived by HKDF-SHA256
//! from the fleet's key, which is derived from `ipc.key`. PURE.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 1 | version |
//! | 1 | 16 | run: random, of the machine that has sealed it |
//! | 17 | 8 | number, which a run uses once: the nonce |
//! | 25 | | what was sealed, and its tag |
//!
//! The name of the channel or key is authenticated too: what is moved to another one cannot be opened. A message that a
//! receiver has had, or that is too old for its window, is refused; a receiver that has started since cannot know that.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::hmac;
use zeroize::Zeroizing;

use crate::ipc::crypto::{KEY, Key, SALT, TAG, derive_shared, open, seal};

/// Bytes of a run.
pub const RUN: usize = 16;
const HEAD: usize = 1 + RUN + 8;
const VERSION: u8 = 1;
/// Runs whose keys are kept.
const MAX_RUNS: usize = 1024;
/// How far back in a run messages may be that arrive late.
const WINDOW: u64 = 64;

pub struct Seal {
    fleet: Key,
    names: hmac::Key,
    run: [u8; RUN],
    own: Key,
    number: AtomicU64,
    others: Mutex<HashMap<[u8; RUN], Other>>,
}

struct Other {
    key: Key,
    received: Window,
}

/// The numbers of a run that were received: the highest, and a bit for each of those below it.
#[derive(Default)]
struct Window {
    /// The highest number plus one.
    next: u64,
    seen: u64,
}

impl Window {
    /// False: it was received before, or may have been.
    fn admit(&mut self, number: u64) -> bool {
        if number >= self.next {
            let ahead = number - self.next + 1;
            self.seen = if ahead >= WINDOW { 0 } else { self.seen << ahead };
            self.seen |= 1;
            self.next = number + 1;
            return true;
        }
        let back = self.next - 1 - number;
        if back >= WINDOW || self.seen >> back & 1 == 1 {
            return false;
        }
        self.seen |= 1 << back;
        true
    }
}

impl Seal {
    /// `run`: random bytes.
    pub fn new(cluster: &Key, run: [u8; RUN]) -> Self {
        let fleet = derive_shared(cluster, &[0; SALT], b"drover fleet 1");
        let names = derive_shared(cluster, &[0; SALT], b"drover fleet names 1");
        let own = run_key(&fleet, &run);
        Self {
            names: hmac::Key::new(hmac::HMAC_SHA256, names.bytes()),
            fleet,
            run,
            own,
            number: AtomicU64::new(0),
            others: Mutex::default(),
        }
    }

    /// The bytes for the channel or key `place`.
    pub fn seal(&self, place: &str, bytes: &[u8]) -> Vec<u8> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut sealed = Vec::with_capacity(HEAD + bytes.len() + TAG);
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.run);
        sealed.extend_from_slice(&number.to_be_bytes());
        sealed.extend_from_slice(bytes);
        let tag = seal(&self.own, number, place.as_bytes(), &mut sealed[HEAD..]);
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Opens a value, which may be read any number of times; None: it is not of this fleet, or of another key.
    pub fn open_value(&self, place: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        self.open(place, bytes, false)
    }

    /// Opens a message; None: as above, or it was received before.
    pub fn open_message(&self, place: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        self.open(place, bytes, true)
    }

    fn open(&self, place: &str, bytes: &[u8], once: bool) -> Option<Vec<u8>> {
        let (head, sealed) = bytes.split_first_chunk::<HEAD>()?;
        let run: [u8; RUN] = head[1..=RUN].try_into().ok()?;
        let number = u64::from_be_bytes(head[1 + RUN..].try_into().ok()?);
        if head[0] != VERSION {
            return None;
        }
        // Whoever panicked has left the map whole.
        let mut others = self.others.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if others.len() >= MAX_RUNS && !others.contains_key(&run) {
            others.clear();
        }
        let key = others.get(&run).map_or_else(|| run_key(&self.fleet, &run), |other| other.key.clone());
        let mut sealed = sealed.to_vec();
        let length = open(&key, number, place.as_bytes(), &mut sealed)?.len();
        sealed.truncate(length);
        // Only what was sealed with the key makes a run known.
        let other = others.entry(run).or_insert_with(|| Other { key, received: Window::default() });
        (!once || other.received.admit(number)).then_some(sealed)
    }

    /// A name that tells nothing about `name`, the same in the whole fleet.
    pub fn name(&self, name: &[u8]) -> String {
        let signed = hmac::sign(&self.names, name);
        signed.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn run_key(fleet: &Key, run: &[u8; RUN]) -> Key {
    let mut salt = Zeroizing::new([0; SALT]);
    salt[..RUN].copy_from_slice(run);
    derive_shared(fleet, &salt, b"drover fleet run 1")
}

const _: () = assert!(KEY == 32);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(run: u8) -> Seal {
        Seal::new(&Key::new([7; KEY]), [run; RUN])
    }

    #[test]
    fn what_one_machine_seals_others_open_and_a_value_any_number_of_times() {
        let (one, other) = (of(1), of(2));
        let sealed = one.seal("place", b"hunter2");
        assert!(!sealed.windows(7).any(|bytes| bytes == b"hunter2"));
        assert_eq!(other.open_value("place", &sealed).as_deref(), Some(&b"hunter2"[..]));
        assert_eq!(other.open_value("place", &sealed).as_deref(), Some(&b"hunter2"[..]));
    }

    #[test]
    fn what_was_changed_moved_or_sealed_with_another_key_cannot_be_opened() {
        let (one, other) = (of(1), of(2));
        let sealed = one.seal("place", b"hunter2");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(other.open_value("place", &changed), None, "{at}");
        }
        assert!((0..sealed.len()).all(|end| other.open_value("place", &sealed[..end]).is_none()));
        assert_eq!(other.open_value("another place", &sealed), None);
        assert_eq!(Seal::new(&Key::new([8; KEY]), [2; RUN]).open_value("place", &sealed), None);
    }

    #[test]
    fn a_message_is_opened_once_also_when_it_comes_late() {
        let (one, other) = (of(1), of(2));
        let sealed: Vec<_> = (0..200u8).map(|number| one.seal("channel", &[number])).collect();
        assert!(other.open_message("channel", &sealed[3]).is_some());
        assert!(other.open_message("channel", &sealed[1]).is_some(), "late");
        assert!(other.open_message("channel", &sealed[1]).is_none(), "again");
        assert!(other.open_message("channel", &sealed[3]).is_none(), "again");
        assert!(other.open_message("channel", &sealed[199]).is_some());
        assert!(other.open_message("channel", &sealed[4]).is_none(), "too old");
        assert!(other.open_message("channel", &sealed[198]).is_some());
    }

    #[test]
    fn names_are_the_same_everywhere_and_tell_nothing() {
        assert_eq!(of(1).name(b"a"), of(2).name(b"a"));
        assert_ne!(of(1).name(b"a"), of(1).name(b"b"));
        assert_eq!(of(1).name(b"a").len(), 32);
    }
}
