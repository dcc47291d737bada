//! What goes wrong in a cluster, by kind. PURE: `occurrence` takes what is wrong out of an event, `fingerprint` tells two
//! kinds apart, `groups` counts them, `throttle` says what of it is worth a message to somebody, and when.

mod fingerprint;
mod groups;
mod occurrence;
pub mod throttle;

pub use groups::{Groups, Noted};
pub use occurrence::{Class, Occurrence};
