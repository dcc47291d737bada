//! The buffer that passes descriptors to JavaScript: one call per batch.

use std::io;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ipc::fd_message::FdHeader;
use crate::sys::memory::{self, Mapping};

/// Maximum connections in one batch: enough to save calls, few enough not to delay the first one.
pub const BATCH: usize = 64;

/// Two cells per connection, little-endian: its descriptor and, in the upper half, the remaining keep-alive timeout in
/// milliseconds (0: a new connection); then its requests so far and, in the upper half, 1 if it returns to the primary
/// after each response.
pub struct FdBatch {
    buffer: Arc<Mapping>,
}

impl FdBatch {
    pub fn new() -> io::Result<Self> {
        let memfd = memory::create("drover-batch", BATCH * 2)?;
        Ok(Self { buffer: Arc::new(Mapping::new(memfd.as_fd(), BATCH * 2)?) })
    }

    pub fn buffer(&self) -> Arc<Mapping> {
        self.buffer.clone()
    }

    /// Puts a batch into the buffer: from here on JavaScript owns the descriptors.
    pub fn put(&self, batch: Vec<OwnedFd>, header: FdHeader) -> u32 {
        let (remaining_ms, served) = header
            .keep_alive
            .map_or((0, 0), |keep_alive| (keep_alive.remaining_ms.max(1), keep_alive.served));
        let mut count = 0;
        for (cells, fd) in self.buffer.cells().chunks_exact(2).zip(batch) {
            // Descriptors are never negative.
            cells[0].store(u64::from(remaining_ms) << 32 | fd.into_raw_fd() as u64, Ordering::Relaxed);
            cells[1].store(u64::from(header.per_request) << 32 | u64::from(served), Ordering::Relaxed);
            count += 1;
        }
        count
    }
}
