//! Adaptive admission: what is refused while the workers are saturated, so that what is admitted is in time. The
//! [`Intake`] of the accept thread decides about new connections, the [`LoadShedder`] of each worker about requests that the
//! worker has already. Both hold the delay before a request's handler below `targetDelay`.

mod intake;
mod load_shedder;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use intake::{Change, Intake, Sight};
pub use load_shedder::LoadShedder;

/// How long the signs of saturation must last, at least: a burst, a slow request or a garbage collection is over by then.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// How long the signs of saturation must last: CoDel's interval, which is long compared with the delay that is
/// acceptable.
fn interval(target: Duration) -> Duration {
    (target * 4).max(SHORTEST_INTERVAL)
}
