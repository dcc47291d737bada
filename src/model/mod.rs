//! What a cluster is made of, as data: every room above speaks of workers in these terms. No decision is made here.

mod worker;

pub use worker::WorkerId;
