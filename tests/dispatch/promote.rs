//! Promotion of a slot's next worker: which worker gets connections before, during and after the change.

use drover::balance::Strategy;
use drover::metrics::layout::page;

use crate::harness::*;
use drover::model::WorkerId;

#[test]
fn a_worker_that_gets_ready_beside_the_present_one_gets_nothing() {
    let (cluster, site, _workers) = Cluster::serving(exact(Strategy::RoundRobin), 1);
    let next = cluster.starting_manual(0);
    cluster.serve_manual(next.id, &site);
    for _ in 0..8 {
        assert_eq!(Client::to(site.to()).who_exactly(), WorkerId::new(0, 1));
    }
    assert!(next.take().is_none());
}

#[test]
fn from_its_promotion_on_the_next_worker_gets_everything_and_its_predecessor_nothing() {
    let (cluster, site, _workers) = Cluster::serving(exact(Strategy::RoundRobin), 1);
    let mut keep_alive = Client::to(site.to());
    keep_alive.who();
    let next = cluster.starting_manual(0);
    let id = next.id;
    cluster.serve_manual(id, &site);
    cluster.promote(id);
    let _next = next.run_behind(vec![(site.group, None)]);
    for _ in 0..8 {
        assert_eq!(Client::to(site.to()).who_exactly(), WorkerId::new(0, 2));
    }
    keep_alive.say(b"still there");
    assert_eq!(keep_alive.hear(11), b"still there");
}

#[test]
fn what_the_predecessor_has_not_read_comes_round_again() {
    let (cluster, site, _) = Cluster::serving(exact(Strategy::RoundRobin), 0);
    let old = cluster.manual(0);
    cluster.serve_manual(old.id, &site);
    let clients: Vec<Client> = (0..20).map(|_| Client::to(site.to())).collect();
    old.await_message();
    let next = cluster.starting_manual(0);
    cluster.serve_manual(next.id, &site);
    cluster.promote(next.id);
    let _next = next.run_behind(vec![(site.group, None)]);
    for mut client in clients {
        assert_eq!(client.who_exactly(), WorkerId::new(0, 2));
    }
}

#[test]
fn a_cold_worker_is_fed_slowly_but_gets_every_client_that_belongs_to_its_slot() {
    for (strategy, share) in [(Strategy::LeastConnections, 1), (Strategy::IpHash, 12)] {
        let (cluster, site, _workers) = Cluster::serving(exact(strategy), 2);
        let slot = Client::to(site.to()).who();
        for slot in 0..2 {
            // With this many responses, a worker is past its warm-up.
            cluster.memory.page(WorkerId::new(slot, 1)).set(page::RESPONSES, 1000f64.to_bits());
        }
        let next = cluster.starting_manual(slot);
        let id = next.id;
        cluster.serve_manual(id, &site);
        cluster.promote(id);
        let _next = next.run_behind(vec![(site.group, None)]);
        let mut clients: Vec<Client> = (0..12).map(|_| Client::to(site.to())).collect();
        let by_new = clients
            .iter_mut()
            .filter_map(|client| (client.who_exactly() == WorkerId::new(slot, 2)).then_some(()));
        assert_eq!(by_new.count(), share, "{strategy:?}");
    }
}

#[test]
fn a_next_worker_that_dies_before_its_promotion_changes_nothing() {
    let (cluster, site, _workers) = Cluster::serving(exact(Strategy::RoundRobin), 1);
    let next = cluster.starting_manual(0);
    cluster.serve_manual(next.id, &site);
    drop(next);
    cluster.dead(WorkerId::new(0, 2));
    cluster.promote(WorkerId::new(0, 2));
    assert_eq!(Client::to(site.to()).who_exactly(), WorkerId::new(0, 1));
}

#[test]
fn the_predecessors_close_and_death_take_nothing_from_its_successor() {
    let (cluster, site, mut workers) = Cluster::serving(exact(Strategy::RoundRobin), 1);
    let next = cluster.starting_manual(0);
    let id = next.id;
    cluster.serve_manual(id, &site);
    cluster.promote(id);
    let _next = next.run_behind(vec![(site.group, None)]);
    let old = workers.remove(0);
    cluster.close(&old, &site);
    assert_eq!(Client::to(site.to()).who_exactly(), WorkerId::new(0, 2));
    cluster.kill(old);
    assert_eq!(Client::to(site.to()).who_exactly(), WorkerId::new(0, 2));
}

#[test]
fn in_direct_mode_no_connection_is_lost_while_workers_take_over() {
    let (cluster, site, mut workers) = Cluster::serving(direct(), 2);
    for round in 0..6 {
        let crowd = std::thread::spawn({
            let to = site.to();
            move || {
                for _ in 0..200 {
                    Client::to(to).greeting().expect("no connection is lost");
                }
            }
        });
        let slot = round % 2;
        let next = cluster.starting_manual(slot);
        let id = next.id;
        let share = cluster.share(slot, &site);
        cluster.serve_manual(id, &site);
        cluster.promote(id);
        let next = next.run_behind(vec![(site.group, share)]);
        let old = std::mem::replace(&mut workers[usize::from(slot)], next);
        cluster.close(&old, &site);
        crowd.join().unwrap();
        cluster.kill(old);
    }
}

#[test]
fn a_worker_beyond_the_listeners_of_an_address_is_served_through_the_primary() {
    let (cluster, site, _workers) =
        Cluster::serving(Settings { slots: 2, health_aware: false, ..direct() }, 2);
    let _third = cluster.worker(2, &site);
    let mut seen = [0; 3];
    for _ in 0..30 {
        seen[usize::from(Client::to(site.to()).who())] += 1;
    }
    assert_eq!(seen, [10, 10, 10]);
}
