//! A worker's output after the end of its primary. The primary reads the worker's pipes; after its end nothing does,
//! and a draining worker must neither block forever nor lose its last output.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::sys::orphan;

/// Timeout for the reader of the primary's output, which may be slow or stopped.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The read end of an output of this process, and the stream to which the primary writes it.
struct Stream {
    unread: OwnedFd,
    own: OwnedFd,
}

pub struct Streams([Stream; 2]);

impl Streams {
    /// Takes over, by `inherit`, the ends of this process's pipes that the primary reads (0 and 1) and the primary's own
    /// streams (2 and 3); None: this process writes to the primary's streams anyway.
    ///
    /// # Errors
    /// No file descriptors are left, or the inherited ones are missing.
    pub fn inherit(captured: bool, inherit: impl Fn(i32) -> io::Result<OwnedFd>) -> io::Result<Option<Self>> {
        if !captured {
            return Ok(None);
        }
        let (stdout, stderr) = (
            Stream { unread: inherit(0)?, own: inherit(2)? },
            Stream { unread: inherit(1)?, own: inherit(3)? },
        );
        orphan::fall_back_to(copy(&stdout.own)?, copy(&stderr.own)?);
        Ok(Some(Self([stdout, stderr])))
    }

    /// Called when the primary has sent its shutdown notice or has ended, and so reads no more. Writes the unread
    /// output first, then everything from now on goes directly to the primary's streams.
    pub fn fall_back(&self) {
        orphan::fall_back();
        self.0.iter().for_each(Stream::pass_on);
    }
}

fn copy(fd: &OwnedFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

impl Stream {
    fn pass_on(&self) {
        let mut chunk = [0; 16 * 1024];
        loop {
            match rustix::io::read(&self.unread, &mut chunk) {
                Ok(0) | Err(Errno::AGAIN) => return,
                Ok(read) if self.write(&chunk[..read]) => {}
                Err(Errno::INTR) => {}
                // The reader of the primary's output has ended too.
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn write(&self, mut bytes: &[u8]) -> bool {
        let since = Instant::now();
        while !bytes.is_empty() {
            let left = TIMEOUT.saturating_sub(since.elapsed());
            let mut polled = [PollFd::new(&self.own, PollFlags::OUT)];
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut polled, timeout.as_ref()) {
                Ok(0) => return false,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return false,
            }
            // A pipe with room for this much does not block.
            match rustix::io::write(&self.own, &bytes[..bytes.len().min(4096)]) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
