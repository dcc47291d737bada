//! The connection's way: listener groups, the accept thread, sending accepted connections to workers and
//! taking them back. One thread owns all of it; others send it `Command`s and read its `Report`s. It decides
//! nothing about workers' lives (`supervisor`) and nothing about who is best (`balance`): it carries out.
//!
//! Reading order: `command` (what goes in and out), `group` (one address), `workers` (a worker), `window` (what its servers take), `worker_table` (all of them), `sharing` (whose servers share an address), `accept`
//! (the thread), `take_commands` (its commands), `listeners` (what wakes it), `place`, `steer`, then `watch`, `warm` and
//! `take_back`, `handback`, `even`, `peek`, `refuse`, `closing` (the end of an address) with `handshakes`. `datagrams` are
//! sockets without connections. `succession` (what a replacement must serve), `siblings` and `outage` look at who
//! serves which address.

mod accept_loop;
mod affinity;
mod bind;
mod closing;
mod command;
mod commands;
mod connection_limit;
mod datagrams;
mod fd_budget;
mod first_bytes;
mod group;
mod handle;
mod handoff;
mod handshakes;
mod heartbeat;
mod listeners;
mod outage;
mod placement;
mod rebalance;
mod refusal;
mod request_head;
mod sharing;
mod siblings;
mod steering;
mod succession;
mod take_back;
mod token;
mod warm_up;
mod worker_channel;
mod worker_table;

pub use affinity::{cookie_slot, cookie_value};
pub use command::{
    Affinity, Command, DispatchMode, Fallback, Holder, ListenFailure, Listening, Report, Settings,
};
pub use handle::Dispatcher;
// Bytes from outside: for the fuzz targets alone.
#[doc(hidden)]
pub use request_head::{
    RequestHead, client as forwarded_client, cookie as request_cookie, read as read_first_bytes,
};
