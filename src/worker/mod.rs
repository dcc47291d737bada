//! The worker: its listeners, channels and messages. Everything runs on the runtime's own event loop, so that a
//! connection that was read proves that the loop runs. It makes no decisions about other workers.
//!
//! Each part owns its state and knows nothing about the others, except for the two that several parts use: the control
//! channel and the fd pressure. `parts` composes them. A part uses only those above it in this table, which is also the
//! reading order:
//!
//! | module | |
//! | --- | --- |
//! | `notice` | notifications for JavaScript |
//! | `control_channel` | messages to the primary, requests with a reply, messages of the primary and of other workers |
//! | `fd_pressure` | how many file descriptors are left |
//! | `connection_channel` | connections that the primary sends, and handoffs to other workers |
//! | `virtual_listener` | where a runtime that accepts by itself gets its connections |
//! | `http_wire`, `runtime_connections` | the connections of such a runtime, and which of them may move to another worker |
//! | `moves` | how many of them have to move |
//! | `connection_limits` | how many of them a server takes that has a limit |
//! | `listener_share`, `listener_shares` | a server's part of a listener group; all shares, and accepting |
//! | `fd_batch` | the buffer that passes connections to JavaScript |
//! | `datagrams` | datagram sockets shared with other workers |
//! | `messages` | messages of the program |
//! | `lifecycle` | readiness and drain |
//! | `checks` | health checks and their results |
//! | `commands` | commands of the program to the cluster |
//! | `events` | the cluster's events for the program |
//! | `diagnostics` | heap snapshots, profiles and stacks |
//! | `reports` | errors, slow requests and hints for the operator |
//! | `requests` | counts and times those of a runtime that accepts by itself |
//! | `admission` | which requests have waited too long, and when the worker asks for connections |
//! | `loop_lag`, `collections` | event-loop metrics; garbage collections |
//! | `streams` | the worker's output without a primary |
//! | `attachment` | what the process inherits |
//! | `parts` | the worker: its parts, and the calls between them |
//! | `single_process` | a process without a primary |

mod admission;
mod attachment;
mod checks;
pub mod collections;
mod commands;
mod connection_channel;
mod connection_limits;
mod control_channel;
mod datagrams;
mod diagnostics;
mod events;
mod fd_batch;
mod fd_pressure;
mod fleet;
mod http_wire;
mod lifecycle;
mod listener_share;
mod listener_shares;
mod loop_lag;
mod messages;
mod moves;
mod notice;
mod parts;
mod reports;
mod requests;
mod runtime_connections;
mod shared_cache;
mod single_process;
mod streams;
mod virtual_listener;

pub use admission::Verdict;
pub use attachment::Attachment;
pub use http_wire::{Event, HttpWire};
pub use notice::Notice;
pub use parts::{Calls, Worker};
pub use single_process::SingleProcess;
