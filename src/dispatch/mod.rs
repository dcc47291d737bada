//! The connection's way: listener groups, the accept thread, sending accepted connections to workers and
//! taking them back. One thread owns all of it; others send it `Command`s and read its `Report`s. It decides
//! nothing about workers' lives (`supervisor`) and nothing about who is best (`balance`): it carries out.
//!
//! Reading order: `command` (what goes in and out), `group` (one address), `crew` (a worker), `window` (what its servers take), `roster` (all of them), `sharing` (whose servers share an address), `accept`
//! (the thread), `obey` (its commands), `listeners` (what wakes it), `place`, `steer`, then `watch`, `warm` and
//! `rescue`, `handback`, `even`, `peek`, `refuse`, `closing` (the end of an address) with `handshakes`. `datagrams` are
//! sockets without connections. `succession` (what a replacement must serve), `siblings` and `outage` look at who
//! serves which address.

mod accept;
mod affinity;
mod allowance;
mod bind;
mod closing;
mod command;
mod crew;
mod datagrams;
mod even;
mod group;
mod handback;
mod handle;
mod handshakes;
mod listeners;
mod obey;
mod outage;
mod peek;
mod place;
mod refuse;
mod requests;
mod rescue;
mod roster;
mod sharing;
mod siblings;
mod steer;
mod succession;
mod token;
mod warm;
mod watch;
mod window;

pub use affinity::{cookie_slot, cookie_value};
pub use command::{
    Affinity, Command, DispatchMode, Fallback, Holder, ListenFailure, Listening, Report, Settings,
};
pub use handle::Dispatcher;
// Bytes from outside: for the fuzz targets alone.
#[doc(hidden)]
pub use requests::{
    FirstBytes, client as forwarded_client, cookie as request_cookie, read as read_first_bytes,
};
