//! Ownership of the port (rule 1), and which sockets the strategies use.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, bind, listen, socket_with, sockopt};

use crate::harness::*;

/// The number of listening sockets in /proc/net/tcp on the port.
fn listening_rows(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let address = format!("0100007F:{port:04X}");
    let listens = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next() == Some(&address) && columns.nth(1) == Some("0A")
    };
    table.lines().filter(listens).count()
}

fn reuseport_socket(at: SocketAddr) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    sockopt::set_socket_reuseport(&socket, true).unwrap();
    bind(&socket, &at).unwrap();
    listen(&socket, 64).unwrap();
    socket
}

#[test]
fn a_second_cluster_on_a_taken_port_gets_eaddrinuse_and_the_first_is_unharmed() {
    let (_cluster, site, _workers) = Cluster::serving(settings(), 2);
    let second = Cluster::start(settings());
    let failure = second.try_open(&tcp_port("127.0.0.1", site.port)).unwrap_err();
    assert_eq!(failure.errno, Errno::ADDRINUSE.raw_os_error());
    assert_eq!(failure.host.as_deref(), Some("127.0.0.1"));
    for _ in 0..20 {
        Client::to(site.to()).who();
    }
    drop(second);
    for _ in 0..20 {
        Client::to(site.to()).who();
    }
}

#[test]
fn a_socket_that_joins_the_port_later_gets_no_connection() {
    for settings in [settings(), direct()] {
        let (_cluster, site, _workers) = Cluster::serving(settings, 2);
        let foreign = reuseport_socket(site.to());
        // With the kernel's own hash, each would arrive there with a probability of 1/6.
        for _ in 0..100 {
            Client::to(site.to()).who();
        }
        let accepted = accept_with(&foreign, SocketFlags::CLOEXEC);
        assert_eq!(accepted.unwrap_err(), Errno::AGAIN);
    }
}

#[test]
fn every_slot_and_the_primary_have_a_listener_from_the_first_listen_on() {
    let cluster = Cluster::start(Settings { slots: 7, ..settings() });
    let site = cluster.open(&tcp("127.0.0.1"));
    assert_eq!(listening_rows(site.port), 8);
    let _worker = cluster.worker(3, &site);
    assert_eq!(listening_rows(site.port), 8);
    cluster.retire();
    assert_eq!(listening_rows(site.port), 0, "the worker's own copy is shut down too");
}

#[test]
fn a_worker_beyond_the_listeners_is_served_by_push() {
    let cluster = Cluster::start(Settings { slots: 1, ..direct() });
    let site = cluster.open(&tcp("127.0.0.1"));
    let listening = cluster.listen(&site.address, Some(5)).unwrap();
    assert!(!listening.own, "it must not accept on the primary's listener");
    let worker = cluster.worker(5, &site);
    for taken in 1..=20 {
        assert_eq!(Client::to(site.to()).who(), 5);
        assert_eq!(worker.pushed(), taken);
    }
}

#[test]
fn a_port_is_free_for_others_as_soon_as_the_cluster_stops() {
    let (cluster, site, workers) = Cluster::serving(settings(), 2);
    workers.iter().for_each(|worker| worker.close_share(site.group));
    cluster.retire();
    let second = Cluster::start(settings());
    let again = second.open(&tcp_port("127.0.0.1", site.port));
    let _worker = second.worker(0, &again);
    assert_eq!(Client::to(again.to()).who(), 0);
}
