//! A worker's side: what it has of listeners and channels, and what it tells and hears. Everything runs on the runtime's own
//! loop, so that a connection taken means a loop alive. It decides nothing about other workers.
//!
//! Each part owns its state and knows nothing of the others, but for the two that several use: the control channel and
//! the descriptors' pressure. `parts` composes them. A part uses only those that stand above it here, which is the reading
//! order too:
//!
//! | module | |
//! | --- | --- |
//! | `notice` | what JavaScript is told |
//! | `control_channel` | messages to the primary, questions with an answer, messages of the primary's and of other workers |
//! | `fd_pressure` | how many descriptors are left |
//! | `connection_channel` | connections that the primary sends, and those that are given to other workers |
//! | `listener_share`, `listener_shares` | what a server has of a listener group; all of them, and accepting |
//! | `fd_batch` | the buffer through which connections reach JavaScript |
//! | `datagrams` | datagram sockets that are shared with other workers |
//! | `messages` | messages of the program |
//! | `lifecycle` | that it is ready, how it leaves |
//! | `checks` | health checks and their results |
//! | `commands` | what the program asks of the cluster |
//! | `events` | what the program hears of the cluster |
//! | `diagnostics` | heap snapshots, profiles and stacks |
//! | `reports` | errors, slow requests and hints for the operator |
//! | `loop_lag`, `collections` | how the event loop keeps up; garbage collections |
//! | `streams` | where its output goes without a primary |
//! | `attachment` | what the process inherits |
//! | `parts` | the worker: its parts, and the way between them |
//! | `single_process` | a process that has no primary at all |

mod attachment;
mod checks;
mod collections;
mod commands;
mod connection_channel;
mod control_channel;
mod datagrams;
mod diagnostics;
mod events;
mod fd_batch;
mod fd_pressure;
mod lifecycle;
mod listener_share;
mod listener_shares;
mod loop_lag;
mod messages;
mod notice;
mod parts;
mod reports;
mod single_process;
mod streams;

pub use attachment::Attachment;
pub use notice::Notice;
pub use parts::{Calls, Worker};
pub use single_process::SingleProcess;
