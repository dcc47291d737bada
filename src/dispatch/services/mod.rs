//! Which worker serves which address: what a replacement must serve before it takes over, workers that serve different
//! addresses, and addresses without a server. PURE: views of the addresses and the time go in, reports come out.

mod outage;
mod siblings;
mod succession;

pub use outage::Outages;
pub use siblings::{OPENING, Siblings};
pub use succession::{Succession, Successions};
