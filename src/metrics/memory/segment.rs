//! A metric segment: records as `layout` describes them, written by one process and read by all.

use std::sync::atomic::Ordering;

use super::cells::Cells;
use crate::metrics::instrument::Definition;
use crate::metrics::layout::segment::{DROPPED, FIRST, LOST, USED};

/// Cells of a record before its text.
const HEAD: usize = 2;
const HALF: u32 = 32;

#[derive(Clone)]
pub struct Segment {
    cells: Cells,
    /// Number of cells.
    count: usize,
}

/// A record; cells are relative to the beginning of the segment.
pub enum Record {
    Family { at: usize, definition: Definition },
    Series { family: usize, labels: Vec<String>, first: usize, values: usize },
}

impl Segment {
    pub fn new(cells: Cells, count: usize) -> Self {
        Self { cells, count }
    }

    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    fn used(&self) -> usize {
        let used = self.cells.load(USED, Ordering::Acquire) as usize;
        if (FIRST..=self.count).contains(&used) { used } else { FIRST }
    }

    pub fn is_empty(&self) -> bool {
        self.used() == FIRST && self.dropped() == 0.0
    }

    pub fn dropped(&self) -> f64 {
        self.value(DROPPED)
    }

    pub fn lost(&self) -> f64 {
        self.value(LOST)
    }

    pub fn value(&self, at: usize) -> f64 {
        self.cells.float(at)
    }

    pub fn add(&self, at: usize, by: f64) {
        self.cells.raise(at, by);
    }

    /// Appends a record; None without room. `family`: 0 for a family.
    pub fn append(&self, family: usize, text: &str, values: usize) -> Option<usize> {
        let at = self.used();
        let length = HEAD + text.len().div_ceil(8) + values;
        if text.len() > self.count * 8 || at + length > self.count {
            return None;
        }
        let set = |offset: usize, value: u64| self.cells.set(at + offset, value);
        set(0, length as u64 | (values as u64) << HALF);
        set(1, text.len() as u64 | (family as u64) << HALF);
        for (index, piece) in text.as_bytes().chunks(8).enumerate() {
            let mut cell = [0; 8];
            cell[..piece.len()].copy_from_slice(piece);
            set(HEAD + index, u64::from_le_bytes(cell));
        }
        // A process that was killed in the middle of this may have left values there.
        (length - values..length).for_each(|value| set(value, 0));
        self.cells.store(USED, (at + length) as u64, Ordering::Release);
        Some(at)
    }

    /// The first value of a record with this many cells.
    pub fn values_of(&self, at: usize, values: usize) -> usize {
        let length = self.cells.get(at) as u32 as usize;
        at + length.saturating_sub(values)
    }

    /// All readable records; a corrupt segment ends at the first invalid record.
    pub fn records(&self) -> Vec<Record> {
        let used = self.used();
        let mut records = Vec::new();
        let mut at = FIRST;
        while let Some((length, record)) = self.read(at, used) {
            records.extend(record);
            at += length;
        }
        records
    }

    /// The record that begins there.
    pub fn record(&self, at: usize) -> Option<Record> {
        self.read(at, self.used())?.1
    }

    /// The number of its cells and the record; None at the end.
    fn read(&self, at: usize, used: usize) -> Option<(usize, Option<Record>)> {
        if at + HEAD > used {
            return None;
        }
        let halves = |offset: usize| {
            let cell = self.cells.get(at + offset);
            (cell as u32 as usize, (cell >> HALF) as usize)
        };
        let ((length, values), (bytes, family)) = (halves(0), halves(1));
        let text_cells = bytes.div_ceil(8);
        if length != HEAD + text_cells + values || at + length > used {
            return None;
        }
        let cells = (0..text_cells).flat_map(|index| self.cells.get(at + HEAD + index).to_le_bytes());
        let text: Vec<u8> = cells.take(bytes).collect();
        let record = if family == 0 {
            serde_json::from_slice(&text).ok().map(|definition| Record::Family { at, definition })
        } else {
            let first = at + HEAD + text_cells;
            serde_json::from_slice(&text).ok().map(|labels| Record::Series { family, labels, first, values })
        };
        Some((length, record))
    }

    pub fn clear(&self) {
        (0..self.used()).for_each(|at| self.cells.set(at, 0));
    }
}
