//! The process that listens on a TCP port of this machine, from /proc, for log lines. Processes of other users are not
//! found.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Maximum number of processes that are searched: it is only for a log line, and reads every descriptor.
const MAX_PROCESSES: usize = 2000;
/// The state of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";

/// A process and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    pub pid: u32,
    pub name: String,
}

/// The process that listens on this port; None: none that this user can see.
pub fn of_port(port: u16) -> Option<Holder> {
    let inodes: Vec<u64> = ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes_of(&table, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let own = std::process::id();
    let all =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // This process first: usually it is the program itself.
    let pid = std::iter::once(own).chain(all).take(MAX_PROCESSES).find(|pid| has_one_of(*pid, &inodes))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder { pid, name: name.trim().to_owned() })
}

fn has_one_of(pid: u32, sockets: &[u64]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    // The target of a descriptor's link has the socket's inode.
    descriptors
        .flatten()
        .filter_map(|entry| fs::metadata(entry.path()).ok())
        .any(|found| sockets.contains(&found.ino()))
}

/// The inodes of the sockets that listen on the port, in a table of /proc/net.
fn inodes_of(table: &str, port: u16) -> Vec<u64> {
    let port = format!("{port:04X}");
    let listens = |row: &&str| {
        let mut fields = row.split_whitespace().skip(1);
        let local = fields.next().and_then(|local| local.rsplit(':').next());
        local == Some(port.as_str()) && fields.nth(1) == Some(LISTEN)
    };
    let rows = table.lines().skip(1).filter(listens);
    rows.filter_map(|row| row.split_whitespace().nth(9)?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found_by_its_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:0BBB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
                     1: 0100007F:0BBB 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n   \
                     2: 00000000:0BBC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
        assert_eq!(inodes_of(table, 3003), [4711]);
        assert!(inodes_of(table, 3005).is_empty());
    }

    #[test]
    fn this_process_is_named_for_a_port_of_its_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(of_port(port).map(|holder| holder.pid), Some(std::process::id()));
        drop(listener);
        assert_eq!(of_port(port), None);
    }
}
