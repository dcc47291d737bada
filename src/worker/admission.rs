//! Adaptive admission in a worker: which requests have waited too long for their handler, and when the worker asks the
//! primary for connections. Decided by [`crate::balance::LoadShedder`].

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::balance::LoadShedder;
use crate::metrics::layout::page;
use crate::metrics::memory::Page;
use crate::sys::uv::{IdleTime, Loop};
use crate::sys::{clock, fds};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Admitted,
    Refused,
    /// Refused, and its connection ends: another worker has time for the client.
    Moved,
}

pub struct Admission {
    page: Page,
    idle_time: IdleTime,
    shedder: RefCell<LoadShedder>,
    /// The same moment on the monotonic clock and on JavaScript's, in milliseconds.
    origin: (Duration, f64),
    /// The overload in which the worker has asked for connections and got none since.
    asked_in: Cell<u64>,
    /// The primary was told in this iteration of the loop that a request was late.
    has_told: Cell<bool>,
    /// Connections that it has got in this iteration of the loop.
    fresh: RefCell<Vec<RawFd>>,
}

impl Admission {
    /// `js_now`: JavaScript's clock, milliseconds.
    ///
    /// # Errors
    /// The runtime has no libuv.
    pub fn start(uv: Loop, page: Page, target: Duration, js_now: f64) -> io::Result<Self> {
        let now = clock::monotonic();
        let idle_time = IdleTime::start(uv)?;
        let shedder = LoadShedder::new(target, now, Duration::from_nanos(idle_time.total()));
        Ok(Self {
            page,
            idle_time,
            shedder: RefCell::new(shedder),
            origin: (now, js_now),
            asked_in: Cell::new(0),
            has_told: Cell::new(false),
            fresh: RefCell::default(),
        })
    }

    pub fn set_target(&self, target: Duration) {
        self.shedder.borrow_mut().set_target(target);
    }

    fn idle(&self) -> Duration {
        Duration::from_nanos(self.idle_time.total())
    }

    /// An iteration of the loop has ended.
    pub fn turned(&self) {
        self.has_told.set(false);
        let mut shedder = self.shedder.borrow_mut();
        shedder.turned(clock::monotonic(), self.idle());
        let (then, js_then) = self.origin;
        let since = shedder.arrived_after().saturating_sub(then).as_secs_f64() * 1e3;
        self.page.set(page::ARRIVED_AFTER, (js_then + since).to_bits());
    }

    /// Whether the request that is about to be handled comes too late. `fd`: its connection; negative: unknown.
    pub fn is_late(&self, fd: RawFd) -> bool {
        let (mut shedder, now, idle) = (self.shedder.borrow_mut(), clock::monotonic(), self.idle());
        let polled = shedder.since_poll(now, idle);
        // The kernel's clock is coarse.
        let waited = fds::since_last_byte(fd).map_or(polled, |since| since.max(polled));
        let is_late = shedder.refuses(waited, now, idle);
        if is_late {
            self.page.set(page::LATE, now.as_nanos() as u64);
        }
        is_late
    }

    /// Whether another worker is not saturated, although the primary knows of no overload.
    pub fn is_alone(&self) -> bool {
        self.shedder.borrow().is_alone()
    }

    /// Whether the primary should look at the workers; not again in the same iteration of the loop.
    pub fn should_tell(&self) -> bool {
        !self.has_told.replace(true)
    }

    /// The worker has read connections from its channel.
    pub fn took(&self, connections: &[OwnedFd]) {
        if !connections.is_empty() {
            self.asked_in.set(0);
            self.fresh.borrow_mut().extend(connections.iter().map(AsRawFd::as_raw_fd));
        }
    }

    /// Whether the worker asks for connections now: none that it has got waits for its handler. `overload`: the number of
    /// the overload; 0: there is none. Called once per iteration of the loop, before it polls.
    pub fn asks(&self, overload: u64) -> bool {
        let fresh = std::mem::take(&mut *self.fresh.borrow_mut());
        // Their requests are read in the next iteration, which does not sleep.
        overload != 0 && self.asked_in.get() != overload && !fds::any_readable(&fresh)
    }

    /// It has asked.
    pub fn has_asked(&self, overload: u64) {
        self.asked_in.set(overload);
    }
}
