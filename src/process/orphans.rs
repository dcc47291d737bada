//! Workers of a killed primary hold its addresses until they end, two seconds at most. A new primary that finds an
//! address taken checks here whether waiting helps.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::launch::CHANNEL_VARIABLE;
use crate::ipc::control::Address;

/// Whether an orphaned drover worker holds a socket at this address.
pub fn hold(address: &Address) -> bool {
    let inodes: Vec<String> = match address {
        Address::Tcp { port, .. } => {
            let tables = read(&["/proc/net/tcp", "/proc/net/tcp6"]);
            tables.iter().flat_map(|table| bound_to(table, *port, TCP_LISTEN)).collect()
        }
        Address::Unix { path } => {
            read(&["/proc/net/unix"]).iter().flat_map(|table| named(table, path)).collect()
        }
        Address::Descriptor { .. } => Vec::new(),
    };
    hold_any(&inodes)
}

/// Whether an orphaned drover worker holds a datagram socket on this port.
pub fn hold_datagrams(port: u16) -> bool {
    let tables = read(&["/proc/net/udp", "/proc/net/udp6"]);
    let inodes: Vec<String> = tables.iter().flat_map(|table| bound_to(table, port, UDP_BOUND)).collect();
    hold_any(&inodes)
}

fn hold_any(inodes: &[String]) -> bool {
    !inodes.is_empty() && processes().any(|pid| is_orphan(pid) && holds(pid, inodes))
}

fn read(tables: &[&str]) -> Vec<String> {
    tables.iter().filter_map(|table| fs::read_to_string(table).ok()).collect()
}

const TCP_LISTEN: &str = "0A";
const UDP_BOUND: &str = "07";

/// Inodes of the sockets in this state on a port, from a table such as /proc/net/tcp (proc_pid_net(5)).
fn bound_to(table: &str, port: u16, state: &str) -> Vec<String> {
    let local = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&local) && row[3] == state)
        .map(|row| format!("socket:[{}]", row[9]))
        .collect()
}

/// Inodes of the unix sockets with this name, from /proc/net/unix, which writes `@` for a NUL.
fn named(table: &str, path: &str) -> Vec<String> {
    let name = path.replace('\0', "@");
    let rows = table.lines().skip(1).filter_map(|row| {
        let (mut inode, mut rest) = ("", row);
        for _ in 0..7 {
            (inode, rest) = rest.trim_start().split_once(' ')?;
        }
        Some((inode, rest))
    });
    rows.filter(|(_, found)| *found == name).map(|(inode, _)| format!("socket:[{inode}]")).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether the process's initial environment names a primary that is not its parent any more. (The primary's own /proc
/// entry is no criterion: it may remain as a zombie, or belong to another process with the same pid.)
fn is_orphan(pid: u32) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    parse_primary(&environment).is_some_and(|primary| parse_parent(&stat) != Some(primary))
}

/// The parent in /proc/<pid>/stat: the second field after the name, which may contain spaces and `)`.
fn parse_parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn parse_primary(environment: &[u8]) -> Option<u32> {
    let prefix = format!("{CHANNEL_VARIABLE}=");
    let named = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(prefix.as_bytes()));
    std::str::from_utf8(named?).ok()?.parse().ok()
}

fn holds(pid: u32, inodes: &[String]) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| inodes.iter().any(|inode| target.as_os_str().as_bytes() == inode.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listeners_of_a_port_are_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n\
             1: 0100007F:0BB8 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n\
             2: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0\n";
        assert_eq!(bound_to(table, 3000, TCP_LISTEN), ["socket:[4711]"]);
    }

    #[test]
    fn the_sockets_with_a_name_are_found_in_the_kernels_table() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
             000000001ccb1f3c: 00000003 00000000 00000000 0001 03  1073\n\
             00000000d3c43a8d: 00000002 00000000 00010000 0001 01 10218259 /tmp/a b.sock\n\
             00000000d3c43a8e: 00000002 00000000 00010000 0001 01  4711 @name\n";
        assert_eq!(named(table, "/tmp/a b.sock"), ["socket:[10218259]"]);
        assert_eq!(named(table, "\0name"), ["socket:[4711]"]);
        assert!(named(table, "/tmp/a").is_empty());
    }

    #[test]
    fn the_parent_is_found_whatever_the_process_is_called() {
        assert_eq!(parse_parent("77 (node) S 12 77 77 0 -1"), Some(12));
        assert_eq!(parse_parent("77 (a ) R 9 (b) S 12 77 77 0 -1"), Some(12));
        assert_eq!(parse_parent("77 (node"), None);
    }

    #[test]
    fn the_primary_of_a_worker_is_read_from_its_environment() {
        assert_eq!(parse_primary(b"A=1\0DROVER_CHANNEL=77\0B=2\0"), Some(77));
        assert_eq!(parse_primary(b"XDROVER_CHANNEL=77\0"), None);
    }
}
