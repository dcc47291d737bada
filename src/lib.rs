//! drover's core: it spawns, dispatches, supervises and observes the workers of a Node.js or Bun server.
//! This file is the map of the crate and holds no logic; `docs/ARCHITECTURE.md` tells the story.
//!
//! ```text
//! bindings                               the only code that names Node-API
//! primary   worker                       composition: one loop each
//! dispatch  process  ipc::channel  metrics::memory  log
//! sys                                    the only unsafe
//! supervisor  balance  ipc::{frame, control}  metrics::layout        PURE
//! config  event  error  component
//! ```
//! A line uses only the lines below it; `tests/architecture.rs` holds the code to that.

pub mod admin;
pub mod balance;
#[cfg(feature = "node-api")]
mod bindings;
pub mod component;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod error_groups;
pub mod event;
pub mod health;
pub mod ipc;
pub mod log;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod primary;
pub mod process;
pub mod supervisor;
pub mod sys;
pub mod webhook;
pub mod worker;
