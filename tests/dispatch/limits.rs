//! Limits of connections per worker, of waiting connections and of descriptors: no connection is lost at any of them.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use drover::balance::{Family, Steering, Strategy, program};
use drover::sys::bpf;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::*;
use drover::model::WorkerId;

fn at_most(connections: u32) -> Settings {
    let max_connections_per_worker = Some(connections);
    Settings { max_connections_per_worker, queue_timeout: TIMEOUT, health_aware: false, ..direct() }
}

#[test]
fn no_worker_ever_has_more_connections_than_its_limit_and_every_client_is_served() {
    let (_cluster, site, workers) = Cluster::serving(at_most(2), 3);
    let clients = |count: usize| {
        let to = site.to();
        std::thread::spawn(move || {
            for _ in 0..count {
                Client::to(to).who();
            }
        })
    };
    let crowd: Vec<_> = (0..12).map(|_| clients(15)).collect();
    crowd.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(workers.iter().map(Worker::pushed).sum::<u64>(), 12 * 15);
    assert_eq!(
        workers.iter().map(Worker::accepted).sum::<u64>(),
        0,
        "a limit keeps the listener in push mode"
    );
    assert_eq!(workers.iter().map(Worker::max_open).max(), Some(2));
}

#[test]
fn beyond_the_limit_connections_wait_and_one_that_ends_lets_one_in() {
    let (cluster, site, _workers) = Cluster::serving(at_most(2), 2);
    let mut served: Vec<Client> = (0..4).map(|_| Client::to(site.to())).collect();
    let slots: Vec<u16> = served.iter_mut().map(Client::who).collect();
    assert_eq!(slots, [0, 1, 0, 1]);
    let mut waiting: Vec<Client> = (0..3).map(|_| Client::to(site.to())).collect();
    eventually("three wait", || (cluster.queued() == 3).then_some(()));
    while !waiting.is_empty() {
        drop(served.pop());
        let mut first = waiting.remove(0);
        first.who();
        assert!(waiting.iter().all(|client| client.is_silent_for(Duration::from_millis(20))));
        served.push(first);
    }
}

#[test]
fn who_waits_longest_is_served_first_and_no_newcomer_passes() {
    let (cluster, site, _workers) = Cluster::serving(at_most(1), 1);
    let mut last = Client::to(site.to());
    last.who();
    let mut waiting = Vec::new();
    for count in 1..=5 {
        waiting.push(Client::to(site.to()));
        eventually("another one waits", || (cluster.queued() == count).then_some(()));
    }
    for mut next in waiting {
        // Arrives just after a connection was closed.
        drop(last);
        let newcomer = Client::to(site.to());
        next.who();
        assert!(newcomer.is_silent_for(Duration::ZERO));
        last = next;
    }
}

#[test]
fn a_worker_with_many_unread_connections_gets_no_more_and_the_rest_waits() {
    let settings = Settings { queue_timeout: TIMEOUT, ..exact(Strategy::RoundRobin) };
    let (cluster, site, _) = Cluster::serving(settings, 0);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    let clients: Vec<Client> = (0..300).map(|_| Client::to(site.to())).collect();
    eventually("172 wait", || (cluster.queued() == 172).then_some(()));
    let _worker = manual.run_behind(vec![(site.group, None)]);
    for mut client in clients {
        assert_eq!(client.who(), 0);
    }
}

fn limit_descriptors(to: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(to), maximum }).unwrap();
}

#[test]
fn an_ordinary_users_limit_of_descriptors_under_way_loses_no_connection() {
    let test = "limits::an_ordinary_users_limit_of_descriptors_under_way_loses_no_connection";
    if !in_a_process_of_its_own(test, Apart::Nobody, 1024) {
        return;
    }
    let settings = Settings { queue_timeout: TIMEOUT, ..exact(Strategy::RoundRobin) };
    let (cluster, site, _) = Cluster::serving(settings, 0);
    let clients: Vec<Client> = (0..300).map(|_| Client::to(site.to())).collect();
    eventually("all wait", || (cluster.queued() == 300).then_some(()));
    let manuals: Vec<ManualWorker> = (0..4).map(|slot| cluster.manual(slot)).collect();
    // The kernel compares the descriptors in flight with the limit at the time of sending.
    limit_descriptors(64);
    manuals.iter().for_each(|manual| cluster.serve_manual(manual.id, &site));
    manuals[0].await_message();
    cluster.settle();
    // Four workers may have 128 descriptors in flight each.
    assert!(
        cluster.queued() > 100,
        "the kernel accepts no more descriptors: {} connections wait",
        cluster.queued()
    );
    limit_descriptors(1024);
    let _workers: Vec<Worker> =
        manuals.into_iter().map(|manual| manual.run_behind(vec![(site.group, None)])).collect();
    for mut client in clients {
        client.who();
    }
    assert_eq!(cluster.refused(), 0);
}

/// Opens descriptors until none is left.
fn take_descriptors() -> Vec<OwnedFd> {
    let any = std::io::stdin();
    std::iter::from_fn(|| rustix::io::fcntl_dupfd_cloexec(any.as_fd(), 0).ok()).collect()
}

/// Clients connect while the process has no descriptor left; they are served when descriptors are free again.
fn clients_wait_for_descriptors(cluster: &Cluster, site: &Site) {
    let before = cluster.processor_time();
    let sockets = [0; 3].map(|_| Client::socket(site.to()));
    let taken = take_descriptors();
    let clients = sockets.map(|socket| Client::connected(socket, site.to()));
    cluster.report("no descriptor is left", is_short_of_descriptors);
    assert!(clients[0].is_silent_for(Duration::from_millis(300)));
    drop(taken);
    let spent = cluster.processor_time() - before;
    assert!(spent <= Duration::from_millis(100), "it spent {spent:?} on retries");
    for mut client in clients {
        client.who();
    }
    assert_eq!(cluster.reports(is_short_of_descriptors), 1, "said once");
}

#[test]
fn without_a_descriptor_left_connections_wait_and_are_served_later() {
    let test = "limits::without_a_descriptor_left_connections_wait_and_are_served_later";
    if !in_a_process_of_its_own(test, Apart::Same, 256) {
        return;
    }
    let (cluster, site, _workers) = Cluster::serving(exact(Strategy::RoundRobin), 2);
    clients_wait_for_descriptors(&cluster, &site);
    Client::to(site.to()).who();
}

#[test]
fn without_a_descriptor_left_a_slots_queue_waits_as_well() {
    let test = "limits::without_a_descriptor_left_a_slots_queue_waits_as_well";
    if !in_a_process_of_its_own(test, Apart::Same, 256) {
        return;
    }
    let (cluster, site, _workers) = Cluster::serving(exact(Strategy::RoundRobin), 1);
    let unused = cluster.share(3, &site).unwrap();
    let steps = program(Steering::Uniform(&[3]), Family::V4).unwrap();
    let raw: Vec<_> = steps.iter().map(|step| (step.code, step.jt, step.jf, step.k)).collect();
    bpf::attach(unused.as_fd(), &raw).unwrap();
    clients_wait_for_descriptors(&cluster, &site);
}

#[test]
fn what_a_dead_worker_had_not_read_is_taken_back_as_descriptors_become_free() {
    let test = "limits::what_a_dead_worker_had_not_read_is_taken_back_as_descriptors_become_free";
    if !in_a_process_of_its_own(test, Apart::Same, 256) {
        return;
    }
    let (cluster, site, _) = Cluster::serving(exact(Strategy::RoundRobin), 0);
    let clients: Vec<Client> = (0..30).map(|_| Client::to(site.to())).collect();
    eventually("they wait", || (cluster.queued() == 30).then_some(()));
    let (dying, heir) = (cluster.manual(0), cluster.manual(1));
    // All connections in one message, which needs thirty descriptors at once.
    cluster.serve_manual(dying.id, &site);
    dying.await_message();
    cluster.serve_manual(heir.id, &site);
    let taken = take_descriptors();
    drop(dying);
    cluster.dead(WorkerId::new(0, 1));
    assert!(clients[0].is_silent_for(Duration::from_millis(50)));
    drop(taken);
    let _worker = heir.run_behind(vec![(site.group, None)]);
    for mut client in clients {
        assert_eq!(client.who(), 1);
    }
    assert_eq!(cluster.refused(), 0);
}
