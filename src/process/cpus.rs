//! How many CPUs and how much memory this process may use: affinity, the quotas and limits of its control groups (v2
//! and v1, up the tree), and the machine's available memory. Reading is separate from parsing: every function takes a
//! reader, so that tests do not depend on the machine.
//!
//! Sources: cgroups(7), the kernel's `admin-guide/cgroup-v2.rst` (`cpu.max`, `memory.max`) and
//! `scheduler/sched-bwc.rst` (`cpu.cfs_quota_us`), proc_pid_mountinfo(5), proc_pid_status(5).

use std::path::Path;

use super::control_groups::{Hierarchy, Reader, levels, read};

/// CPUs this process may use, more than 0; fractional under a quota. If nothing can be read, the standard library's
/// value.
pub fn usable_cpus() -> f64 {
    let allowed = read(Path::new("/proc/self/status")).as_deref().and_then(allowed_cpus);
    let fallback = || std::thread::available_parallelism().map_or(1, usize::from);
    let cpus = allowed.unwrap_or_else(fallback) as f64;
    quota(&read).map_or(cpus, |quota| quota.min(cpus))
}

/// Bytes this process and its children may use: the lower of its control groups' tightest limit and the machine's
/// available memory. None if neither can be read.
pub fn available_memory() -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).as_deref().and_then(available_in_meminfo);
    match (memory_limit(&read), machine) {
        (Some(limit), Some(machine)) => Some(limit.min(machine)),
        (limit, machine) => limit.or(machine),
    }
}

/// The tightest CPU quota on this process, in CPUs.
fn quota(read: Reader<'_>) -> Option<f64> {
    let v2 = levels(read, Hierarchy::Unified)
        .into_iter()
        .filter_map(|level| quota_v2(&read(&level.join("cpu.max"))?));
    let v1 = levels(read, Hierarchy::Controller("cpu")).into_iter().filter_map(|level| {
        quota_v1(&read(&level.join("cpu.cfs_quota_us"))?, &read(&level.join("cpu.cfs_period_us"))?)
    });
    v2.chain(v1).min_by(f64::total_cmp)
}

/// The tightest memory limit on this process, in bytes.
fn memory_limit(read: Reader<'_>) -> Option<u64> {
    let of = |hierarchy, file: &'static str| {
        levels(read, hierarchy).into_iter().filter_map(move |level| bytes_limit(&read(&level.join(file))?))
    };
    let v2 = of(Hierarchy::Unified, "memory.max");
    v2.chain(of(Hierarchy::Controller("memory"), "memory.limit_in_bytes")).min()
}

/// The tightest limit and its usage, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub limit: u64,
    pub used: u64,
    /// The reclaimable part of `used`.
    pub cache: u64,
}

/// Memory and swap limits of this process's control groups; None if none of them has a limit.
pub fn group_share() -> (Option<Share>, Option<Share>) {
    (memory_share(&read), swap_share(&read))
}

fn memory_share(read: Reader<'_>) -> Option<Share> {
    let of = |hierarchy, limit: &'static str, used: &'static str, cache: &'static str| {
        levels(read, hierarchy).into_iter().filter_map(move |level| {
            let number = |file: &str| read(&level.join(file))?.trim().parse::<u64>().ok();
            Some(Share {
                limit: bytes_limit(&read(&level.join(limit))?)?,
                used: number(used)?,
                cache: stat(&read(&level.join("memory.stat")).unwrap_or_default(), cache),
            })
        })
    };
    let v2 = of(Hierarchy::Unified, "memory.max", "memory.current", "inactive_file");
    let v1 = of(
        Hierarchy::Controller("memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    );
    v2.chain(v1).min_by_key(|share| share.limit)
}

/// Version 1 limits memory and swap together, so it has no limit of swap alone.
fn swap_share(read: Reader<'_>) -> Option<Share> {
    let levels = levels(read, Hierarchy::Unified).into_iter().filter_map(|level| {
        let number = |file: &str| read(&level.join(file))?.trim().parse::<u64>().ok();
        Some(Share { limit: number("memory.swap.max")?, used: number("memory.swap.current")?, cache: 0 })
    });
    levels.min_by_key(|share| share.limit)
}

/// A value of `memory.stat`, which has lines of a name and a number.
fn stat(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name).and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

/// CPUs from `cpu.max`: `<quota> <period>` in microseconds, or `max` for no limit.
fn quota_v2(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    quota_v1(quota, period)
}

/// CPUs from a quota and a period in microseconds; a quota of -1 or `max` is no limit.
fn quota_v1(quota: &str, period: &str) -> Option<f64> {
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok()?;
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// Version 1 reports no limit as a number near the maximum.
const NO_LIMIT: u64 = 1 << 60;

/// Bytes from `memory.max` or `memory.limit_in_bytes`; `max` is no limit.
fn bytes_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| (1..NO_LIMIT).contains(limit))
}

/// How many CPUs a process may run on, from `/proc/self/status`: `Cpus_allowed_list: 0-3,8`. Unlike
/// sched_getaffinity(2) with a fixed mask, this holds for any number of CPUs.
fn allowed_cpus(status: &str) -> Option<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let counts = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    });
    counts.sum::<Option<usize>>().filter(|count| *count > 0)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available_in_meminfo(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::control_groups::fake::{V1_MEMORY_MOUNT, V2_MOUNT, machine};

    #[test]
    fn allowed_cpus_are_counted_over_ranges() {
        for (list, expected) in [
            ("0", Some(1)),
            ("0-3", Some(4)),
            ("0-3,8,10-11", Some(7)),
            ("0-2047", Some(2048)),
            ("", None),
            ("3-1", None),
            ("a-b", None),
        ] {
            let status =
                format!("Name:\tnode\nCpus_allowed:\tf\nCpus_allowed_list:\t{list}\nMems_allowed:\t1\n");
            assert_eq!(allowed_cpus(&status), expected, "{list}");
        }
        assert_eq!(allowed_cpus("Name:\tnode\n"), None);
    }

    #[test]
    fn quotas_are_fractions_of_cpus_and_no_limit_is_none() {
        for (text, expected) in [
            ("50000 100000\n", Some(0.5)),
            ("250000 100000", Some(2.5)),
            ("max 100000\n", None),
            ("0 100000", None),
            ("1000 0", None),
            ("", None),
        ] {
            assert_eq!(quota_v2(text), expected, "{text}");
        }
        assert_eq!(quota_v1("-1\n", "100000\n"), None);
        assert_eq!(quota_v1("150000\n", "100000\n"), Some(1.5));
    }

    #[test]
    fn memory_limits_are_bytes_and_no_limit_is_none() {
        for (text, expected) in
            [("536870912\n", Some(512 << 20)), ("max\n", None), ("9223372036854771712\n", None), ("0", None)]
        {
            assert_eq!(bytes_limit(text), expected, "{text}");
        }
        assert_eq!(available_in_meminfo("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available_in_meminfo("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn the_tightest_group_up_the_tree_counts() {
        let v2 = machine(&[
            ("/proc/self/cgroup", "0::/app.slice/web.service\n"),
            ("/proc/self/mountinfo", V2_MOUNT),
            ("/sys/fs/cgroup/app.slice/web.service/cpu.max", "400000 100000\n"),
            ("/sys/fs/cgroup/app.slice/cpu.max", "150000 100000\n"),
            ("/sys/fs/cgroup/app.slice/web.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/app.slice/memory.max", "1073741824\n"),
        ]);
        assert_eq!(quota(&v2), Some(1.5));
        assert_eq!(memory_limit(&v2), Some(1 << 30));
    }

    #[test]
    fn what_is_used_is_told_of_the_group_that_limits() {
        let v2 = machine(&[
            ("/proc/self/cgroup", "0::/app.slice/web.service\n"),
            ("/proc/self/mountinfo", V2_MOUNT),
            ("/sys/fs/cgroup/app.slice/web.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/app.slice/web.service/memory.current", "100\n"),
            ("/sys/fs/cgroup/app.slice/memory.max", "1000\n"),
            ("/sys/fs/cgroup/app.slice/memory.current", "600\n"),
            ("/sys/fs/cgroup/app.slice/memory.stat", "anon 300\ninactive_file 250\nactive_file 50\n"),
            ("/sys/fs/cgroup/app.slice/web.service/memory.swap.max", "0\n"),
            ("/sys/fs/cgroup/app.slice/web.service/memory.swap.current", "0\n"),
        ]);
        assert_eq!(memory_share(&v2), Some(Share { limit: 1000, used: 600, cache: 250 }));
        assert_eq!(swap_share(&v2), Some(Share { limit: 0, used: 0, cache: 0 }));
        let v1 = machine(&[
            ("/proc/self/cgroup", "5:memory:/box\n"),
            ("/proc/self/mountinfo", V1_MEMORY_MOUNT),
            ("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2000\n"),
            ("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "1500\n"),
            ("/sys/fs/cgroup/memory/box/memory.stat", "inactive_file 1\ntotal_inactive_file 400\n"),
        ]);
        assert_eq!(memory_share(&v1), Some(Share { limit: 2000, used: 1500, cache: 400 }));
        assert_eq!((memory_share(&machine(&[])), swap_share(&machine(&[]))), (None, None));
    }

    #[test]
    fn version_1_counts_by_controller() {
        let v1 = machine(&[
            ("/proc/self/cgroup", "5:memory:/box\n4:cpu,cpuacct:/box\n0::/\n"),
            (
                "/proc/self/mountinfo",
                "40 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                 41 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            ),
            ("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "50000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "268435456\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(quota(&v1), Some(0.5));
        assert_eq!(memory_limit(&v1), Some(256 << 20));
    }

    #[test]
    fn a_container_without_a_cgroup_namespace_finds_its_group_at_the_mount() {
        let container = machine(&[
            ("/proc/self/cgroup", "4:cpu:/docker/abc\n"),
            ("/proc/self/mountinfo", "40 31 0:30 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(quota(&container), Some(2.0));
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        for files in [
            &[][..],
            &[("/proc/self/cgroup", "0::/a\n")],
            &[("/proc/self/cgroup", "0::/../outside\n"), ("/proc/self/mountinfo", V2_MOUNT)],
            &[("/proc/self/cgroup", "nonsense\n"), ("/proc/self/mountinfo", "nonsense - \n")],
        ] {
            assert_eq!(quota(&machine(files)), None);
            assert_eq!(memory_limit(&machine(files)), None);
        }
    }

    #[test]
    fn this_machine_has_some_of_both() {
        let cpus = usable_cpus();
        assert!(cpus > 0.0 && cpus.is_finite());
        if cfg!(target_os = "linux") {
            assert!(available_memory().is_some_and(|bytes| bytes > 1 << 20));
        }
    }
}
