//! The layout of the shared memory. PURE. Everything is 8-byte cells, little-endian, each with one writer.
//!
//! ```text
//! cell 0                header: HEADER_CELLS cells, written by the primary at the start
//! cell HEADER_CELLS     a row of ROW_CELLS for each slot 0..SLOTS, written by the primary
//! cell PAGES            PAGES_A_SLOT pages of PAGE_CELLS for each slot: a worker of generation g writes page
//!                       g % PAGES_A_SLOT, because old ones finish what they have beside their successors
//! ```
//! Cells of a page below [`page::FIRST_FLOAT`] are unsigned integers that the worker's Rust side writes; the
//! others are IEEE doubles that its JavaScript writes with plain stores. Counters only grow; a page is zeroed
//! by the primary, after its worker is gone and folded into the slot's row, before the next worker gets it.

/// Changes with any change of this file's meaning; a worker refuses another version.
pub const VERSION: u64 = 2;
/// The most slots a cluster may have.
pub const SLOTS: usize = 1024;

pub const HEADER_CELLS: usize = 512;
pub const ROW_CELLS: usize = 32;
pub const PAGE_CELLS: usize = 512;
/// Workers of one slot that may live at the same time.
pub const PAGES_A_SLOT: usize = 4;
pub const ROWS: usize = HEADER_CELLS;
pub const PAGES: usize = ROWS + SLOTS * ROW_CELLS;
/// Cells of the whole mapping (17 MB of address space; untouched pages cost nothing).
pub const CELLS: usize = PAGES + SLOTS * PAGES_A_SLOT * PAGE_CELLS;

/// Cells of the header.
pub mod header {
    pub const VERSION: usize = 0;
    pub const PRIMARY_PID: usize = 1;
    /// Milliseconds since 1970.
    pub const STARTED: usize = 2;
    /// The port of the first TCP listener group, 0 before there is one.
    pub const PORT: usize = 3;
    /// Connections that wait in drover's queues.
    pub const QUEUED: usize = 4;
    /// Connections that drover answered itself or closed because no worker could take them.
    pub const REFUSED: usize = 5;
    /// Slots that the cluster has had so far: the rows below this one are in use.
    pub const SLOTS: usize = 6;
}

/// Cells of a slot's row.
pub mod row {
    /// 0: the slot has never had a worker.
    pub const GENERATION: usize = 0;
    /// 0 when no process is alive.
    pub const PID: usize = 1;
    /// A [`crate::event::SlotState`] as a number.
    pub const STATE: usize = 2;
    /// When the present worker was spawned, milliseconds since 1970.
    pub const STARTED: usize = 3;
    /// Times the slot's worker was replaced.
    pub const RESTARTS: usize = 4;
    /// Requests that the slot's earlier workers had answered.
    pub const RETIRED_REQUESTS: usize = 5;
    /// The generation of the slot's worker while it is stuck; 0 otherwise. Written by the accept thread.
    pub const STUCK: usize = 6;
}

/// Cells of a worker's page.
pub mod page {
    /// Moves with every turn of the worker's loop, before it sleeps, and with every batch of connections it takes.
    pub const BEAT: usize = 0;
    /// Pushed connections that the worker has taken out of its connection channel.
    pub const PUSHED: usize = 1;
    /// Connections that the worker accepted on its own listeners.
    pub const ACCEPTED: usize = 2;
    /// Pushed connections that the kernel dropped because the worker had no descriptor left.
    pub const LOST: usize = 3;

    pub const FIRST_FLOAT: usize = 8;
    /// Connections that are closed again, of all that were PUSHED or ACCEPTED.
    pub const CLOSED: usize = 8;
    /// HTTP requests whose headers have been read.
    pub const REQUESTS: usize = 9;
    /// HTTP responses finished or given up.
    pub const RESPONSES: usize = 10;
    /// Sum of the durations of RESPONSES, milliseconds.
    pub const DURATION: usize = 11;
    /// Peak-EWMA of the response time, microseconds.
    pub const LATENCY: usize = 12;
    /// Requests whose affinity cookie named another slot.
    pub const AFFINITY_MISMATCH: usize = 13;
    /// When it was last looked at the clock in this turn of the loop, JavaScript's milliseconds; 0: not yet.
    pub const CLOCK: usize = 14;
}

/// First cell of a slot's row.
pub fn row_of(slot: u16) -> usize {
    ROWS + usize::from(slot) * ROW_CELLS
}

/// First cell of the page of a slot's worker.
pub fn page_of(slot: u16, generation: u32) -> usize {
    PAGES + (usize::from(slot) * PAGES_A_SLOT + generation as usize % PAGES_A_SLOT) * PAGE_CELLS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_pages_never_overlap() {
        assert!(row_of(0) >= HEADER_CELLS);
        assert_eq!(row_of(1023) + ROW_CELLS, PAGES);
        assert_eq!(page_of(1023, 3) + PAGE_CELLS, CELLS);
        assert_eq!(page_of(3, 2), page_of(3, 1) + PAGE_CELLS);
        assert_eq!(page_of(3, 1), page_of(3, 5));
        assert_ne!(page_of(3, 1), page_of(3, 2));
    }
}
