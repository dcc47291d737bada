//! Diagnoses of this worker: what is asked for, and what became of it.

use std::io;

use super::attach::Worker;
use crate::ipc::control::{Diagnose, ToPrimary};

impl Worker {
    /// The next one that `Notice::Diagnose` told of.
    pub fn diagnosis(&self) -> Option<Diagnose> {
        self.control.diagnosis()
    }

    /// It has so many bytes, or `failure` says why there is none.
    pub fn diagnosed(&self, id: u32, bytes: u64, failure: Option<String>) -> io::Result<()> {
        self.control.send(&ToPrimary::Diagnosed { id, bytes, failure }).map(|_| ())
    }
}
