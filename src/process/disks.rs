//! Bytes read and written by the machine's disks, as counted by the kernel, without access to a mounted file system,
//! which may hang. Source: Documentation/admin-guide/iostats.rst.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The unit of the kernel's counts, independent of the disk's sector size.
const SECTOR: u64 = 512;

#[derive(Default)]
pub struct Disks {
    /// By name: sectors read and written so far. None: not a disk, but a partition or a device built on disks.
    seen: HashMap<String, Option<(u64, u64)>>,
}

impl Disks {
    /// Bytes read and written since the previous sample, by disks that existed then.
    pub fn look(&mut self) -> (u64, u64) {
        // A system that shows no disks has none.
        let text = fs::read_to_string("/proc/diskstats").unwrap_or_default();
        let is_device =
            |name: &str| Path::new("/sys/block").join(name.replace('/', "!")).join("device").exists();
        self.add(&text, |name| !is_path(name) && is_device(name))
    }

    fn add(&mut self, text: &str, is_disk: impl Fn(&str) -> bool) -> (u64, u64) {
        let mut sum = (0, 0);
        for (name, now) in text.lines().filter_map(sectors) {
            match self.seen.get_mut(name) {
                None => drop(self.seen.insert(name.to_owned(), is_disk(name).then_some(now))),
                Some(None) => {}
                Some(Some(before)) => {
                    sum.0 += now.0.saturating_sub(before.0) * SECTOR;
                    sum.1 += now.1.saturating_sub(before.1) * SECTOR;
                    *before = now;
                }
            }
        }
        sum
    }
}

/// Whether it is one of several paths to an NVMe disk (`nvme0c1n1`), which itself is counted.
fn is_path(name: &str) -> bool {
    name.strip_prefix("nvme").is_some_and(|rest| rest.contains('c'))
}

/// A line's device, and its sectors read and written.
fn sectors(line: &str) -> Option<(&str, (u64, u64))> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse().ok();
    Some((fields.get(2)?, (number(5)?, number(9)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(disk: (u64, u64), others: u64) -> String {
        let line =
            |name, read, written| format!(" 254 0 {name} 10 1 {read} 5 20 2 {written} 7 0 9 9 0 0 0 0 0 0\n");
        line("vda", disk.0, disk.1) + &line("vda1", others, others) + &line("dm-0", others, others)
    }

    #[test]
    fn ways_to_a_disk_are_no_disks() {
        assert!(is_path("nvme0c1n1") && !is_path("nvme0n1") && !is_path("sdc"));
    }

    #[test]
    fn each_sector_counts_once_and_what_was_before_the_first_look_never() {
        let mut disks = Disks::default();
        let is_disk = |name: &str| name == "vda";
        assert_eq!(disks.add(&stats((1000, 500), 900), is_disk), (0, 0));
        assert_eq!(disks.add(&stats((1010, 502), 990), is_disk), (10 * 512, 2 * 512));
        assert_eq!(disks.add(&stats((1010, 502), 990), is_disk), (0, 0));
        // A disk that was replaced and whose counts start again.
        assert_eq!(disks.add(&stats((5, 502), 990), is_disk), (0, 0));
        assert_eq!(disks.add("nonsense\n\n1 2", is_disk), (0, 0));
    }
}
