//! Closing an address resets no connection whose handshake is complete or in progress: a worker gets the connections
//! that the kernel had accepted; later connections are refused.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use drover::balance::{Instruction, no_new_handshakes};
use drover::sys::bpf;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::connect;

use crate::harness::*;

/// The maximum wait for handshakes in progress.
const MAX_LENGTH: Duration = Duration::from_millis(50);

fn filter(socket: impl AsFd, program: &[Instruction]) {
    let raw: Vec<_> = program.iter().map(|step| (step.code, step.jt, step.jf, step.k)).collect();
    bpf::filter(socket.as_fd(), &raw).unwrap();
}

/// A socket filter that keeps the given number of bytes of each packet: all of them or none.
fn keep(bytes: u32) -> [Instruction; 1] {
    [Instruction { code: 0x06, jt: 0, jf: 0, k: bytes }]
}

/// A client that has begun a handshake and drops the reply.
fn half_open(to: std::net::SocketAddr) -> OwnedFd {
    let client = Client::socket(to);
    filter(&client, &keep(0));
    rustix::io::ioctl_fionbio(&client, true).unwrap();
    assert_eq!(connect(&client, &to), Err(Errno::INPROGRESS));
    client
}

fn is_ready(fd: impl AsFd, flags: PollFlags, within: Duration) -> bool {
    let within = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: i64::from(within.subsec_nanos()) };
    poll(&mut [PollFd::new(&fd, flags)], Some(&within)).unwrap() > 0
}

#[test]
fn a_barred_listener_lets_nobody_in_and_ends_the_handshakes_under_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let queued = Client::to(to);
    let begun = half_open(to);
    filter(&listener, &no_new_handshakes());
    listener.accept().expect("queued connections stay in the queue");
    let late = Client::socket(to);
    rustix::io::ioctl_fionbio(&late, true).unwrap();
    assert_eq!(connect(&late, &to), Err(Errno::INPROGRESS));
    // The kernel sends its SYN-ACK again after a second.
    filter(&begun, &keep(u32::MAX));
    assert!(is_ready(&listener, PollFlags::IN, TIMEOUT), "the handshake in progress completes");
    let (_, who) = listener.accept().unwrap();
    assert_eq!(Some(who), own_address(&begun));
    assert!(!is_ready(&late, PollFlags::OUT, Duration::ZERO), "the later connection was refused");
    drop(queued);
}

/// The client's own address.
fn own_address(client: &OwnedFd) -> Option<std::net::SocketAddr> {
    rustix::net::getsockname(client).ok()?.try_into().ok()
}

/// A cluster with one worker that the test steps by hand: only the primary empties its queues.
fn with_a_manual_worker(settings: Settings, host: &str) -> (Cluster, Site, ManualWorker, Option<OwnedFd>) {
    let cluster = Cluster::start(settings);
    let site = cluster.open(&tcp(host));
    let manual = cluster.manual(0);
    let listener = cluster.share(0, &site);
    cluster.serve_manual(manual.id, &site);
    (cluster, site, manual, listener)
}

fn taken(manual: &ManualWorker) -> usize {
    std::iter::from_fn(|| manual.take()).map(|fd_message| fd_message.fds.len()).sum()
}

#[test]
fn what_the_kernel_had_accepted_is_the_workers_when_the_cluster_has_closed_its_addresses() {
    for settings in [settings(), direct()] {
        for host in ["127.0.0.1", "0.0.0.0"] {
            let (cluster, site, manual, _listener) = with_a_manual_worker(settings.clone(), host);
            let clients: Vec<Client> = (0..10).map(|_| Client::to(site.at("127.0.0.1"))).collect();
            cluster.retire();
            assert_eq!(taken(&manual), 10, "{host}, {:?}", settings.mode);
            assert_eq!(cluster.refused(), 0);
            drop(clients);
        }
    }
}

#[test]
fn a_client_that_comes_after_the_end_is_refused_though_a_worker_holds_the_listener() {
    for settings in [settings(), direct()] {
        let (cluster, site, _manual, listener) = with_a_manual_worker(settings, "127.0.0.1");
        cluster.retire();
        assert!(listener.is_some());
        let refused = Client::try_to(site.to()).err().map(|error| error.kind());
        assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
    }
}

#[test]
fn a_stop_waits_for_handshakes_under_way_and_for_no_other() {
    for address in ["0.0.0.0", "::"] {
        let (cluster, site, _manual, _listener) = with_a_manual_worker(direct(), address);
        let begun = half_open(site.at("127.0.0.1"));
        let since = Instant::now();
        cluster.retire();
        assert!(since.elapsed() >= MAX_LENGTH, "{address}: it closed after {:?}", since.elapsed());
        drop(begun);
    }
    // Without a handshake in progress, one of several attempts must be quick: a busy machine may delay some.
    let quick = (0..20).any(|_| {
        let (cluster, ..) = with_a_manual_worker(direct(), "0.0.0.0");
        let since = Instant::now();
        cluster.retire();
        since.elapsed() < MAX_LENGTH
    });
    assert!(quick, "it waits without a reason");
}

#[test]
fn nobody_is_waited_for_where_clients_are_on_this_machine() {
    let quick = (0..20).any(|_| {
        let (cluster, site, _manual, _listener) = with_a_manual_worker(direct(), "127.0.0.1");
        let _begun = half_open(site.to());
        let since = Instant::now();
        cluster.retire();
        since.elapsed() < MAX_LENGTH
    });
    assert!(quick);
}

#[test]
fn a_worker_that_is_slow_when_the_cluster_stops_gets_what_it_has_room_for_and_the_rest_is_answered() {
    let (cluster, site, manual, _listener) = with_a_manual_worker(settings(), "127.0.0.1");
    let mut clients: Vec<Client> = (0..200).map(|_| Client::to(site.to())).collect();
    cluster.retire();
    let taken = taken(&manual);
    assert!(taken > 0 && taken < clients.len(), "{taken} taken");
    assert_eq!(cluster.refused(), (clients.len() - taken) as u64);
    let answer = clients.pop().unwrap().hear_all().unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[test]
fn a_unix_socket_that_closes_lets_nobody_in_and_gives_its_queue_to_the_worker() {
    let folder = std::env::temp_dir().join(format!("drover-closing-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let cluster = Cluster::start(settings());
    let address = drover::ipc::control::Address::Unix { path: path.to_str().unwrap().into() };
    let site = cluster.open(&address);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    let clients: Vec<Client> = (0..10).map(|_| Client::unix(&path)).collect();
    cluster.retire();
    assert_eq!(taken(&manual), 10);
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
    drop(UnixListener::bind(&path).expect("the name is free"));
    drop(clients);
    std::fs::remove_dir_all(&folder).unwrap();
}
