//! A process without a cluster: it counts in its own memory, like a worker in slot 0.

use std::io;
use std::rc::Rc;

use super::collections;
use super::loop_lag::LoopLag;
use crate::metrics::layout::{header, page, place_in_slot, row};
use crate::metrics::memory::{Cells, Page, SharedMemory};
use crate::model::WorkerId;
use crate::model::WorkerState;
use crate::sys::uv::{Loop, Prepare};

/// The id of its only worker.
const WORKER: WorkerId = WorkerId::new(0, 1);

pub struct SingleProcess {
    pub memory: SharedMemory,
    /// Counting of V8's garbage collections ends when this is dropped.
    page: Rc<Page>,
    _heartbeat: Prepare,
}

impl SingleProcess {
    /// Starts counting, and measuring the event loop of the calling thread.
    pub fn start(uv: Loop, now_ms: u64) -> io::Result<Self> {
        let (memory, _memfds) = SharedMemory::create(now_ms)?;
        memory.set(header::SLOTS, 1);
        memory.set(header::WANTED, 1);
        memory.set_row(0, row::GENERATION, u64::from(WORKER.generation));
        memory.set_row(0, row::PID, u64::from(std::process::id()));
        memory.set_row(0, row::PIDS + place_in_slot(WORKER), u64::from(std::process::id()));
        memory.set_row(0, row::STATE, WorkerState::Starting as u64);
        memory.set_row(0, row::STARTED, now_ms);
        let page = memory.page(WORKER);
        let counted = Rc::new(page.clone());
        let page_while_counted = Rc::downgrade(&counted);
        collections::count(move || page_while_counted.upgrade().map(|page| (*page).clone()));
        let (loop_lag, turned) = (Rc::new(LoopLag::start(uv)?), page.clone());
        let heartbeat = Prepare::start(uv, move || {
            turned.add(page::HEARTBEAT, 1);
            loop_lag.turned(&turned);
        })?;
        Ok(Self { memory, page: counted, _heartbeat: heartbeat })
    }

    /// The cells in which its program counts.
    pub fn cells(&self) -> &Cells {
        self.page.cells()
    }

    pub fn stands(&self, state: WorkerState, port: u16) {
        self.memory.set_row(0, row::STATE, state as u64);
        self.memory.set(header::PORT, u64::from(port));
    }

    /// Counts a new connection.
    pub fn opened(&self) {
        self.page.add(page::ACCEPTED, 1);
    }
}
