//! The code between fork and exec of a worker: its process group, the parent-death signal, the inherited descriptors at
//! their numbers. It makes only async-signal-safe calls.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::{io_priority, orphan};

/// The first inherited descriptor of a worker; 0, 1 and 2 are the standard streams.
pub const FIRST_INHERITED: RawFd = 3;

/// What a process gets before its program starts. A value that the kernel refuses is left out: the caller can see what
/// the process has.
#[derive(Debug, Default)]
pub struct Attributes {
    /// Its niceness.
    pub nice: Option<i32>,
    /// The only CPU on which it runs.
    pub cpu: Option<usize>,
    /// The highest I/O priority without privileges.
    pub io_priority: bool,
    /// Descriptors of `cgroup.procs` of the groups that it joins.
    pub groups: Vec<OwnedFd>,
}

impl Attributes {
    /// Applies them to the calling process, whose threads are started later.
    ///
    /// # Safety
    /// Makes only async-signal-safe calls, so that it may run between fork and exec; `cpus` must be the set of `cpu`.
    unsafe fn apply(&self, cpus: Option<&libc::cpu_set_t>) {
        for group in &self.groups {
            // SAFETY: an open descriptor and a static text.
            unsafe { libc::write(group.as_raw_fd(), c"0".as_ptr().cast(), 1) };
        }
        if let Some(cpus) = cpus {
            // SAFETY: the set outlives the call.
            unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), cpus) };
        }
        if let Some(nice) = self.nice {
            // SAFETY: no pointers.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
        }
        if self.io_priority {
            // SAFETY: no pointers.
            unsafe {
                libc::syscall(
                    libc::SYS_ioprio_set,
                    io_priority::WHO_PROCESS,
                    0,
                    io_priority::BEST_EFFORT_FIRST,
                )
            };
        }
    }

    /// The set of `cpu`; None without one, or if it is beyond what a set holds.
    fn cpus(&self) -> Option<libc::cpu_set_t> {
        let cpu = self.cpu.filter(|cpu| *cpu < libc::CPU_SETSIZE as usize)?;
        // SAFETY: an empty set is all zeros, and the CPU is within it.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            Some(set)
        }
    }
}

/// Starts `command` in a process group of its own with `inherited` as descriptors 3, 4, 5 ... The calling thread must
/// live as long as the process: the worker takes its end for the primary's death.
///
/// # Errors
/// The error of fork, exec or the set-up in between; the child has then ended already.
pub fn spawn(command: &mut Command, inherited: &[OwnedFd], attributes: Attributes) -> io::Result<Child> {
    let cpus = attributes.cpus();
    let primary = rustix::process::getpid();
    let count = inherited.len() as RawFd;
    let targets = FIRST_INHERITED..FIRST_INHERITED + count;
    // Copies above the target numbers first, or one target could overwrite another's source.
    let sources: Vec<OwnedFd> = inherited
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, targets.end).map_err(io::Error::from))
        .collect::<io::Result<_>>()?;
    let numbers: Vec<(RawFd, RawFd)> = sources.iter().map(AsRawFd::as_raw_fd).zip(targets).collect();
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec and makes only async-signal-safe calls (dup2, prctl, getppid,
    // signal, write and those of `Attributes::apply`); it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            for &(source, target) in &numbers {
                // dup2 clears close-on-exec, so the worker inherits it.
                if libc::dup2(source, target) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            attributes.apply(cpus.as_ref());
            orphan::rearm()?;
            if libc::getppid() != primary.as_raw_nonzero().get() {
                // The primary died before the request took effect: this child would get no signal.
                libc::_exit(1);
            }
            Ok(())
        });
    }
    let child = command.spawn();
    drop(sources);
    child
}
