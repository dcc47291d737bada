//! A client's key and its score for a slot, in arithmetic that classic BPF supports: 32-bit xor, multiply and shift.
//! `steering` emits the same operations with the same constants; nothing here may use an operation that BPF lacks, or
//! the two modes would send a client to different workers.

use std::net::{IpAddr, SocketAddr};

pub(super) const SEED: u32 = 0x9E37_79B9;
pub(super) const ABSORB: u32 = 0x85EB_CA6B;
pub(super) const ABSORB_SHIFT: u32 = 15;

// The multipliers and the shift of "lowbias32", found by search for the least bias of any 32-bit mix of two
// rounds: Wellons, "Prospecting for Hash Functions", <https://nullprogram.com/blog/2018/07/31/>.
pub(super) const SCORE_FIRST: u32 = 0x7FEB_352D;
pub(super) const SCORE_SHIFT: u32 = 15;
pub(super) const SCORE_SECOND: u32 = 0x846C_A68B;

/// The key of a client whose connections must stay with one worker. Two clients may share a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey(pub(super) u32);

/// The key of all clients with address `ip`. A v4-mapped IPv6 address is hashed as IPv4, so a dual-stack listener and
/// an IPv4 one agree.
pub fn client_key(ip: IpAddr) -> ClientKey {
    ClientKey(match ip.to_canonical() {
        IpAddr::V4(v4) => absorb(SEED, v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            [96, 64, 32, 0].into_iter().fold(SEED, |state, shift| absorb(state, (bits >> shift) as u32))
        }
    })
}

/// The key of one connection of a client: its address and port. For [`super::Strategy::Os`].
pub fn flow_key(client: SocketAddr) -> ClientKey {
    ClientKey(absorb(client_key(client.ip()).0, u32::from(client.port())))
}

/// Mixes another word into the state; a bijection of the word, so neighbouring words never collide.
pub(super) fn absorb(state: u32, word: u32) -> u32 {
    let x = (state ^ word).wrapping_mul(ABSORB);
    x ^ (x >> ABSORB_SHIFT)
}

/// The slot's part of a score. BPF programs get it as a constant.
pub(super) fn slot_seed(slot: u16) -> u32 {
    absorb(absorb(SEED, u32::from(slot)), SCORE_FIRST)
}

/// The score of `slot` for the client; the highest wins (rendezvous hashing, Thaler and Ravishankar, "Using Name-Based
/// Mappings to Increase Hit Rates", 1998). When a slot is removed, only its own clients move.
pub(super) fn score(key: ClientKey, slot: u16) -> u32 {
    let x = (key.0 ^ slot_seed(slot)).wrapping_mul(SCORE_FIRST);
    (x ^ (x >> SCORE_SHIFT)).wrapping_mul(SCORE_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const CLIENTS: u32 = 10_000;

    fn winner(key: ClientKey, slots: u16) -> u16 {
        (0..slots).max_by_key(|&slot| score(key, slot)).unwrap()
    }

    /// Six standard deviations above random placement: a uniform hash passes, a patterned one fails.
    fn assert_even(
        name: &str,
        slots: u16,
        keys: impl Iterator<Item = ClientKey>,
        place: fn(ClientKey, u16) -> u16,
    ) {
        let mut hits = vec![0u32; usize::from(slots)];
        for key in keys {
            hits[usize::from(place(key, slots))] += 1;
        }
        let expected = f64::from(hits.iter().sum::<u32>()) / f64::from(slots);
        let chi_square: f64 = hits.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        let freedom = f64::from(slots) - 1.0;
        let bound = freedom + 6.0 * (2.0 * freedom).sqrt();
        assert!(
            chi_square < bound,
            "{name} over {slots} slots: chi-square {chi_square:.1} of {bound:.1}: {hits:?}"
        );
    }

    fn v4(step: u32) -> impl Iterator<Item = ClientKey> {
        (0..CLIENTS).map(move |n| client_key(Ipv4Addr::from_bits(0x0A00_0000 + n * step).into()))
    }

    fn v6(shift: u32) -> impl Iterator<Item = ClientKey> {
        let base = 0x2001_0db8_0000_0000_0000_0000_0000_0001_u128;
        (0..CLIENTS).map(move |n| client_key(Ipv6Addr::from_bits(base + (u128::from(n) << shift)).into()))
    }

    #[test]
    fn clients_spread_evenly_over_the_slots_however_regular_their_addresses() {
        for slots in [2, 3, 4, 7, 16, 64] {
            for step in [1, 2, 16, 256, 4096] {
                assert_even(&format!("v4, step {step}"), slots, v4(step), winner);
            }
            for shift in [0, 1, 16, 32, 48, 64, 80, 96] {
                assert_even(&format!("v6, shift {shift}"), slots, v6(shift), winner);
            }
        }
    }

    #[test]
    fn the_flows_of_one_client_spread_evenly_over_the_slots() {
        for slots in [2, 3, 4, 7, 16, 64] {
            for step in [1, 2] {
                let flows = (0..CLIENTS).map(|n| {
                    flow_key(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 32_768 + (n * step) as u16))
                });
                assert_even(&format!("ports, step {step}"), slots, flows, |key, n| {
                    (key.0 % u32::from(n)) as u16
                });
            }
        }
    }

    #[test]
    fn a_v4_mapped_address_is_the_v4_client() {
        for v4 in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::BROADCAST] {
            assert_eq!(client_key(v4.to_ipv6_mapped().into()), client_key(v4.into()));
        }
    }

    #[test]
    fn every_word_of_an_ipv6_address_counts() {
        let base = client_key(Ipv6Addr::UNSPECIFIED.into());
        for bit in 0..128 {
            assert_ne!(client_key(Ipv6Addr::from_bits(1 << bit).into()), base, "bit {bit}");
        }
    }
}
