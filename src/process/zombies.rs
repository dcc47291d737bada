//! PID 1 of a PID namespace becomes the parent of its orphans and has to reap them. The runtime reaps only its own
//! children, by pid.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, WaitOptions, getpid, waitpid};

/// A process that has ended and is not reaped; with its start time, because pids are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Zombie {
    pid: i32,
    /// Clock ticks since the machine started.
    started: u64,
}

/// Reaps orphans.
#[derive(Debug, Default)]
pub struct Reaper {
    seen: BTreeSet<Zombie>,
}

impl Reaper {
    /// Reaps zombies that already existed at the previous call. To be called on the runtime's own loop, with a complete
    /// iteration between two calls, in which the runtime has reaped its own children.
    pub fn look(&mut self) {
        let now = zombies();
        for zombie in now.intersection(&self.seen) {
            if let Some(pid) = Pid::from_raw(zombie.pid) {
                // It may have been reaped meanwhile.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
        self.seen = now;
    }
}

/// Zombies among the main thread's children, where the kernel puts orphans (proc_pid_task(5)). Workers are
/// not there: they belong to the thread that spawned them. Nor are children of the runtime's other threads.
fn zombies() -> BTreeSet<Zombie> {
    let main = getpid().as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/self/task/{main}/children")).unwrap_or_default();
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(|pid: i32| parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// Fields of /proc/<pid>/stat after the name, which may contain spaces and `)`: the state is the first, the start time
/// the twentieth.
fn parse(pid: i32, stat: &str) -> Option<Zombie> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    (fields.next()? == "Z").then_some(())?;
    Some(Zombie { pid, started: fields.nth(18)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn only_the_dead_are_zombies_and_a_number_alone_does_not_name_one() {
        let stat = |state: &str| format!("9 (a b) c) {state} 1 9 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0");
        assert_eq!(parse(9, &stat("Z")), Some(Zombie { pid: 9, started: 4711 }));
        assert_eq!(parse(9, &stat("S")), None);
        assert_eq!(parse(9, "9 (a"), None);
    }

    #[test]
    fn a_child_of_another_thread_is_left_to_whoever_made_it() {
        // The test harness runs this on a separate thread, like the one that spawns workers.
        let mut child = Command::new("true").stdin(Stdio::null()).spawn().expect("every system has true");
        let mut reaper = Reaper::default();
        reaper.look();
        reaper.look();
        assert!(child.wait().expect("it is still there to wait for").success());
    }
}
