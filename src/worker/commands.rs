//! Commands of the program to the cluster, and their results.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use serde_json::Value;

use super::control_channel::ControlChannel;
use crate::ipc::control::ToPrimary;
use crate::model::Command;

pub struct Commands {
    control: Rc<ControlChannel>,
    /// By the command's number.
    results: RefCell<HashMap<u32, Value>>,
}

impl Commands {
    pub fn new(control: Rc<ControlChannel>) -> Self {
        Self { control, results: RefCell::default() }
    }

    /// Sends a command to the cluster; its result follows.
    pub fn send(&self, id: u32, command: Command) -> io::Result<()> {
        self.control.send(&ToPrimary::Command { id, command })
    }

    pub fn keep(&self, id: u32, outcome: Value) {
        self.results.borrow_mut().insert(id, outcome);
    }

    /// Takes the result of a command: `{ ok }` or `{ error }`.
    pub fn result_of(&self, id: u32) -> Option<Value> {
        self.results.borrow_mut().remove(&id)
    }
}
