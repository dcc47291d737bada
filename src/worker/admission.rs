//! Adaptive admission in a worker: which requests have waited too long for their handler, and when the worker asks the
//! primary for connections. Decided by [`crate::balance::LoadShedder`].

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::balance::LoadShedder;
use crate::ipc::control::Admission as Settings;
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
    /// As the primary has last told.
    settings: RefCell<Option<Settings>>,
    /// None: off.
    watch: RefCell<Option<Watch>>,
}

/// What is known about the event loop and its connections while admission is on.
struct Watch {
    idle_time: IdleTime,
    shedder: LoadShedder,
    /// The same moment on the monotonic clock and on JavaScript's, in milliseconds.
    origin: (Duration, f64),
    /// The overload in which the worker has asked for connections and got none since.
    asked_in: u64,
    /// The primary was told in this iteration of the loop that a request was late.
    has_told: bool,
    /// Connections that it has got in this iteration of the loop.
    fresh: Vec<RawFd>,
}

impl Admission {
    pub fn new(page: Page) -> Self {
        Self { page, settings: RefCell::default(), watch: RefCell::default() }
    }

    /// Other settings, which JavaScript applies; None: off.
    pub fn keep(&self, settings: Option<Settings>) {
        *self.settings.borrow_mut() = settings;
    }

    pub fn settings(&self) -> Option<Settings> {
        self.settings.borrow().clone()
    }

    /// Requests that wait longer than `target` may be refused from now on; None: none are. `js_now`: JavaScript's clock,
    /// milliseconds.
    ///
    /// # Errors
    /// The runtime has no libuv.
    pub fn set(&self, uv: Loop, target: Option<Duration>, js_now: f64) -> io::Result<()> {
        let mut watch = self.watch.borrow_mut();
        match (&mut *watch, target) {
            (_, None) => *watch = None,
            (Some(watch), Some(target)) => watch.shedder.set_target(target),
            (None, Some(target)) => *watch = Some(Watch::start(uv, target, js_now)?),
        }
        Ok(())
    }

    /// An iteration of the loop has ended.
    pub fn turned(&self) {
        if let Some(watch) = &mut *self.watch.borrow_mut() {
            self.page.set(page::ARRIVED_AFTER, watch.turned().to_bits());
        }
    }

    /// Whether the request that is about to be handled comes too late. `fd`: its connection; negative: unknown.
    pub fn is_late(&self, fd: RawFd) -> bool {
        let now = clock::monotonic();
        let is_late = self.watch.borrow_mut().as_mut().is_some_and(|watch| watch.is_late(fd, now));
        if is_late {
            self.page.set(page::LATE, now.as_nanos() as u64);
        }
        is_late
    }

    /// Whether another worker is not saturated, although the primary knows of no overload.
    pub fn is_alone(&self) -> bool {
        self.watch.borrow().as_ref().is_some_and(|watch| watch.shedder.is_alone())
    }

    /// Whether the primary should look at the workers; not again in the same iteration of the loop.
    pub fn should_tell(&self) -> bool {
        self.watch.borrow_mut().as_mut().is_some_and(|watch| !std::mem::replace(&mut watch.has_told, true))
    }

    /// The worker has read a message from its channel. Without connections it asks anew as well: the primary may have
    /// taken back those that it had asked for.
    pub fn ask_anew(&self) {
        self.has_asked(0);
    }

    /// The worker has got connections.
    pub fn got(&self, connections: &[OwnedFd]) {
        if let Some(watch) = &mut *self.watch.borrow_mut() {
            watch.fresh.extend(connections.iter().map(AsRawFd::as_raw_fd));
        }
    }

    /// Whether the worker asks for connections now: none that it has got waits for its handler. `overload`: the number of
    /// the overload; 0: there is none. Called once per iteration of the loop, before it polls.
    pub fn asks(&self, overload: u64) -> bool {
        self.watch.borrow_mut().as_mut().is_some_and(|watch| watch.asks(overload))
    }

    /// It has asked.
    pub fn has_asked(&self, overload: u64) {
        if let Some(watch) = &mut *self.watch.borrow_mut() {
            watch.asked_in = overload;
        }
    }
}

impl Watch {
    fn start(uv: Loop, target: Duration, js_now: f64) -> io::Result<Self> {
        let now = clock::monotonic();
        let idle_time = IdleTime::start(uv)?;
        let shedder = LoadShedder::new(target, now, Duration::from_nanos(idle_time.total()));
        let (asked_in, has_told, fresh) = (0, false, Vec::new());
        Ok(Self { idle_time, shedder, origin: (now, js_now), asked_in, has_told, fresh })
    }

    fn idle(&self) -> Duration {
        Duration::from_nanos(self.idle_time.total())
    }

    /// Returns since when the requests of the next iteration may have waited, on JavaScript's clock.
    fn turned(&mut self) -> f64 {
        self.has_told = false;
        let idle = self.idle();
        self.shedder.turned(clock::monotonic(), idle);
        if !self.fresh.is_empty() {
            // Their requests may have come long before the connections were read.
            return 0.0;
        }
        let (then, js_then) = self.origin;
        js_then + self.shedder.arrived_after().saturating_sub(then).as_secs_f64() * 1e3
    }

    fn is_late(&mut self, fd: RawFd, now: Duration) -> bool {
        let idle = self.idle();
        let polled = self.shedder.since_poll(now, idle);
        // The kernel's clock is coarse.
        let waited = fds::since_last_byte(fd).map_or(polled, |since| since.max(polled));
        self.shedder.refuses(waited, now, idle)
    }

    fn asks(&mut self, overload: u64) -> bool {
        let fresh = std::mem::take(&mut self.fresh);
        // Their requests are read in the next iteration, which does not sleep.
        overload != 0 && self.asked_in != overload && !fds::any_readable(&fresh)
    }
}
