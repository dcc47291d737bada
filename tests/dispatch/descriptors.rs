//! Descriptors are private (rule 10): a child process that user code starts inherits none.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::*;

fn open_descriptors() -> BTreeSet<i32> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().parse().unwrap()).collect()
}

/// Whether the descriptor is close-on-exec. None: it is closed already.
fn closes_on_exec(fd: i32) -> Option<bool> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    Some(i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_CLOEXEC != 0)
}

#[test]
fn every_descriptor_is_closed_on_exec() {
    let test = "descriptors::every_descriptor_is_closed_on_exec";
    if !in_a_process_of_its_own(test, Apart::Same, 1024) {
        return;
    }
    let before = open_descriptors();
    let (cluster, site, _workers) = Cluster::serving(settings(), 2);
    let folder = std::env::temp_dir().join(format!("drover-cloexec-{}", std::process::id()));
    let unix = drover::ipc::control::Address::Unix { path: folder.to_str().unwrap().to_owned() };
    let unix = cluster.open(&unix);
    let shares = [&site.address, &unix.address].map(|address| cluster.listen(address, Some(3)).unwrap());
    let manual = cluster.manual(3);
    let datagrams = cluster.bind(&manual, &udp(0)).unwrap();
    cluster.serve_manual(manual.id, &unix);
    let _clients = [Client::unix(&folder), Client::unix(&folder)];
    manual.await_message();
    let fd_message = manual.take().unwrap();
    let ours: Vec<i32> = open_descriptors().difference(&before).copied().collect();
    assert!(ours.len() > 20, "{ours:?}");
    let inherited: Vec<&i32> = ours.iter().filter(|fd| closes_on_exec(**fd) == Some(false)).collect();
    assert!(inherited.is_empty(), "{inherited:?}");
    drop((shares, fd_message, datagrams));
}
