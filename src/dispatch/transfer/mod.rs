//! Connections on a worker's connection channel: sending, taking back unread ones, and receiving handoffs. Descriptors
//! go in and come out; their placement is decided elsewhere.

mod handoff;
mod send;
mod take_back;

pub use handoff::{Handoffs, receive_handoffs};
pub use send::send;
pub use take_back::{Taken, read_back};
