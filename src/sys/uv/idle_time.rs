//! The idle time of an event loop: how long it has waited for events.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::handle::{Loop, RawLoop, symbols};
use super::ticks::{Check, Prepare};

pub struct IdleTime(Way);

enum Way {
    /// Counted by libuv, at the latest from the first reading on (in Node.js from the start).
    Counted { on: Loop, read: unsafe extern "C" fn(RawLoop) -> u64 },
    /// Measured: the time between the prepare and the check handle of an iteration.
    Measured { waited: Rc<Cell<u64>>, _handles: (Prepare, Check) },
}

impl IdleTime {
    /// # Errors
    /// The runtime has no libuv.
    pub fn start(on: Loop) -> io::Result<Self> {
        if let Some(read) = symbols()?.idle_time {
            return Ok(Self(Way::Counted { on, read }));
        }
        let waited = Rc::new(Cell::new(0));
        let asleep = Rc::new(Cell::new(None::<Instant>));
        let (since, total) = (asleep.clone(), waited.clone());
        let prepare = Prepare::start(on, move || asleep.set(Some(Instant::now())))?;
        let check = Check::start(on, move || {
            if let Some(since) = since.take() {
                total.set(total.get() + since.elapsed().as_nanos() as u64);
            }
        })?;
        Ok(Self(Way::Measured { waited, _handles: (prepare, check) }))
    }

    /// Nanoseconds.
    pub fn total(&self) -> u64 {
        match &self.0 {
            // SAFETY: the function takes the loop, which lives, per the contract of `Loop::new`.
            Way::Counted { on, read } => unsafe { read(on.raw()) },
            Way::Measured { waited, .. } => waited.get(),
        }
    }
}
