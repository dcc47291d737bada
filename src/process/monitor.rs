//! Looks at the machine and at single processes when somebody asks, and remembers the last look for what is a rate.

use std::collections::HashMap;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::machine::Machine;
use super::usage::{self, Usage};

/// Processes that are remembered; those that were looked at longest ago are forgotten.
const MOST: usize = 1024;

/// A process as it was looked at last. Another one may have its pid since: that one was started later.
struct Seen {
    started: f64,
    cpu: f64,
    at: Instant,
}

pub struct Monitor {
    machine: Option<Machine>,
    looked: Instant,
    seen: HashMap<u32, Seen>,
}

impl Default for Monitor {
    fn default() -> Self {
        Self { machine: Machine::new(), looked: Instant::now(), seen: HashMap::new() }
    }
}

impl Monitor {
    /// [`Machine::look`] with the milliseconds since the machine was started; rates are since the last look, which
    /// less than 200 ms ago says nothing of the processors. None on a system of which nothing is known.
    pub fn system(&mut self) -> Option<Value> {
        let machine = self.machine.as_mut()?;
        let now = Instant::now();
        let mut told = machine.look(now.duration_since(self.looked).as_secs_f64());
        self.looked = now;
        told["uptime"] = json!((since_boot() * 1000.0).round());
        Some(told)
    }

    /// Bytes, milliseconds, percent of one processor since the last look, and at first since the process began. None
    /// when there is no such process.
    pub fn process(&mut self, pid: u32) -> Option<Value> {
        let Some(usage) = usage::of(pid) else {
            self.seen.remove(&pid);
            return None;
        };
        let Usage { cpu, memory, space, started, threads, descriptors } = usage;
        let (now, age) = (Instant::now(), (since_boot() - started).max(0.0));
        let before = self.seen.insert(pid, Seen { started, cpu, at: now });
        let (used, seconds) = match before.filter(|seen| seen.started == started) {
            Some(seen) => (cpu - seen.cpu, now.duration_since(seen.at).as_secs_f64()),
            None => (cpu, age),
        };
        self.forget();
        Some(json!({
            "pid": pid,
            "memory": { "rss": memory, "pss": usage::proportional(pid), "vms": space },
            "cpu": {
                "usage": if seconds > 0.0 { used.max(0.0) / seconds * 100.0 } else { 0.0 },
                "totalTime": (cpu * 1000.0).round(),
            },
            "threads": threads,
            "fileDescriptors": descriptors,
            "uptime": (age * 1000.0).round(),
        }))
    }

    fn forget(&mut self) {
        if self.seen.len() > MOST
            && let Some(oldest) = self.seen.iter().min_by_key(|(_, seen)| seen.at).map(|(pid, _)| *pid)
        {
            self.seen.remove(&oldest);
        }
    }
}

/// Seconds since the machine was started.
fn since_boot() -> f64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_process_uses_what_it_used_since_it_was_looked_at_last() {
        let (mut monitor, pid) = (Monitor::default(), std::process::id());
        let first = monitor.process(pid).unwrap();
        let busy = Instant::now();
        while busy.elapsed() < Duration::from_millis(300) {
            std::hint::spin_loop();
        }
        let second = monitor.process(pid).unwrap();
        let time = |told: &Value| told["cpu"]["totalTime"].as_f64().unwrap();
        assert!(time(&second) >= time(&first) + 100.0, "{first} {second}");
        assert!(second["cpu"]["usage"].as_f64().unwrap() > 10.0, "{second}");
        assert!(second["uptime"].as_f64() > first["uptime"].as_f64());
    }

    #[test]
    fn one_that_is_gone_is_nothing_and_no_more_than_so_many_are_remembered() {
        let mut monitor = Monitor::default();
        assert!(monitor.process(u32::MAX).is_none());
        for pid in 0..=MOST as u32 {
            monitor.seen.insert(pid + 10_000_000, Seen { started: 0.0, cpu: 0.0, at: monitor.looked });
        }
        monitor.process(std::process::id()).unwrap();
        assert_eq!(monitor.seen.len(), MOST + 1);
        assert!(monitor.seen.contains_key(&std::process::id()));
    }

    #[test]
    fn the_machine_is_known() {
        let told = Monitor::default().system().unwrap();
        assert!(told["cpu"]["usage"].is_number() && told["uptime"].as_f64().unwrap() > 0.0, "{told}");
        assert!(told["memory"]["total"].as_u64().unwrap() > 0);
    }
}
