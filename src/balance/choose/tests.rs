use super::{Candidate, Chooser, Strategy};
use crate::balance::hash::{ClientKey, client_key, flow_key};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Strategy as _, prop, prop_assert, prop_assert_eq, prop_assert_ne, proptest};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

fn idle(slot: u16) -> Candidate {
    Candidate { slot, connections: 0, weight: 1, latency_us: 0.0, in_flight: 0 }
}

fn idles(slots: &[u16]) -> Vec<Candidate> {
    slots.iter().map(|&slot| idle(slot)).collect()
}

fn weighted(weights: &[(u16, u32)]) -> Vec<Candidate> {
    weights.iter().map(|&(slot, weight)| Candidate { weight, ..idle(slot) }).collect()
}

fn client(n: u32) -> ClientKey {
    client_key(Ipv4Addr::from_bits(0x0A00_0000 + n).into())
}

/// The slot that is chosen, without a client.
fn next(chooser: &mut Chooser, candidates: &[Candidate]) -> u16 {
    candidates[chooser.choose(candidates, None, 0).unwrap()].slot
}

fn take(chooser: &mut Chooser, candidates: &[Candidate], times: usize) -> Vec<u16> {
    (0..times).map(|_| next(chooser, candidates)).collect()
}

const ALL: [Strategy; 6] = [
    Strategy::RoundRobin,
    Strategy::LeastConnections,
    Strategy::IpHash,
    Strategy::WeightedRoundRobin,
    Strategy::LeastResponseTime,
    Strategy::Os,
];

#[test]
fn no_candidate_no_choice_and_a_single_one_takes_all() {
    for strategy in ALL {
        for key in [None, Some(client(1))] {
            let mut chooser = Chooser::new(strategy);
            assert_eq!(chooser.choose(&[], key, 7), None, "{strategy:?}");
            assert_eq!(chooser.choose(&[idle(9)], key, 7), Some(0), "{strategy:?}");
        }
    }
}

#[test]
fn round_robin_goes_on_with_the_next_slot_when_workers_come_and_go() {
    let mut chooser = Chooser::new(Strategy::RoundRobin);
    assert_eq!(take(&mut chooser, &idles(&[2, 0, 1]), 4), [0, 1, 2, 0]);
    assert_eq!(take(&mut chooser, &idles(&[0, 2]), 1), [2]);
    assert_eq!(take(&mut chooser, &idles(&[0, 1, 2, 3]), 3), [3, 0, 1]);
    assert_eq!(take(&mut chooser, &idles(&[0, 1]), 2), [0, 1]);
}

#[test]
fn hashes_take_turns_when_there_is_no_client_address() {
    for strategy in [Strategy::IpHash, Strategy::Os] {
        assert_eq!(take(&mut Chooser::new(strategy), &idles(&[0, 1, 2]), 4), [0, 1, 2, 0]);
    }
}

#[test]
fn least_connections_fills_sixteen_into_four_by_four_and_again_after_churn() {
    let mut chooser = Chooser::new(Strategy::LeastConnections);
    let mut workers = idles(&[0, 1, 2, 3]);
    let open = |workers: &mut Vec<Candidate>, chooser: &mut Chooser, times| {
        for _ in 0..times {
            let chosen = chooser.choose(workers, None, 0).unwrap();
            workers[chosen].connections += 1;
        }
        workers.iter().map(|c| c.connections).collect::<Vec<_>>()
    };
    assert_eq!(open(&mut workers, &mut chooser, 16), [4, 4, 4, 4]);
    workers[2].connections = 0;
    assert_eq!(open(&mut workers, &mut chooser, 4), [4, 4, 4, 4]);
}

#[test]
fn least_connections_takes_turns_among_equals() {
    let mut chooser = Chooser::new(Strategy::LeastConnections);
    let mut workers = idles(&[0, 1, 2]);
    workers[1].connections = 5;
    assert_eq!(take(&mut chooser, &workers, 4), [0, 2, 0, 2]);
}

#[test]
fn least_connections_lets_a_heavier_worker_carry_its_weight() {
    let mut chooser = Chooser::new(Strategy::LeastConnections);
    let mut workers = weighted(&[(0, 3), (1, 1)]);
    for _ in 0..16 {
        let chosen = chooser.choose(&workers, None, 0).unwrap();
        workers[chosen].connections += 1;
    }
    assert_eq!([workers[0].connections, workers[1].connections], [12, 4]);
}

#[test]
fn weighted_round_robin_is_interleaved_like_nginx() {
    let mut chooser = Chooser::new(Strategy::WeightedRoundRobin);
    let workers = weighted(&[(0, 5), (1, 1), (2, 1)]);
    assert_eq!(take(&mut chooser, &workers, 7), [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(take(&mut chooser, &workers, 7), [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn weighted_round_robin_keeps_its_rhythm_while_a_worker_is_away() {
    let mut chooser = Chooser::new(Strategy::WeightedRoundRobin);
    let workers = weighted(&[(0, 1), (1, 1), (2, 2)]);
    assert_eq!(take(&mut chooser, &workers, 2), [2, 0]);
    // Slot 1 gets the turn that it was due, and its half of the others.
    assert_eq!(take(&mut chooser, &workers[..2], 4), [1, 1, 0, 1]);
    assert_eq!(take(&mut chooser, &workers, 4), [2, 0, 1, 2]);
}

#[test]
fn least_response_time_prefers_the_lower_product_of_latency_and_requests() {
    let worker = |slot, latency_us, in_flight| Candidate { latency_us, in_flight, ..idle(slot) };
    let table = [
        ("faster", worker(0, 900.0, 0), worker(1, 100.0, 0), 1),
        ("faster but full", worker(0, 900.0, 0), worker(1, 100.0, 9), 0),
        ("unmeasured is as fast as its rival", worker(0, 900.0, 1), worker(1, 0.0, 0), 1),
        ("unmeasured is not free", worker(0, 900.0, 1), worker(1, 0.0, 2), 0),
        ("nobody measured", worker(0, 0.0, 3), worker(1, 0.0, 2), 1),
        ("no number", worker(0, f64::NAN, 3), worker(1, f64::INFINITY, 4), 0),
        (
            "half the cost at twice the weight",
            worker(0, 100.0, 0),
            Candidate { weight: 3, ..worker(1, 200.0, 0) },
            1,
        ),
    ];
    for (name, a, b, expected) in table {
        for random in [0, 1, 0x0001_0000, 0x1234_5678, u32::MAX] {
            let chosen = Chooser::new(Strategy::LeastResponseTime).choose(&[a, b], None, random);
            assert_eq!(chosen, Some(expected), "{name}, random {random:#x}");
        }
    }
}

#[test]
fn the_flows_of_one_client_use_every_worker() {
    let mut chooser = Chooser::new(Strategy::Os);
    let workers = idles(&[3, 1, 2]);
    let mut hits = BTreeMap::<usize, u32>::new();
    for port in 1000..1300 {
        let key = flow_key((Ipv4Addr::LOCALHOST, port).into());
        *hits.entry(chooser.choose(&workers, Some(key), 0).unwrap()).or_default() += 1;
    }
    assert!(hits.len() == 3 && hits.values().all(|&n| n > 60), "{hits:?}");
}

proptest! {
    #[test]
    fn the_order_of_the_candidates_does_not_matter(
        slots in btree_set(0u16..64, 1..20).prop_map(Vec::from_iter).prop_shuffle(), key: u32, turns in 1usize..20,
    ) {
        let key = client(key & 0x00FF_FFFF);
        let sorted = { let mut slots = slots.clone(); slots.sort_unstable(); slots };
        for strategy in ALL.into_iter().filter(|&s| s != Strategy::LeastResponseTime) {
            let (mut a, mut b) = (Chooser::new(strategy), Chooser::new(strategy));
            for _ in 0..turns {
                let x = a.choose(&idles(&slots), Some(key), 0).unwrap();
                let y = b.choose(&idles(&sorted), Some(key), 0).unwrap();
                prop_assert_eq!(slots[x], sorted[y], "{:?}", strategy);
            }
        }
    }

    #[test]
    fn a_slot_that_leaves_moves_exactly_its_own_clients(slots in btree_set(0u16..1024, 2..40), gone: prop::sample::Index) {
        let before: Vec<u16> = slots.into_iter().collect();
        let gone = before[gone.index(before.len())];
        let after: Vec<u16> = before.iter().copied().filter(|&slot| slot != gone).collect();
        let mut chooser = Chooser::new(Strategy::IpHash);
        let mut slot_of = |slots: &[u16], n| slots[chooser.choose(&idles(slots), Some(client(n)), 0).unwrap()];
        for n in 0..500 {
            let (was, is) = (slot_of(&before, n), slot_of(&after, n));
            prop_assert_eq!(was != is, was == gone, "client {}", n);
        }
    }

    #[test]
    fn weighted_round_robin_gives_each_its_weight_in_every_cycle(weights in vec(1u32..20, 1..10)) {
        let workers = weighted(&(0..).zip(weights.iter().copied()).collect::<Vec<_>>());
        let mut chooser = Chooser::new(Strategy::WeightedRoundRobin);
        for _ in 0..3 {
            let mut served = vec![0; weights.len()];
            for _ in 0..weights.iter().sum() {
                served[usize::from(next(&mut chooser, &workers))] += 1;
            }
            prop_assert_eq!(&served, &weights);
        }
    }

    #[test]
    fn weighted_round_robin_stays_bounded_whatever_comes_and_goes(
        rounds in vec(btree_set(0u16..6, 1..6), 1..400),
    ) {
        let mut chooser = Chooser::new(Strategy::WeightedRoundRobin);
        for slots in rounds {
            let workers: Vec<_> = slots.iter().map(|&slot| (slot, u32::from(slot) + 1)).collect();
            next(&mut chooser, &weighted(&workers));
            prop_assert_eq!(chooser.running.iter().sum::<i64>(), 0);
            prop_assert!(chooser.running.iter().all(|n| n.abs() <= 6 * 21), "{:?}", chooser.running);
        }
    }

    #[test]
    fn two_choices_reach_everyone_and_never_prefer_the_worst(n in 2usize..50, random: u32) {
        let mut workers: Vec<_> = (0..n as u16).map(idle).collect();
        workers[n - 1].in_flight = 100;
        let chosen = Chooser::new(Strategy::LeastResponseTime).choose(&workers, None, random).unwrap();
        prop_assert_ne!(chosen, n - 1);
        let first = (random & 0xFFFF) as usize % n;
        prop_assert!(first == n - 1 || chosen == first);
    }
}
