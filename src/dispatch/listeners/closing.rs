//! Closing an address without a reset. Closing a listener resets the connections in its queue and those whose last ACK
//! is in transit, although their clients are connected already. So an address closes in this order: new handshakes are
//! dropped, queued connections are accepted, pending handshakes complete (within `MAX_LENGTH`), and then it closes,
//! including the workers' copies. A client whose SYN was dropped sends it again after a second and is refused then.
//!
//! A unix socket that is shut down accepts no new connections and keeps its queue; it has no handshakes. A descriptor
//! of the program stays open for its owner; its queue is served when the cluster stops.

use std::time::Duration;

use rustix::net::AddressFamily;
use tokio::sync::oneshot;

use super::bind;
use super::handshakes;
use crate::balance::Family;
use crate::model::WorkerId;

/// Maximum wait for pending handshakes: more than the round trip time of a nearby client.
const MAX_LENGTH: Duration = Duration::from_millis(50);
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Length of a listener's queue, unless the program has set a longer one.
pub const MAX_QUEUED: usize = bind::MIN_BACKLOG as usize;

/// The last worker that serves the address closes its server. Connections until the end of the address belong to this
/// worker.
pub struct Last {
    pub worker: WorkerId,
    /// Sent when the address is closed.
    pub reply: oneshot::Sender<bool>,
}

/// Why an address closes.
pub enum End {
    /// The cluster stops. The group is kept for the connections accepted there.
    Stop,
    Last(Last),
    /// No worker serves there: connections until the end are refused.
    Unserved,
}

/// An address that closes: new handshakes are dropped.
pub struct Closing {
    look_at: Duration,
    until: Duration,
    end: End,
}

impl Closing {
    /// `waits`: handshakes may be pending and have to be waited for.
    pub fn new(end: End, waits: bool, now: Duration) -> Self {
        let waits = waits && !matches!(end, End::Unserved);
        Self { look_at: now, until: if waits { now + MAX_LENGTH } else { now }, end }
    }

    /// Adds another reason to an address that closes already. A worker that waits for its end keeps waiting.
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

    /// None before the next check is due; otherwise whether it closes now, even with pending handshakes.
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
    /// Deadline of connections that wait for a worker.
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

/// Whether handshakes with the port may be pending, as far as the kernel reports them.
pub fn has_handshakes(family: Family, port: u16) -> bool {
    let families = match family {
        Family::V4 => &[AddressFamily::INET][..],
        Family::V6 => &[AddressFamily::INET6, AddressFamily::INET],
    };
    families.iter().any(|family| handshakes::are_under_way(*family, port).unwrap_or(true))
}
