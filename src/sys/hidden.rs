//! Memory for a secret: separate pages that are excluded from core files and child processes, and wiped before they are
//! unmapped.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use zeroize::Zeroize;

/// A value in such pages.
pub struct Hidden<T> {
    at: NonNull<T>,
}

// SAFETY: a `Hidden` owns its value as a `Box` does.
unsafe impl<T: Send> Send for Hidden<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Hidden<T> {}

impl<T> Hidden<T> {
    /// Moves `value` into such pages.
    ///
    /// # Errors
    /// The kernel provides no pages, or cannot exclude them from core files.
    pub fn new(value: T) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let length = size_of::<T>().max(1);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours; what begins with a
        // page is aligned for any value.
        let at = unsafe { mmap_anonymous(std::ptr::null_mut(), length, protection, MapFlags::PRIVATE) }?;
        let Some(place) = NonNull::new(at.cast::<T>()) else { return Err(io::ErrorKind::OutOfMemory.into()) };
        for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
            // SAFETY: the pages are the ones mapped above, and nobody else knows them.
            if let Err(errno) = unsafe { madvise(at, length, advice) } {
                // SAFETY: as above; a failure leaves empty pages mapped.
                let _ = unsafe { munmap(at, length) };
                return Err(errno.into());
            }
        }
        // SAFETY: the pages are writable, large enough and unused.
        unsafe { place.write(value) };
        Ok(Self { at: place })
    }
}

impl<T> Deref for Hidden<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value was written in `new` and lives until `drop`.
        unsafe { self.at.as_ref() }
    }
}

impl<T> DerefMut for Hidden<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `self` is the only way to it.
        unsafe { self.at.as_mut() }
    }
}

impl<T> Drop for Hidden<T> {
    fn drop(&mut self) {
        let length = size_of::<T>();
        // SAFETY: the value is dropped once, its bytes are ours until they are unmapped, and a failure to unmap leaves
        // wiped pages.
        unsafe {
            self.at.drop_in_place();
            std::slice::from_raw_parts_mut(self.at.as_ptr().cast::<u8>(), length).zeroize();
            let _ = munmap(self.at.as_ptr().cast(), length.max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flags of the mapping that holds an address (proc_pid_smaps(5)); None without such a mapping.
    fn flags(address: usize) -> Option<String> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in smaps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let bounds = range.and_then(|(from, to)| {
                Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
            });
            if let Some((from, to)) = bounds {
                inside = (from..to).contains(&address);
            }
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                return Some(flags.to_owned());
            }
        }
        None
    }

    #[test]
    fn a_secret_is_in_no_core_file_and_in_no_child() {
        let mut secret = Hidden::new([7u8; 32]).unwrap();
        secret[0] = 8;
        assert_eq!((secret[0], secret[31]), (8, 7));
        let flags = flags(secret.as_ptr() as usize).unwrap();
        let has = |flag: &str| flags.split_whitespace().any(|found| found == flag);
        // Do not dump, do not copy on fork.
        assert!(has("dd") && has("dc"), "{flags}");
    }

    #[test]
    fn what_it_holds_is_dropped_with_it() {
        let shared = std::sync::Arc::new(());
        let secret = Hidden::new(shared.clone()).unwrap();
        assert_eq!(std::sync::Arc::strong_count(&shared), 2);
        drop(secret);
        assert_eq!(std::sync::Arc::strong_count(&shared), 1);
    }
}
