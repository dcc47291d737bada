//! A worker's side: attach to the primary, open doors, take connections, obey. Everything runs on the
//! runtime's own loop, so that a connection taken means a loop alive. It decides nothing about other workers.
//!
//! `attach` finds the primary, `control` speaks with it, `listener_shares` are the servers' listeners, `datagrams` shared sockets without connections, `fd_headroom` watches
//! the descriptors, `fd_batch` gives connections to JavaScript, `endpoint` messages, `news` the cluster's events and orders, `loop_lag` and `collections` measure; `streams`
//! is its output without a primary. `alone` is a process that has no primary at all.

mod attach;
mod checks;
mod collections;
mod control;
mod datagrams;
mod diagnostics;
mod fd_batch;
mod fd_pressure;
mod listener_share;
mod listener_shares;
mod loop_lag;
mod messages;
mod notices;
mod single_process;
mod slow_requests;
mod streams;

pub use attach::{Attachment, Worker};
pub use control::{Check, Notice};
pub use single_process::SingleProcess;

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
