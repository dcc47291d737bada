//! How the kernel schedules a worker: its niceness, its CPU, its I/O priority.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, getpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::sys::spawn::Attributes;

/// The same for every worker of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// Added to the primary's niceness.
    pub nicer: i32,
    /// Each worker runs on one CPU, the next slot's on the next one.
    pub pins: bool,
    /// The highest I/O priority without privileges.
    pub io_priority: bool,
}

impl Scheduling {
    /// For the worker in `slot`, which joins these control groups.
    pub(super) fn attributes(self, slot: u16, groups: Vec<OwnedFd>) -> Attributes {
        Attributes {
            nice: (self.nicer != 0).then(|| self.niceness()),
            cpu: if self.pins { nth_cpu(usize::from(slot)) } else { None },
            io_priority: self.io_priority,
            groups,
        }
    }

    fn niceness(self) -> i32 {
        (getpriority_process(None).unwrap_or(0) + self.nicer).clamp(-20, 19)
    }

    /// Whether the kernel refused the process this niceness, because the user may not raise priorities.
    pub fn was_refused(self, pid: u32) -> bool {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        self.nicer < 0 && getpriority_process(pid).is_ok_and(|given| given > self.niceness())
    }
}

/// The n-th CPU that this process may use, round and round.
fn nth_cpu(n: usize) -> Option<usize> {
    let allowed = sched_getaffinity(None).ok()?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    cpus.get(n.checked_rem(cpus.len())?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_pinned_round_and_round_to_the_cpus_that_may_be_used() {
        let first = nth_cpu(0);
        let count = (1..).find(|n| nth_cpu(*n) == first).unwrap_or(1);
        assert!(first.is_some() && (1..=CpuSet::MAX_CPU).contains(&count));
        assert_eq!(nth_cpu(count + 1), nth_cpu(1));
    }

    #[test]
    fn without_a_request_the_kernel_is_asked_for_nothing() {
        let attributes = Scheduling::default().attributes(0, Vec::new());
        assert_eq!((attributes.nice, attributes.cpu, attributes.io_priority), (None, None, false));
        assert!(!Scheduling::default().was_refused(std::process::id()));
    }
}
