//! drover's response when no worker can answer (rule 5): the client reads it completely, and it is counted.

use std::time::Duration;

use drover::dispatch::Fallback;

use crate::harness::*;
use drover::model::WorkerId;

/// A cluster whose only worker is dead, so that connections wait.
fn without_workers(settings: Settings, plain_http: bool) -> (Cluster, Site) {
    let cluster = Cluster::start(settings);
    if !plain_http {
        cluster.not_http();
    }
    let site = cluster.open(&tcp("127.0.0.1"));
    let worker = cluster.worker(0, &site);
    cluster.kill(worker);
    (cluster, site)
}

fn impatient() -> Settings {
    Settings { queue_timeout: Duration::from_millis(100), ..settings() }
}

const ANSWER: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain; \
                      charset=utf-8\r\nContent-Length: 20\r\nConnection: close\r\n\r\nService Unavailable\n";

#[test]
fn a_refused_client_reads_the_whole_answer_though_its_request_was_not_read() {
    let (cluster, site) = without_workers(impatient(), true);
    let body = [b'x'; 64 * 1024];
    let mut clients: Vec<Client> = (0..50).map(|_| Client::to(site.to())).collect();
    for client in &mut clients {
        client.say(b"POST / HTTP/1.1\r\nContent-Length: 65536\r\n\r\n");
        client.say(&body);
    }
    for mut client in clients {
        assert_eq!(client.hear_all().unwrap(), ANSWER);
    }
    assert_eq!(cluster.refused(), 50);
}

#[test]
fn a_refused_client_that_goes_on_sending_reads_the_whole_answer() {
    let (_cluster, site) = without_workers(Settings { max_queue: 0, ..settings() }, true);
    let mut client = Client::to(site.to());
    // The response has arrived before these bytes are sent.
    assert!(!client.is_silent_for(TIMEOUT));
    (0..8).for_each(|_| client.say(&[b'x'; 16 * 1024]));
    assert_eq!(client.hear_all().unwrap(), ANSWER);
}

#[test]
fn what_is_no_plain_http_is_closed_and_counted() {
    let (cluster, site) = without_workers(impatient(), false);
    let mut clients: Vec<Client> = (0..5).map(|_| Client::to(site.to())).collect();
    clients[0].say(b"\x16\x03\x01 a client hello");
    for mut client in clients {
        // A close with unread bytes is a reset.
        assert!(client.hear_all().map_or(true, |text| text.is_empty()));
    }
    assert_eq!(cluster.refused(), 5);
}

#[test]
fn the_answer_is_the_configured_one() {
    let fallback = Fallback {
        status: 429,
        body: "{\"busy\":true}".into(),
        content_type: "application/json".into(),
        retry_after: 0,
    };
    let (_cluster, site) = without_workers(Settings { max_queue: 0, fallback, ..settings() }, true);
    let answer = Client::to(site.to()).hear_all().unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("\r\nContent-Type: application/json\r\n"), "{answer}");
    assert!(!answer.contains("Retry-After"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n{\"busy\":true}"), "{answer}");
}

#[test]
fn beyond_the_queue_clients_are_refused_at_once_and_the_others_go_on_waiting() {
    let (cluster, site) = without_workers(Settings { max_queue: 3, ..settings() }, true);
    let waiting: Vec<Client> = (0..3).map(|_| Client::to(site.to())).collect();
    eventually("three wait", || (cluster.queued() == 3).then_some(()));
    assert_eq!(Client::to(site.to()).hear_all().unwrap(), ANSWER);
    assert_eq!(cluster.refused(), 1);
    let _replacement = cluster.worker(0, &site);
    for mut client in waiting {
        assert_eq!(client.who_exactly(), WorkerId::new(0, 2));
    }
}

#[test]
fn a_client_that_waits_when_the_cluster_ends_reads_the_whole_answer() {
    let (cluster, site) = without_workers(settings(), true);
    let mut client = Client::to(site.to());
    client.say(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
    eventually("it waits", || (cluster.queued() == 1).then_some(()));
    cluster.stop();
    assert_eq!(client.hear_all().unwrap(), ANSWER);
}

#[test]
fn what_the_kernel_had_queued_when_the_cluster_stops_is_answered() {
    let (cluster, site, _) = Cluster::serving(direct(), 0);
    let manual = cluster.manual(0);
    let _listener = cluster.share(0, &site);
    cluster.serve_manual(manual.id, &site);
    let clients: Vec<Client> = (0..10).map(|_| Client::to(site.to())).collect();
    cluster.drain_manual(&manual);
    cluster.retire();
    for mut client in clients {
        assert_eq!(client.hear_all().unwrap(), ANSWER);
    }
}
