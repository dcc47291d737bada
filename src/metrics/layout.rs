//! The layout of the shared memory. PURE. Everything is 8-byte cells, little-endian, each with one writer. There is one
//! memfd per kind of writer: [`Region`].
//!
//! The cluster's, which the primary writes:
//! ```text
//! cell 0                header: HEADER_CELLS cells
//! cell ROWS             a row of ROW_CELLS for each slot 0..SLOTS
//! cell SAMPLE           the primary's sample, as JSON
//! cell NOTES            NOTE_CELLS for each slot: the check result of its worker
//! cell PRIMARY_SEGMENT  a segment: the metrics of the primary's program
//! cell RETIRED_SEGMENT  RETIRED_CELLS, a segment: the metrics of ended workers
//! cell CUSTOM           the custom metrics of the primary's program, as JSON
//! ```
//! The workers': PAGES_A_SLOT areas of AREA_CELLS for each slot. A worker of generation g writes area g % PAGES_A_SLOT,
//! because draining workers run at the same time as their successors:
//! ```text
//! cell 0                a page of PAGE_CELLS
//! cell PAGE_CELLS       a segment of SEGMENT_CELLS: the metrics of the worker's program
//! ```
//! Cells of a page below [`page::FIRST_FLOAT`] are unsigned integers that the worker's Rust side writes; the
//! others are IEEE doubles that its JavaScript writes with plain stores (garbage collections and the heap after them: its
//! Rust side). Counters
//! only grow; the primary zeroes an area after its worker has ended and was merged into the slot's row, before the next
//! worker gets it.
//!
//! A segment describes its own content, which only its program knows. The cells of [`segment`] are followed by records,
//! which are never moved; [`segment::USED`] is raised when a record is complete. A record is
//! ```text
//! cell 0                its cells | how many of them are values << 32
//! cell 1                bytes of its text | the first cell of its family's record << 32, 0 for a family
//! then                  the text: a family's definition, or a series' values of the labels, as JSON
//! then                  the values, doubles: one of a counter or a gauge; of a histogram what is in each bucket, what
//!                       is above the last, and the sum
//! ```
//! Cells are counted from the segment's beginning. The records are written by the Rust side of the segment's process, the
//! values by its JavaScript (of messages: by its Rust side). When its worker has ended, a segment is merged into the
//! retired one (except gauges).

use crate::model::WorkerId;

/// Increases with any change of the layout; a worker refuses another version.
pub const VERSION: u64 = 12;
/// Maximum number of slots of a cluster.
pub const SLOTS: usize = 1024;

/// A part of the memory with its own memfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The primary writes; workers map it for reading.
    Cluster,
    /// A worker maps its own area for writing, the others for reading.
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

    /// Size of the address space; untouched pages use no memory.
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
/// The primary's sample, as JSON of [`header::SAMPLE_LENGTH`] bytes.
pub const SAMPLE: usize = ROWS + SLOTS * ROW_CELLS;
pub const SAMPLE_CELLS: usize = 8192;
/// The check result of each slot's worker, as JSON: a guard that is odd during a write, the length in bytes, and the
/// bytes.
pub const NOTES: usize = SAMPLE + SAMPLE_CELLS;
pub const NOTE_CELLS: usize = 512;
pub const PRIMARY_SEGMENT: usize = NOTES + SLOTS * NOTE_CELLS;
pub const RETIRED_SEGMENT: usize = PRIMARY_SEGMENT + SEGMENT_CELLS;
pub const RETIRED_CELLS: usize = 4 * SEGMENT_CELLS;
/// The latest result of `monitoring.customMetrics`, as JSON of [`header::CUSTOM_LENGTH`] bytes.
pub const CUSTOM: usize = RETIRED_SEGMENT + RETIRED_CELLS;
pub const CUSTOM_CELLS: usize = 8192;

/// Maximum number of workers of one slot at the same time.
pub const PAGES_A_SLOT: usize = 4;
pub const PAGE_CELLS: usize = 512;
pub const SEGMENT_CELLS: usize = AREA_CELLS - PAGE_CELLS;
/// 128 KB: a multiple of every processor's page size, so that a worker can map its own area for writing.
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
    /// Connections that drover refused because no worker could take them.
    pub const REFUSED: usize = 5;
    /// Number of slots that the cluster has had so far: rows below this one are in use.
    pub const SLOTS: usize = 6;
    /// Odd while an ended worker is merged into its slot's row: a read meanwhile may count it twice.
    pub const MERGING: usize = 7;
    /// Odd while the sample is written.
    pub const SAMPLING: usize = 8;
    /// Bytes of the sample.
    pub const SAMPLE_LENGTH: usize = 9;
    /// Configured number of serving workers.
    pub const WANTED: usize = 10;
    /// The last change of the cluster's size: time in milliseconds since 1970 (0: none), old and new number of workers.
    pub const SCALED_AT: usize = 11;
    pub const SCALED_FROM: usize = 12;
    pub const SCALED_TO: usize = 13;
    /// Odd while the custom metrics are written.
    pub const CUSTOMISING: usize = 14;
    /// Bytes of the custom metrics.
    pub const CUSTOM_LENGTH: usize = 15;
    /// While all workers are saturated, a number for this overload; 0: they are not. Workers then ask for connections.
    pub const OVERLOAD: usize = 16;
    /// Meanwhile, whether workers wait for connections: a client that is refused by another one should connect again. 0:
    /// none; the slot + 1 if there is one, `SEVERAL`.
    pub const SPARE: usize = 17;
    pub const SEVERAL: u64 = u64::MAX;
    /// The rule of the last change of the cluster's size: a [`crate::model::ScalingRule`] as a number.
    pub const SCALED_BY: usize = 18;
    /// Changes of the cluster's size that the auto-scaling decided on.
    pub const SCALED_UP: usize = 19;
    pub const SCALED_DOWN: usize = 20;
    /// The histogram of all ended workers; doubles.
    pub const HISTOGRAM: usize = 128;
}

/// Cells of a slot's row.
pub mod row {
    /// 0: the slot has never had a worker.
    pub const GENERATION: usize = 0;
    /// 0 if there is no process.
    pub const PID: usize = 1;
    /// A [`crate::model::WorkerState`] as a number.
    pub const STATE: usize = 2;
    /// When the current worker was spawned, milliseconds since 1970.
    pub const STARTED: usize = 3;
    /// Deaths after which a new worker was started.
    pub const RESTARTS: usize = 4;
    /// Connections of the slot's earlier workers.
    pub const RETIRED_CONNECTIONS: usize = 5;
    /// The generation of the slot's worker while it is unresponsive; 0 otherwise. Written by the accept thread.
    pub const UNRESPONSIVE: usize = 6;
    /// Planned replacements.
    pub const REPLACEMENTS: usize = 7;
    /// The process to which the following cells belong, which the primary samples once a second.
    pub const SAMPLED_PID: usize = 32;
    /// Resident bytes.
    pub const MEMORY: usize = 33;
    pub const THREADS: usize = 34;
    /// Open descriptors.
    pub const DESCRIPTORS: usize = 35;
    /// Percent of one processor in the last second; a double, like the following cells.
    pub const CPU_PERCENT: usize = 36;
    /// Processor time of all the slot's processes, seconds.
    pub const CPU_SECONDS: usize = 37;
    /// The longest delay of the event loop in the last one or two seconds, milliseconds.
    pub const LAG_MS: usize = 38;
    /// The fraction of the last second in which the loop was busy, 0 to 1.
    pub const UTILISATION: usize = 39;
    /// The generation of the worker to which the following cells belong.
    pub const CHECKED_GENERATION: usize = 40;
    /// A [`crate::model::CheckStatus`] as a number.
    pub const HEALTH: usize = 41;
    /// Consecutive failed checks.
    pub const FAILURES: usize = 42;
    /// When the latest check ended, milliseconds since 1970; 0: none.
    pub const CHECKED_AT: usize = 43;
    /// 1 if a missing worker does not count for the cluster's health: none was ready here yet, it is a standby worker,
    /// or it is being removed by a scale-down.
    pub const EXTRA: usize = 44;
    /// The slot's processes, including starting and draining ones: the pid of generation g is in the cell g %
    /// PAGES_A_SLOT; 0 for none.
    pub const PIDS: usize = 48;
    /// Like MEMORY and CPU_PERCENT, but for the slot's other processes.
    pub const OTHERS_MEMORY: usize = 52;
    pub const OTHERS_CPU: usize = 53;
    /// The counters of the slot's earlier workers, doubles: a cell for each of [`super::page::COUNTERS`].
    pub const RETIRED: usize = 64;
}

/// The doubles of a page that only grow, one entry each. They are summed, and kept in the slot's retired cells after
/// their worker has ended.
macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident = $cell:literal $(, $cells:expr)?;)*) => {
        $($(#[$meta])* pub const $name: usize = $cell;)*

        /// First cell and number of cells, of each.
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

    /// Incremented by every iteration of the worker's loop, before it sleeps, and by every batch of connections it
    /// takes.
    pub const HEARTBEAT: usize = 0;
    /// Pushed connections that the worker has read from its connection channel.
    pub const PUSHED: usize = 1;
    /// Connections that the worker accepted on its own listeners.
    pub const ACCEPTED: usize = 2;
    /// Pushed connections that the kernel dropped because the worker had no file descriptor left.
    pub const LOST: usize = 3;
    /// Nanoseconds in which the loop was busy.
    pub const BUSY: usize = 4;
    /// The longest delay of the loop within the last one or two seconds of activity, microseconds.
    pub const LAG: usize = 5;

    /// When a request was last late in the saturated loop, nanoseconds of the monotonic clock; 0: never.
    pub const LATE: usize = 6;

    pub const FIRST_FLOAT: usize = 8;
    /// Peak-EWMA of the response time, microseconds.
    pub const LATENCY: usize = 12;
    /// The last clock reading in this iteration of the loop, JavaScript's milliseconds; 0: not yet read.
    pub const CLOCK: usize = 14;
    /// No request whose handler runs in this iteration of the loop arrived before this, JavaScript's milliseconds.
    pub const ARRIVED_AFTER: usize = 29;
    /// Bytes in use on V8's heap, the heap's size, and external memory: read when a request is done, once a second at
    /// most.
    pub const HEAP_USED: usize = 21;
    pub const HEAP_TOTAL: usize = 22;
    pub const EXTERNAL: usize = 23;
    /// The heap's floor: bytes in use on V8's heap after its latest major collection, with external memory; 0: none so
    /// far, or unknown. At these times the three cells above are written too.
    pub const FLOOR: usize = 28;
    /// 5xx responses; the following cell counts consecutive ones.
    pub const FAILED: usize = 24;
    pub const STREAK: usize = 25;
    pub const GC_KINDS: [&str; 4] = ["minor", "major", "incremental", "weakcb"];
    /// Seconds.
    pub const GC_BOUNDS: [f64; 6] = [0.001, 0.01, 0.1, 1.0, 2.0, 5.0];
    pub const GC_KIND_CELLS: usize = GC_BOUNDS.len() + 2;
    /// Counts of response times, [`super::super::histogram::BUCKETS`] cells.
    pub const HISTOGRAM: usize = 128;

    /// The last request that has begun, for a runtime without stacks of running programs: the length of its method and path
    /// in bytes, and the bytes.
    pub const LAST_REQUEST: usize = 488;
    pub const LAST_REQUEST_CELLS: usize = 24;

    // With the number of cells, if it is not one.
    counters! {
        /// Closed connections, of those in PUSHED and ACCEPTED.
        CLOSED = 8;
        /// HTTP requests whose headers have been read.
        REQUESTS = 9;
        /// HTTP responses that were finished or aborted.
        RESPONSES = 10;
        /// Sum of the durations of RESPONSES, milliseconds.
        DURATION = 11;
        /// Requests whose affinity cookie named another slot.
        AFFINITY_MISMATCH = 13;
        /// Of RESPONSES, those whose connection ended first; in a slot's retired cells also requests in progress when a
        /// worker ended.
        ABORTED = 15;
        /// Responses by the first digit of their status, 1 to 5: `STATUS + digit - 1`.
        STATUS = 16, 5;
        /// Bytes received and sent on HTTP connections, counted at the end of each and at its responses, once a second
        /// at most.
        RECEIVED = 26;
        SENT = 27;
        /// Requests that drover refused in the worker because they had waited too long. They are in no other count.
        REFUSED = 28;
        /// Garbage collections: for each of [`GC_KINDS`] the counts per bucket of [`GC_BOUNDS`], the count above, and
        /// the total seconds.
        GC = 32, GC_KINDS.len() * GC_KIND_CELLS;
    }
}

/// Cells of a segment.
pub mod segment {
    /// Offset of the next record; 0 for an empty segment.
    pub const USED: usize = 0;
    /// Values dropped for lack of room for their series; a double.
    pub const DROPPED: usize = 1;
    /// Series of ended workers dropped for lack of room; only in the retired segment.
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

/// The index of the worker's area in its slot.
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
        const {
            assert!(
                header::HISTOGRAM + BUCKETS <= HEADER_CELLS
                    && page::HISTOGRAM + BUCKETS <= page::LAST_REQUEST
            )
        };
        const { assert!(page::LAST_REQUEST + page::LAST_REQUEST_CELLS <= PAGE_CELLS) };
        const { assert!(row::PIDS + PAGES_A_SLOT <= row::OTHERS_MEMORY && row::OTHERS_CPU < row::RETIRED) };
        const { assert!(row::RETIRED + page::COUNTERS.len() <= ROW_CELLS) };
        const { assert!(page::GC + page::GC_KINDS.len() * page::GC_KIND_CELLS <= page::HISTOGRAM) };
        assert_eq!(area_of(WorkerId::new(3, 2)), area_of(WorkerId::new(3, 1)) + AREA_CELLS);
        assert_eq!(area_of(WorkerId::new(3, 1)), area_of(WorkerId::new(3, 5)));
        assert_ne!(area_of(WorkerId::new(3, 1)), area_of(WorkerId::new(3, 2)));
        const { assert!((AREA_CELLS * 8).is_multiple_of(64 * 1024), "the largest page of a processor's") };
    }
}
