//! The layout of the shared memory. PURE. Everything is 8-byte cells, little-endian, each with one writer. It lies in as
//! many memfds as there are kinds of writers: [`Region`].
//!
//! The cluster's, which the primary writes:
//! ```text
//! cell 0                header: HEADER_CELLS cells
//! cell ROWS             a row of ROW_CELLS for each slot 0..SLOTS
//! cell SAMPLE           what the primary has sampled, as JSON
//! cell NOTES            NOTE_CELLS for each slot: what a check said of its worker
//! cell PRIMARY_SEGMENT  a segment: the metrics of the primary's program
//! cell RETIRED_SEGMENT  RETIRED_CELLS, a segment: what workers that are gone had counted
//! cell CUSTOM           what the primary's program measures by itself, as JSON
//! ```
//! The workers': PAGES_A_SLOT areas of AREA_CELLS for each slot. A worker of generation g writes area g % PAGES_A_SLOT,
//! because old ones finish what they have beside their successors:
//! ```text
//! cell 0                a page of PAGE_CELLS
//! cell PAGE_CELLS       a segment of SEGMENT_CELLS: the metrics of the worker's program
//! ```
//! Cells of a page below [`page::FIRST_FLOAT`] are unsigned integers that the worker's Rust side writes; the
//! others are IEEE doubles that its JavaScript writes with plain stores (garbage collections: its Rust side). Counters only
//! grow; an area is zeroed by the primary, after its worker is gone and folded into the slot's row, before the next worker
//! gets it.
//!
//! A segment names what stands in it, because only its program knows. After the cells of [`segment`] come records, each
//! of them once and for all; [`segment::USED`] is raised when a record is whole. A record is
//! ```text
//! cell 0                its cells | how many of them are values << 32
//! cell 1                bytes of its text | the first cell of its family's record << 32, 0 for a family
//! then                  the text: a family's definition, or a series' values of the labels, as JSON
//! then                  the values, doubles: one of a counter or a gauge; of a histogram what is in each bucket, what
//!                       is above the last, and the sum
//! ```
//! Cells are counted from the segment's beginning. The records are written by the Rust side of the segment's process, the
//! values by its JavaScript (of messages: by its Rust side). When its worker is gone a segment is folded into the retired
//! one (its gauges are not).

use crate::model::WorkerId;

/// Changes with any change of this file's meaning; a worker refuses another version.
pub const VERSION: u64 = 9;
/// The most slots a cluster may have.
pub const SLOTS: usize = 1024;

/// What lies in a memfd of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The primary writes; workers map it to read.
    Cluster,
    /// A worker maps its own area to write, the others' to read.
    Workers,
}

impl Region {
    /// In the order in which workers inherit them.
    pub const ALL: [Self; 2] = [Self::Cluster, Self::Workers];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "drover-cluster",
            Self::Workers => "drover-workers",
        }
    }

    /// Address space; what is not touched costs nothing.
    pub const fn cells(self) -> usize {
        match self {
            Self::Cluster => CUSTOM + CUSTOM_CELLS,
            Self::Workers => SLOTS * PAGES_A_SLOT * AREA_CELLS,
        }
    }
}

pub const HEADER_CELLS: usize = 512;
pub const ROW_CELLS: usize = 128;
pub const ROWS: usize = HEADER_CELLS;
/// What the primary has sampled, as JSON: [`header::SAMPLE_LENGTH`] bytes of it.
pub const SAMPLE: usize = ROWS + SLOTS * ROW_CELLS;
pub const SAMPLE_CELLS: usize = 8192;
/// What a check said of each slot's worker, as JSON: a guard that is odd while the note is written, the length in bytes,
/// and the bytes.
pub const NOTES: usize = SAMPLE + SAMPLE_CELLS;
pub const NOTE_CELLS: usize = 512;
pub const PRIMARY_SEGMENT: usize = NOTES + SLOTS * NOTE_CELLS;
pub const RETIRED_SEGMENT: usize = PRIMARY_SEGMENT + SEGMENT_CELLS;
pub const RETIRED_CELLS: usize = 4 * SEGMENT_CELLS;
/// What `monitoring.customMetrics` returned last, as JSON: [`header::CUSTOM_LENGTH`] bytes of it.
pub const CUSTOM: usize = RETIRED_SEGMENT + RETIRED_CELLS;
pub const CUSTOM_CELLS: usize = 8192;

/// Workers of one slot that may live at the same time.
pub const PAGES_A_SLOT: usize = 4;
pub const PAGE_CELLS: usize = 512;
pub const SEGMENT_CELLS: usize = AREA_CELLS - PAGE_CELLS;
/// 128 KB: whole pages of every processor's, so that a worker can map its own for writing.
pub const AREA_CELLS: usize = 16384;

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
    /// Odd while a worker that is gone is folded into its slot's row: what is read meanwhile may count it twice.
    pub const MERGING: usize = 7;
    /// Odd while the sample is written.
    pub const SAMPLING: usize = 8;
    /// Bytes of the sample.
    pub const SAMPLE_LENGTH: usize = 9;
    /// Workers that are to serve.
    pub const WANTED: usize = 10;
    /// The last change of size: when, milliseconds since 1970 (0: there was none), from and to how many.
    pub const SCALED_AT: usize = 11;
    pub const SCALED_FROM: usize = 12;
    pub const SCALED_TO: usize = 13;
    /// Odd while the custom metrics are written.
    pub const CUSTOMISING: usize = 14;
    /// Bytes of the custom metrics.
    pub const CUSTOM_LENGTH: usize = 15;
    /// The histogram of all workers that are gone; doubles.
    pub const HISTOGRAM: usize = 128;
}

/// Cells of a slot's row.
pub mod row {
    /// 0: the slot has never had a worker.
    pub const GENERATION: usize = 0;
    /// 0 when no process is alive.
    pub const PID: usize = 1;
    /// A [`crate::model::WorkerState`] as a number.
    pub const STATE: usize = 2;
    /// When the present worker was spawned, milliseconds since 1970.
    pub const STARTED: usize = 3;
    /// Deaths that another worker has followed.
    pub const RESTARTS: usize = 4;
    /// Connections that the slot's earlier workers had got.
    pub const RETIRED_CONNECTIONS: usize = 5;
    /// The generation of the slot's worker while it is unresponsive; 0 otherwise. Written by the accept thread.
    pub const UNRESPONSIVE: usize = 6;
    /// Workers that another has followed as was planned.
    pub const REPLACEMENTS: usize = 7;
    /// The process that the cells from here on are about, which the primary samples once a second.
    pub const SAMPLED_PID: usize = 32;
    /// Bytes that are resident.
    pub const MEMORY: usize = 33;
    pub const THREADS: usize = 34;
    /// Open descriptors.
    pub const DESCRIPTORS: usize = 35;
    /// Percent of one processor in the last second; a double, as all that follow.
    pub const CPU_PERCENT: usize = 36;
    /// Processor time of all the slot's processes, seconds.
    pub const CPU_SECONDS: usize = 37;
    /// The longest that anything waited for the event loop in the last second or two, milliseconds.
    pub const LAG_MS: usize = 38;
    /// The part of the last second in which the loop did not wait, 0 to 1.
    pub const UTILISATION: usize = 39;
    /// The worker that the cells from here on are about: its generation.
    pub const CHECKED_GENERATION: usize = 40;
    /// A [`crate::model::CheckStatus`] as a number.
    pub const HEALTH: usize = 41;
    /// Checks that it failed in a row.
    pub const FAILURES: usize = 42;
    /// When the last check ended, milliseconds since 1970; 0: there was none.
    pub const CHECKED_AT: usize = 43;
    /// 1 where nobody misses a worker that serves: none was ready here yet, it is a standby worker, or the cluster becomes
    /// smaller by it.
    pub const EXTRA: usize = 44;
    /// The slot's processes, those that come next and those that finish among them: the pid of generation g is in the
    /// cell g % PAGES_A_SLOT; 0 for none.
    pub const PIDS: usize = 48;
    /// Of the processes besides PID, as MEMORY and CPU_PERCENT are of that one.
    pub const OTHERS_MEMORY: usize = 52;
    pub const OTHERS_CPU: usize = 53;
    /// What the slot's earlier workers had counted, doubles: a cell for each of [`super::page::COUNTERS`].
    pub const RETIRED: usize = 64;
}

/// The doubles of a page that only grow: an entry each. They are added up, and outlive their worker in its slot's retired
/// cells.
macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident = $cell:literal $(, $cells:expr)?;)*) => {
        $($(#[$meta])* pub const $name: usize = $cell;)*

        /// First cell and how many, of each.
        const RANGES: &[(usize, usize)] = &[$(($cell, counters!(@cells $($cells)?))),*];

        /// Every cell of a counter.
        pub const COUNTERS: [usize; count(RANGES)] = every(RANGES);
    };
    (@cells) => { 1 };
    (@cells $cells:expr) => { $cells };
}

const fn count(ranges: &[(usize, usize)]) -> usize {
    let (mut count, mut range) = (0, 0);
    while range < ranges.len() {
        count += ranges[range].1;
        range += 1;
    }
    count
}

const fn every<const COUNT: usize>(ranges: &[(usize, usize)]) -> [usize; COUNT] {
    let (mut all, mut index, mut range) = ([0; COUNT], 0, 0);
    while range < ranges.len() {
        let (first, cells) = ranges[range];
        let mut cell = 0;
        while cell < cells {
            all[index] = first + cell;
            (index, cell) = (index + 1, cell + 1);
        }
        range += 1;
    }
    all
}

/// Cells of a worker's page.
pub mod page {
    use super::{count, every};

    /// Moves with every turn of the worker's loop, before it sleeps, and with every batch of connections it takes.
    pub const HEARTBEAT: usize = 0;
    /// Pushed connections that the worker has taken out of its connection channel.
    pub const PUSHED: usize = 1;
    /// Connections that the worker accepted on its own listeners.
    pub const ACCEPTED: usize = 2;
    /// Pushed connections that the kernel dropped because the worker had no descriptor left.
    pub const LOST: usize = 3;
    /// Nanoseconds in which the loop did not wait.
    pub const BUSY: usize = 4;
    /// The longest that anything had to wait for the loop within the last second or two of activity, microseconds.
    pub const LAG: usize = 5;

    pub const FIRST_FLOAT: usize = 8;
    /// Peak-EWMA of the response time, microseconds.
    pub const LATENCY: usize = 12;
    /// When it was last looked at the clock in this turn of the loop, JavaScript's milliseconds; 0: not yet.
    pub const CLOCK: usize = 14;
    /// Bytes in use on V8's heap, the heap's size, and what lies outside of it for JavaScript: looked at once a
    /// second at most, when a request is done.
    pub const HEAP_USED: usize = 21;
    pub const HEAP_TOTAL: usize = 22;
    pub const EXTERNAL: usize = 23;
    /// Responses of 5xx; the last so many of all were such.
    pub const FAILED: usize = 24;
    pub const STREAK: usize = 25;
    pub const GC_KINDS: [&str; 4] = ["minor", "major", "incremental", "weakcb"];
    /// Seconds.
    pub const GC_BOUNDS: [f64; 6] = [0.001, 0.01, 0.1, 1.0, 2.0, 5.0];
    pub const GC_KIND_CELLS: usize = GC_BOUNDS.len() + 2;
    /// Counts of response times, [`super::super::histogram::BUCKETS`] cells.
    pub const HISTOGRAM: usize = 128;

    // With how many cells, where it is not one.
    counters! {
        /// Connections that are closed again, of all that were PUSHED or ACCEPTED.
        CLOSED = 8;
        /// HTTP requests whose headers have been read.
        REQUESTS = 9;
        /// HTTP responses finished or given up.
        RESPONSES = 10;
        /// Sum of the durations of RESPONSES, milliseconds.
        DURATION = 11;
        /// Requests whose affinity cookie named another slot.
        AFFINITY_MISMATCH = 13;
        /// Of RESPONSES, those whose connection ended first; in a slot's retired cells also requests whose worker ended.
        ABORTED = 15;
        /// Responses by the first digit of their status, 1 to 5: `STATUS + digit - 1`.
        STATUS = 16, 5;
        /// Bytes that HTTP connections brought and took, as of each one's end and of its responses, once a second at most.
        RECEIVED = 26;
        SENT = 27;
        /// Garbage collections: for each of [`GC_KINDS`] how many took up to each of [`GC_BOUNDS`], how many longer, and
        /// their seconds.
        GC = 32, GC_KINDS.len() * GC_KIND_CELLS;
    }
}

/// Cells of a segment.
pub mod segment {
    /// Where the next record begins; 0 for a segment without any.
    pub const USED: usize = 0;
    /// Values that found no room for their series; a double.
    pub const DROPPED: usize = 1;
    /// Series of gone workers that found no room; of the retired segment.
    pub const LOST: usize = 2;
    pub const FIRST: usize = 4;
}

/// First cell of a slot's row.
pub fn row_of(slot: u16) -> usize {
    ROWS + usize::from(slot) * ROW_CELLS
}

/// First cell of a slot's note.
pub fn note_of(slot: u16) -> usize {
    NOTES + usize::from(slot) * NOTE_CELLS
}

/// Which of the areas of its slot is the worker's.
pub fn place_in_slot(worker: WorkerId) -> usize {
    worker.generation as usize % PAGES_A_SLOT
}

/// First cell of the area of a slot's worker.
pub fn area_of(worker: WorkerId) -> usize {
    (usize::from(worker.slot) * PAGES_A_SLOT + place_in_slot(worker)) * AREA_CELLS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::histogram::BUCKETS;

    #[test]
    fn rows_and_areas_never_overlap() {
        assert_eq!(row_of(0), HEADER_CELLS);
        assert_eq!(row_of(1023) + ROW_CELLS, SAMPLE);
        assert_eq!(note_of(0), SAMPLE + SAMPLE_CELLS);
        assert_eq!(note_of(1023) + NOTE_CELLS, PRIMARY_SEGMENT);
        assert_eq!(area_of(WorkerId::new(0, 0)), 0);
        assert_eq!(area_of(WorkerId::new(1023, 3)) + AREA_CELLS, Region::Workers.cells());
        const { assert!(header::HISTOGRAM + BUCKETS <= HEADER_CELLS && page::HISTOGRAM + BUCKETS <= PAGE_CELLS) };
        const { assert!(row::PIDS + PAGES_A_SLOT <= row::OTHERS_MEMORY && row::OTHERS_CPU < row::RETIRED) };
        const { assert!(row::RETIRED + page::COUNTERS.len() <= ROW_CELLS) };
        const { assert!(page::GC + page::GC_KINDS.len() * page::GC_KIND_CELLS <= page::HISTOGRAM) };
        assert_eq!(area_of(WorkerId::new(3, 2)), area_of(WorkerId::new(3, 1)) + AREA_CELLS);
        assert_eq!(area_of(WorkerId::new(3, 1)), area_of(WorkerId::new(3, 5)));
        assert_ne!(area_of(WorkerId::new(3, 1)), area_of(WorkerId::new(3, 2)));
        const { assert!((AREA_CELLS * 8).is_multiple_of(64 * 1024), "the largest page of a processor's") };
    }
}
