//! Adaptive admission: connections wait for a worker that asks, and a worker that waits for a connection gets one.

use std::os::fd::OwnedFd;
use std::time::Duration;

use drover::dispatch::{Admission, DispatchMode, Report};
use drover::event::{Event, Subject};
use drover::metrics::layout::{header, page};

use crate::harness::*;

const TARGET: Duration = Duration::from_millis(20);

fn admission(target: Duration) -> Option<Admission> {
    Some(Admission { target, exempt: vec!["/vital".into()] })
}

/// Unresponsive workers are not woken for that reason.
fn cluster(admission: Option<Admission>) -> (Cluster, Site, ManualWorker) {
    let cluster =
        Cluster::start(Settings { mode: DispatchMode::Push, health_aware: false, admission, ..settings() });
    let site = cluster.open(&tcp("127.0.0.1"));
    let worker = cluster.manual(0);
    // It is warm.
    worker.set(page::REQUESTS, 1000.0);
    worker.set(page::RESPONSES, 1000.0);
    cluster.serve_manual(worker.id, &site);
    (cluster, site, worker)
}

fn overloads(cluster: &Cluster) -> usize {
    cluster.reports(|report| is_about(report, &Subject::OverloadBegan))
}

fn is_about(report: &Report, what: &Subject) -> bool {
    matches!(report, Report::Notice(Event::Notice { subject: Some(subject), .. }) if subject == what)
}

fn has_ended(report: &Report) -> bool {
    matches!(
        report,
        Report::Notice(Event::Notice {
            subject: Some(Subject::OverloadEnded { refused_connections: 1, .. }),
            ..
        })
    )
}

fn is_refused(mut client: Client) -> bool {
    client.hear_all().unwrap().starts_with("HTTP/1.1 503 ")
}

/// Reads what the worker has been sent; returns the connections.
fn read_all(worker: &ManualWorker) -> Vec<OwnedFd> {
    std::iter::from_fn(|| worker.take()).flat_map(|message| message.fds).collect()
}

/// The next message with connections. Messages without wake the worker.
fn next_connections(worker: &ManualWorker) -> Vec<OwnedFd> {
    loop {
        worker.await_message();
        let connections = read_all(worker);
        if !connections.is_empty() {
            return connections;
        }
    }
}

fn request(site: &Site, path: &str) -> Client {
    let mut client = Client::to(site.to());
    client.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    client
}

/// The worker does not read a connection, which is refused: the overload has begun. Then it has read all that was sent.
fn begin(cluster: &Cluster, site: &Site, worker: &ManualWorker) {
    let number = cluster.memory.get(header::OVERLOAD);
    assert!(is_refused(request(site, "/")));
    assert!(cluster.memory.get(header::OVERLOAD) > number);
    assert!(read_all(worker).is_empty());
}

#[test]
fn a_worker_whose_connection_was_taken_back_unread_asks_anew() {
    let (cluster, site, worker) = cluster(admission(TARGET));
    begin(&cluster, &site, &worker);
    worker.ask();
    // It is the worker's now, and too late when it has not been read for long.
    assert!(is_refused(request(&site, "/")));
    worker.await_message();
    assert_eq!(worker.take().unwrap().fds.len(), 0, "a message without connections: ask anew");
    worker.ask();
    let _client = request(&site, "/");
    assert_eq!(next_connections(&worker).len(), 1);
    assert_eq!(overloads(&cluster), 1);
}

#[test]
fn a_worker_that_has_not_asked_for_long_is_told_to_ask_anew_though_another_asks() {
    let (cluster, site, lost) = cluster(admission(TARGET));
    begin(&cluster, &site, &lost);
    let other = cluster.manual(1);
    other.set(page::REQUESTS, 1000.0);
    other.set(page::RESPONSES, 1000.0);
    cluster.serve_manual(other.id, &site);
    read_all(&other);
    lost.ask();
    let _first = request(&site, "/");
    assert_eq!(next_connections(&lost).len(), 1);
    // Its next request to the primary is lost.
    while lost.take().is_none() {
        other.ask();
        let _client = request(&site, "/");
        assert_eq!(next_connections(&other).len(), 1);
    }
}

#[test]
fn a_connection_that_waits_for_a_worker_that_does_not_read_is_left_to_it() {
    let (cluster, site, worker) = cluster(admission(TARGET));
    begin(&cluster, &site, &worker);
    let _exempt = request(&site, "/vital");
    worker.await_message();
    // Others are refused meanwhile.
    (0..20).for_each(|_| assert!(is_refused(request(&site, "/"))));
    assert_eq!(read_all(&worker).len(), 1);
}

#[test]
fn what_a_worker_had_asked_for_when_it_died_goes_to_the_next_that_asks() {
    let (cluster, site, worker) = cluster(admission(TARGET));
    begin(&cluster, &site, &worker);
    cluster.set_admission(admission(TIMEOUT));
    let other = cluster.manual(1);
    other.set(page::REQUESTS, 1000.0);
    other.set(page::RESPONSES, 1000.0);
    cluster.serve_manual(other.id, &site);
    // It has just got its slot.
    let _first = request(&site, "/");
    assert_eq!(next_connections(&other).len(), 1);
    worker.ask();
    let _client = request(&site, "/");
    worker.await_message();
    let id = worker.id;
    drop(worker);
    cluster.dead(id);
    eventually("it is held", || (cluster.queued() == 1).then_some(()));
    other.ask();
    assert_eq!(next_connections(&other).len(), 1);
}

#[test]
fn admission_can_be_turned_off_during_an_overload_and_on_again() {
    let (cluster, site, worker) = cluster(admission(TARGET));
    begin(&cluster, &site, &worker);
    // From now on connections are held for longer than this test takes.
    cluster.set_admission(admission(TIMEOUT));
    worker.ask();
    let _first = request(&site, "/");
    assert_eq!(next_connections(&worker).len(), 1);
    let _held = request(&site, "/");
    eventually("a connection is held", || (cluster.queued() == 1).then_some(()));
    cluster.set_admission(None);
    assert_eq!(next_connections(&worker).len(), 1);
    cluster.report("the overload has ended", has_ended);
    assert_eq!(cluster.memory.get(header::OVERLOAD), 0);
    eventually("none is held", || (cluster.queued() == 0).then_some(()));
    let waits = request(&site, "/");
    assert!(waits.is_silent_for(TARGET * 10), "nothing is refused");
    cluster.set_admission(admission(TARGET));
    assert!(is_refused(waits));
    assert_eq!(overloads(&cluster), 2);
}

#[test]
fn admission_can_be_turned_on_while_the_cluster_runs() {
    let (cluster, site, worker) = cluster(None);
    let waits = request(&site, "/");
    assert!(waits.is_silent_for(TARGET * 10));
    cluster.set_admission(admission(TARGET));
    assert!(is_refused(waits));
    assert_eq!((overloads(&cluster), read_all(&worker).len()), (1, 0));
}
