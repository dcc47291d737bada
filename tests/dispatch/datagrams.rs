//! Datagram sockets that workers share: opened once per address, closed when the last worker closes it, kept for the
//! replacement of a worker that died, and never at the expense of connections.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;

use drover::ipc::control::Datagram;
use rustix::net::getsockname;

use crate::harness::*;

fn port(socket: &OwnedFd) -> u16 {
    std::net::SocketAddr::try_from(getsockname(socket).unwrap()).unwrap().port()
}

fn is_free(port: u16) -> bool {
    UdpSocket::bind(("127.0.0.1", port)).is_ok()
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn workers_share_one_socket_and_the_last_close_frees_the_port() {
    let cluster = Cluster::start(settings());
    let manuals = [0, 1].map(|slot| cluster.manual(slot));
    let (id, first) = cluster.bind(&manuals[0], &udp(0)).unwrap();
    let (same, second) = cluster.bind(&manuals[1], &udp(0)).unwrap();
    assert_eq!((id, port(&first)), (same, port(&second)));
    let (other, third) = cluster.bind(&manuals[0], &Datagram { nth: 1, ..udp(0) }).unwrap();
    assert_ne!((id, port(&first)), (other, port(&third)));
    let port = port(&first);
    drop((first, second));
    cluster.unbind(&manuals[0], id);
    assert!(!is_free(port), "the other worker still uses it");
    cluster.unbind(&manuals[1], id);
    assert!(is_free(port));
}

#[test]
fn a_port_of_another_program_is_taken_and_an_address_of_the_other_family_invalid() {
    let cluster = Cluster::start(settings());
    let manual = cluster.manual(0);
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let errno = |datagram| cluster.bind(&manual, &datagram).map(|_| ()).unwrap_err().errno;
    assert_eq!(errno(udp(other.local_addr().unwrap().port())), libc::EADDRINUSE);
    assert_eq!(errno(Datagram { host: "::1".into(), ..udp(0) }), libc::EINVAL);
    assert_eq!(errno(Datagram { host: "nonsense".into(), ..udp(0) }), libc::EINVAL);
    assert_eq!(errno(Datagram { ipv6_only: true, ..udp(0) }), libc::EINVAL);
}

#[test]
fn who_is_gone_gets_nothing() {
    let cluster = Cluster::start(settings());
    let manual = cluster.manual(0);
    cluster.dead(manual.id);
    assert_eq!(cluster.bind(&manual, &udp(0)).map(|_| ()).unwrap_err().errno, libc::ECONNABORTED);
}

/// The port of a socket whose only worker (slot 0) has died.
fn port_of_the_dead(cluster: &Cluster) -> u16 {
    let manual = cluster.manual(0);
    let (_, socket) = cluster.bind(&manual, &udp(0)).unwrap();
    let port = port(&socket);
    drop(socket);
    cluster.dead(manual.id);
    port
}

#[test]
fn what_came_while_nobody_lived_is_read_by_the_replacement() {
    let cluster = Cluster::start(settings());
    let port = port_of_the_dead(&cluster);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"meanwhile", ("127.0.0.1", port)).unwrap();
    let next = cluster.starting_manual(0);
    let (_, socket) = cluster.bind(&next, &udp(0)).unwrap();
    let mut text = [0; 16];
    let (read, _) = rustix::net::recv(&socket, &mut text, rustix::net::RecvFlags::empty()).unwrap();
    assert_eq!(&text[..read], b"meanwhile");
}

#[test]
fn a_replacement_that_does_not_bind_lets_go_of_the_port() {
    let cluster = Cluster::start(settings());
    let port = port_of_the_dead(&cluster);
    assert!(!is_free(port), "kept for the replacement");
    let _next = cluster.manual(0);
    eventually("the port is free", || is_free(port).then_some(()));
}

#[test]
fn ten_thousand_sockets_leave_no_descriptor_behind() {
    let test = "datagrams::ten_thousand_sockets_leave_no_descriptor_behind";
    if !in_a_process_of_its_own(test, Apart::Same, 1024) {
        return;
    }
    let cluster = Cluster::start(settings());
    let manual = cluster.manual(0);
    let before = open_descriptors();
    for _ in 0..10_000 {
        let (id, _socket) = cluster.bind(&manual, &udp(0)).unwrap();
        cluster.unbind(&manual, id);
    }
    assert_eq!(open_descriptors(), before);
}

#[test]
fn datagram_sockets_end_where_the_room_for_connections_begins() {
    let test = "datagrams::datagram_sockets_end_where_the_room_for_connections_begins";
    if !in_a_process_of_its_own(test, Apart::Same, 256) {
        return;
    }
    let (cluster, site, _workers) = Cluster::serving(settings(), 1);
    let manual = cluster.manual(1);
    let mut bound = Vec::new();
    let refused = loop {
        // The worker of a test is in this process, so the socket it receives is dropped: it would count against the
        // primary's limit.
        match cluster.bind(&manual, &Datagram { nth: bound.len() as u32, ..udp(0) }) {
            Ok((id, _)) => bound.push(id),
            Err(failure) => break failure.errno,
        }
    };
    assert_eq!(refused, libc::EMFILE);
    assert!(bound.len() > 50, "{}", bound.len());
    for _ in 0..100 {
        assert_eq!(Client::to(site.to()).who(), 0);
    }
    cluster.unbind(&manual, bound[0]);
    assert!(cluster.bind(&manual, &udp(0)).is_ok());
    assert_eq!(cluster.reports(is_short_of_descriptors), 0, "connections never had to wait");
}

/// Opens files until this process has no descriptor left.
fn take_all() -> Vec<fs::File> {
    std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect()
}

#[test]
fn connections_are_accepted_again_as_soon_as_there_are_descriptors() {
    let test = "datagrams::connections_are_accepted_again_as_soon_as_there_are_descriptors";
    if !in_a_process_of_its_own(test, Apart::Same, 256) {
        return;
    }
    let (cluster, site, _workers) = Cluster::serving(settings(), 1);
    let mut taken = take_all();
    // Frees one descriptor for the waiting client.
    taken.pop();
    let mut waiting = Client::to(site.to());
    cluster.report("a log line gives the reason", is_short_of_descriptors);
    drop(taken);
    assert_eq!(waiting.who(), 0);
    assert_eq!(Client::to(site.to()).who(), 0);
}
