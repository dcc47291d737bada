//! Whether this worker is well: what it is asked, and what it answers.

use std::io;

use serde_json::Value;

use super::attach::Worker;
use super::control::Check;
use crate::event::head;
use crate::ipc::control::{MAX_FAILURE, MAX_METRICS, Protocol, ToPrimary};

impl Worker {
    /// The next check that `Notice::Check` told of.
    pub fn check(&self) -> Option<Check> {
        self.control.check()
    }

    /// The check of this number is done; `failure`: it failed, and how. Metrics that are too long are left out, which is
    /// said.
    pub fn checked(&self, number: u32, failure: Option<String>, metrics: Option<Value>) -> io::Result<()> {
        let failure = failure.map(|text| head(&text, MAX_FAILURE).to_owned());
        let has_metrics = metrics.is_some();
        let metrics = metrics.filter(|metrics| metrics.to_string().len() <= MAX_METRICS);
        if has_metrics && metrics.is_none() {
            let text =
                format!("customCheck gives more metrics than {MAX_METRICS} bytes of JSON: they are not kept");
            self.hint(text, true)?;
        }
        self.control.send(&ToPrimary::Checked { number, failure, metrics }).map(|_| ())
    }

    /// What the first HTTP server speaks from now on; None: there is none any more.
    pub fn speaks(&self, protocol: Option<Protocol>) -> io::Result<()> {
        self.control.send(&ToPrimary::Speaks { protocol }).map(|_| ())
    }
}
