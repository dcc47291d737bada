//! What a worker tells of itself and its program, without an answer.

use std::io;
use std::rc::Rc;

use super::control_channel::ControlChannel;
use crate::ipc::control::{SlowRequest, ToPrimary, WorkerError};

pub struct Reports {
    control: Rc<ControlChannel>,
}

impl Reports {
    pub fn new(control: Rc<ControlChannel>) -> Self {
        Self { control }
    }

    /// Something the operator should know; `warns`: something is not as it should be.
    pub fn hint(&self, text: String, warns: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Hint { text, warns })
    }

    /// An uncaught error; the process ends by itself. `reported`: the log has its report.
    pub fn failed(&self, error: WorkerError, reported: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Failed { error: error.bounded(), reported })
    }

    /// A rejection that ends nothing.
    pub fn rejected(&self, error: WorkerError, suppressed: u64) -> io::Result<()> {
        self.control.send(&ToPrimary::Rejected { error: error.bounded(), suppressed })
    }

    /// A request took longer than the operator wants to wait without a word.
    pub fn slow(&self, slow: SlowRequest) -> io::Result<()> {
        self.control.send(&ToPrimary::Slow(slow))
    }

    /// It leads no more.
    pub fn resigned(&self) -> io::Result<()> {
        self.control.send(&ToPrimary::Resigned)
    }
}
