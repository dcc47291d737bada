//! A worker's side: attach to the primary, open doors, take connections, obey. Everything runs on the
//! runtime's own loop, so that a connection taken means a loop alive. It decides nothing about other workers.
//!
//! `attach` finds the primary, `link` speaks with it, `doors` are the servers' listeners, `datagrams` shared sockets without connections, `headroom` watches
//! the descriptors, `hands` gives connections to JavaScript, `desk` messages, `news` the cluster's events and orders, `pace` and `collections` measure; `streams`
//! is its output without a primary. `alone` is a process that has no primary at all.

mod alone;
mod attach;
mod checks;
mod collections;
mod datagrams;
mod desk;
mod diagnostics;
mod door;
mod doors;
mod hands;
mod headroom;
mod link;
mod news;
mod pace;
mod requests;
mod streams;

pub use alone::Alone;
pub use attach::{Attachment, Worker};
pub use link::{Check, Notice};

use crate::ipc::frame::Frame;

/// What the worker calls into JavaScript with, on the loop's thread.
pub struct Calls {
    /// (group, count): so many descriptors lie in the shared buffer.
    pub connections: Box<dyn Fn(u32, u32)>,
    /// A notice of the primary's, and its number.
    pub notice: Box<dyn Fn(Notice, u32)>,
    /// Messages for the program.
    pub messages: Deliver,
}

/// Gives messages to the program.
pub type Deliver = Box<dyn Fn(&[Frame])>;
