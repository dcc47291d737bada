//! Memory of the workers together and over time. PURE.
//!
//! - `budget`: the memory that all workers may use, and which worker makes room near its end;
//! - `leak`: whether a worker's memory grows for good;
//! - `manager`: the decisions of the MemoryManager;
//! - `recommend`: recommendations in words, and how many workers memory allows;
//! - `words`: amounts of memory and times, for people.

pub mod budget;
pub mod leak;
pub mod manager;
pub mod recommend;
pub mod words;
