//! JSON texts that the primary publishes: written and read as a whole.

use std::sync::atomic::{Ordering, fence};

use super::shared::SharedMemory;
use crate::metrics::layout::{CUSTOM, CUSTOM_CELLS, NOTE_CELLS, SAMPLE, SAMPLE_CELLS, header, note_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The primary's sample: members of the metrics.
    Sample,
    /// The latest result of `monitoring.customMetrics`.
    Custom,
    /// The check result of a slot's worker.
    Note(u16),
}

/// The location of a text.
struct Place {
    /// Odd while it is written.
    guard: usize,
    /// Its bytes.
    length: usize,
    first: usize,
    cells: usize,
}

impl Text {
    fn place(self) -> Place {
        match self {
            Text::Sample => Place {
                guard: header::SAMPLING,
                length: header::SAMPLE_LENGTH,
                first: SAMPLE,
                cells: SAMPLE_CELLS,
            },
            Text::Custom => Place {
                guard: header::CUSTOMISING,
                length: header::CUSTOM_LENGTH,
                first: CUSTOM,
                cells: CUSTOM_CELLS,
            },
            Text::Note(slot) => {
                let guard = note_of(slot);
                Place { guard, length: guard + 1, first: guard + 2, cells: NOTE_CELLS - 2 }
            }
        }
    }
}

impl SharedMemory {
    /// Publishes a text; false if it is too long.
    pub fn write(&self, text: Text, bytes: &[u8]) -> bool {
        let Place { guard, length, first, cells } = text.place();
        if bytes.len() > cells * 8 {
            return false;
        }
        self.set(guard, self.get(guard) + 1);
        fence(Ordering::SeqCst);
        for (index, piece) in bytes.chunks(8).enumerate() {
            let mut cell = [0; 8];
            cell[..piece.len()].copy_from_slice(piece);
            self.set(first + index, u64::from_le_bytes(cell));
        }
        self.set(length, bytes.len() as u64);
        fence(Ordering::SeqCst);
        self.set(guard, self.get(guard) + 1);
        true
    }

    /// The text that was last published; empty before the first.
    pub fn text(&self, text: Text) -> Vec<u8> {
        let Place { guard, length, first, cells } = text.place();
        let read = || {
            let length = (self.get(length) as usize).min(cells * 8);
            let cells = (0..length.div_ceil(8)).flat_map(|index| self.get(first + index).to_le_bytes());
            cells.take(length).collect()
        };
        self.undisturbed(guard, read).unwrap_or_default()
    }
}
