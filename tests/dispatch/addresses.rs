//! All kinds of addresses (rule 10): inherited descriptors, unix sockets, IPv6 and dual stack.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover::balance::Strategy;
use drover::dispatch::Report;
use drover::event::Level;
use drover::ipc::control::Address;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, listen, shutdown, socket_with,
};

use crate::harness::*;

/// A folder for a socket; removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("drover-{}-{test}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unix(path: &Path) -> Address {
    Address::Unix { path: path.to_str().unwrap().to_owned() }
}

#[test]
fn a_descriptor_of_the_primarys_is_served_by_push_and_stays_its_owners() {
    let (cluster, listener) = (Cluster::start(direct()), TcpListener::bind("127.0.0.1:0").unwrap());
    let site = cluster.open(&Address::Descriptor { fd: listener.as_raw_fd() });
    assert_eq!(site.to(), listener.local_addr().unwrap());
    let worker = cluster.worker(0, &site);
    for _ in 0..10 {
        assert_eq!(Client::to(site.to()).who(), 0);
    }
    assert_eq!((worker.pushed(), worker.accepted()), (10, 0));
    cluster.retire();
    let _client = Client::to(site.to());
    listener.accept().expect("the owner of the descriptor can still accept");
}

#[test]
fn a_number_that_is_no_descriptor_is_refused_as_node_does() {
    let failure = Cluster::start(settings()).try_open(&Address::Descriptor { fd: 999_999 }).unwrap_err();
    assert_eq!(failure.errno, Errno::INVAL.raw_os_error());
}

#[test]
fn a_descriptor_that_its_owner_shut_down_is_left_alone() {
    let (cluster, listener) = (Cluster::start(settings()), TcpListener::bind("127.0.0.1:0").unwrap());
    let other = cluster.open(&tcp("127.0.0.1"));
    let site = cluster.open(&Address::Descriptor { fd: listener.as_raw_fd() });
    let worker = cluster.worker(0, &site);
    cluster.serve(&worker, &other);
    shutdown(&listener, Shutdown::Read).unwrap();
    let is_told = |report: &Report| is_said(report, Level::Error, "shut down");
    cluster.report("the listener is shut down", is_told);
    assert_eq!(Client::to(other.to()).who(), 0, "other addresses are served");
    assert_eq!(cluster.reports(is_told), 1, "it no longer wakes the thread");
}

#[test]
fn a_unix_socket_is_served_exactly_by_the_strategy() {
    let folder = Folder::new("exact");
    let cluster = Cluster::start(Settings { mode: direct().mode, ..exact(Strategy::RoundRobin) });
    let site = cluster.open(&unix(&folder.socket()));
    let workers = [0, 1, 2].map(|slot| cluster.worker(slot, &site));
    let who = [0; 6].map(|_| Client::unix(&folder.socket()).who());
    assert_eq!(who, [0, 1, 2, 0, 1, 2]);
    assert!(workers.iter().all(|worker| worker.accepted() == 0));
}

#[test]
fn a_unix_sockets_file_is_removed_at_the_end_of_the_group_and_not_before() {
    let folder = Folder::new("removed");
    let cluster = Cluster::start(settings());
    let site = cluster.open(&unix(&folder.socket()));
    let (first, second) = (cluster.worker(0, &site), cluster.worker(1, &site));
    cluster.close(&first, &site);
    assert_eq!(Client::unix(&folder.socket()).who(), 1);
    cluster.kill(first);
    assert!(folder.socket().exists());
    cluster.close(&second, &site);
    assert!(!folder.socket().exists());
}

#[test]
fn a_unix_socket_is_gone_when_the_cluster_stops_though_its_workers_still_hold_it() {
    let folder = Folder::new("stopped");
    let cluster = Cluster::start(settings());
    // The first report tells the id of the thread.
    cluster.open(&tcp("127.0.0.1"));
    let site = cluster.open(&unix(&folder.socket()));
    let held = cluster.listen(&site.address, Some(0)).unwrap().listener;
    let _worker = cluster.worker(0, &site);
    assert_eq!(Client::unix(&folder.socket()).who(), 0);
    let (keep_alive, listening) = (folder.0.join("kept"), folder.socket());
    fs::hard_link(&listening, &keep_alive).unwrap();
    cluster.retire();
    assert!(!folder.socket().exists());
    // The other name accepts no connection and does not wake the accept thread.
    let spent = cluster.processor_time();
    assert_eq!(UnixStream::connect(&keep_alive).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    std::thread::park_timeout(Duration::from_millis(300));
    assert!(cluster.processor_time() - spent <= Duration::from_millis(50), "the thread spins");
    drop(held);
}

#[test]
fn a_file_that_another_program_put_in_its_place_is_not_removed() {
    let folder = Folder::new("replaced");
    let cluster = Cluster::start(settings());
    let site = cluster.open(&unix(&folder.socket()));
    let _worker = cluster.worker(0, &site);
    fs::remove_file(folder.socket()).unwrap();
    let _successor = UnixListener::bind(folder.socket()).unwrap();
    cluster.retire();
    assert!(folder.socket().exists());
}

#[test]
fn a_file_that_a_killed_owner_left_behind_is_used_again() {
    let folder = Folder::new("stale");
    drop(UnixListener::bind(folder.socket()).unwrap());
    assert!(folder.socket().exists());
    let cluster = Cluster::start(settings());
    let site = cluster.open(&unix(&folder.socket()));
    let _worker = cluster.worker(0, &site);
    assert_eq!(Client::unix(&folder.socket()).who(), 0);
}

#[test]
fn a_unix_socket_that_somebody_serves_is_taken_even_when_its_queue_is_full() {
    let folder = Folder::new("taken");
    let owner = UnixListener::bind(folder.socket()).unwrap();
    let cluster = Cluster::start(settings());
    let try_open = || cluster.try_open(&unix(&folder.socket())).map(|_| ()).map_err(|failure| failure.errno);
    assert_eq!(try_open(), Err(Errno::ADDRINUSE.raw_os_error()));
    listen(&owner, 0).unwrap();
    let address = SocketAddrUnix::new(folder.socket()).unwrap();
    let client = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        connect(&socket, &address).map(|()| socket)
    };
    let mut queue = Vec::new();
    let full = loop {
        match client() {
            Ok(socket) => queue.push(socket),
            Err(errno) => break errno,
        }
    };
    assert_eq!(full, Errno::AGAIN);
    assert_eq!(try_open(), Err(Errno::ADDRINUSE.raw_os_error()));
}

#[test]
fn a_file_that_is_no_socket_is_never_touched() {
    let folder = Folder::new("precious");
    fs::write(folder.socket(), "precious").unwrap();
    let failure = Cluster::start(settings()).try_open(&unix(&folder.socket())).unwrap_err();
    assert_eq!(failure.errno, Errno::ADDRINUSE.raw_os_error());
    assert_eq!(fs::read_to_string(folder.socket()).unwrap(), "precious");
}

#[test]
fn a_name_in_the_abstract_namespace_belongs_to_one_cluster() {
    let name = Address::Unix { path: format!("\0drover-test-{}", std::process::id()) };
    let cluster = Cluster::start(settings());
    cluster.open(&name);
    let failure = Cluster::start(settings()).try_open(&name).unwrap_err();
    assert_eq!(failure.errno, Errno::ADDRINUSE.raw_os_error());
}

#[test]
fn a_name_that_is_no_address_is_refused_with_einval() {
    let failure = Cluster::start(settings()).try_open(&tcp("not an address")).unwrap_err();
    assert_eq!(failure.errno, Errno::INVAL.raw_os_error());
    assert_eq!(failure.host.as_deref(), Some("not an address"));
}

#[test]
fn an_address_of_another_machine_is_refused_with_nodes_own_error() {
    let failure = Cluster::start(settings()).try_open(&tcp("192.0.2.1")).unwrap_err();
    assert_eq!((failure.errno, failure.syscall), (Errno::ADDRNOTAVAIL.raw_os_error(), "listen"));
}

fn any_address(ipv6_only: bool) -> Address {
    Address::Tcp { host: None, port: 0, ipv6_only, nth: 0 }
}

#[test]
fn without_a_host_both_stacks_are_served() {
    if !in_a_network_of_its_own("addresses::without_a_host_both_stacks_are_served") {
        return;
    }
    raise_loopback(&[]);
    for settings in [settings(), direct()] {
        let cluster = Cluster::start(settings);
        let site = cluster.open(&any_address(false));
        assert_eq!(site.to().ip(), IpAddr::from([0u16; 8]));
        let _worker = cluster.worker(0, &site);
        for host in ["127.0.0.1", "::1"] {
            assert_eq!(Client::to(site.at(host)).who(), 0);
        }
    }
}

#[test]
fn ipv6_only_leaves_ipv4_to_others() {
    let test = "addresses::ipv6_only_leaves_ipv4_to_others";
    if !in_a_network_of_its_own(test) {
        return;
    }
    raise_loopback(&[]);
    let cluster = Cluster::start(settings());
    let site = cluster.open(&any_address(true));
    let _worker = cluster.worker(0, &site);
    assert_eq!(Client::to(site.at("::1")).who(), 0);
    let refused = Client::try_to(site.at("127.0.0.1")).err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
    TcpListener::bind(("0.0.0.0", site.port)).expect("the port is free in IPv4");
}

#[test]
fn without_a_host_and_without_ipv6_every_ipv4_address_is_served() {
    let test = "addresses::without_a_host_and_without_ipv6_every_ipv4_address_is_served";
    if !in_a_process_of_its_own(test, Apart::Same, 1024) {
        return;
    }
    forbid_ipv6();
    let cluster = Cluster::start(settings());
    let site = cluster.open(&any_address(false));
    assert_eq!(site.to().ip(), IpAddr::from([0, 0, 0, 0]));
    let _worker = cluster.worker(0, &site);
    assert_eq!(Client::to(site.at("127.0.0.1")).who(), 0);
}

#[test]
fn a_link_local_address_belongs_to_the_interface_that_it_names() {
    let test = "addresses::a_link_local_address_belongs_to_the_interface_that_it_names";
    if !in_a_network_of_its_own(test) {
        return;
    }
    raise_loopback(&["fe80::1".parse().unwrap()]);
    let cluster = Cluster::start(settings());
    for host in ["fe80::1%lo", "fe80::1%1"] {
        let site = cluster.open(&Address::Tcp { host: Some(host.into()), port: 0, ipv6_only: false, nth: 0 });
        let worker = cluster.worker(0, &site);
        let to = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), site.port, 0, 1);
        assert_eq!(Client::to(to.into()).who(), 0);
        cluster.kill(worker);
    }
    let nowhere = cluster.try_open(&tcp("fe80::1%nowhere")).unwrap_err();
    assert_eq!(nowhere.errno, Errno::INVAL.raw_os_error());
}
