//! Reports of a worker about itself and its program, without a reply.

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

    /// A hint for the operator; `warns`: log it as a warning.
    pub fn hint(&self, text: String, warns: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Hint { text, warns })
    }

    /// An uncaught error; the process ends by itself. `reported`: the log has its report.
    pub fn failed(&self, error: WorkerError, reported: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Failed { error: error.bounded(), reported })
    }

    /// A rejection that does not end the process.
    pub fn rejected(&self, error: WorkerError, suppressed: u64) -> io::Result<()> {
        self.control.send(&ToPrimary::Rejected { error: error.bounded(), suppressed })
    }

    /// A request took longer than `logging.slowRequests`.
    pub fn slow(&self, slow: SlowRequest) -> io::Result<()> {
        self.control.send(&ToPrimary::Slow(slow))
    }

    /// This worker has resigned as leader.
    pub fn resigned(&self) -> io::Result<()> {
        self.control.send(&ToPrimary::Resigned)
    }
}
