//! The monotonic clock, which all processes of the machine share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since a fixed moment.
pub fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    // Neither is ever negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
