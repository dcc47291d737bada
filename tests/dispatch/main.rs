//! Tests of the dispatch rules (docs/ARCHITECTURE.md) with the real accept thread: sockets on loopback and workers that
//! are threads of this process. One file per rule.

mod addresses;
mod admission;
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
