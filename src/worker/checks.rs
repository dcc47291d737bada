//! Whether this worker is well: what it is asked, and what it answers.

use std::io;

use serde_json::Value;

use super::attach::Worker;
use super::link::Check;
use crate::ipc::control::{Protocol, ToPrimary};

impl Worker {
    /// The next check that `Notice::Check` told of.
    pub fn check(&self) -> Option<Check> {
        self.link.check()
    }

    /// The check of this number is done; `failure`: it failed, and how.
    pub fn checked(&self, number: u32, failure: Option<String>, metrics: Option<Value>) -> io::Result<()> {
        self.link.send(&ToPrimary::Checked { number, failure, metrics }).map(|_| ())
    }

    /// What the first HTTP server speaks from now on; None: there is none any more.
    pub fn speaks(&self, protocol: Option<Protocol>) -> io::Result<()> {
        self.link.send(&ToPrimary::Speaks { protocol }).map(|_| ())
    }
}
