//! Peeking at the first bytes of a connection before it is placed (rule 9): the bytes are not consumed, the wait is at
//! most one second, and the accept thread does not spin.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use drover::balance::{Candidate, Chooser, Strategy, client_key};
use drover::dispatch::{Affinity, cookie_value};

use crate::harness::*;
use drover::model::WorkerId;

const KEY: &[u8] = b"a key of thirty-two bytes or more";
const WORKERS: u16 = 4;

fn by_cookie() -> Settings {
    let affinity = Affinity::Cookie { name: "drover_affinity".into(), key: KEY.to_vec() };
    Settings { affinity, ..exact(Strategy::RoundRobin) }
}

/// A request with an affinity cookie for the slot.
fn request(slot: u16) -> String {
    let cookie = cookie_value(slot, KEY);
    format!("GET / HTTP/1.1\r\nHost: here\r\nCookie: a=b; drover_affinity={cookie}; c=d\r\n\r\n")
}

/// Sends the bytes; returns the slot of the worker that read all of them.
fn ask(site: &Site, bytes: &[u8]) -> u16 {
    let mut client = Client::to(site.to());
    client.say(bytes);
    let slot = client.who();
    assert_eq!(client.hear(bytes.len()), bytes, "the worker has read the request from its first byte on");
    slot
}

#[test]
fn a_request_with_a_cookie_is_read_whole_by_the_worker_that_the_cookie_names() {
    let (_cluster, site, _workers) = Cluster::serving(by_cookie(), WORKERS);
    for slot in [2, 0, 3, 3, 1, 2] {
        assert_eq!(ask(&site, request(slot).as_bytes()), slot);
    }
}

#[test]
fn a_header_that_comes_byte_by_byte_is_understood() {
    let (_cluster, site, _workers) = Cluster::serving(by_cookie(), WORKERS);
    let mut client = Client::to(site.to());
    client.send_at_once();
    let request = request(3);
    for byte in request.as_bytes() {
        client.say(&[*byte]);
    }
    assert_eq!(client.who(), 3);
    assert_eq!(client.hear(request.len()), request.as_bytes());
}

#[test]
fn a_cookie_that_drover_did_not_sign_names_nobody() {
    let (_cluster, site, _workers) = Cluster::serving(by_cookie(), WORKERS);
    let forged = request(3).replace("drover_affinity=3.", "drover_affinity=1.");
    // Round robin, as without a cookie.
    assert_eq!([0; 4].map(|_| ask(&site, forged.as_bytes())), [0, 1, 2, 3]);
}

#[test]
fn a_cookie_whose_worker_is_gone_is_served_by_another() {
    let (cluster, site, mut workers) = Cluster::serving(by_cookie(), 2);
    cluster.kill(workers.remove(1));
    assert_eq!(ask(&site, request(1).as_bytes()), 0);
    let _replacement = cluster.worker(1, &site);
    assert_eq!(ask(&site, request(1).as_bytes()), 1);
}

#[test]
fn a_connection_that_comes_back_from_a_dead_worker_still_goes_where_its_cookie_says() {
    let (cluster, site, _) = Cluster::serving(by_cookie(), 0);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    // The worker that the cookies name does not serve yet: the clients go to the only worker that does.
    let mut clients: Vec<Client> = (0..6).map(|_| Client::to(site.to())).collect();
    clients.iter_mut().for_each(|client| client.say(request(2).as_bytes()));
    manual.await_message();
    let _others = [1, 2].map(|slot| cluster.worker(slot, &site));
    drop(manual);
    cluster.dead(WorkerId::new(0, 1));
    clients.iter_mut().for_each(|client| assert_eq!(client.who(), 2));
}

/// Connections whose first bytes cannot contain a cookie are placed at once, not after a second.
fn is_placed_at_once(bytes: &[u8]) {
    let (_cluster, site, _workers) = Cluster::serving(by_cookie(), WORKERS);
    let mut early = Client::to(site.to());
    early.say(b"GET / HTTP/1.1\r\nCookie: half");
    let mut client = Client::to(site.to());
    client.say(bytes);
    client.who();
    // An earlier connection with incomplete first bytes still waits.
    assert!(early.is_silent_for(Duration::ZERO));
}

#[test]
fn tls_http2_and_garbage_are_placed_by_the_strategy_at_once() {
    is_placed_at_once(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    is_placed_at_once(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    is_placed_at_once(b"\0\0\0\0");
    is_placed_at_once(b"\r\n{\"jsonrpc\":\"2.0\"}\r\n\r\n");
}

#[test]
fn a_header_of_more_than_16_kib_is_placed_by_the_strategy_at_once() {
    let mut long = b"GET / HTTP/1.1\r\nX-Long: ".to_vec();
    long.resize(16 * 1024, b'x');
    is_placed_at_once(&long);
}

#[test]
fn a_client_that_ends_before_its_request_is_placed_at_once() {
    let (_cluster, site, _workers) = Cluster::serving(by_cookie(), WORKERS);
    let early = Client::to(site.to());
    let mut client = Client::to(site.to());
    client.end_writing();
    client.who();
    assert!(early.is_silent_for(Duration::ZERO));
}

#[test]
fn a_silent_client_is_placed_after_a_second_and_costs_nothing_meanwhile() {
    let (cluster, site, _workers) = Cluster::serving(by_cookie(), WORKERS);
    let since = Instant::now();
    let mut clients = [Client::to(site.to()), Client::to(site.to())];
    clients[0].say(b"GET / HTTP/1.1\r\nCookie: half");
    let (spent, slept) = (cluster.processor_time(), cluster.sleeps());
    assert_eq!(clients.each_mut().map(Client::who), [0, 1]);
    let (spent, slept) = (cluster.processor_time() - spent, cluster.sleeps() - slept);
    assert!(since.elapsed() >= Duration::from_secs(1), "{:?}", since.elapsed());
    assert!(spent <= Duration::from_millis(100), "{spent:?} of processor time for waiting");
    assert!(slept <= 100, "woken {slept} times");
}

#[test]
fn more_connections_than_may_wait_are_placed_without_a_look() {
    let (_cluster, site, _workers) = Cluster::serving(Settings { max_queue: 2, ..by_cookie() }, WORKERS);
    let looked_at = [Client::to(site.to()), Client::to(site.to())];
    Client::to(site.to()).who();
    assert!(looked_at.iter().all(|client| client.is_silent_for(Duration::ZERO)));
}

#[test]
fn connections_that_are_no_plain_http_are_not_looked_at() {
    let cluster = Cluster::start(by_cookie());
    cluster.not_http();
    let site = cluster.open(&tcp("127.0.0.1"));
    let _worker = cluster.worker(0, &site);
    let since = Instant::now();
    assert_eq!([0; 5].map(|_| Client::to(site.to()).who()), [0; 5]);
    assert!(since.elapsed() < Duration::from_secs(5), "five peeks would take five seconds");
}

fn behind_proxies(trusted: &str) -> Settings {
    Settings { trusted_proxies: vec![trusted.parse().unwrap()], ..exact(Strategy::IpHash) }
}

/// The slot that the strategy chooses for a client.
fn slot_of(client: &str) -> u16 {
    let candidate = |slot| Candidate { slot, connections: 0, weight: 1, latency_us: 0.0, in_flight: 0 };
    let candidates: Vec<Candidate> = (0..WORKERS).map(candidate).collect();
    let key = client_key(client.parse::<IpAddr>().unwrap());
    let chosen = Chooser::new(Strategy::IpHash).choose(&candidates, Some(key), 0).unwrap();
    candidates[chosen].slot
}

#[test]
fn behind_a_trusted_proxy_the_client_is_the_one_that_the_proxy_names() {
    let (_cluster, site, _workers) = Cluster::serving(behind_proxies("127.0.0.0/8"), WORKERS);
    for client in ["203.0.113.7", "203.0.113.8", "198.51.100.1", "2001:db8::9", "192.0.2.200"] {
        let quoted = if client.contains(':') { format!("\"[{client}]:4711\"") } else { client.to_owned() };
        for header in [
            format!("X-Forwarded-For: 10.9.9.9, {client}"),
            format!("Forwarded: for=10.9.9.9, for={quoted};proto=https"),
        ] {
            let request = format!("GET / HTTP/1.1\r\nHost: here\r\n{header}\r\n\r\n");
            assert_eq!(ask(&site, request.as_bytes()), slot_of(client), "{header}");
        }
    }
}

#[test]
fn a_client_that_is_no_trusted_proxy_cannot_name_another() {
    let (_cluster, site, _workers) = Cluster::serving(behind_proxies("10.0.0.0/8"), WORKERS);
    for client in ["203.0.113.7", "203.0.113.8", "198.51.100.1", "192.0.2.200"] {
        let request = format!("GET / HTTP/1.1\r\nX-Forwarded-For: {client}\r\n\r\n");
        assert_eq!(ask(&site, request.as_bytes()), slot_of("127.0.0.1"));
    }
}
