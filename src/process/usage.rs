//! Resource usage of a process, from the kernel. Sources: proc_pid_stat(5), proc_pid_fd(5), proc_pid_smaps(5).

use std::fs;

/// The usage of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processor time so far, seconds.
    pub cpu: f64,
    /// Resident memory, bytes.
    pub memory: u64,
    /// Address space, bytes.
    pub space: u64,
    /// When it was started, seconds since boot.
    pub started: f64,
    pub threads: u32,
    /// Open file descriptors; None if the kernel does not show them.
    pub descriptors: Option<u32>,
}

/// None if the process no longer exists.
pub fn of(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let mut usage = read(&stat, ticks, rustix::param::page_size() as u64)?;
    usage.descriptors = descriptors(pid);
    Some(usage)
}

/// Resident memory of a process, bytes; None if it no longer exists.
pub fn resident(pid: u32) -> Option<u64> {
    let sizes = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = sizes.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// From Linux 6.2 on the folder's size is their number; before, the folder has to be listed.
fn descriptors(pid: u32) -> Option<u32> {
    let folder = format!("/proc/{pid}/fd");
    let list = fs::read_dir(&folder).ok()?;
    match fs::metadata(&folder).map_or(0, |folder| folder.len()) {
        0 => Some(list.count() as u32),
        count => u32::try_from(count).ok(),
    }
}

/// Proportional set size in bytes: shared pages are divided by the number of their users. The kernel walks the whole
/// address space for it, so it is too slow to read once a second. None if the kernel does not show it.
pub fn proportional(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

fn read(stat: &str, ticks: f64, page: u64) -> Option<Usage> {
    // The name may contain spaces and `)`. The state, the third field of the manual, is the first after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Usage {
        cpu: (number(14)? + number(15)?) as f64 / ticks,
        memory: number(24)? * page,
        space: number(23)?,
        started: number(22)? as f64 / ticks,
        threads: u32::try_from(number(20)?).ok()?,
        descriptors: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 11 0 5000 900000 300 18446744073709551615";
        let usage = read(stat, 100.0, 4096).unwrap();
        let memory = 300 * 4096;
        let expected =
            Usage { cpu: 3.0, memory, space: 900_000, started: 50.0, threads: 11, descriptors: None };
        assert_eq!(usage, expected);
    }

    #[test]
    fn this_process_uses_something_and_one_that_is_gone_nothing() {
        let usage = of(std::process::id()).unwrap();
        assert!(resident(std::process::id()).is_some_and(|bytes| bytes > 0) && resident(u32::MAX).is_none());
        assert!(usage.memory > 0 && usage.threads > 0 && usage.descriptors.is_some_and(|open| open > 2));
        // Not every kernel shows it.
        assert!(proportional(std::process::id()).is_none_or(|bytes| bytes > 0));
        assert_eq!((of(u32::MAX), proportional(u32::MAX)), (None, None));
    }
}
