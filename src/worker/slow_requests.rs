//! What a worker tells of single requests.

use std::io;

use super::Worker;
use crate::ipc::control::{SlowRequest, ToPrimary};

impl Worker {
    /// A request took longer than the operator wants to wait without a word.
    pub fn slow(&self, slow: SlowRequest) -> io::Result<()> {
        self.control.send(&ToPrimary::Slow(slow)).map(|_| ())
    }
}
