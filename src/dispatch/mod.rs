//! The path of a connection: listener groups, the accept thread, sending accepted connections to workers and taking
//! them back. One thread owns all of it; others send it `Command`s and read its `Report`s. It makes no decisions about
//! the lifecycle of workers (`supervisor`) or about the best worker (`balance`).
//!
//! Each part owns its state and returns the actions it wants, which `router` passes to other parts. A part uses only
//! those above it in this table, which is also the reading order:
//!
//! | module | |
//! | --- | --- |
//! | `settings`, `command` | the configuration; commands and reports |
//! | `address`, `connection`, `fd_budget`, `poller` | a socket's address; a connection that drover owns; the fd budget; the epoll set |
//! | `queue`, `admission` | connections that wait for a worker; those that wait or are refused while all workers are saturated |
//! | `placement` | PURE: which worker gets a connection, warm-up, rebalancing |
//! | `transfer` | sending, taking back and handing off connections on a worker's channel |
//! | `workers` | the workers and their channels |
//! | `listeners` | addresses: opening, sharing, accepting, the steering program, closing |
//! | `first_bytes`, `refusal`, `datagrams` | connections whose first bytes are peeked at; refused connections; datagram sockets |
//! | `services` | PURE: which worker serves which address |
//! | `router` | the calls between the parts |
//! | `accept_loop`, `handle` | the thread, and its handle |

mod accept_loop;
mod address;
mod admission;
mod command;
mod connection;
mod datagrams;
mod fd_budget;
mod first_bytes;
mod handle;
mod listeners;
mod placement;
mod poller;
mod queue;
mod refusal;
mod router;
mod services;
mod settings;
mod transfer;
mod workers;

pub use command::{Command, Holder, ListenFailure, Listening, Report};
pub use first_bytes::{cookie_slot, cookie_value};
pub use handle::Dispatcher;
pub use settings::{Admission, Affinity, DispatchMode, Fallback, Settings};
// Parsers of untrusted bytes, for the fuzz targets only.
#[doc(hidden)]
pub use first_bytes::{
    RequestHead, client as forwarded_client, cookie as request_cookie, read as read_first_bytes,
};
