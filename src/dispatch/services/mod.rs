//! Who serves which address: what a replacement must serve before it takes over, workers that serve other addresses than
//! their siblings, and addresses that nobody serves any more. PURE: views of the addresses and the time go in, what is to
//! be told comes out.

mod outage;
mod siblings;
mod succession;

pub use outage::Outages;
pub use siblings::{OPENING, Siblings};
pub use succession::{Succession, Successions};
