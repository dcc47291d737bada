//! The inbox of the writer's thread, which also wakes it. Sending never blocks.

use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::render::{Own, Source};

/// Maximum bytes of drover's own lines that are queued while nobody reads the output; further lines are dropped and counted.
const MAX_OWN: usize = 1024 * 1024;

/// A worker's output stream to add to the log.
pub struct Followed {
    pub source: Source,
    pub stream: OwnedFd,
    /// See `split`; empty if this stream has no reports.
    pub report_mark: String,
}

#[derive(Default)]
pub struct Pending {
    pub own: Vec<Own>,
    pub streams: Vec<Followed>,
    /// Number of drover's own lines that were dropped.
    pub lost: u64,
    /// Set at the end of the log: whoever waits for it.
    pub end: Option<Sender<()>>,
    bytes: usize,
}

pub struct Inbox {
    pending: Mutex<Pending>,
    pub wake: OwnedFd,
}

impl Inbox {
    /// # Errors
    /// No descriptor is available.
    pub fn new() -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { pending: Mutex::default(), wake })
    }

    pub fn say(&self, own: Own) {
        let members = own.members.as_ref().map_or(0, |members| members.to_string().len());
        let size = own.text.len() + members + size_of::<Own>();
        let mut pending = self.lock();
        if pending.bytes + size > MAX_OWN {
            pending.lost += 1;
        } else {
            pending.bytes += size;
            pending.own.push(own);
        }
        drop(pending);
        self.wake_writer();
    }

    pub fn follow(&self, followed: Followed) {
        self.lock().streams.push(followed);
        self.wake_writer();
    }

    pub fn end(&self, ended: Sender<()>) {
        self.lock().end = Some(ended);
        self.wake_writer();
    }

    /// Takes everything that has arrived; without drover's own lines if `is_full`.
    pub fn take(&self, is_full: bool) -> Pending {
        // Reading resets the counter; if it is zero already, the read fails harmlessly.
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        let mut pending = self.lock();
        if is_full {
            return Pending {
                streams: std::mem::take(&mut pending.streams),
                end: pending.end.take(),
                ..Pending::default()
            };
        }
        std::mem::take(&mut pending)
    }

    fn wake_writer(&self) {
        // If the counter is at its maximum, the thread is being woken anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
