//! From the worker's start to its end, as far as the primary is to know: that it is ready, and how it leaves.

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

    /// A server of its takes connections.
    pub fn serves(&self) -> io::Result<()> {
        if self.by == Ready::Listen { self.ready() } else { Ok(()) }
    }

    pub fn is_ready(&self) -> bool {
        self.is_ready.get()
    }

    /// What the program wrote is for the error of a start that fails. True as long as anybody listens.
    pub fn wrote(&self, text: &str) -> bool {
        if self.is_ready() {
            return false;
        }
        // A primary that is gone logs nothing.
        let _ = self.control.send(&ToPrimary::Wrote { text: tail(text, MAX_OUTPUT).to_owned() });
        true
    }

    /// It is to leave.
    pub fn keep(&self, drain: Drain) {
        self.drain.set(Some(drain));
    }

    /// How it is to leave, once it is told.
    pub fn drain(&self) -> Option<Drain> {
        self.drain.get()
    }

    /// It is about to drain by itself.
    pub fn leaving(&self, signalled: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Leaving { signalled })
    }

    /// What keeps the event loop from being empty; the process exits all the same.
    pub fn lingered(&self, left: BTreeMap<String, u32>, waited_ms: Option<u64>) -> io::Result<()> {
        self.control.send(&ToPrimary::Lingered { left, waited_ms })
    }
}
