//! Registers a descriptor with tokio's reactor.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that tokio watches; must be called within a runtime.
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is one open descriptor for as long as it lives, and AsyncFd owns it.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// Like `watch`, for a shared descriptor.
pub fn watch_shared(fd: Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Shared>> {
    // SAFETY: the shared OwnedFd is one open descriptor for as long as this Arc lives.
    unsafe { AsyncFd::register_with_interest(Shared(fd), interest) }.map_err(io::Error::from)
}

/// A shared descriptor.
pub struct Shared(pub Arc<OwnedFd>);

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}
