//! The slots in shared memory, for every process. Only changes are written.

use std::time::Duration;

use super::workers::Workers;
use crate::metrics::layout::{PAGES_A_SLOT, header, place_in_slot, row};
use crate::metrics::memory::SharedMemory;
use crate::model::WorkerId;
use crate::observe::Circuit;
use crate::supervisor::{ActiveWorker, Slot, Supervisor};

/// The circuit of a slot whose workers died too often.
#[derive(Clone, Copy, Debug, PartialEq)]
enum RestartCircuit {
    Open {
        until: Duration,
    },
    /// The current start is a trial.
    HalfOpen,
}

/// The published state of a slot.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    state: u64,
    is_extra: bool,
    restarts: u32,
    replacements: u32,
    /// By `place_in_slot`; 0: no process.
    pids: [u32; PAGES_A_SLOT],
    /// The worker that represents the slot: its id, its pid, and its start in milliseconds since 1970.
    shown: Option<(WorkerId, u32, u64)>,
    circuit: Option<RestartCircuit>,
}

impl Entry {
    fn of(slot: &Slot, workers: &Workers) -> Self {
        let shown = slot.shown();
        Self {
            state: slot.view() as u64,
            is_extra: slot.is_extra(),
            restarts: slot.restarts,
            replacements: slot.replacements,
            pids: slot.workers().fold([0; PAGES_A_SLOT], |mut pids, one| {
                pids[place_in_slot(one.id)] = one.pid().unwrap_or(0);
                pids
            }),
            shown: shown.map(|one| (one.id, one.pid().unwrap_or(0), workers.start_of(one.id))),
            circuit: match slot.active {
                ActiveWorker::CircuitOpen { until } => Some(RestartCircuit::Open { until }),
                ActiveWorker::Running(_) if slot.trial => Some(RestartCircuit::HalfOpen),
                ActiveWorker::Running(_) | ActiveWorker::Waiting { .. } | ActiveWorker::Vacant => None,
            },
        }
    }

    fn write(&self, slot: u16, memory: &SharedMemory) {
        let set = |cell, value| memory.set_row(slot, cell, value);
        set(row::STATE, self.state);
        set(row::EXTRA, u64::from(self.is_extra));
        self.pids.iter().enumerate().for_each(|(at, pid)| set(row::PIDS + at, u64::from(*pid)));
        set(row::RESTARTS, u64::from(self.restarts));
        set(row::REPLACEMENTS, u64::from(self.replacements));
        let Some((worker, pid, started)) = self.shown else { return set(row::PID, 0) };
        set(row::GENERATION, u64::from(worker.generation));
        set(row::PID, u64::from(pid));
        set(row::STARTED, started);
    }
}

pub(super) struct SlotTable {
    memory: SharedMemory,
    wanted: Option<u16>,
    entries: Vec<Entry>,
}

impl SlotTable {
    pub fn new(memory: SharedMemory) -> Self {
        Self { memory, wanted: None, entries: Vec::new() }
    }

    /// Writes changes; returns whether there were any.
    pub fn publish(&mut self, supervisor: &Supervisor, workers: &Workers) -> bool {
        let mut changed = self.wanted != Some(supervisor.wanted());
        if changed {
            self.wanted = Some(supervisor.wanted());
            self.memory.set(header::WANTED, u64::from(supervisor.wanted()));
        }
        let slots = supervisor.slots();
        for slot in slots {
            let entry = Entry::of(slot, workers);
            match self.entries.get_mut(usize::from(slot.number)) {
                Some(known) if *known == entry => continue,
                Some(known) => known.clone_from(&entry),
                None => self.entries.push(entry.clone()),
            }
            entry.write(slot.number, &self.memory);
            changed = true;
        }
        if changed {
            // Readers read this many rows, which are written by now.
            self.memory.set(header::SLOTS, slots.len() as u64);
        }
        changed
    }

    /// The slots' circuits that are not closed. `timestamp`: of a time on the loop's clock.
    pub fn circuits(&self, timestamp: impl Fn(Duration) -> u64) -> impl Iterator<Item = Circuit> {
        self.entries.iter().enumerate().filter_map(move |(slot, entry)| {
            let (state, until) = match entry.circuit? {
                RestartCircuit::Open { until } => ("open", Some(timestamp(until))),
                RestartCircuit::HalfOpen => ("half-open", None),
            };
            Some(Circuit { worker_id: slot.to_string(), kind: "restart", state, until })
        })
    }
}
