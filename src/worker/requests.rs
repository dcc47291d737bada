//! Counts and times the requests of a runtime that accepts by itself, from what passes on its connections.

use std::cell::Cell;
use std::time::Instant;

use crate::metrics::layout::page;
use crate::metrics::memory::Page;
use crate::metrics::responses;

/// Status of a response after which the connection carries another protocol.
const UPGRADED: u16 = 101;

/// A request that is being answered.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    at: Instant,
    is_counted: bool,
}

pub struct Requests {
    page: Page,
    is_measured: bool,
    /// The last clock reading in this iteration of the loop, as in [`page::CLOCK`]: the time since then was spent on other
    /// requests.
    clock: Cell<Option<Instant>>,
    /// The same moment for the core and for JavaScript, whose clock is in milliseconds.
    origin: Cell<(Instant, f64)>,
}

impl Requests {
    pub fn new(page: Page, is_measured: bool) -> Self {
        Self { page, is_measured, clock: Cell::default(), origin: Cell::new((Instant::now(), 0.0)) }
    }

    /// JavaScript's clock shows this now.
    pub fn set_clock(&self, ms: f64) {
        self.origin.set((Instant::now(), ms));
    }

    /// An iteration of the loop has ended.
    pub fn turned(&self) {
        self.clock.set(None);
    }

    /// A request has come, with this first line.
    pub fn came(&self, line: &[u8]) {
        self.page.store_request(line);
    }

    /// Its turn has come to be answered.
    pub fn begun(&self, asks_for_upgrade: bool) -> Begun {
        if !asks_for_upgrade {
            responses::count_request(self.page.cells());
        }
        Begun { at: self.clock.get().unwrap_or_else(|| self.read_clock()), is_counted: !asks_for_upgrade }
    }

    /// It is answered; `status` 0: the response has not reached its client. An upgraded connection is no request: who asks for
    /// one is counted once it is refused.
    pub fn answered(&self, begun: Begun, status: u16) {
        if !begun.is_counted {
            if status == UPGRADED {
                return;
            }
            responses::count_request(self.page.cells());
        }
        let duration = self.read_clock().saturating_duration_since(begun.at);
        responses::count_response(self.page.cells(), duration, status, self.is_measured);
    }

    fn read_clock(&self) -> Instant {
        let now = Instant::now();
        self.clock.set(Some(now));
        let (origin, ms) = self.origin.get();
        let since = now.saturating_duration_since(origin);
        self.page.set(page::CLOCK, (ms + since.as_secs_f64() * 1e3).to_bits());
        now
    }
}
