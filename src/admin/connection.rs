//! What a request's connection is to the API.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a question came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Port,
    /// The control socket, which is this user's alone.
    Socket,
}

/// Of a connection: its answer lasts as long as its client wants.
#[derive(Clone, Default)]
pub struct Lasting(Arc<AtomicBool>);

impl Lasting {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns when a connection that does not last has lived long enough.
    pub async fn over(&self, longest: Duration) {
        loop {
            tokio::time::sleep(longest).await;
            if !self.0.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
