//! libuv handles on the runtime's own event loop, so that work taken by the loop proves that the worker is alive. The
//! functions are looked up at run time. Handles are closed by `Drop`; libuv frees their memory in a later iteration of
//! the loop. Nothing here is Send: a handle is used on its loop's thread.
//!
//! Bun has a part of libuv: where it has no poll handle a thread watches the descriptors, and where it does not count the
//! loop's idle time that is measured.
//! - `handle`: the functions, the loop, what all handles share.
//! - `poll`: descriptors, by `native_poll` or by `watched_poll` with the thread of `watcher`.
//! - `ticks`: once an iteration, and after a time.
//! - `idle_time`: how long the loop has waited.

mod handle;
mod idle_time;
mod native_poll;
mod poll;
mod ticks;
mod watched_poll;
mod watcher;

pub use handle::Loop;
pub use idle_time::IdleTime;
pub use poll::Poll;
pub use ticks::{Prepare, Timer};
