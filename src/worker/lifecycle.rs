//! The worker's state as reported to the primary, from its start to its end: readiness and drain.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::control_channel::ControlChannel;
use crate::config::sections::process::Ready;
use crate::event::{MAX_OUTPUT, tail};
use crate::ipc::control::{Drain, ToPrimary};

pub struct Lifecycle {
    control: Rc<ControlChannel>,
    /// What makes it ready.
    by: Ready,
    is_ready: Cell<bool>,
    drain: Cell<Option<Drain>>,
}

impl Lifecycle {
    pub fn new(control: Rc<ControlChannel>, by: Ready) -> Self {
        Self { control, by, is_ready: Cell::new(false), drain: Cell::default() }
    }

    pub fn ready(&self) -> io::Result<()> {
        self.is_ready.set(true);
        self.control.send(&ToPrimary::Ready)
    }

    /// A server of this worker takes connections.
    pub fn serves(&self) -> io::Result<()> {
        if self.by == Ready::Listen { self.ready() } else { Ok(()) }
    }

    pub fn is_ready(&self) -> bool {
        self.is_ready.get()
    }

    /// Sends output of the program, for the error of a failed start. False once the worker is ready.
    pub fn wrote(&self, text: &str) -> bool {
        if self.is_ready() {
            return false;
        }
        // If the primary has ended, the output is not needed.
        let _ = self.control.send(&ToPrimary::Wrote { text: tail(text, MAX_OUTPUT).to_owned() });
        true
    }

    /// Stores the primary's drain command.
    pub fn keep(&self, drain: Drain) {
        self.drain.set(Some(drain));
    }

    /// The drain command, once received.
    pub fn drain(&self) -> Option<Drain> {
        self.drain.get()
    }

    /// Reports that the worker drains on its own initiative.
    pub fn leaving(&self, signalled: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Leaving { signalled })
    }

    /// Reports what keeps the event loop from being empty when the process exits.
    pub fn lingered(&self, left: BTreeMap<String, u32>, waited_ms: Option<u64>) -> io::Result<()> {
        self.control.send(&ToPrimary::Lingered { left, waited_ms })
    }
}
