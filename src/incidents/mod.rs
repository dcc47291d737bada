//! What goes wrong in a cluster, by kind. PURE: `incident` takes what is wrong out of an event, `fingerprint` tells two
//! kinds apart, `ledger` counts them, `digest` says what of it is worth a message to somebody, and when.

pub mod digest;
mod fingerprint;
mod incident;
mod ledger;

pub use incident::{Class, Incident};
pub use ledger::{Ledger, Noted};
