//! The buffer through which descriptors reach JavaScript: a batch at a time, one call a batch.

use std::io;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::sys::memory::Mapping;

/// Connections in one batch: enough to save calls, few enough that the first is not kept waiting.
pub const BATCH: usize = 64;

/// One descriptor a cell, as a little-endian integer.
pub struct Hands {
    buffer: Arc<Mapping>,
}

impl Hands {
    pub fn new() -> io::Result<Self> {
        let memfd = memfd_create("drover-hands", MemfdFlags::CLOEXEC)?;
        ftruncate(&memfd, (BATCH * 8) as u64)?;
        Ok(Self { buffer: Arc::new(Mapping::new(memfd.as_fd(), BATCH)?) })
    }

    pub fn buffer(&self) -> Arc<Mapping> {
        self.buffer.clone()
    }

    /// Puts a batch into the buffer: from here on the descriptors are JavaScript's.
    pub fn put(&self, batch: Vec<OwnedFd>) -> u32 {
        let cells = self.buffer.cells();
        let mut count = 0;
        for (cell, fd) in cells.iter().zip(batch) {
            // Descriptors are never negative.
            cell.store(fd.into_raw_fd() as u64, Ordering::Relaxed);
            count += 1;
        }
        count
    }
}
