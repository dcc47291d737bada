//! The addresses that a replacement must serve before it takes over the slot, and the log line about an address that no
//! worker serves any more.

use drover::dispatch::Report;
use drover::ipc::control::Datagram;

use crate::harness::*;

/// Waits until the addresses that the slot's next worker lacks are `wanted`.
fn lacks(cluster: &Cluster, next: &ManualWorker, wanted: &[String]) {
    cluster.report("the addresses that the replacement lacks", |report| {
        matches!(report, Report::Succession { worker, lacks }
            if *worker == next.id && lacks == wanted)
    });
}

fn name(site: &Site) -> String {
    site.to().to_string()
}

/// A started cluster with `workers` workers, from slot 0, that serve one address.
fn started(workers: u16) -> (Cluster, Site, Vec<Worker>) {
    let (cluster, site, workers) = Cluster::serving(settings(), workers);
    cluster.started();
    (cluster, site, workers)
}

fn is_loss(report: &Report) -> bool {
    matches!(report, Report::Lost { .. })
}

#[test]
fn a_replacement_takes_over_when_it_serves_every_address_of_its_predecessor() {
    let (cluster, first, workers) = Cluster::serving(settings(), 2);
    let second = cluster.open(&second_tcp("127.0.0.1"));
    workers.iter().for_each(|worker| cluster.serve(worker, &second));
    let next = cluster.starting_manual(0);
    cluster.serve_manual(next.id, &first);
    cluster.succeed(&next);
    lacks(&cluster, &next, &[name(&second)]);
    cluster.serve_manual(next.id, &second);
    lacks(&cluster, &next, &[]);
    cluster.promote(next.id);
    assert_eq!(cluster.reports(is_loss), 0);
}

#[test]
fn what_the_predecessor_closes_or_opens_meanwhile_is_not_waited_for() {
    let (cluster, first, workers) = Cluster::serving(settings(), 1);
    let second = cluster.open(&second_tcp("127.0.0.1"));
    cluster.serve(&workers[0], &second);
    let next = cluster.starting_manual(0);
    cluster.serve_manual(next.id, &first);
    cluster.succeed(&next);
    lacks(&cluster, &next, &[name(&second)]);
    let third = cluster.open(&tcp("127.0.0.2"));
    cluster.serve(&workers[0], &third);
    cluster.close(&workers[0], &second);
    lacks(&cluster, &next, &[]);
}

#[test]
fn the_death_of_the_predecessor_ends_the_wait() {
    let (cluster, first, mut workers) = Cluster::serving(settings(), 2);
    let next = cluster.starting_manual(0);
    cluster.succeed(&next);
    lacks(&cluster, &next, &[name(&first)]);
    cluster.kill(workers.remove(0));
    lacks(&cluster, &next, &[]);
}

#[test]
fn a_datagram_socket_of_the_predecessors_start_is_waited_for() {
    let (cluster, first, _workers) = Cluster::serving(settings(), 0);
    let old = cluster.manual(0);
    cluster.serve_manual(old.id, &first);
    let (keep_alive, _) = cluster.bind(&old, &udp(0)).unwrap();
    let (closed, _) = cluster.bind(&old, &Datagram { nth: 1, ..udp(0) }).unwrap();
    cluster.unbind(&old, closed);
    let next = cluster.starting_manual(0);
    cluster.serve_manual(next.id, &first);
    cluster.succeed(&next);
    lacks(&cluster, &next, &["udp 127.0.0.1:0".to_owned()]);
    assert_eq!(cluster.bind(&next, &udp(0)).unwrap().0, keep_alive);
    lacks(&cluster, &next, &[]);
}

#[test]
fn who_has_no_predecessor_takes_over_at_once() {
    let cluster = Cluster::start(settings());
    let first = cluster.starting_manual(0);
    cluster.succeed(&first);
    lacks(&cluster, &first, &[]);
}

#[test]
fn the_last_servers_death_is_told_at_once_and_the_next_server_too() {
    let (cluster, site, mut workers) = started(2);
    cluster.kill(workers.remove(0));
    assert_eq!(cluster.reports(is_loss), 0, "another serves");
    cluster.kill(workers.remove(0));
    cluster
        .report("the loss", |report| matches!(report, Report::Lost { address } if *address == name(&site)));
    let _next = cluster.worker(0, &site);
    cluster.report(
        "its end",
        |report| matches!(report, Report::Regained { address, .. } if *address == name(&site)),
    );
    assert_eq!(cluster.reports(is_loss), 1);
}

#[test]
fn while_the_cluster_starts_no_loss_is_told() {
    let (cluster, site, mut workers) = Cluster::serving(settings(), 1);
    cluster.kill(workers.remove(0));
    cluster.started();
    let _next = cluster.worker(0, &site);
    assert_eq!(cluster.reports(|report| is_loss(report) || matches!(report, Report::Regained { .. })), 0);
}

#[test]
fn a_worker_that_takes_over_without_an_address_leaves_it_to_nobody() {
    let (cluster, site, _workers) = started(1);
    let next = cluster.starting_manual(0);
    cluster.promote(next.id);
    cluster
        .report("the loss", |report| matches!(report, Report::Lost { address } if *address == name(&site)));
}

#[test]
fn an_address_that_the_cluster_closes_is_not_lost() {
    let (cluster, site, workers) = started(2);
    workers.iter().for_each(|worker| cluster.close(worker, &site));
    let (stopping, _, mut workers) = started(1);
    stopping.retire();
    stopping.kill(workers.remove(0));
    stopping.settle();
    assert_eq!(cluster.reports(is_loss) + stopping.reports(is_loss), 0);
}
