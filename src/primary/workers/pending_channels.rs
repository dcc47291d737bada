//! The primary's ends of the workers' program channels, from their creation until the program's thread takes them over.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ipc::crypto::Pair;
use crate::model::WorkerId;

/// One end, and its keys if the channel is encrypted.
pub struct PendingChannel {
    pub socket: OwnedFd,
    pub keys: Option<Pair>,
}

#[derive(Clone, Default)]
pub struct PendingChannels(Arc<Mutex<HashMap<WorkerId, PendingChannel>>>);

impl PendingChannels {
    pub fn add(&self, worker: WorkerId, pending_channel: PendingChannel) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, pending_channel);
    }

    /// None if the worker has ended or the channel was taken already.
    pub fn take(&self, worker: WorkerId) -> Option<PendingChannel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&worker)
    }
}
