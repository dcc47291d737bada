//! drover's core: it spawns, dispatches, supervises and observes the workers of a Node.js or Bun server.
//! This file is the map of the crate and holds no logic; `docs/ARCHITECTURE.md` tells the story.
//!
//! | room | what lives there |
//! | --- | --- |
//! | `bindings` | the Node-API surface: convert, call, convert |
//! | `primary` | the loop that owns a cluster's state; routes inputs, carries out effects |
//! | `worker` | a worker's side, on its runtime's own event loop |
//! | `admin` | the monitoring API and the dashboard: HTTP alone |
//! | `webhook` | notifications to a URL |
//! | `observe` | events, errors and history, kept for those who ask later |
//! | `dispatch` | listener groups, the accept thread, placement, handoff and take-back of connections |
//! | `process` | spawning, reaping, and what the machine gives and uses |
//! | `log` | the log's one writer, and how lines are read and written |
//! | `health` | when a worker is checked and what the answers mean; ejection; the probe |
//! | `metrics` | numbers in memory that every process maps; programs' own metrics |
//! | `ipc` | frames, control messages, messages of programs, descriptors over sockets |
//! | `supervisor` | PURE: which workers should exist, and what to do next |
//! | `balance` | PURE: strategies, the push/direct decision, the kernel's programs as data |
//! | `error_groups` | PURE: errors by kind, and how often who is notified |
//! | `sys` | system calls and the runtime's C functions: hand-written `unsafe` |
//! | `config` | options: read, validated, with defaults and units |
//! | `event` | every observable fact as data |
//! | `model` | workers, their health and numbers, commands: what every room speaks of |
//! | `error`, `component` | the list of error codes; the parts that speak in the log |
//!
//! Who may use whom stands in `docs/ARCHITECTURE.md`; `tests/architecture.rs` holds the code to it.

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
