//! drover's core: it spawns, dispatches, supervises and observes the workers of a Node.js or Bun server. This file is
//! the map of the crate and has no logic; see `docs/ARCHITECTURE.md`.
//!
//! | module | content |
//! | --- | --- |
//! | `bindings` | the Node-API surface: convert, call, convert |
//! | `primary` | the loop that owns a cluster's state; routes inputs, carries out effects |
//! | `worker` | the worker, on its runtime's own event loop |
//! | `admin` | the monitoring API and the dashboard: HTTP only |
//! | `fleet` | the primaries of several machines, joined by Redis |
//! | `webhook` | notifications to a URL |
//! | `observe` | stored events, errors and history |
//! | `dispatch` | listener groups, the accept thread, placement, handoff and take-back of connections |
//! | `process` | spawning, reaping, and the machine's resources |
//! | `log` | the log's only writer; reading and formatting lines |
//! | `health` | health checks and their evaluation; ejection; the probe |
//! | `metrics` | metrics in shared memory; programs' own metrics |
//! | `ipc` | frames, control messages, messages of programs, descriptors over sockets |
//! | `supervisor` | PURE: which workers should exist, and what to do next |
//! | `balance` | PURE: strategies, the push/direct decision, steering programs as data |
//! | `limits`, `memory` | PURE: the limits of a worker's life; the memory of all workers and its growth |
//! | `scaling` | PURE: how many workers the load needs |
//! | `error_groups` | PURE: errors by kind, and throttling of notifications |
//! | `sys` | system calls and the runtime's C functions: hand-written `unsafe` |
//! | `config` | options: read, validated, with defaults and units |
//! | `event` | every observable fact as data |
//! | `model` | workers, their health and metrics, commands: the shared types |
//! | `error`, `component` | the list of error codes; the components of the log |
//!
//! The dependency rules are in `docs/ARCHITECTURE.md`; `tests/architecture.rs` checks them.

pub mod admin;
pub mod balance;
#[cfg(feature = "node-api")]
mod bindings;
pub mod cache;
pub mod component;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod error_groups;
pub mod event;
pub mod fleet;
pub mod health;
pub mod ipc;
pub mod limits;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod primary;
pub mod process;
pub mod scaling;
pub mod supervisor;
pub mod sys;
pub mod webhook;
pub mod worker;
