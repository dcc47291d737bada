//! The mapped shared memory: typed reads and writes over `layout`. A process maps it once and keeps it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use serde_json::{Value, json};

use super::layout::{self, header, page, page_of, row, row_of};
use crate::event::SlotState;
use crate::sys::memory::Mapping;

/// A slot, as a sender of messages sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub slot: u16,
    /// Of the worker that is there.
    pub generation: Option<u32>,
    /// It takes connections, so that it may be given other work as well.
    pub serves: bool,
    /// Its event loop does not turn, although work waits for it.
    pub stuck: bool,
}

/// A process's view of its cluster's numbers.
#[derive(Clone)]
pub struct SharedMemory {
    mapping: Arc<Mapping>,
}

impl SharedMemory {
    /// Makes the memory of a new cluster; the descriptor is for its workers.
    pub fn create(now_ms: u64) -> io::Result<(Self, OwnedFd)> {
        let memfd = memfd_create("drover", MemfdFlags::CLOEXEC)?;
        ftruncate(&memfd, (layout::CELLS * 8) as u64)?;
        let memory = Self { mapping: Arc::new(Mapping::new(memfd.as_fd(), layout::CELLS)?) };
        memory.set(header::VERSION, layout::VERSION);
        memory.set(header::PRIMARY_PID, u64::from(std::process::id()));
        memory.set(header::STARTED, now_ms);
        Ok((memory, memfd))
    }

    /// Maps the memory a primary made.
    pub fn open(memfd: &OwnedFd) -> io::Result<Self> {
        let memory = Self { mapping: Arc::new(Mapping::new(memfd.as_fd(), layout::CELLS)?) };
        let version = memory.get(header::VERSION);
        if version != layout::VERSION {
            let expected = layout::VERSION;
            return Err(io::Error::other(format!("shared memory of version {version}, expected {expected}")));
        }
        Ok(memory)
    }

    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    fn cell(&self, at: usize) -> &AtomicU64 {
        &self.mapping.cells()[at]
    }

    pub fn get(&self, at: usize) -> u64 {
        self.cell(at).load(Ordering::Relaxed)
    }

    pub fn set(&self, at: usize, value: u64) {
        self.cell(at).store(value, Ordering::Relaxed);
    }

    /// The slot's row as its supervisor sees it.
    pub fn set_row(&self, slot: u16, cell: usize, value: u64) {
        self.set(row_of(slot) + cell, value);
    }

    pub fn row(&self, slot: u16, cell: usize) -> u64 {
        self.get(row_of(slot) + cell)
    }

    pub fn page(&self, slot: u16, generation: u32) -> Page {
        Page { memory: self.clone(), first: page_of(slot, generation) }
    }

    /// Adds what a gone worker had counted to its slot's row and clears its page.
    pub fn retire(&self, slot: u16, generation: u32) {
        let gone = self.page(slot, generation);
        let requests = self.row(slot, row::RETIRED_REQUESTS) + gone.float(page::REQUESTS) as u64;
        self.set_row(slot, row::RETIRED_REQUESTS, requests);
        for cell in 0..layout::PAGE_CELLS {
            self.set(gone.first + cell, 0);
        }
    }

    /// The workers that a message can be meant for, slot by slot: those that serve or wait to, and the slots whose
    /// worker is not there now.
    pub fn targets(&self) -> Vec<Target> {
        let slots = 0..self.get(header::SLOTS) as u16;
        slots.filter_map(|slot| self.target(slot)).collect()
    }

    /// One of them.
    pub fn target(&self, slot: u16) -> Option<Target> {
        if usize::from(slot) >= layout::SLOTS {
            return None;
        }
        let state = SlotState::from_cell(self.row(slot, row::STATE));
        let generation = match state {
            SlotState::Vacant | SlotState::Draining | SlotState::Stopping => return None,
            SlotState::Ready | SlotState::Standby => Some(self.row(slot, row::GENERATION) as u32),
            SlotState::Starting | SlotState::Waiting | SlotState::CircuitOpen => None,
        };
        let stuck = generation.is_some_and(|generation| self.row(slot, row::STUCK) == u64::from(generation));
        Some(Target { slot, generation, serves: state == SlotState::Ready, stuck })
    }

    /// `WorkerInfo[]`: a row for every slot that has ever had a worker and is not vacant.
    pub fn workers(&self, now_ms: u64) -> Vec<Value> {
        let slots = 0..layout::SLOTS as u16;
        slots.filter_map(|slot| self.worker(slot, now_ms)).collect()
    }

    fn worker(&self, slot: u16, now_ms: u64) -> Option<Value> {
        let generation = self.row(slot, row::GENERATION) as u32;
        let state = SlotState::from_cell(self.row(slot, row::STATE));
        if generation == 0 || state == SlotState::Vacant {
            return None;
        }
        let page = self.page(slot, generation);
        let started = self.row(slot, row::STARTED);
        let answered = page.float(page::RESPONSES);
        let pid = self.row(slot, row::PID);
        let average = if answered > 0.0 { page.float(page::DURATION) / answered } else { 0.0 };
        Some(json!({
            "id": slot.to_string(),
            "workerId": slot.to_string(),
            "pid": if pid == 0 { Value::Null } else { pid.into() },
            "generation": generation,
            "state": state.public(),
            "status": state.public(),
            "detail": state.detail(),
            "startTime": started,
            "uptime": now_ms.saturating_sub(started),
            "restarts": self.row(slot, row::RESTARTS),
            "port": self.get(header::PORT),
            "requestCount": page.float(page::REQUESTS) as u64 + self.row(slot, row::RETIRED_REQUESTS),
            "activeRequests": (page.float(page::REQUESTS) - answered).max(0.0) as u64,
            "activeConnections": page.connections(),
            "averageResponseTime": average,
            "memoryUsage": null,
            "cpuUsage": null,
            "eventLoopLag": null,
            "healthy": null,
            "health": null,
        }))
    }
}

/// One worker's numbers.
#[derive(Clone)]
pub struct Page {
    memory: SharedMemory,
    first: usize,
}

impl Page {
    pub fn get(&self, cell: usize) -> u64 {
        self.memory.get(self.first + cell)
    }

    /// A cell that the worker's JavaScript writes.
    pub fn float(&self, cell: usize) -> f64 {
        f64::from_bits(self.get(cell))
    }

    pub fn set(&self, cell: usize, value: u64) {
        self.memory.set(self.first + cell, value);
    }

    pub fn add(&self, cell: usize, by: u64) {
        self.memory.cell(self.first + cell).fetch_add(by, Ordering::Relaxed);
    }

    /// First cell of the page in the mapping.
    pub fn first_cell(&self) -> usize {
        self.first
    }

    /// Connections that are over, the lost ones included.
    pub fn closed(&self) -> u64 {
        self.float(page::CLOSED) as u64 + self.get(page::LOST)
    }

    /// Connections open in the worker.
    pub fn connections(&self) -> u64 {
        (self.get(page::PUSHED) + self.get(page::ACCEPTED)).saturating_sub(self.closed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_listed_with_what_it_and_its_predecessors_answered() {
        let (memory, memfd) = SharedMemory::create(1_000).unwrap();
        let worker = SharedMemory::open(&memfd).unwrap();
        memory.set_row(2, row::GENERATION, 1);
        memory.set_row(2, row::STATE, SlotState::Ready as u64);
        memory.set_row(2, row::STARTED, 1_500);
        worker.set(page_of(2, 1) + page::REQUESTS, 7f64.to_bits());
        memory.retire(2, 1);
        memory.set_row(2, row::GENERATION, 2);
        worker.set(page_of(2, 2) + page::REQUESTS, 3f64.to_bits());
        worker.page(2, 2).add(page::PUSHED, 4);
        worker.set(page_of(2, 2) + page::CLOSED, 1f64.to_bits());

        let workers = memory.workers(2_000);
        assert_eq!(workers.len(), 1);
        assert_eq!(workers[0]["id"], "2");
        assert_eq!(workers[0]["requestCount"], 10);
        assert_eq!(workers[0]["activeConnections"], 3);
        assert_eq!(workers[0]["uptime"], 500);
        assert_eq!(workers[0]["state"], "running");
    }
}
