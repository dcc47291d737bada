//! Unresponsive workers (rule 6): detected by the heartbeat while work is unread, relieved of their connections once;
//! an idle worker is never unresponsive.

use std::time::{Duration, Instant};

use drover::balance::Strategy;
use drover::dispatch::Report;

use crate::harness::*;
use drover::model::WorkerId;

/// A check takes place every 10 ms; a verdict takes 50 ms.
const SEVERAL_VERDICTS: Duration = Duration::from_millis(300);

fn modes() -> [Settings; 2] {
    [Settings { mode: drover::dispatch::DispatchMode::Push, ..settings() }, direct()]
}

fn unresponsive_reports(cluster: &Cluster, of: u16) -> usize {
    cluster.reports(|report| matches!(report, Report::Unresponsive { slot } if *slot == of))
}

/// Connects until worker 0, which is blocked, is found unresponsive. Returns all clients.
fn clients_until_unresponsive(cluster: &Cluster, site: &Site) -> Vec<Client> {
    let mut clients = Vec::new();
    let until = Instant::now() + TIMEOUT;
    while unresponsive_reports(cluster, 0) == 0 {
        assert!(Instant::now() < until, "worker 0 was never found unresponsive");
        let client = Client::to(site.to());
        // A client of the other worker is greeted at once, a client of the blocked worker when that worker is relieved.
        client.is_silent_for(Duration::from_millis(5));
        clients.push(client);
    }
    clients
}

#[test]
fn connections_that_a_blocked_worker_has_not_read_are_served_by_others() {
    for settings in modes() {
        let (cluster, site, mut workers) = Cluster::serving(settings, 2);
        workers[0].block();
        for mut client in clients_until_unresponsive(&cluster, &site) {
            assert_eq!(client.who(), 1);
        }
        assert_eq!(workers[0].taken(), 0);
    }
}

#[test]
fn an_unresponsive_worker_gets_nothing_new_until_its_loop_turns() {
    for settings in modes() {
        let (cluster, site, mut workers) = Cluster::serving(settings, 2);
        workers[0].block();
        let mut clients = clients_until_unresponsive(&cluster, &site);
        let until = Instant::now() + SEVERAL_VERDICTS;
        while Instant::now() < until {
            let mut client = Client::to(site.to());
            assert_eq!(client.who(), 1);
            clients.push(client);
        }
        assert_eq!(unresponsive_reports(&cluster, 0), 1, "no client's connection was used to test it");
        workers[0].unblock();
        // It recovers although nothing waits for it and no client connects.
        cluster.report_recovered(0);
        assert!((0..100).any(|_| Client::to(site.to()).who() == 0), "it gets its share again");
    }
}

#[test]
fn a_worker_that_a_debugger_may_stop_keeps_what_it_was_given() {
    let (cluster, site, mut workers) = Cluster::serving(exact(Strategy::RoundRobin), 2);
    cluster.inspected(WorkerId::new(0, 1));
    workers[0].block();
    let mut clients: Vec<Client> = (0..4).map(|_| Client::to(site.to())).collect();
    assert!(clients[0].is_silent_for(SEVERAL_VERDICTS), "no other worker answers");
    assert_eq!(unresponsive_reports(&cluster, 0), 0);
    workers[0].unblock();
    assert_eq!(clients.iter_mut().map(Client::who).collect::<Vec<_>>(), [0, 1, 0, 1]);
}

#[test]
fn a_connection_is_taken_back_from_an_unresponsive_worker_once() {
    let (cluster, site, _) = Cluster::serving(settings(), 0);
    let (first, second) = (cluster.manual(0), cluster.manual(1));
    cluster.serve_manual(first.id, &site);
    let client = Client::to(site.to());
    first.await_message();
    cluster.report_unresponsive(0);
    cluster.serve_manual(second.id, &site);
    second.await_message();
    cluster.report_unresponsive(1);
    drop(first);
    cluster.dead(WorkerId::new(0, 1));
    // Goes to an unresponsive worker, because there is no other; it has not been moved before.
    let mut fresh = Client::to(site.to());
    assert!(fresh.is_silent_for(SEVERAL_VERDICTS));
    let _worker = cluster.worker(2, &site);
    assert_eq!(fresh.who(), 2);
    assert!(client.is_silent_for(SEVERAL_VERDICTS), "it waits where it is");
    let fd_messages = std::iter::from_fn(|| second.take()).filter(|fd_message| !fd_message.fds.is_empty());
    let unread: Vec<(bool, usize)> =
        fd_messages.map(|fd_message| (fd_message.header.taken_back, fd_message.fds.len())).collect();
    assert_eq!(unread, [(true, 1)]);
}

#[test]
fn an_unresponsive_worker_is_sent_what_wakes_it_and_is_well_when_it_has_read_it() {
    for settings in modes() {
        let (cluster, site, _) = Cluster::serving(settings, 0);
        let asleep = cluster.manual(0);
        let listener = cluster.share(0, &site);
        cluster.serve_manual(asleep.id, &site);
        let _other = cluster.worker(1, &site);
        for mut client in clients_until_unresponsive(&cluster, &site) {
            assert_eq!(client.who(), 1);
        }
        asleep.await_message();
        assert_eq!(asleep.take().unwrap().fds.len(), 0);
        cluster.report_recovered(0);
        drop(listener);
    }
}

#[test]
fn a_fresh_connection_is_rescued_as_soon_as_somebody_can_take_it() {
    let (cluster, site, _) = Cluster::serving(settings(), 0);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    // It runs and makes progress, but does not serve yet.
    let starting = cluster.idle_worker(1);
    let mut client = Client::to(site.to());
    cluster.report_unresponsive(0);
    assert!(client.is_silent_for(SEVERAL_VERDICTS));
    cluster.serve(&starting, &site);
    assert_eq!(client.who(), 1);
}

#[test]
fn the_only_worker_keeps_its_connections_however_long_it_is_blocked() {
    let (cluster, site, _) = Cluster::serving(settings(), 0);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::to(site.to())).collect();
    cluster.report_unresponsive(0);
    clients.push(Client::to(site.to()));
    let mut taken = Vec::new();
    while taken.len() < clients.len() {
        manual.await_message();
        let fd_message = manual.take().unwrap();
        assert!(!fd_message.header.taken_back);
        taken.extend(fd_message.fds);
    }
    cluster.report_recovered(0);
    assert_eq!(cluster.refused(), 0);
}

#[test]
fn the_only_worker_keeps_its_own_queue_in_direct_mode() {
    let (cluster, site, mut workers) = Cluster::serving(direct(), 1);
    workers[0].block();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::to(site.to())).collect();
    cluster.report_unresponsive(0);
    workers[0].unblock();
    clients.iter_mut().for_each(|client| assert_eq!(client.who(), 0));
    assert_eq!(workers[0].accepted(), 3);
}

#[test]
fn an_idle_worker_is_never_unresponsive_however_long_its_loop_stands() {
    let (cluster, idle_site, mut workers) = Cluster::serving(settings(), 1);
    let busy_site = cluster.open(&second_tcp("127.0.0.1"));
    let _busy = cluster.worker(1, &busy_site);
    workers[0].block();
    let until = Instant::now() + SEVERAL_VERDICTS;
    while Instant::now() < until {
        assert_eq!(Client::to(busy_site.to()).who(), 1);
    }
    assert_eq!(unresponsive_reports(&cluster, 0), 0);
    workers[0].unblock();
    assert_eq!(Client::to(idle_site.to()).who(), 0);
}

/// Workers are not checked: the connection waits at its worker, although another worker serves.
fn nobody_is_judged(settings: Settings) {
    let (cluster, site, _) = Cluster::serving(settings, 0);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    let _other = cluster.worker(1, &site);
    let client = Client::to(site.to());
    assert!(client.is_silent_for(SEVERAL_VERDICTS));
    assert_eq!(manual.take().unwrap().fds.len(), 1);
    assert_eq!(unresponsive_reports(&cluster, 0), 0);
}

#[test]
fn a_worker_under_an_inspector_is_not_judged() {
    nobody_is_judged(Settings { inspected: true, ..settings() });
}

#[test]
fn without_health_awareness_nobody_is_judged() {
    nobody_is_judged(exact(Strategy::RoundRobin));
}
