//! The way of a connection: listener groups, the accept thread, sending accepted connections to workers and
//! taking them back. One thread owns all of it; others send it `Command`s and read its `Report`s. It decides
//! nothing about workers' lives (`supervisor`) and nothing about who is best (`balance`): it carries out.
//!
//! Each part owns its state; what it wants done it returns, and `router` carries it to the next part. A part uses only
//! those that stand above it here, which is the reading order too:
//!
//! | module | |
//! | --- | --- |
//! | `settings`, `command` | what the configuration says; what goes in and what is told |
//! | `address`, `connection`, `fd_budget`, `poller` | a socket's address; a connection that drover owns; how many descriptors for what; what wakes the thread |
//! | `queue` | connections that wait for a worker |
//! | `placement` | PURE: which worker gets a connection, when one is warm, who has more than its share |
//! | `transfer` | sending, reading back and handing over connections on a worker's channel |
//! | `workers` | who is there, with their channels |
//! | `listeners` | addresses: opening, sharing, who accepts, the kernel's program, closing |
//! | `first_bytes`, `refusal`, `datagrams` | connections that are looked at first; those that are turned away; sockets without connections |
//! | `services` | PURE: who serves which address |
//! | `router` | the way between the parts |
//! | `accept_loop`, `handle` | the thread, and how others reach it |

mod accept_loop;
mod address;
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
pub use settings::{Affinity, DispatchMode, Fallback, Settings};
// Bytes from outside: for the fuzz targets alone.
#[doc(hidden)]
pub use first_bytes::{
    RequestHead, client as forwarded_client, cookie as request_cookie, read as read_first_bytes,
};
