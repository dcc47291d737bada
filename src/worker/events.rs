//! The cluster's events, for a program that listens to them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use serde_json::Value;

use super::control_channel::ControlChannel;
use crate::ipc::control::ToPrimary;
use crate::metrics::memory::SharedMemory;
use crate::metrics::view;

pub struct Events {
    control: Rc<ControlChannel>,
    memory: SharedMemory,
    /// Events that the program has not read.
    waiting: RefCell<VecDeque<Value>>,
}

impl Events {
    pub fn new(control: Rc<ControlChannel>, memory: SharedMemory) -> Self {
        Self { control, memory, waiting: RefCell::default() }
    }

    /// Subscribes to events, or unsubscribes.
    pub fn follow(&self, follows: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Follow { follows })
    }

    pub fn keep(&self, event: Value) {
        self.waiting.borrow_mut().push_back(event);
    }

    /// The next event.
    pub fn next(&self) -> Option<Value> {
        let mut event = self.waiting.borrow_mut().pop_front()?;
        // The primary does not send the metrics, which every process can read and which may exceed a message.
        if event["event"]["type"] == "metrics:updated" {
            let now = event["timestamp"].as_u64().unwrap_or(0);
            event["event"]["metrics"] = serde_json::json!(view::metrics(&self.memory, now));
        }
        Some(event)
    }
}
