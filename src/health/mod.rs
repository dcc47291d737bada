//! Is a worker well? PURE: `verdict` judges by the checks that a worker passes or fails, `ejection` by what it answers
//! compared with its siblings. `probe` asks a worker's HTTP server over a connection of its own.

pub mod ejection;
pub mod probe;
pub mod verdict;
