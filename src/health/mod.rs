//! Health of workers. PURE: `verdict` decides by passed and failed checks, `ejection` by a worker's responses compared
//! with those of others. `probe` sends a request to a worker's HTTP server over a separate connection.

pub mod ejection;
pub mod probe;
pub mod verdict;
