//! Shared memory as 64-bit cells: memfds that the primary creates and the workers inherit.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// Creates a memfd of this many 8-byte cells, all 0.
pub fn create(name: &str, cells: usize) -> io::Result<OwnedFd> {
    let memfd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memfd, (cells * 8) as u64)?;
    Ok(memfd)
}

/// Seals the size of the memfd, so that no access to a mapping of it can fault.
pub fn seal_size(memfd: impl AsFd) -> io::Result<()> {
    Ok(fcntl_add_seals(memfd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?)
}

/// Also seals writes, except through existing writable mappings: with the descriptor one can then only read. Kernels
/// before 5.1 seal only the size.
pub fn seal_writes(memfd: impl AsFd) -> io::Result<()> {
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    fcntl_add_seals(memfd.as_fd(), seals).or_else(|_| seal_size(memfd))
}

/// A mapping of a memfd; all access is through atomics, so that several processes may use it at once.
pub struct Mapping {
    start: NonNull<AtomicU64>,
    cells: usize,
    is_writable: bool,
}

// SAFETY: the memory stays mapped until drop and is reached only as atomics (or by the one JavaScript thread
// that owns its page, with aligned 8-byte stores, which are atomic on the supported processors).
unsafe impl Send for Mapping {}
// SAFETY: as above; shared references give out atomics alone.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `cells` 8-byte cells from the start of `memfd`, which must be at least that large.
    pub fn new(memfd: BorrowedFd<'_>, cells: usize) -> io::Result<Self> {
        Self::with(memfd, 0..cells, true)
    }

    /// The same, read-only.
    pub fn read_only(memfd: BorrowedFd<'_>, cells: usize) -> io::Result<Self> {
        Self::with(memfd, 0..cells, false)
    }

    /// Maps only these cells, the first of which must be at the beginning of a memory page.
    pub fn part(memfd: BorrowedFd<'_>, cells: Range<usize>) -> io::Result<Self> {
        Self::with(memfd, cells, true)
    }

    /// A mapping for secrets: excluded from core files and child processes. Without `writes` it is read-only.
    pub fn hidden(memfd: BorrowedFd<'_>, cells: usize, writes: bool) -> io::Result<Self> {
        let mapping = Self::with(memfd, 0..cells, writes)?;
        for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
            // SAFETY: the pages are the mapping's own; neither advice changes what is in them.
            unsafe { madvise(mapping.start.as_ptr().cast(), cells * 8, advice) }?;
        }
        Ok(mapping)
    }

    fn with(memfd: BorrowedFd<'_>, range: Range<usize>, is_writable: bool) -> io::Result<Self> {
        let protection = if is_writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let (cells, offset) = (range.len(), (range.start * 8) as u64);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours.
        let start =
            unsafe { mmap(std::ptr::null_mut(), cells * 8, protection, MapFlags::SHARED, memfd, offset) }?;
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Self { start, cells, is_writable }),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    /// Replaces the memory by zeros of this process's own. The memfd's memory can be freed, and the mapping stays valid: it
    /// is as if another process had stored zeros.
    pub fn vacate(&self) -> io::Result<()> {
        let protection = if self.is_writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: exactly the range of this mapping is mapped anew, at once and with the same protection; it is reached
        // as atomics alone.
        unsafe { mmap_anonymous(self.start.as_ptr().cast(), self.cells * 8, protection, flags) }?;
        Ok(())
    }

    /// How many cells it has.
    pub fn count(&self) -> usize {
        self.cells
    }

    /// Whether this process may store there.
    pub fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// The first byte; the mapping must outlive its use.
    pub fn start(&self) -> NonNull<AtomicU64> {
        self.start
    }

    fn all(&self) -> &[AtomicU64] {
        // SAFETY: `start` points to `cells` mapped, aligned 8-byte cells for as long as `self` lives. Nobody stores
        // there unless it is writable.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.cells) }
    }

    pub fn load(&self, cell: usize, ordering: Ordering) -> u64 {
        self.all()[cell].load(ordering)
    }

    /// The cells, for writing.
    ///
    /// # Panics
    /// This process may only read them.
    pub fn cells(&self) -> &[AtomicU64] {
        assert!(self.is_writable, "this memory is another process's to write");
        self.all()
    }

    /// The address of a cell, for a view of the runtime; the mapping must outlive the view.
    pub fn address_of(&self, cell: usize) -> NonNull<AtomicU64> {
        NonNull::from(&self.all()[cell])
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one mapped in `new`; nobody holds a reference any more. A failure leaves
        // the memory mapped, which is harmless.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.cells * 8) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_mapped_it_before_the_seal_writes() {
        let memfd = create("drover-test", 1024).unwrap();
        let own = Mapping::new(memfd.as_fd(), 1024).unwrap();
        seal_writes(&memfd).unwrap();
        let error = Mapping::new(memfd.as_fd(), 1024).err().unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert!(rustix::io::write(&memfd, &[1]).is_err());
        let others = Mapping::read_only(memfd.as_fd(), 1024).unwrap();
        own.cells()[1000].store(7, Ordering::Relaxed);
        assert_eq!(others.load(1000, Ordering::Relaxed), 7);
    }

    #[test]
    #[should_panic(expected = "another process's to write")]
    fn what_is_mapped_to_be_read_is_not_written() {
        let memfd = create("drover-test", 8).unwrap();
        Mapping::read_only(memfd.as_fd(), 8).unwrap().cells();
    }

    #[test]
    fn a_mapping_that_lets_its_memory_go_has_zeros() {
        let memfd = create("drover-test", 1024).unwrap();
        let all =
            |mapping: &Mapping| (0..1024).map(|cell| mapping.load(cell, Ordering::Relaxed)).sum::<u64>();
        let [own, other] = [0, 1].map(|_| Mapping::new(memfd.as_fd(), 1024).unwrap());
        let read = Mapping::read_only(memfd.as_fd(), 1024).unwrap();
        own.cells()[1000].store(7, Ordering::Relaxed);
        [&own, &read].into_iter().for_each(|mapping| mapping.vacate().unwrap());
        own.cells()[3].store(2, Ordering::Relaxed);
        assert_eq!([all(&own), all(&read), all(&other)], [2, 0, 7]);
    }

    #[test]
    fn a_part_is_the_same_memory() {
        let memfd = create("drover-test", 2 * 8192).unwrap();
        let (all, part) = (
            Mapping::new(memfd.as_fd(), 2 * 8192).unwrap(),
            Mapping::part(memfd.as_fd(), 8192..16384).unwrap(),
        );
        part.cells()[1].store(3, Ordering::Relaxed);
        assert_eq!((all.load(8193, Ordering::Relaxed), part.count()), (3, 8192));
    }
}
