//! The keys of the cluster's TLS session tickets: their layout in shared memory, and their rotation. PURE. The primary
//! writes, workers read; the memory is [`CELLS`] cells of 64 bits:
//!
//! | cell | |
//! | --- | --- |
//! | 0 | the epoch: the number of key rotations, from 1 on |
//! | 1 + 6 n | the key of every epoch with epoch % [`KEYS`] = n: 16 bytes each of name, HMAC key and cipher key |
//!
//! In epoch e tickets are issued with key e. Key e - 1 is kept for older tickets, and key e + 1 because another process
//! may have seen the next epoch a moment earlier. The key of e + 2 is written to a slot that holds none of these.

use std::ops::Range;
use std::time::Duration;

pub const KEYS: u32 = 4;
pub const KEY_BYTES: usize = 48;
const KEY_CELLS: usize = KEY_BYTES / 8;
pub const CELLS: usize = 1 + KEYS as usize * KEY_CELLS;
pub const EPOCH: usize = 0;
pub const FIRST_EPOCH: u32 = 1;
/// How long tickets are issued with a key. They are accepted for the same time afterwards.
pub const PERIOD: Duration = Duration::from_secs(12 * 60 * 60);

/// The epoch at this time after the first keys were made.
pub fn epoch_at(age: Duration) -> u32 {
    let changes = age.as_secs() / PERIOD.as_secs();
    u32::try_from(changes).unwrap_or(u32::MAX - FIRST_EPOCH).saturating_add(FIRST_EPOCH)
}

/// The age of the keys at which this epoch ends.
pub fn end_of(epoch: u32) -> Duration {
    PERIOD.saturating_mul(epoch.saturating_sub(FIRST_EPOCH).saturating_add(1))
}

/// The cells of an epoch's key.
pub fn key_of(epoch: u32) -> Range<usize> {
    let first = 1 + (epoch % KEYS) as usize * KEY_CELLS;
    first..first + KEY_CELLS
}

/// The keys to make when an epoch later than `known` begins: those that it needs and that do not exist yet.
pub fn missing(known: u32, epoch: u32) -> Range<u32> {
    known.saturating_add(2).max(epoch.saturating_sub(1))..epoch.saturating_add(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn the_keys_change_every_twelve_hours() {
        for (hours, expected) in [(0, 1), (11, 1), (12, 2), (23, 2), (24, 3), (12 * 1000, 1001)] {
            assert_eq!(epoch_at(HOUR * hours), expected, "{hours}");
        }
        assert_eq!(epoch_at(HOUR * 12 - Duration::from_millis(1)), 1);
        for epoch in [1, 2, 99] {
            assert_eq!(epoch_at(end_of(epoch)), epoch + 1);
            assert_eq!(epoch_at(end_of(epoch) - Duration::from_millis(1)), epoch);
        }
        assert!(epoch_at(Duration::MAX) > 0 && end_of(u32::MAX) > HOUR);
    }

    #[test]
    fn a_key_is_made_once_and_an_epoch_before_it_is_used() {
        for (known, epoch, expected) in
            [(1, 2, 3..4), (2, 3, 4..5), (1, 3, 3..5), (1, 9, 8..11), (7, 7, 9..9)]
        {
            assert_eq!(missing(known, epoch), expected, "{known} to {epoch}");
        }
        assert!(missing(7, 7).is_empty());
    }

    #[test]
    fn what_a_process_of_this_or_the_epoch_before_reads_is_not_written() {
        for epoch in 2..20 {
            for written in missing(epoch - 1, epoch) {
                for reader in [epoch - 1, epoch] {
                    // No process sees the new epoch before the key is written.
                    let read =
                        if reader == epoch { vec![epoch] } else { vec![reader - 1, reader, reader + 1] };
                    assert!(
                        read.iter().all(|key| key_of(*key) != key_of(written)),
                        "{epoch} {reader} {written}"
                    );
                }
            }
            assert!(key_of(epoch).end <= CELLS && key_of(epoch).start > EPOCH);
        }
    }
}
