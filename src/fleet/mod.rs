//! A fleet: the primaries of several machines, joined by Redis. The decisions (`members`, `lease`, `backlog`, `gathering`,
//! `pause`) know nothing of Redis; `seal`, `parts` and `request` are the forms of what is sent. `hub` has the state, `link` the
//! connection, `scripts` what Redis runs, `values` what is kept in it; `service` is the thread, and `client` the other end of its channels.

pub mod backlog;
pub mod client;
pub mod gathering;
pub mod hub;
pub mod lease;
pub mod link;
pub mod members;
pub mod parts;
pub mod pause;
pub mod request;
pub mod scripts;
pub mod seal;
pub mod service;
pub mod settings;
pub mod values;
