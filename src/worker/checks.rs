//! Health checks of this worker: the primary's requests and the results.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use serde_json::Value;

use super::control_channel::ControlChannel;
use crate::event::head;
use crate::ipc::control::{MAX_FAILURE, MAX_METRICS, Protocol, ToPrimary};

/// A check, with the probe of the first HTTP server: its protocol and its connection.
#[derive(Debug)]
pub struct Check {
    pub number: u32,
    pub probe: Option<(Protocol, OwnedFd)>,
}

/// A writer that fails when more than this many bytes are written.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub struct Checks {
    control: Rc<ControlChannel>,
    /// Checks that have not begun.
    waiting: RefCell<VecDeque<Check>>,
}

impl Checks {
    pub fn new(control: Rc<ControlChannel>) -> Self {
        Self { control, waiting: RefCell::default() }
    }

    pub fn keep(&self, check: Check) {
        self.waiting.borrow_mut().push_back(check);
    }

    /// The next check to begin.
    pub fn next(&self) -> Option<Check> {
        self.waiting.borrow_mut().pop_front()
    }

    /// Reports the result of a check; `failure`: the reason if it failed. Metrics that are too long are dropped, which
    /// is logged.
    pub fn done(&self, number: u32, failure: Option<String>, metrics: Option<Value>) -> io::Result<()> {
        let failure = failure.map(|text| head(&text, MAX_FAILURE).to_owned());
        let has_metrics = metrics.is_some();
        let metrics = metrics.filter(|metrics| serde_json::to_writer(Room(MAX_METRICS), metrics).is_ok());
        if has_metrics && metrics.is_none() {
            let text = format!(
                "customCheck returns more metrics than {MAX_METRICS} bytes of JSON: they are dropped"
            );
            self.control.send(&ToPrimary::Hint { text, warns: true })?;
        }
        self.control.send(&ToPrimary::Checked { number, failure, metrics })
    }

    /// Reports the protocol of the first HTTP server; None: there is none.
    pub fn speaks(&self, protocol: Option<Protocol>) -> io::Result<()> {
        self.control.send(&ToPrimary::Speaks { protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_room_to_the_last_byte() {
        let fits = |room, value: &Value| serde_json::to_writer(Room(room), value).is_ok();
        let metrics = serde_json::json!({ "depth": [7, "seven"] });
        let length = metrics.to_string().len();
        assert!(fits(length, &metrics));
        assert!(!fits(length - 1, &metrics));
    }
}
