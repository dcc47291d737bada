//! Connections on a worker's connection channel: what is sent, what is read back because the worker never read it, and
//! what the worker hands over. Descriptors go in and come out; who gets them is decided elsewhere.

mod handoff;
mod send;
mod take_back;

pub use handoff::receive_handoffs;
pub use send::send;
pub use take_back::{Taken, read_back};
