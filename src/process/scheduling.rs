//! How the kernel schedules a worker: its niceness, its CPU, its I/O priority. A worker is started with them
//! (`attributes`); one that runs gets others with all of its threads (`apply`).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, getpriority_process, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::sys::io_priority;
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

    /// Gives the running worker in `slot`, process `pid`, what differs from what it has, `before`. Its other settings
    /// stay, also those that its program has changed. Returns what the kernel refused.
    pub fn apply(self, before: Self, slot: u16, pid: u32) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if self.nicer != before.nicer {
            let niceness = self.niceness();
            let refused = for_each_thread(pid, |thread| Ok(setpriority_process(Some(thread), niceness)?));
            refusals.extend(refused.map(Refusal::Priority));
        }
        if self.pins != before.pins {
            let refused = self.cpus(slot).and_then(|cpus| {
                for_each_thread(pid, |thread| Ok(sched_setaffinity(Some(thread), &cpus)?)).map_or(Ok(()), Err)
            });
            refusals.extend(refused.err().map(Refusal::Cpus));
        }
        if self.io_priority != before.io_priority {
            let refused = self.io_priority().and_then(|priority| {
                for_each_thread(pid, |thread| io_priority::set(thread, priority)).map_or(Ok(()), Err)
            });
            refusals.extend(refused.err().map(Refusal::IoPriority));
        }
        refusals
    }

    /// The CPUs of the worker in `slot`.
    fn cpus(self, slot: u16) -> io::Result<CpuSet> {
        let mut cpus = sched_getaffinity(None)?;
        if let Some(cpu) = nth_cpu(usize::from(slot)).filter(|_| self.pins) {
            cpus = CpuSet::new();
            cpus.set(cpu);
        }
        Ok(cpus)
    }

    fn io_priority(self) -> io::Result<i32> {
        if self.io_priority { Ok(io_priority::BEST_EFFORT_FIRST) } else { io_priority::own() }
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

/// What the kernel refused a running worker, and why.
#[derive(Debug)]
pub enum Refusal {
    Priority(io::Error),
    Cpus(io::Error),
    IoPriority(io::Error),
}

/// Does something to each thread of a process; returns the first error. The process is not reaped.
fn for_each_thread(pid: u32, mut act: impl FnMut(Pid) -> io::Result<()>) -> Option<io::Error> {
    let mut error = None;
    let mut done = BTreeSet::new();
    // A thread that starts meanwhile may have what its creator had before: it is in the next list. A program that starts
    // threads without end is not followed for ever.
    for _ in 0..MAX_LISTS {
        let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let threads = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let new: Vec<i32> = threads.filter(|thread| done.insert(*thread)).collect();
        if new.is_empty() {
            break;
        }
        for thread in new.into_iter().filter_map(Pid::from_raw) {
            match act(thread) {
                // It has ended.
                Err(gone) if gone.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                outcome => error = error.or(outcome.err()),
            }
        }
    }
    error
}

/// How often the threads of a process are listed.
const MAX_LISTS: usize = 10;

/// The n-th CPU that this process may use, round and round.
fn nth_cpu(n: usize) -> Option<usize> {
    let allowed = sched_getaffinity(None).ok()?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    cpus.get(n.checked_rem(cpus.len())?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn workers_are_pinned_round_and_round_to_the_cpus_that_may_be_used() {
        let first = nth_cpu(0);
        let count = (1..).find(|n| nth_cpu(*n) == first).unwrap_or(1);
        assert!(first.is_some() && (1..=CpuSet::MAX_CPU).contains(&count));
        assert_eq!(nth_cpu(count + 1), nth_cpu(1));
    }

    #[test]
    fn a_running_process_gets_what_differs_with_all_of_its_threads_and_its_cpus_back() {
        let mut child = Command::new("sh").args(["-c", "read line"]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let of = |pid: u32| {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            (getpriority_process(pid).unwrap(), sched_getaffinity(pid).unwrap().count())
        };
        let (own, all) = of(std::process::id());
        let nice = (own + 10).min(19);
        let none = Scheduling::default();
        let pinned = Scheduling { nicer: 10, pins: true, io_priority: true };
        assert!(pinned.apply(pinned, 0, pid).is_empty());
        assert_eq!(of(pid), (own, all), "nothing differs");
        assert!(pinned.apply(none, 0, pid).is_empty());
        assert_eq!(of(pid), (nice, 1));
        assert!(Scheduling { pins: false, ..pinned }.apply(pinned, 0, pid).is_empty());
        assert_eq!(of(pid), (nice, all), "the rest stays");
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn every_thread_is_found_and_those_that_start_meanwhile() {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let receive = std::sync::Arc::new(std::sync::Mutex::new(receive));
        let start = || {
            let (ends, receive) = (std::sync::mpsc::channel(), receive.clone());
            let thread = std::thread::spawn(move || {
                ends.0.send(rustix::thread::gettid()).unwrap();
                let _ = receive.lock().unwrap().recv();
            });
            (ends.1.recv().unwrap(), thread)
        };
        let mut threads = vec![start(), start()];
        let mut found = Vec::new();
        let error = for_each_thread(std::process::id(), |thread| {
            if thread == threads[0].0 {
                threads.push(start());
            }
            found.push(thread);
            Err(if thread == threads[1].0 { Errno::PERM.into() } else { Errno::SRCH.into() })
        });
        assert_eq!(error.and_then(|error| error.raw_os_error()), Some(Errno::PERM.raw_os_error()));
        assert!(threads.iter().all(|(id, _)| found.contains(id)), "{found:?}");
        drop(send);
        threads.into_iter().for_each(|(_, thread)| thread.join().unwrap());
    }

    #[test]
    fn without_a_request_the_kernel_is_asked_for_nothing() {
        let attributes = Scheduling::default().attributes(0, Vec::new());
        assert_eq!((attributes.nice, attributes.cpu, attributes.io_priority), (None, None, false));
        assert!(!Scheduling::default().was_refused(std::process::id()));
    }
}
