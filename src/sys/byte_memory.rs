//! Shared memory as bytes and 32-bit words, with one writer: the process that created it. Readers are other processes,
//! which check by versions whether what they copied was whole.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::memory::Mapping;

/// A mapping of a memfd.
pub struct ByteMapping {
    mapping: Mapping,
}

impl ByteMapping {
    /// Maps the first `bytes`, a multiple of 8, of `memfd`, which must be at least that large.
    pub fn new(memfd: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        Mapping::new(memfd, bytes / 8).map(|mapping| Self { mapping })
    }

    /// The same, read-only: to store panics.
    pub fn read_only(memfd: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        Mapping::read_only(memfd, bytes / 8).map(|mapping| Self { mapping })
    }

    pub fn size(&self) -> usize {
        self.mapping.count() * 8
    }

    pub fn load(&self, at: usize, ordering: Ordering) -> u32 {
        // SAFETY: the pointer is to 4 mapped, aligned bytes, which all processes reach as atomics or check by versions.
        unsafe { AtomicU32::from_ptr(self.pointer(at, 4, 4).as_ptr().cast()) }.load(ordering)
    }

    pub fn store(&self, at: usize, value: u32, ordering: Ordering) {
        // SAFETY: as in `load`; `writable` checks that storing does not fault.
        unsafe { AtomicU32::from_ptr(self.writable(at, 4, 4).as_ptr().cast()) }.store(value, ordering);
    }

    /// The byte at `at`, which several processes may change.
    pub fn byte(&self, at: usize) -> &AtomicU8 {
        // SAFETY: as in `load`, for as long as `self` lives.
        unsafe { AtomicU8::from_ptr(self.writable(at, 1, 1).as_ptr()) }
    }

    /// The 8 bytes at `at`, which several processes may change.
    pub fn cell(&self, at: usize) -> &AtomicU64 {
        // SAFETY: as in `load`, for as long as `self` lives.
        unsafe { AtomicU64::from_ptr(self.writable(at, 8, 8).as_ptr().cast()) }
    }

    /// Copies bytes into the memory.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        let to = self.writable(at, bytes.len(), 1);
        // SAFETY: the range is mapped and writable, and no reference to it as plain bytes exists: `read` copies within one
        // call, in the same thread as this one (a mapping with a writer is not shared by threads).
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
    }

    /// Appends a copy of `count` bytes to `into`.
    pub fn read(&self, at: usize, count: usize, into: &mut Vec<u8>) {
        self.with(at, count, |bytes| into.extend_from_slice(bytes));
    }

    /// What `look` finds in `count` bytes. Only the writer's own process may call it.
    pub fn with<T>(&self, at: usize, count: usize, look: impl FnOnce(&[u8]) -> T) -> T {
        // SAFETY: the range is mapped; only this thread writes there, and not before `look` has returned.
        look(unsafe { std::slice::from_raw_parts(self.pointer(at, count, 1).as_ptr(), count) })
    }

    fn writable(&self, at: usize, count: usize, alignment: usize) -> NonNull<u8> {
        assert!(self.mapping.is_writable(), "this memory is another process's to write");
        self.pointer(at, count, alignment)
    }

    fn pointer(&self, at: usize, count: usize, alignment: usize) -> NonNull<u8> {
        let end = at.checked_add(count);
        assert!(
            end.is_some_and(|end| end <= self.size()) && at.is_multiple_of(alignment),
            "{count} bytes at {at}"
        );
        // SAFETY: the offset is inside the mapping.
        unsafe { self.mapping.start().cast::<u8>().add(at) }
    }
}
