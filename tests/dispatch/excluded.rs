//! An excluded slot may have queued connections (rule 2): connections in the listener queue of a slot that no longer
//! serves are served by another worker; none is reset.

use std::os::fd::AsFd;

use drover::sys::{bpf, fds};

use crate::harness::*;

const CLIENTS: usize = 40;

/// Connections are in the queue of slot 0's own listener; then `exclude` excludes slot 0, and its worker, if it still
/// runs, may take what it is sent.
fn nobody_is_lost_when(exclude: impl FnOnce(&Cluster, &Site, ManualWorker) -> Option<Worker>) {
    // Without the check for unresponsive workers, the queue is unchanged until then.
    let (cluster, site, _others) = Cluster::serving(Settings { health_aware: false, ..direct() }, 0);
    let manual = cluster.manual(0);
    let listener = cluster.share(0, &site).unwrap();
    cluster.serve_manual(manual.id, &site);
    let _other = cluster.worker(1, &site);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::to(site.to())).collect();
    let queue = fds::accept_queue(listener.as_fd()).unwrap();
    assert!(queue > 0, "none of {CLIENTS} clients reached slot 0: probability 10^-12");
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
    // As a steering program that is being replaced: all connections to member 4, which is slot 3's.
    let to_slot_3 =
        drover::balance::program(drover::balance::Steering::Uniform(&[3]), drover::balance::Family::V4);
    let raw: Vec<_> = to_slot_3.unwrap().iter().map(|step| (step.code, step.jt, step.jf, step.k)).collect();
    bpf::attach(unused.as_fd(), &raw).unwrap();
    for _ in 0..20 {
        assert_eq!(Client::to(site.to()).who(), 0);
    }
    assert_eq!((workers[0].pushed(), workers[0].accepted()), (20, 0));
}
