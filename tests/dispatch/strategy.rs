//! The strategies with real sockets: exact in push mode, by the kernel's choice in direct mode.

use std::collections::BTreeSet;
use std::net::IpAddr;

use drover::balance::Strategy;

use crate::harness::*;
use drover::model::WorkerId;

fn who(site: &Site, times: usize) -> Vec<u16> {
    (0..times).map(|_| Client::to(site.to()).who()).collect()
}

/// How often the slot occurs in the list.
fn share(list: &[u16], slot: u16) -> usize {
    list.iter().filter(|other| **other == slot).count()
}

#[test]
fn round_robin_serves_the_slots_in_turn() {
    let (_cluster, site, _workers) = Cluster::serving(exact(Strategy::RoundRobin), 4);
    assert_eq!(who(&site, 8), [0, 1, 2, 3, 0, 1, 2, 3]);
}

#[test]
fn sixteen_connections_on_four_workers_are_four_each_after_churn_too() {
    let (_cluster, site, workers) = Cluster::serving(exact(Strategy::LeastConnections), 4);
    let open = || -> Vec<u64> { workers.iter().map(Worker::open).collect() };
    let connect = || {
        let mut client = Client::to(site.to());
        (client.who(), client)
    };
    let mut held: Vec<(u16, Client)> = (0..16).map(|_| connect()).collect();
    assert_eq!(open(), [4, 4, 4, 4]);
    held.retain(|(slot, _)| *slot != 2);
    eventually("worker 2 has counted the closed connections", || (open() == [4, 4, 0, 4]).then_some(()));
    held.extend((0..4).map(|_| connect()));
    assert_eq!(open(), [4, 4, 4, 4]);
    for round in 0..8 {
        // Seven of sixteen, different ones each time.
        let mut at = 0;
        held.retain(|_| {
            at += 1;
            (at * 7 + round) % 16 >= 7
        });
        assert_eq!(held.len(), 9);
        eventually("they are closed", || (open().iter().sum::<u64>() == 9).then_some(()));
        held.extend((0..7).map(|_| connect()));
        assert_eq!(open(), [4, 4, 4, 4], "round {round}");
    }
}

#[test]
fn weights_are_kept_to_the_connection_in_push_mode() {
    let settings = Settings { weights: vec![5, 1, 1], ..exact(Strategy::WeightedRoundRobin) };
    let (_cluster, site, _workers) = Cluster::serving(settings, 3);
    let who = who(&site, 14);
    assert_eq!([0, 1, 2].map(|slot| share(&who, slot)), [10, 2, 2]);
    assert!(who.windows(5).all(|five| share(five, 0) < 5), "evenly spread: {who:?}");
}

#[test]
fn weights_are_the_odds_in_direct_mode() {
    let settings = Settings {
        strategy: Strategy::WeightedRoundRobin,
        weights: vec![3, 1],
        health_aware: false,
        ..direct()
    };
    let (_cluster, site, workers) = Cluster::serving(settings, 2);
    let heavy = share(&who(&site, 400), 0);
    // 300 expected with a standard deviation of 9.
    assert!((240..=360).contains(&heavy), "{heavy} of 400");
    assert!(workers[0].accepted() > 0);
}

#[test]
fn least_response_time_prefers_the_fast_worker_in_both_modes() {
    let strategy = Strategy::LeastResponseTime;
    let direct = Settings { strategy, health_aware: false, ..direct() };
    for (settings, least) in [(exact(strategy), 100), (direct, 80)] {
        let (cluster, site, workers) = Cluster::serving(settings, 2);
        workers[0].answers_in(50_000.0);
        workers[1].answers_in(100.0);
        // The weights of direct mode are computed again with each change of shares.
        cluster.serve_manual(WorkerId::new(1, 1), &site);
        let fast = share(&who(&site, 100), 1);
        assert!(fast >= least, "{fast} of 100, at least {least}");
    }
}

#[test]
fn a_worker_that_has_not_answered_yet_is_not_flooded_in_direct_mode() {
    let settings = Settings { strategy: Strategy::LeastResponseTime, health_aware: false, ..direct() };
    let (cluster, site, workers) = Cluster::serving(settings, 3);
    workers[0].answers_in(20_000.0);
    workers[1].answers_in(20_000.0);
    cluster.serve_manual(WorkerId::new(2, 1), &site);
    let fresh = share(&who(&site, 150), 2);
    // 50 expected with a standard deviation of 6.
    assert!((10..=90).contains(&fresh), "{fresh} of 150");
}

/// Each client reaches the same slot in push and in direct mode, and not all clients the same slot.
fn assert_same_slot_in_both_modes(host: &str, clients: &[(IpAddr, &str)]) {
    let strategy = Strategy::IpHash;
    let direct = Settings { strategy, health_aware: false, ..direct() };
    let places = [exact(strategy), direct].map(|settings| {
        let cluster = Cluster::start(settings);
        let site = cluster.open(&tcp(host));
        let workers: Vec<Worker> = (0..4).map(|slot| cluster.worker(slot, &site)).collect();
        let twice = clients.iter().chain(clients);
        let slots: Vec<u16> = twice.map(|(from, to)| Client::from(*from, site.at(to)).who()).collect();
        let (first, second) = slots.split_at(clients.len());
        assert_eq!(first, second, "a client that reconnects reaches the same worker");
        (first.to_vec(), workers.iter().map(Worker::accepted).sum::<u64>())
    });
    let [(pushed, none), (accepted, all)] = places;
    assert_eq!((none, all), (0, 2 * clients.len() as u64), "each mode is what it is called");
    assert_eq!(pushed, accepted);
    assert!(pushed.iter().collect::<BTreeSet<_>>().len() > 1, "{pushed:?}");
}

fn v4_clients() -> Vec<(IpAddr, &'static str)> {
    (1..=30).map(|n| (IpAddr::from([127, 0, 0, n]), "127.0.0.1")).collect()
}

#[test]
fn an_ipv4_client_meets_the_same_slot_in_both_modes() {
    assert_same_slot_in_both_modes("127.0.0.1", &v4_clients());
}

#[test]
fn ipv6_and_dual_stack_clients_meet_the_same_slot_in_both_modes() {
    let test = "strategy::ipv6_and_dual_stack_clients_meet_the_same_slot_in_both_modes";
    if !in_a_network_of_its_own(test) {
        return;
    }
    let addresses: Vec<IpAddr> = (1..=20).map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n])).collect();
    raise_loopback(&addresses);
    let v6: Vec<_> = addresses.into_iter().map(|from| (from, "2001:db8::1")).collect();
    assert_same_slot_in_both_modes("2001:db8::1", &v6);
    let both: Vec<_> = v4_clients().into_iter().chain(v6).collect();
    assert_same_slot_in_both_modes("::", &both);
}

#[test]
fn stickiness_by_address_overrules_the_strategy() {
    let settings = Settings { affinity: drover::dispatch::Affinity::Ip, ..exact(Strategy::RoundRobin) };
    let (_cluster, site, _workers) = Cluster::serving(settings, 4);
    let who = who(&site, 8);
    assert_eq!(who, [who[0]; 8]);
}

#[test]
fn ip_hash_moves_only_the_clients_of_a_worker_that_is_gone() {
    let (cluster, site, mut workers) = Cluster::serving(exact(Strategy::IpHash), 4);
    let slots = || -> Vec<u16> {
        let clients = (1..=40).map(|n| Client::from(IpAddr::from([127, 0, 0, n]), site.to()));
        clients.map(|mut client| client.who()).collect()
    };
    let before = slots();
    cluster.kill(workers.remove(2));
    let without = slots();
    let _replacement = cluster.worker(2, &site);
    assert_eq!(slots(), before, "its replacement gets them");
    for (before, without) in before.into_iter().zip(without) {
        assert!(if before == 2 { without != 2 } else { without == before });
    }
}

#[test]
fn os_lets_the_kernel_choose_by_address_and_port() {
    let settings = Settings { strategy: Strategy::Os, health_aware: false, ..settings() };
    let (_cluster, site, workers) = Cluster::serving(settings, 4);
    let who = who(&site, 60);
    assert_eq!(workers.iter().map(Worker::accepted).sum::<u64>(), 60);
    assert_eq!(who.iter().collect::<BTreeSet<_>>().len(), 4, "{who:?}");
}

#[test]
fn os_in_push_mode_chooses_as_the_kernel_would() {
    let (_pushing, push, _pushed) = Cluster::serving(exact(Strategy::Os), 4);
    let settings = Settings { strategy: Strategy::Os, health_aware: false, ..settings() };
    let (_steering, os, _accepting) = Cluster::serving(settings, 4);
    for _ in 0..30 {
        let mut client = Client::from("127.0.0.1".parse().unwrap(), push.to());
        assert_eq!(Client::from_exactly(client.address(), os.to()).who(), client.who());
    }
}
