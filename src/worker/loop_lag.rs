//! Event-loop metrics: the fraction of time that it is busy, and the delay that it causes.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use crate::metrics::layout::page;
use crate::metrics::memory::Page;
use crate::sys::uv::{IdleTime, Loop};

/// The longest iteration is reported for one to two windows.
const WINDOW: Duration = Duration::from_secs(1);

pub struct LoopLag {
    idle_time: IdleTime,
    turned: Cell<Instant>,
    idle: Cell<u64>,
    /// The longest iteration of this window and of the previous one, microseconds.
    longest: Cell<(u64, u64)>,
    window: Cell<Instant>,
}

impl LoopLag {
    /// # Errors
    /// The runtime has no libuv.
    pub fn start(uv: Loop) -> io::Result<Self> {
        let now = Cell::new(Instant::now());
        let idle_time = IdleTime::start(uv)?;
        let idle = Cell::new(idle_time.total());
        Ok(Self { idle_time, window: now.clone(), turned: now, idle, longest: Cell::new((0, 0)) })
    }

    /// An iteration of the loop has ended: events that arrived in it waited at most for its duration.
    pub fn turned(&self, page: &Page) {
        let idle = self.idle_time.total();
        let now = Instant::now();
        let turn = now.duration_since(self.turned.replace(now));
        let waited = Duration::from_nanos(idle.saturating_sub(self.idle.replace(idle)));
        let work = turn.saturating_sub(waited);
        page.set(page::BUSY, page.get(page::BUSY) + work.as_nanos() as u64);
        let (mut longest, mut before) = self.longest.get();
        if now.duration_since(self.window.get()) >= WINDOW {
            self.window.set(now);
            (longest, before) = (0, longest);
        }
        longest = longest.max(work.as_micros() as u64);
        self.longest.set((longest, before));
        page.set(page::LAG, longest.max(before));
    }
}
