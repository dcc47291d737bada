//! A worker's output once its primary is gone. While that lives it reads the worker's pipes; afterwards nobody would, and a
//! worker that drains must neither wait for ever nor lose its last words.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::sys::orphan;

/// The primary's own reader may be slow, or stopped.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The other end of an output of this process, and where the primary writes what it reads there.
struct Stream {
    unread: OwnedFd,
    own: OwnedFd,
}

pub struct Streams([Stream; 2]);

impl Streams {
    /// Takes over, by `inherit`, the ends of this process's pipes that the primary reads (0 and 1) and the primary's own
    /// streams (2 and 3); None: this process has the primary's streams anyway.
    ///
    /// # Errors
    /// No descriptors are left, or they are not there.
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

    /// A primary that gave its shutdown notice reads no more, and neither does one that is gone. What it has not read is
    /// written first, and everything from now on goes the same way.
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
                // Whoever read the primary's output is gone too.
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
            // Into a pipe that has room for so much it goes without waiting.
            match rustix::io::write(&self.own, &bytes[..bytes.len().min(4096)]) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
