//! Memory of the workers together and over time. PURE.
//!
//! `budget`: the memory that all workers may use, and which worker makes room near its end.

pub mod budget;
