//! Event-loop metrics: the fraction of time that it is busy, and the delay that it causes.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::metrics::layout::page;
use crate::metrics::memory::Page;
use crate::sys::uv::Loop;

/// The longest iteration is reported for one to two windows.
const WINDOW: Duration = Duration::from_secs(1);

pub struct LoopLag {
    uv: Loop,
    turned: Cell<Instant>,
    idle: Cell<u64>,
    /// The longest iteration of this window and of the previous one, microseconds.
    longest: Cell<(u64, u64)>,
    window: Cell<Instant>,
}

impl LoopLag {
    pub fn new(uv: Loop) -> Self {
        let now = Cell::new(Instant::now());
        let idle = Cell::new(uv.idle_time().unwrap_or(0));
        Self { uv, window: now.clone(), turned: now, idle, longest: Cell::new((0, 0)) }
    }

    /// An iteration of the loop has ended: events that arrived in it waited at most for its duration.
    pub fn turned(&self, page: &Page) {
        let Some(idle) = self.uv.idle_time() else { return };
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
