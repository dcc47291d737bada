//! A range of cells of a mapping.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::sys::memory::Mapping;

/// Writing panics if this process has mapped them read-only.
#[derive(Clone)]
pub struct Cells {
    mapping: Arc<Mapping>,
    first: usize,
}

impl Cells {
    pub fn new(mapping: Arc<Mapping>, first: usize) -> Self {
        Self { mapping, first }
    }

    /// The cells from an offset on.
    pub fn from(&self, cell: usize) -> Self {
        Self { mapping: self.mapping.clone(), first: self.first + cell }
    }

    pub fn get(&self, cell: usize) -> u64 {
        self.load(cell, Ordering::Relaxed)
    }

    pub fn load(&self, cell: usize, ordering: Ordering) -> u64 {
        self.mapping.load(self.first + cell, ordering)
    }

    pub fn float(&self, cell: usize) -> f64 {
        f64::from_bits(self.get(cell))
    }

    pub fn set(&self, cell: usize, value: u64) {
        self.store(cell, value, Ordering::Relaxed);
    }

    pub fn store(&self, cell: usize, value: u64, ordering: Ordering) {
        self.mapping.cells()[self.first + cell].store(value, ordering);
    }

    pub fn add(&self, cell: usize, by: u64) {
        self.mapping.cells()[self.first + cell].fetch_add(by, Ordering::Relaxed);
    }

    /// Adds to a double, of which this is the only writer.
    pub fn raise(&self, cell: usize, by: f64) {
        self.set(cell, (self.float(cell) + by).to_bits());
    }

    /// The mapping and the first cell in it, for a view of the runtime.
    pub fn place(&self) -> (Arc<Mapping>, usize) {
        (self.mapping.clone(), self.first)
    }
}
