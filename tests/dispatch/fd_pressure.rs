//! A worker that is short of descriptors (rule 4): it leaves direct mode and gets its connections one at a time.

use drover::balance::Strategy;

use crate::harness::*;

#[test]
fn a_worker_short_of_descriptors_is_left_out_of_direct_mode_until_it_has_enough_again() {
    let settings = Settings { health_aware: false, ..direct() };
    let (cluster, site, workers) = Cluster::serving(settings, 2);
    let fd_pressure = &workers[0];
    cluster.fd_pressure(fd_pressure.id, true);
    let before = fd_pressure.taken();
    for _ in 0..40 {
        assert_eq!(Client::to(site.to()).who(), 1);
    }
    assert_eq!(fd_pressure.taken(), before);
    cluster.fd_pressure(fd_pressure.id, false);
    // Each client reaches it with a probability of 1/2.
    assert!((0..100).any(|_| Client::to(site.to()).who() == 0));
}

#[test]
fn when_every_worker_is_short_of_descriptors_connections_are_pushed() {
    let (cluster, site, workers) = Cluster::serving(direct(), 2);
    workers.iter().for_each(|worker| cluster.fd_pressure(worker.id, true));
    let accepted: u64 = workers.iter().map(Worker::accepted).sum();
    for _ in 0..40 {
        Client::to(site.to()).who();
    }
    assert_eq!(workers.iter().map(Worker::accepted).sum::<u64>(), accepted);
    assert_eq!(workers.iter().map(Worker::pushed).sum::<u64>(), 40);
}

/// Twenty connections wait when the worker opens its server; returns the number of connections in each message.
fn messages(fd_pressure: bool) -> Vec<usize> {
    let (cluster, site, _) = Cluster::serving(exact(Strategy::RoundRobin), 0);
    let _clients: Vec<Client> = (0..20).map(|_| Client::to(site.to())).collect();
    eventually("20 connections wait", || (cluster.queued() == 20).then_some(()));
    let manual = cluster.manual(0);
    cluster.fd_pressure(manual.id, fd_pressure);
    cluster.serve_manual(manual.id, &site);
    let mut messages = Vec::new();
    while messages.iter().sum::<usize>() < 20 {
        manual.await_message();
        messages.extend(manual.take().map(|fd_message| fd_message.fds.len()));
    }
    messages
}

#[test]
fn a_worker_short_of_descriptors_gets_one_connection_a_message() {
    assert_eq!(messages(false), [20], "otherwise all in one message");
    assert_eq!(messages(true), [1; 20]);
}

#[test]
fn a_worker_short_of_descriptors_has_one_connection_on_the_way_and_the_others_wait() {
    let (cluster, site, _) = Cluster::serving(exact(Strategy::RoundRobin), 0);
    let manual = cluster.manual(0);
    cluster.fd_pressure(manual.id, true);
    cluster.serve_manual(manual.id, &site);
    let _clients: Vec<Client> = (0..20).map(|_| Client::to(site.to())).collect();
    eventually("the others wait", || (cluster.queued() == 19).then_some(()));
    assert_eq!(manual.take().unwrap().fds.len(), 1);
}

#[test]
fn a_worker_short_of_descriptors_gets_something_only_when_no_other_has_room() {
    let settings = Settings { max_connections_per_worker: Some(3), ..exact(Strategy::RoundRobin) };
    let (cluster, site, workers) = Cluster::serving(settings, 2);
    cluster.fd_pressure(workers[0].id, true);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::to(site.to())).collect();
    let who: Vec<u16> = clients.iter_mut().map(Client::who).collect();
    assert_eq!(who, [1, 1, 1, 0]);
}

#[test]
fn what_a_worker_short_of_descriptors_has_not_read_goes_to_others() {
    let (cluster, site, _) = Cluster::serving(exact(Strategy::RoundRobin), 0);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    let clients: Vec<Client> = (0..10).map(|_| Client::to(site.to())).collect();
    manual.await_message();
    let _other = cluster.worker(1, &site);
    cluster.fd_pressure(manual.id, true);
    for mut client in clients {
        assert_eq!(client.who(), 1);
    }
}
