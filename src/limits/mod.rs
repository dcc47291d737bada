//! The limits of a worker: memory, CPU, requests, age and connections; what happens at each, and which worker is replaced
//! next. PURE: samples and the time go in, breaches come out.
//!
//! `policy` has the limits; `breach` describes a limit that was reached and what is done about it; `watch` follows the
//! workers. At most one worker at a time is replaced because of a limit; a worker over a hard limit is killed at once.

mod breach;
mod policy;
mod repeats;
mod watch;

pub use breach::{Breach, megabytes};
pub use policy::{CpuLimit, MemoryLimit, Policy};
pub use watch::{Sample, Watch};
