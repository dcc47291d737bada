//! How many workers the load needs. PURE: samples and the time go in, evaluations with their reasons come out.
//!
//! `Autoscaler` owns the state. Once a second it gets a [`Sample`], and each `evaluationInterval` it evaluates:
//! `window` has the load of the last 60 s and 6 s, `signals` compares it with the thresholds, `limits` says how far a
//! step up may go, and `flaps`, `memory_step` remember what became of earlier steps. `sentence` words the result.
//!
//! The rules come from Knative's two windows (60 s, and 6 s in a panic), Kubernetes' proportional step with tolerance,
//! and uWSGI's idle time that grows with each flap.

mod autoscaler;
mod flaps;
mod limits;
mod memory_step;
mod optimal;
mod sample;
mod sentence;
mod signals;
#[cfg(test)]
mod tests;
mod window;

pub use autoscaler::Autoscaler;
pub use optimal::Optimal;
pub use sample::{Percentiles, Sample, WorkerLoad};
