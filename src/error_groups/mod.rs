//! Errors of a cluster, grouped by kind. PURE: `occurrence` extracts the error of an event, `fingerprint` determines
//! its group, `groups` counts, `throttle` decides when a notification is sent.

mod fingerprint;
mod groups;
mod occurrence;
pub mod throttle;

pub use groups::{Groups, Noted};
pub use occurrence::{Class, Occurrence};
