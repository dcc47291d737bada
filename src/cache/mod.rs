//! The shared cache: one writer in the primary, readers in all processes. `layout` documents the memory; the decisions
//! (`blocks`, `eviction`, `deadlines`, `tags`, `pattern`, `flights`) know nothing of processes; `store` composes them
//! over a `space`, or two while entries are `moving`; `writer` performs the clients' requests (`request`); `service` is its
//! thread, and `client` the other end of its channels.

pub mod blocks;
pub mod client;
pub mod counters;
pub mod deadlines;
pub mod eviction;
pub mod flights;
pub mod image;
pub mod layout;
pub mod memory;
pub mod moving;
pub mod pattern;
pub mod request;
pub mod service;
pub mod space;
pub mod statistics;
pub mod store;
pub mod tags;
pub mod writer;
