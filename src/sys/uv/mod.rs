//! libuv handles on the runtime's own event loop, so that work taken by the loop proves that the worker is alive. The
//! functions are looked up at run time. Handles are closed by `Drop`; libuv frees their memory in a later iteration of
//! the loop. Nothing here is Send: a handle is used on its loop's thread.
//!
//! Bun implements a part of libuv: it has no poll handles, so a thread watches the descriptors, and it does not count the
//! loop's idle time, so that is measured.
//! - `handle`: the functions, the loop, and the common part of all handles.
//! - `poll`: watches descriptors, with `native_poll` or with `watched_poll` and the thread of `watcher`.
//! - `ticks`: callbacks once per iteration, and timers.
//! - `idle_time`: how long the loop has waited for events.

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
