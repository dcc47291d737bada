//! The rules of the connection's way (docs/ARCHITECTURE.md), held against the accept thread itself: real
//! sockets on loopback, with workers that are threads of this process. A file a rule.

mod addresses;
mod closed;
mod closing;
mod datagrams;
mod death;
mod descriptors;
mod excluded;
mod fd_pressure;
mod handoffs;
mod harness;
mod limits;
mod peeked;
mod port;
mod program;
mod promote;
mod refusal;
mod strategy;
mod succession;
mod switch;
mod unresponsive;
