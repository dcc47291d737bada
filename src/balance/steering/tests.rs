mod interpreter;

use super::*;
use crate::balance::{Candidate, Chooser, Strategy as Choice, client_key, flow_key};
use interpreter::{Packet, run};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

fn candidates(slots: &[u16]) -> Vec<Candidate> {
    let candidate =
        |&slot: &u16| Candidate { slot, connections: 0, weight: 1, latency_us: 0.0, in_flight: 0 };
    slots.iter().map(candidate).collect()
}

/// The member that push mode would pick.
fn pushed(strategy: Choice, slots: &[u16], client: SocketAddr) -> u32 {
    let key = match strategy {
        Choice::IpHash => client_key(client.ip()),
        _ => flow_key(client),
    };
    let chosen = Chooser::new(strategy).choose(&candidates(slots), Some(key), 0).unwrap();
    u32::from(slots[chosen]) + 1
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped().into()),
    ]
}

/// Distinct slots in any order, few enough for every kind of program.
fn slots() -> impl Strategy<Value = Vec<u16>> {
    let set = prop_oneof![btree_set(0u16..8, 1..8), btree_set(0u16..1024, 1..120)];
    set.prop_map(Vec::from_iter).prop_shuffle()
}

proptest! {
    #[test]
    fn the_kernel_sends_a_client_where_push_mode_would(
        ip in address(), port: u16, slots in slots(), random: u32,
    ) {
        let client = SocketAddr::new(ip, port);
        let mut packet = Packet::from(client);
        packet.random = random;
        let families = match ip.to_canonical() {
            IpAddr::V4(_) => [Family::V4, Family::V6].as_slice(),
            IpAddr::V6(_) => &[Family::V6],
        };
        for &family in families {
            let ip_hash = program(Steering::IpHash(&slots), family).unwrap();
            prop_assert_eq!(run(&ip_hash, &packet), pushed(Choice::IpHash, &slots, client));
            let flow = program(Steering::Flow(&slots), family).unwrap();
            prop_assert_eq!(run(&flow, &packet), pushed(Choice::Os, &slots, client));
        }
    }

    #[test]
    fn uniform_gives_each_slot_of_the_list_its_turn_and_no_other(slots in slots(), random: u32) {
        let uniform = program(Steering::Uniform(&slots), Family::V4).unwrap();
        let mut packet = Packet::from((Ipv4Addr::LOCALHOST, 1).into());
        let base = random - random % slots.len() as u32;
        let mut members: Vec<u32> = (0..slots.len() as u32).map(|n| {
            packet.random = base.saturating_add(n);
            run(&uniform, &packet)
        }).collect();
        members.sort_unstable();
        members.dedup();
        let mut expected: Vec<u32> = slots.iter().map(|&slot| u32::from(slot) + 1).collect();
        expected.sort_unstable();
        if base.checked_add(slots.len() as u32).is_some() {
            prop_assert_eq!(members, expected);
        } else {
            prop_assert!(members.iter().all(|member| expected.contains(member)));
        }
    }

    #[test]
    fn weighted_shares_are_the_odds_within_rounding(
        odds in vec((0u16..1024, prop_oneof![0u32..10, 0u32..=u32::MAX]), 1..200), random: u32,
    ) {
        let total: u128 = odds.iter().map(|&(_, odds)| u128::from(odds)).sum();
        prop_assume!(total > 0);
        let weighted = program(Steering::Weighted(&odds), Family::V6).unwrap();
        let mut packet = Packet::from((Ipv4Addr::LOCALHOST, 1).into());
        // The share of each member is the distance between the bounds at which the result changes.
        let bounds = weighted.iter().filter(|i| i.code == IF_AT_LEAST).map(|i| u64::from(i.k));
        let edges: Vec<u64> = [0].into_iter().chain(bounds).chain([1 << 31]).collect();
        let mut shares = BTreeMap::<u32, u64>::new();
        for edge in edges.windows(2).filter(|edge| edge[0] < edge[1]) {
            packet.random = (edge[0] << 1) as u32;
            let member = run(&weighted, &packet);
            packet.random = (edge[1] * 2 - 1) as u32;
            prop_assert_eq!(run(&weighted, &packet), member);
            *shares.entry(member).or_default() += edge[1] - edge[0];
        }
        let mut wanted = BTreeMap::<u32, (u128, u64)>::new();
        for &(slot, odds) in &odds {
            let entry = wanted.entry(u32::from(slot) + 1).or_default();
            *entry = (entry.0 + u128::from(odds), entry.1 + 1);
        }
        for (member, (odds, named)) in wanted {
            let exact = ((odds << 31) / total) as u64;
            let share = shares.remove(&member).unwrap_or(0);
            prop_assert!(share.abs_diff(exact) <= named, "member {member}: {share}, not {exact}");
            prop_assert!(odds > 0 || share == 0);
        }
        prop_assert!(shares.is_empty(), "members that nobody named: {shares:?}");
        packet.random = random;
        prop_assert!(odds.iter().any(|&(slot, _)| u32::from(slot) + 1 == run(&weighted, &packet)));
    }
}

#[test]
fn a_steering_without_slots_leaves_everything_to_the_primary() {
    let nobody = [
        Steering::Primary,
        Steering::Uniform(&[]),
        Steering::Weighted(&[]),
        Steering::Weighted(&[(3, 0)]),
        Steering::IpHash(&[]),
        Steering::Flow(&[]),
    ];
    for steering in nobody {
        for family in [Family::V4, Family::V6] {
            assert_eq!(program(steering, family), Some(vec![op(RETURN, 0)]), "{steering:?}");
        }
    }
}

#[test]
fn repeated_slots_count_once() {
    for family in [Family::V4, Family::V6] {
        assert_eq!(
            program(Steering::Uniform(&[2, 0, 2]), family),
            program(Steering::Uniform(&[0, 2]), family)
        );
        assert_eq!(program(Steering::IpHash(&[2, 0, 2]), family), program(Steering::IpHash(&[0, 2]), family));
    }
}

#[test]
fn a_program_that_an_older_kernel_would_refuse_is_not_offered() {
    let all: Vec<u16> = (0..1024).collect();
    let odds: Vec<(u16, u32)> = all.iter().map(|&slot| (slot, 7)).collect();
    let every_other: Vec<u16> = (0..512).map(|n| n * 2).collect();
    let length = |steering| program(steering, Family::V6).map(|program| program.len());
    assert_eq!(length(Steering::Uniform(&all)), Some(4));
    assert!(length(Steering::Flow(&all)).is_some());
    assert_eq!(length(Steering::Uniform(&every_other)), None);
    assert_eq!(length(Steering::Weighted(&odds[..749])), Some(1499));
    assert_eq!(length(Steering::Weighted(&odds)), None);
    assert_eq!(length(Steering::IpHash(&all[..121])), Some(12 * 121 + 37));
    assert_eq!(length(Steering::IpHash(&all[..122])), None);
    let on_ipv4 = |slots: &[u16]| program(Steering::IpHash(slots), Family::V4).map(|program| program.len());
    assert_eq!(on_ipv4(&all[..124]), Some(12 * 124 + 7));
    assert_eq!(on_ipv4(&all[..125]), None);
}

#[test]
fn a_packet_that_cannot_be_judged_goes_to_the_primary() {
    let program = program(Steering::IpHash(&[0, 1]), Family::V6).unwrap();
    let mut packet = Packet::from((Ipv6Addr::LOCALHOST, 1).into());
    packet.bytes.truncate(23);
    assert_eq!(run(&program, &packet), 0);
}
