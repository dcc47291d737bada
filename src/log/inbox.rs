//! What the writer's thread is told, and by whom it is woken. Nobody who tells waits.

use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::render::{Own, Source};

/// Lines of drover's own that wait while nobody reads the output, in bytes; more are counted and dropped.
const MAX_OWN: usize = 1024 * 1024;

/// A worker's output, from now on part of the log.
pub struct Followed {
    pub source: Source,
    pub stream: OwnedFd,
    /// See `split`; empty: this stream has no reports.
    pub report_mark: String,
}

#[derive(Default)]
pub struct Pending {
    pub own: Vec<Own>,
    pub streams: Vec<Followed>,
    /// Lines of drover's own that found no room.
    pub lost: u64,
    /// The end: who waits for it.
    pub end: Option<Sender<()>>,
    bytes: usize,
}

pub struct Inbox {
    pending: Mutex<Pending>,
    pub wake: OwnedFd,
}

impl Inbox {
    /// # Errors
    /// No descriptor is left.
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
        self.ring();
    }

    pub fn follow(&self, followed: Followed) {
        self.lock().streams.push(followed);
        self.ring();
    }

    pub fn end(&self, ended: Sender<()>) {
        self.lock().end = Some(ended);
        self.ring();
    }

    /// Everything that has come since; without drover's own lines where `is_full`.
    pub fn take(&self, is_full: bool) -> Pending {
        // A counter that is read is zero again; one that is zero already says so.
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

    fn ring(&self) {
        // A counter that is full has woken the thread already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
