//! The fleet in a worker: a channel to its thread in the primary.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::control_channel::ControlChannel;
use crate::fleet::client::{Client, Report};
use crate::ipc::control::Service;
use crate::ipc::crypto::Pair;
use crate::ipc::message_channel::Ends;
use crate::sys::uv::Loop;

pub struct Fleet {
    uv: Loop,
    control: Rc<ControlChannel>,
    keys: Option<Pair>,
    /// Maximum bytes of a frame.
    most: usize,
    client: RefCell<Option<Rc<Client>>>,
}

impl Fleet {
    pub fn new(uv: Loop, control: Rc<ControlChannel>, keys: Option<Pair>, most: usize) -> Self {
        Self { uv, control, keys, most, client: RefCell::default() }
    }

    /// Opens the channel, once; blocks until the primary has answered.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub fn open(&self, report: Report) -> io::Result<Rc<Client>> {
        let socket = self.control.open(Service::Fleet)?;
        let keys = self.keys.as_ref().map(|keys| Ends { sends: &keys.to_primary, receives: &keys.to_worker });
        let client = Client::start(self.uv, socket, keys, self.most, report)?;
        *self.client.borrow_mut() = Some(client.clone());
        Ok(client)
    }

    /// Writes what is queued, and closes the handles on the loop.
    pub fn close(&self) {
        if let Some(client) = self.client.take() {
            client.close();
        }
    }
}
