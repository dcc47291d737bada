//! Shared memory as a slice of 64-bit cells: a memfd that the primary makes and the workers inherit.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// A mapping of a memfd; all access is through atomics, so that several processes may hold it at once.
pub struct Mapping {
    start: NonNull<AtomicU64>,
    cells: usize,
}

// SAFETY: the memory stays mapped until drop and is reached only as atomics (or by the one JavaScript thread
// that owns its page, with aligned 8-byte stores, which are atomic on the supported processors).
unsafe impl Send for Mapping {}
// SAFETY: as above; shared references give out atomics alone.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `cells` 8-byte cells from the start of `memfd`, which must be at least that large.
    pub fn new(memfd: BorrowedFd<'_>, cells: usize) -> io::Result<Self> {
        Self::with(memfd, cells, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// The same for secrets: in no core file of this process's and in no child. Without `writes` nothing may be stored.
    pub fn hidden(memfd: BorrowedFd<'_>, cells: usize, writes: bool) -> io::Result<Self> {
        let protection = if writes { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let mapping = Self::with(memfd, cells, protection)?;
        for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
            // SAFETY: the pages are the mapping's own; neither advice changes what is in them.
            unsafe { madvise(mapping.start.as_ptr().cast(), cells * 8, advice) }?;
        }
        Ok(mapping)
    }

    fn with(memfd: BorrowedFd<'_>, cells: usize, protection: ProtFlags) -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours.
        let start = unsafe { mmap(std::ptr::null_mut(), cells * 8, protection, MapFlags::SHARED, memfd, 0) }?;
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Self { start, cells }),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    pub fn cells(&self) -> &[AtomicU64] {
        // SAFETY: `start` points to `cells` mapped, aligned 8-byte cells for as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.cells) }
    }

    /// The address of a cell, for a runtime that wants a view of its own; the mapping must outlive the view.
    pub fn address_of(&self, cell: usize) -> NonNull<AtomicU64> {
        NonNull::from(&self.cells()[cell])
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one mapped in `new`; nobody holds a reference any more. A failure leaves
        // the memory mapped, which is harmless.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.cells * 8) };
    }
}
