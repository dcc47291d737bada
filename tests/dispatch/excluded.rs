//! Excluded is not empty (rule 2): a connection whose handshake ended on the listener of a slot that serves no
//! more is served by another, and nobody is reset.

use std::os::fd::AsFd;

use drover::sys::{bpf, fds};

use crate::harness::*;

const CLIENTS: usize = 40;

/// Connections lie in the queue of slot 0's own listener; then `exclude` happens to slot 0, and what is left of
/// its worker may take what it is sent.
fn nobody_is_lost_when(exclude: impl FnOnce(&Cluster, &Site, ManualWorker) -> Option<Worker>) {
    // Without a judge the queue stays as it is until then.
    let (cluster, site, _others) = Cluster::serving(Settings { health_aware: false, ..direct() }, 0);
    let manual = cluster.manual(0);
    let listener = cluster.share(0, &site).unwrap();
    cluster.serve_manual(manual.id, &site);
    let _other = cluster.worker(1, &site);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::to(site.to())).collect();
    let queue = fds::accept_queue(listener.as_fd()).unwrap();
    assert!(queue > 0, "of {CLIENTS} clients none met slot 0: once in 10^12 runs");
    drop(listener);
    let left = exclude(&cluster, &site, manual);
    for mut client in clients {
        let slot = client.who();
        assert!(slot == 1 || left.is_some(), "{slot}");
    }
    assert_eq!(cluster.refused(), 0);
}

#[test]
fn the_queue_of_a_worker_that_closed_its_server_is_served_by_others() {
    nobody_is_lost_when(|cluster, site, manual| {
        cluster.close_manual(manual.id, site);
        None
    });
}

#[test]
fn the_queue_of_a_dead_worker_is_served_by_others() {
    nobody_is_lost_when(|cluster, _, manual| {
        let id = manual.id;
        drop(manual);
        cluster.dead(id);
        None
    });
}

#[test]
fn the_queue_of_a_worker_short_of_descriptors_is_served_by_others() {
    nobody_is_lost_when(|cluster, site, manual| {
        cluster.fd_pressure(manual.id, true);
        Some(manual.run_behind(vec![(site.group, None)]))
    });
}

#[test]
fn the_queue_of_a_leaving_worker_is_served_by_others() {
    nobody_is_lost_when(|cluster, _, manual| {
        cluster.drain_manual(&manual);
        None
    });
}

#[test]
fn a_connection_on_the_listener_of_a_slot_that_never_had_a_worker_is_served() {
    let (cluster, site, workers) = Cluster::serving(settings(), 1);
    let unused = cluster.share(3, &site).unwrap();
    // What a program that is replaced meanwhile does: everything to member 4, which is slot 3's.
    let to_slot_3 =
        drover::balance::program(drover::balance::Steering::Uniform(&[3]), drover::balance::Family::V4);
    let raw: Vec<_> = to_slot_3.unwrap().iter().map(|step| (step.code, step.jt, step.jf, step.k)).collect();
    bpf::attach(unused.as_fd(), &raw).unwrap();
    for _ in 0..20 {
        assert_eq!(Client::to(site.to()).who(), 0);
    }
    assert_eq!((workers[0].pushed(), workers[0].accepted()), (20, 0));
}
