//! The shared memory; a process maps it once.

use std::array;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::cells::Cells;
use crate::metrics::aggregation::Totals;
use crate::metrics::histogram::BUCKETS;
use crate::metrics::layout::{self, AREA_CELLS, PAGES_A_SLOT, Region, area_of, header, page, row, row_of};
use crate::model::{CheckStatus, WorkerHealth, WorkerId, WorkerState};
use crate::sys::memory::{self, Mapping};

/// Maximum repetitions of a read that overlaps with a write of the primary, which takes microseconds unless the primary
/// was stopped.
const MAX_READS: u32 = 10_000;

/// A slot as a possible receiver of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub slot: u16,
    /// The running worker.
    pub worker: Option<WorkerId>,
    /// It serves connections, and so can get messages.
    pub serves: bool,
    /// Its event loop runs, and its checks do not fail.
    pub is_well: bool,
}

/// The memory's descriptors, those of [`Region::ALL`] in order.
pub struct Memfds([OwnedFd; Region::ALL.len()]);

impl Memfds {
    /// Copies for a worker.
    pub fn share(&self) -> io::Result<Vec<OwnedFd>> {
        self.0.iter().map(OwnedFd::try_clone).collect()
    }

    /// The descriptors that a worker has inherited, in the same order.
    pub fn inherit(mut next: impl FnMut(usize) -> io::Result<OwnedFd>) -> io::Result<Self> {
        let [cluster, workers] = array::from_fn(&mut next);
        Ok(Self([cluster?, workers?]))
    }

    fn map(
        &self,
        region: Region,
        map: impl FnOnce(&OwnedFd, usize) -> io::Result<Mapping>,
    ) -> io::Result<Arc<Mapping>> {
        map(&self.0[region as usize], region.cells()).map(Arc::new)
    }
}

/// A process's view of its cluster's shared memory.
#[derive(Clone)]
pub struct SharedMemory {
    cluster: Cells,
    workers: Cells,
    /// The worker of this process, and its area.
    own: Option<(WorkerId, Cells)>,
}

impl SharedMemory {
    /// Creates the memory of a new cluster; the descriptors are for its workers.
    pub fn create(now_ms: u64) -> io::Result<(Self, Memfds)> {
        let [cluster, workers] = Region::ALL.map(|region| memory::create(region.name(), region.cells()));
        let memfds = Memfds([cluster?, workers?]);
        let map = |region| {
            let mapping = memfds.map(region, |memfd, cells| Mapping::new(memfd.as_fd(), cells))?;
            io::Result::Ok(Cells::new(mapping, 0))
        };
        let made = Self { cluster: map(Region::Cluster)?, workers: map(Region::Workers)?, own: None };
        let [cluster, workers] = &memfds.0;
        memory::seal_writes(cluster)?;
        // Each worker maps an area for writing.
        memory::seal_size(workers)?;
        made.set(header::VERSION, layout::VERSION);
        made.set(header::PRIMARY_PID, u64::from(std::process::id()));
        made.set(header::STARTED, now_ms);
        Ok((made, memfds))
    }

    /// Maps the memory of a primary for reading, and the area of `worker`, which is this process, for writing. The
    /// descriptors are not needed afterwards.
    pub fn open(memfds: &Memfds, worker: WorkerId) -> io::Result<Self> {
        let map = |region| {
            let mapping = memfds.map(region, |memfd, cells| Mapping::read_only(memfd.as_fd(), cells))?;
            io::Result::Ok(Cells::new(mapping, 0))
        };
        let cluster = map(Region::Cluster)?;
        let version = cluster.get(header::VERSION);
        if version != layout::VERSION {
            let expected = layout::VERSION;
            return Err(io::Error::other(format!("shared memory of version {version}, expected {expected}")));
        }
        let first = area_of(worker);
        let own = memfds
            .map(Region::Workers, |memfd, _| Mapping::part(memfd.as_fd(), first..first + AREA_CELLS))?;
        Ok(Self { cluster, workers: map(Region::Workers)?, own: Some((worker, Cells::new(own, 0))) })
    }

    /// The cells that the primary writes.
    pub(super) fn cluster(&self) -> &Cells {
        &self.cluster
    }

    /// The cells that the worker writes.
    pub(super) fn area(&self, worker: WorkerId) -> Cells {
        match &self.own {
            Some((own, cells)) if *own == worker => cells.clone(),
            Some(_) | None => self.workers.from(area_of(worker)),
        }
    }

    /// A cell that the primary writes.
    pub fn get(&self, at: usize) -> u64 {
        self.cluster.get(at)
    }

    /// # Panics
    /// This process is a worker.
    pub fn set(&self, at: usize, value: u64) {
        self.cluster.set(at, value);
    }

    /// Sets a cell of the slot's row.
    pub fn set_row(&self, slot: u16, cell: usize, value: u64) {
        self.set(row_of(slot) + cell, value);
    }

    pub fn row(&self, slot: u16, cell: usize) -> u64 {
        self.get(row_of(slot) + cell)
    }

    /// The worker that represents the slot; of generation 0 before the first.
    pub fn known_by(&self, slot: u16) -> WorkerId {
        WorkerId::new(slot, self.row(slot, row::GENERATION) as u32)
    }

    pub fn page(&self, worker: WorkerId) -> Page {
        Page { cells: self.area(worker) }
    }

    /// Adds an ended worker's counters to its slot's row and clears its page; returns how many series of its program's
    /// metrics had no room.
    pub fn retire(&self, worker: WorkerId) -> u32 {
        let gone = self.page(worker);
        self.set(header::MERGING, self.get(header::MERGING) + 1);
        fence(Ordering::SeqCst);
        for (index, cell) in page::COUNTERS.into_iter().enumerate() {
            // Its requests in progress get no response.
            let unanswered = if cell == page::ABORTED { gone.in_flight() as f64 } else { 0.0 };
            self.cluster.raise(row_of(worker.slot) + row::RETIRED + index, gone.float(cell) + unanswered);
        }
        let connections = self.row(worker.slot, row::RETIRED_CONNECTIONS) + gone.opened();
        self.set_row(worker.slot, row::RETIRED_CONNECTIONS, connections);
        for bucket in 0..BUCKETS {
            self.cluster.raise(header::HISTOGRAM + bucket, gone.float(page::HISTOGRAM + bucket));
        }
        for cell in 0..layout::PAGE_CELLS {
            gone.set(cell, 0);
        }
        let lost = self.retire_segment(worker);
        fence(Ordering::SeqCst);
        self.set(header::MERGING, self.get(header::MERGING) + 1);
        lost
    }

    /// Reads while no ended worker is being merged, so that nothing is counted twice or not at all.
    pub(super) fn while_not_merging<T>(&self, read: impl Fn() -> T) -> T {
        // If the primary was stopped during a merge, this does not wait for it.
        self.undisturbed(header::MERGING, &read).unwrap_or_else(read)
    }

    /// Reads data that is protected by a guard cell, which is odd during a write; None if that takes too long.
    pub(super) fn undisturbed<T>(&self, guard: usize, read: impl Fn() -> T) -> Option<T> {
        for _ in 0..MAX_READS {
            let before = self.get(guard);
            fence(Ordering::SeqCst);
            let value = read();
            fence(Ordering::SeqCst);
            if before.is_multiple_of(2) && self.get(guard) == before {
                return Some(value);
            }
            std::hint::spin_loop();
        }
        None
    }

    /// The counters of the slot's workers, without response times.
    pub fn slot_totals(&self, slot: u16) -> Totals {
        self.while_not_merging(|| self.count_slot(slot, false))
    }

    fn count_slot(&self, slot: u16, with_times: bool) -> Totals {
        let mut totals = Totals::default();
        for index in 0..page::COUNTERS.len() {
            totals.add_counter(index, f64::from_bits(self.row(slot, row::RETIRED + index)));
        }
        totals.connections = self.row(slot, row::RETIRED_CONNECTIONS);
        for generation in 0..PAGES_A_SLOT as u32 {
            let page = self.page(WorkerId { slot, generation });
            for (index, cell) in page::COUNTERS.into_iter().enumerate() {
                totals.add_counter(index, page.float(cell));
            }
            totals.connections += page.opened();
            if with_times {
                let buckets = totals.histogram.iter_mut().enumerate();
                buckets.for_each(|(bucket, count)| *count += page.float(page::HISTOGRAM + bucket));
            }
        }
        totals
    }

    /// The counters of all workers since the start of the cluster.
    pub fn totals(&self) -> Totals {
        self.while_not_merging(|| {
            let mut totals = Totals::default();
            let gone = totals.histogram.iter_mut().enumerate();
            gone.for_each(|(bucket, count)| *count = f64::from_bits(self.get(header::HISTOGRAM + bucket)));
            (0..self.slots()).for_each(|slot| totals.add(&self.count_slot(slot, true)));
            totals
        })
    }

    /// Number of slots that the cluster has had so far.
    pub fn slots(&self) -> u16 {
        (self.get(header::SLOTS) as u16).min(layout::SLOTS as u16)
    }

    /// The possible receivers of messages, by slot: workers that serve or wait to serve, and slots whose worker does
    /// not run now.
    pub fn targets(&self) -> Vec<Target> {
        let slots = 0..self.get(header::SLOTS) as u16;
        slots.filter_map(|slot| self.target(slot)).collect()
    }

    /// One possible receiver.
    pub fn target(&self, slot: u16) -> Option<Target> {
        if usize::from(slot) >= layout::SLOTS {
            return None;
        }
        let state = WorkerState::from_cell(self.row(slot, row::STATE));
        let worker = match state {
            WorkerState::Vacant | WorkerState::Draining | WorkerState::Stopping => return None,
            WorkerState::Ready | WorkerState::Standby => Some(self.known_by(slot)),
            WorkerState::Starting | WorkerState::Waiting | WorkerState::CircuitOpen => None,
        };
        let is_well = worker.is_some_and(|worker| self.health(worker, state).is_well());
        Some(Target { slot, worker, serves: state == WorkerState::Ready, is_well })
    }

    /// Whether its event loop does not run although it has unread work.
    pub fn is_unresponsive(&self, worker: WorkerId) -> bool {
        self.row(worker.slot, row::UNRESPONSIVE) == u64::from(worker.generation)
    }

    /// The worker's health, in this state of its slot.
    pub fn health(&self, worker: WorkerId, state: WorkerState) -> WorkerHealth {
        WorkerHealth::of(state, self.is_unresponsive(worker), self.checks(worker))
    }

    /// The worker's status by its checks and responses.
    pub fn checks(&self, worker: WorkerId) -> CheckStatus {
        match self.row(worker.slot, row::CHECKED_GENERATION) == u64::from(worker.generation) {
            true => CheckStatus::from_cell(self.row(worker.slot, row::HEALTH)),
            // Unknown before the first check.
            false => CheckStatus::Unknown,
        }
    }

    /// The slot's requests in progress and open connections, of all its workers including draining ones.
    pub fn at_work(&self, slot: u16) -> (u64, u64) {
        self.while_not_merging(|| {
            let pages = (0..PAGES_A_SLOT as u32).map(|generation| self.page(WorkerId { slot, generation }));
            pages.fold((0, 0), |(requests, connections), page| {
                (requests + page.in_flight(), connections + page.connections())
            })
        })
    }
}

/// One worker's page.
#[derive(Clone)]
pub struct Page {
    cells: Cells,
}

impl Page {
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    pub fn get(&self, cell: usize) -> u64 {
        self.cells.get(cell)
    }

    /// Stores the method and path of the request that begins with this line: without the query, which may contain secrets.
    pub fn store_request(&self, line: &[u8]) {
        let version = [b" HTTP/1.1", b" HTTP/1.0"];
        let line = version.iter().find_map(|version| line.strip_suffix(*version)).unwrap_or(line);
        let line = &line[..line.len().min((page::LAST_REQUEST_CELLS - 1) * 8)];
        let line = &line[..memchr::memchr(b'?', line).unwrap_or(line.len())];
        for (index, piece) in line.chunks(8).enumerate() {
            let mut cell = [0; 8];
            cell[..piece.len()].copy_from_slice(piece);
            self.set(page::LAST_REQUEST + 1 + index, u64::from_le_bytes(cell));
        }
        self.set(page::LAST_REQUEST, line.len() as u64);
    }

    /// The method and path of the last request that has begun; None: there was none, or its runtime does not report it.
    pub fn last_request(&self) -> Option<String> {
        let length = (self.get(page::LAST_REQUEST) as usize).min((page::LAST_REQUEST_CELLS - 1) * 8);
        let cells = (1..page::LAST_REQUEST_CELLS).map(|index| self.get(page::LAST_REQUEST + index));
        let bytes: Vec<u8> = cells.flat_map(u64::to_le_bytes).take(length).collect();
        let text: String = String::from_utf8_lossy(&bytes).chars().filter(|one| !one.is_control()).collect();
        (!text.is_empty()).then_some(text)
    }

    /// A cell that the worker's JavaScript writes.
    pub fn float(&self, cell: usize) -> f64 {
        self.cells.float(cell)
    }

    pub fn set(&self, cell: usize, value: u64) {
        self.cells.set(cell, value);
    }

    pub fn add(&self, cell: usize, by: u64) {
        self.cells.add(cell, by);
    }

    /// Closed connections, including lost ones.
    pub fn closed(&self) -> u64 {
        self.float(page::CLOSED) as u64 + self.get(page::LOST)
    }

    /// Connections that the worker accepted.
    pub fn opened(&self) -> u64 {
        self.get(page::PUSHED) + self.get(page::ACCEPTED)
    }

    /// Requests in progress.
    pub fn in_flight(&self) -> u64 {
        (self.float(page::REQUESTS) - self.float(page::RESPONSES)).max(0.0) as u64
    }

    /// Connections open in the worker.
    pub fn connections(&self) -> u64 {
        self.opened().saturating_sub(self.closed())
    }
}
