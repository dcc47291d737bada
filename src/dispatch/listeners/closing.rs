//! Closing an address without a reset. A client whose handshake is done believes that it is served; a listener that
//! closes resets those in its queue and those whose last ACK is on its way. So an address closes in this order: no new
//! handshake is let in, what is in the queues is accepted, handshakes under way end (for `MAX_LENGTH` at most), and then
//! it closes, for the copies that workers hold too. A client that comes meanwhile repeats its SYN after a second, and
//! is refused by then.
//!
//! A unix socket that is shut down takes no new connections and keeps its queue, and has no handshakes. A descriptor
//! of the program's stays open for its owner; what it has queued is served when the cluster stops.

use std::time::Duration;

use rustix::net::AddressFamily;
use tokio::sync::oneshot;

use super::bind;
use super::handshakes;
use crate::balance::Family;
use crate::model::WorkerId;

/// Handshakes under way are waited for so long: more than the round trip of a client that is not far.
const MAX_LENGTH: Duration = Duration::from_millis(50);
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Connections that a listener's queue holds, unless its program asked for a longer one.
pub const MAX_QUEUED: usize = bind::MIN_BACKLOG as usize;

/// The last worker that serves the address closes its server. What the address brings until its end is this worker's.
pub struct Last {
    pub worker: WorkerId,
    /// Answered when the address is closed.
    pub reply: oneshot::Sender<bool>,
}

/// Why an address closes.
pub enum End {
    /// The cluster stops. The group stays for what was accepted there.
    Stop,
    Last(Last),
    /// Nobody serves there: what comes until the end is refused.
    Unserved,
}

/// An address that closes: nothing new is let in.
pub struct Closing {
    look_at: Duration,
    until: Duration,
    end: End,
}

impl Closing {
    /// `waits`: handshakes may be under way, and are worth waiting for.
    pub fn new(end: End, waits: bool, now: Duration) -> Self {
        let waits = waits && !matches!(end, End::Unserved);
        Self { look_at: now, until: if waits { now + MAX_LENGTH } else { now }, end }
    }

    /// It is closing already, and another reason comes. The worker that waits for its end waits on.
    pub fn add(&mut self, end: End) {
        if let End::Last(last) = end {
            self.end = End::Last(last);
        }
    }

    pub fn is_stop(&self) -> bool {
        matches!(self.end, End::Stop)
    }

    pub fn into_end(self) -> End {
        self.end
    }

    pub fn look_at(&self) -> Duration {
        self.look_at
    }

    /// Looks at it, if it is time: does it close now, whatever is expected?
    pub fn look(&mut self, now: Duration) -> Option<bool> {
        if self.look_at > now {
            return None;
        }
        self.look_at = now + LOOK_INTERVAL;
        Some(self.until <= now)
    }
}

/// The cluster stops.
pub struct ClosingAll {
    /// Connections that wait for a worker have until then.
    until: Duration,
    /// Dropped when every address has closed.
    waiting: Vec<oneshot::Sender<()>>,
}

impl ClosingAll {
    pub fn new(now: Duration) -> Self {
        Self { until: now + MAX_LENGTH, waiting: Vec::new() }
    }

    pub fn add_waiting(&mut self, gone: oneshot::Sender<()>) {
        self.waiting.push(gone);
    }

    pub fn until(&self) -> Duration {
        self.until
    }
}

/// Clients may be in the midst of their handshake with the port, as far as the kernel tells.
pub fn has_handshakes(family: Family, port: u16) -> bool {
    let families = match family {
        Family::V4 => &[AddressFamily::INET][..],
        Family::V6 => &[AddressFamily::INET6, AddressFamily::INET],
    };
    families.iter().any(|family| handshakes::are_under_way(*family, port).unwrap_or(true))
}
