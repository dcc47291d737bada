//! The connection of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Port,
    /// The control socket, which only this user can open.
    Socket,
}

/// Marks a connection whose response is a stream, which lasts as long as its client wants.
#[derive(Clone, Default)]
pub struct Lasting(Arc<AtomicBool>);

impl Lasting {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns when a connection without a stream has reached its maximum age.
    pub async fn over(&self, longest: Duration) {
        loop {
            tokio::time::sleep(longest).await;
            if !self.0.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
