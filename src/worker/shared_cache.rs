//! The shared cache in a worker: a channel to its writer is asked for when the program uses the cache for the first time.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::control_channel::ControlChannel;
use crate::cache::client::{Client, Incoming, Opened};
use crate::ipc::control::Service;
use crate::ipc::crypto::Pair;
use crate::ipc::message_channel::Ends;
use crate::sys::uv::Loop;

pub struct SharedCache {
    uv: Loop,
    control: Rc<ControlChannel>,
    keys: Option<Pair>,
    client: RefCell<Option<Rc<Client>>>,
}

impl SharedCache {
    pub fn new(uv: Loop, control: Rc<ControlChannel>, keys: Option<Pair>) -> Self {
        Self { uv, control, keys, client: RefCell::default() }
    }

    /// Opens the cache, once; blocks until the primary and the writer have answered.
    ///
    /// # Errors
    /// They refuse it, or do not answer.
    pub fn open(&self, report: Box<dyn Fn(Incoming<'_>)>) -> io::Result<Rc<Client>> {
        let socket = self.control.open(Service::Cache)?;
        let keys = self.keys.as_ref().map(|keys| Ends { sends: &keys.to_primary, receives: &keys.to_worker });
        let client = Client::start(self.uv, Opened::new(socket, keys.as_ref())?, report)?;
        *self.client.borrow_mut() = Some(client.clone());
        Ok(client)
    }

    /// Writes what is queued, and closes the handles on the loop.
    pub fn close(&self) {
        if let Some(client) = self.client.take() {
            client.flush();
            client.close();
        }
    }
}
