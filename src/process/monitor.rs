//! Samples the machine and single processes on request, and keeps the previous sample for rates.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::machine::Machine;
use super::usage::{self, Usage};
use crate::model::SystemStats;

/// Minimum time between two samples of processor usage, which is counted in ticks of ten milliseconds.
const MIN_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum number of processes whose previous sample is kept; the oldest samples are dropped.
const MAX: usize = 1024;

/// The previous sample of a process. If another process has the same pid now, its start time differs.
struct Seen {
    started: f64,
    cpu: f64,
    at: Instant,
    /// Percent of one processor.
    usage: f64,
}

/// An existing process, read without holding the monitor, because reading is slow.
pub struct Found {
    usage: Usage,
    proportional: Option<u64>,
}

impl Found {
    pub fn look(pid: u32) -> Option<Self> {
        let usage = usage::of(pid)?;
        Some(Self { usage, proportional: usage::proportional(pid) })
    }
}

#[derive(Default)]
pub struct Monitor {
    /// With the time of the previous sample.
    machine: Option<(Machine, Instant)>,
    seen: HashMap<u32, Seen>,
}

impl Monitor {
    /// [`Machine::look`] with the milliseconds since the machine was started; rates are since the previous sample; the
    /// first sample, and one less than 200 ms after the previous one, has no processor usage. None on an unsupported
    /// system, and if it cannot be read.
    pub fn system(&mut self) -> Option<SystemStats> {
        let now = Instant::now();
        let (machine, looked) = match &mut self.machine {
            Some(machine) => machine,
            none => none.insert((Machine::new()?, now)),
        };
        let seconds = now.duration_since(std::mem::replace(looked, now)).as_secs_f64().max(0.001);
        let mut stats = machine.look(seconds)?;
        stats.uptime = Some((since_boot() * 1000.0).round());
        Some(stats)
    }

    /// Bytes, milliseconds, percent of one processor since the previous sample, at first since the start of the
    /// process. None if there is no such process.
    pub fn process(&mut self, pid: u32, found: Option<Found>) -> Option<Value> {
        let Some(Found { usage: Usage { cpu, memory, space, started, threads, descriptors }, proportional }) =
            found
        else {
            self.seen.remove(&pid);
            return None;
        };
        let (now, age) = (Instant::now(), (since_boot() - started).max(0.0));
        let before = self.seen.get(&pid).filter(|seen| seen.started == started);
        let percent =
            |used: f64, seconds: f64| if seconds > 0.0 { used.max(0.0) / seconds * 100.0 } else { 0.0 };
        let usage = match before.map(|seen| (seen, now.duration_since(seen.at))) {
            Some((seen, since)) if since < MIN_INTERVAL => seen.usage,
            other => {
                let usage = match other {
                    Some((seen, since)) => percent(cpu - seen.cpu, since.as_secs_f64()),
                    None => percent(cpu, age),
                };
                self.seen.insert(pid, Seen { started, cpu, at: now, usage });
                usage
            }
        };
        self.forget();
        Some(json!({
            "pid": pid,
            "memory": { "rss": memory, "pss": proportional, "vms": space },
            "cpu": { "usage": usage, "totalTime": (cpu * 1000.0).round() },
            "threads": threads,
            "fileDescriptors": descriptors,
            "uptime": (age * 1000.0).round(),
        }))
    }

    fn forget(&mut self) {
        if self.seen.len() > MAX
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

    fn found(cpu: f64, started: f64) -> Option<Found> {
        let usage = Usage { cpu, memory: 4096, space: 8192, started, threads: 1, descriptors: None };
        Some(Found { usage, proportional: None })
    }

    fn used(stats: Option<Value>) -> f64 {
        stats.unwrap()["cpu"]["usage"].as_f64().unwrap()
    }

    #[test]
    fn a_process_uses_what_it_used_since_it_was_looked_at_last() {
        let mut monitor = Monitor::default();
        let started = since_boot() - 10.0;
        assert!((used(monitor.process(7, found(1.0, started))) - 10.0).abs() < 1.0, "since it began");
        assert!((used(monitor.process(7, found(1.01, started))) - 10.0).abs() < 1.0, "too soon to know");
        monitor.seen.get_mut(&7).unwrap().at -= Duration::from_secs(2);
        assert!((used(monitor.process(7, found(2.0, started))) - 50.0).abs() < 1.0, "since the look before");
        assert!((used(monitor.process(7, found(5.0, started + 5.0))) - 100.0).abs() < 5.0, "another process");
    }

    #[test]
    fn one_that_is_gone_is_nothing_and_no_more_than_so_many_are_remembered() {
        let mut monitor = Monitor::default();
        assert!(Found::look(u32::MAX).is_none() && monitor.process(u32::MAX, None).is_none());
        for pid in 0..MAX as u32 + 5 {
            monitor.process(pid, found(1.0, 0.0)).unwrap();
        }
        assert_eq!(monitor.seen.len(), MAX);
        assert!(monitor.seen.contains_key(&(MAX as u32 + 4)) && !monitor.seen.contains_key(&0));
        let own = Found::look(std::process::id());
        assert!(monitor.process(std::process::id(), own).unwrap()["memory"]["rss"].as_u64() > Some(0));
    }

    #[test]
    fn the_machine_is_known() {
        let stats = Monitor::default().system().unwrap();
        assert!(stats.cpu.usage.is_finite() && stats.uptime.unwrap() > 0.0, "{stats:?}");
        assert!(stats.memory.total > 0);
    }
}
