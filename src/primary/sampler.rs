//! Samples the whole cluster, once a second in a primary: the workers' resource usage goes into their slots' rows,
//! rates and percentiles of the last minute into the sample that every process reads, and all of it into the history.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::metrics::aggregation::Windows;
use crate::metrics::history::Point;
use crate::metrics::layout::{PAGES_A_SLOT, page, row};
use crate::metrics::memory::{SharedMemory, Text};
use crate::metrics::view;
use crate::model::{Observation, Sample, SystemStats, WorkerState};
use crate::observe::SharedHistory;
use crate::process::cpus::usable_cpus;
use crate::process::doing::{self, Doing};
use crate::process::machine::Machine;
use crate::process::usage::{self, Usage};

const SECOND: Duration = Duration::from_secs(1);
/// The window of a point of the history's older part.
const TEN_SECONDS: Duration = Duration::from_secs(10);
/// The window of rates, short so that changes show soon.
const RECENT: Duration = Duration::from_secs(5);
/// The short window of [`Observation`].
const SHORT: Duration = Duration::from_secs(6);

/// The previous sample of a process.
#[derive(Clone, Copy, Default)]
struct Seen {
    pid: u64,
    cpu: f64,
    /// None: its page was not read yet.
    busy: Option<u64>,
    heartbeat: u64,
    /// How many seconds its loop has been observed in the same iteration.
    stands: Option<f64>,
    /// CPU ticks of its main thread, if nothing better is known.
    ticks: u64,
}

impl Seen {
    /// The minimum number of seconds that the loop has been in one iteration. Its duration before the first observation
    /// is unknown: the loop may have been idle before.
    fn stand(&mut self, is_awake: bool, seconds: f64) -> f64 {
        self.stands = is_awake.then(|| self.stands.map_or(0.0, |before| before + seconds));
        self.stands.unwrap_or(0.0)
    }

    /// Whether its main thread is awake. A process that samples itself is awake, but blocks nothing by that.
    fn is_awake(&mut self) -> bool {
        let pid = u32::try_from(self.pid).ok().filter(|pid| *pid != std::process::id());
        match pid.and_then(doing::look) {
            Some(Doing::Working | Doing::Stopped) => true,
            // It was awake since the previous sample, and its loop did not run.
            Some(Doing::Unknown { ticks }) => ticks != std::mem::replace(&mut self.ticks, ticks),
            Some(Doing::Waiting | Doing::Traced) | None => false,
        }
    }
}

/// The usage of a process since the previous sample.
struct Used {
    usage: Usage,
    /// Seconds of processor time.
    cpu: f64,
    /// It is sampled for the first time.
    is_new: bool,
}

impl Used {
    /// Percent of one processor; usage before the first sample is not a rate per second.
    fn percent(&self, seconds: f64) -> f64 {
        if self.is_new { 0.0 } else { self.cpu / seconds * 100.0 }
    }
}

pub struct Sampler {
    memory: SharedMemory,
    /// The history, if it is kept.
    past: Option<SharedHistory>,
    machine: Option<Machine>,
    /// The latest figures: limits still need some when no others can be read.
    system: Option<SystemStats>,
    /// By slot and by generation % PAGES_A_SLOT.
    seen: HashMap<(u16, usize), Seen>,
    windows: Windows,
    clock: Instant,
    /// The time of the last look.
    at: Duration,
}

impl Sampler {
    pub fn new(memory: SharedMemory, past: Option<SharedHistory>) -> Self {
        let (clock, at) = (Instant::now(), Duration::ZERO);
        Self {
            memory,
            past,
            machine: Machine::new(),
            system: None,
            seen: HashMap::new(),
            windows: Windows::default(),
            clock,
            at,
        }
    }

    /// `now_ms`: milliseconds since 1970.
    pub fn look(&mut self, now_ms: u64) -> Observation {
        let now = self.clock.elapsed();
        let seconds = now.saturating_sub(std::mem::replace(&mut self.at, now)).as_secs_f64().max(0.001);
        (0..self.memory.slots()).for_each(|slot| self.look_at(slot, seconds));
        self.windows.add(now, self.memory.totals());
        let sample = self.sample(seconds);
        // Of fixed size, far below the available space.
        let fits = self.memory.write(Text::Sample, json!(sample).to_string().as_bytes());
        debug_assert!(fits);
        let figures = view::figures(&self.memory, now_ms);
        if let Some(past) = &self.past {
            past.add(Point::of(&figures, &self.windows.over(SECOND), &self.windows.over(TEN_SECONDS)));
        }
        Observation { figures, short: self.windows.over(SHORT), long: self.windows.over(Windows::LONGEST) }
    }

    /// Samples the processes of a slot: the one that represents it, and the sum of the others.
    fn look_at(&mut self, slot: u16, seconds: f64) {
        let shown = self.memory.row(slot, row::PID);
        let (mut memory, mut percent) = (0, 0.0);
        for at in 0..PAGES_A_SLOT {
            let pid = self.memory.row(slot, row::PIDS + at);
            let Some(used) = self.used(slot, at, pid) else { continue };
            let cpu = f64::from_bits(self.memory.row(slot, row::CPU_SECONDS)) + used.cpu;
            self.memory.set_row(slot, row::CPU_SECONDS, cpu.to_bits());
            if pid == shown {
                self.write(slot, at, &used, seconds);
            } else {
                memory += used.usage.memory;
                percent += used.percent(seconds);
            }
        }
        self.memory.set_row(slot, row::OTHERS_MEMORY, memory);
        self.memory.set_row(slot, row::OTHERS_CPU, percent.to_bits());
        if shown == 0 {
            self.memory.set_row(slot, row::CPU_PERCENT, 0);
        }
    }

    /// None: there is no such process.
    fn used(&mut self, slot: u16, at: usize, pid: u64) -> Option<Used> {
        let usage = u32::try_from(pid).ok().filter(|pid| *pid != 0).and_then(usage::of)?;
        let seen = self.seen.entry((slot, at)).or_default();
        let is_new = seen.pid != pid;
        if is_new {
            *seen = Seen { pid, ..Seen::default() };
        }
        let cpu = (usage.cpu - std::mem::replace(&mut seen.cpu, usage.cpu)).max(0.0);
        Some(Used { usage, cpu, is_new })
    }

    /// Writes the sample of the slot's worker.
    fn write(&mut self, slot: u16, at: usize, used: &Used, seconds: f64) {
        let memory = &self.memory;
        let Some(seen) = self.seen.get_mut(&(slot, at)) else { return };
        let page = memory.page(memory.known_by(slot));
        let set = |cell, value: f64| memory.set_row(slot, cell, value.to_bits());
        let (busy, heartbeat) = (page.get(page::BUSY), page.get(page::HEARTBEAT));
        // A loop without any iteration is still starting and delays nothing.
        let has_turned = seen.busy.is_none() || heartbeat != seen.heartbeat || heartbeat == 0;
        let is_awake = !has_turned && seen.is_awake();
        let stood = seen.stand(is_awake, seconds);
        set(row::CPU_PERCENT, used.percent(seconds));
        let worked = busy.saturating_sub(seen.busy.unwrap_or(busy)) as f64 / 1e9;
        set(row::UTILISATION, if stood > 0.0 { 1.0 } else { (worked / seconds).min(1.0) });
        // An idle loop delays nothing; a blocked one delays everything since.
        set(row::LAG_MS, if has_turned { page.get(page::LAG) as f64 / 1000.0 } else { stood * 1000.0 });
        (seen.busy, seen.heartbeat) = (Some(busy), heartbeat);
        let Usage { memory: resident, threads, descriptors, .. } = used.usage;
        memory.set_row(slot, row::MEMORY, resident);
        memory.set_row(slot, row::THREADS, u64::from(threads));
        memory.set_row(slot, row::DESCRIPTORS, u64::from(descriptors.unwrap_or(0)));
        memory.set_row(slot, row::SAMPLED_PID, seen.pid);
    }

    fn sample(&mut self, elapsed: f64) -> Sample {
        let slots = 0..self.memory.slots();
        let cpu = |slot, cell| f64::from_bits(self.memory.row(slot, cell));
        let used: f64 =
            slots.clone().map(|slot| cpu(slot, row::CPU_PERCENT) + cpu(slot, row::OTHERS_CPU)).sum();
        // A standby worker is idle. Starting and draining workers use a processor like the others.
        let works = |slot: &u16| self.memory.row(*slot, row::STATE) != WorkerState::Standby as u64;
        let lives =
            |slot: u16| (0..PAGES_A_SLOT).filter(|at| self.memory.row(slot, row::PIDS + at) != 0).count();
        let workers: usize = slots.filter(works).map(lives).sum();
        let minute = self.windows.over(Windows::LONGEST);
        if let Some(system) = self.machine.as_mut().and_then(|machine| machine.look(elapsed)) {
            self.system = Some(system);
        }
        Sample {
            requests_per_second: self.windows.over(RECENT).requests_per_second,
            average_response_time: minute.average,
            p50: minute.p50,
            p90: minute.p90,
            p99: minute.p99,
            p999: minute.p999,
            error_rate: minute.error_rate,
            cpu_usage: percent_of_capacity(used, workers, usable_cpus()),
            system: self.system.clone(),
        }
    }
}

/// `used`: percent of one processor. Ticks of the kernel's clock may add up to slightly more than there is.
fn percent_of_capacity(used: f64, workers: usize, usable: f64) -> f64 {
    (used / capacity(workers, usable)).min(100.0)
}

/// Processors that a cluster's event loops can use: each no more than one.
fn capacity(workers: usize, usable: f64) -> f64 {
    usable.min(workers.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_short_turn_after_a_long_rest_is_no_loop_that_stands_still() {
        let mut seen = Seen::default();
        let looks =
            [(true, 0.0), (false, 0.0), (true, 0.0), (true, 1.0), (true, 2.0), (false, 0.0), (true, 0.0)];
        for (is_awake, expected) in looks {
            assert!((seen.stand(is_awake, 1.0) - expected).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn cpu_per_cent_is_of_what_can_be_used_and_at_most_100() {
        for (used, workers, usable, expected) in [
            (200.0, 8, 2.0, 100.0),
            (203.0, 8, 2.0, 100.0),
            (100.0, 2, 1.0, 100.0),
            (50.0, 2, 1.0, 50.0),
            (100.0, 2, 4.0, 50.0),
        ] {
            let percent = percent_of_capacity(used, workers, usable);
            assert!((percent - expected).abs() < f64::EPSILON, "{used} by {workers} on {usable}: {percent}");
        }
    }

    #[test]
    fn a_cluster_can_use_a_processor_a_worker_and_no_more_than_there_are() {
        for (workers, usable, expected) in
            [(1, 16.0, 1.0), (4, 2.0, 2.0), (4, 1.5, 1.5), (0, 8.0, 1.0), (2, 0.5, 0.5)]
        {
            assert!((capacity(workers, usable) - expected).abs() < f64::EPSILON, "{workers} on {usable}");
        }
    }
}
