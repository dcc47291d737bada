//! Which requests a worker refuses: those that have waited too long, while its event loop is saturated. A loop that is
//! merely late (a slow request, a garbage collection) catches up by itself, and refuses nothing.

use std::time::Duration;

use super::interval;

/// The fraction of time from which on a loop is saturated, and the one below which it no longer is.
const SATURATED: f64 = 0.9;
const RELIEVED: f64 = 0.8;

#[derive(Clone, Debug)]
pub struct LoadShedder {
    target: Duration,
    /// When the last iteration ended, and the one before.
    turned: Duration,
    turned_before: Duration,
    /// Time that the loop had waited for events, when the last iteration ended.
    idle: Duration,
    /// The fraction of time that the loop is busy, averaged over the interval.
    busy: f64,
    is_saturated: bool,
    /// The first and the last of the late requests that followed each other within the interval.
    late: Option<(Duration, Duration)>,
}

impl LoadShedder {
    pub fn new(target: Duration, now: Duration, idle: Duration) -> Self {
        Self { target, turned: now, turned_before: now, idle, busy: 0.0, is_saturated: false, late: None }
    }

    /// Other settings apply from now on.
    pub fn set_target(&mut self, target: Duration) {
        self.target = target;
    }

    /// An iteration of the loop has ended. `idle`: how long the loop has waited for events, in total.
    pub fn turned(&mut self, now: Duration, idle: Duration) {
        self.busy = self.busy_at(now, idle);
        self.is_saturated = self.is_saturated_at(self.busy);
        self.turned_before = self.turned;
        self.turned = now;
        self.idle = idle;
    }

    /// No request that comes to its handler in this iteration arrived before this, on a connection that the iteration
    /// before had already: that one has handled all that was there when it polled.
    pub fn arrived_after(&self) -> Duration {
        self.turned_before
    }

    /// The time since the loop polled: every request of this iteration has waited at least so long.
    pub fn since_poll(&self, now: Duration, idle: Duration) -> Duration {
        now.saturating_sub(self.turned).saturating_sub(idle.saturating_sub(self.idle))
    }

    /// Whether a request that has waited so long is refused: it comes too late, and the loop is saturated.
    pub fn refuses(&mut self, waited: Duration, now: Duration, idle: Duration) -> bool {
        if waited <= self.target || !self.is_saturated(now, idle) {
            return false;
        }
        let goes_on = |(_, last): &(Duration, Duration)| now.saturating_sub(*last) < interval(self.target);
        let first = self.late.filter(goes_on).map_or(now, |(first, _)| first);
        self.late = Some((first, now));
        true
    }

    /// Whether requests have been refused for longer than the primary takes to see that every worker is saturated: some
    /// other worker is not.
    pub fn is_alone(&self) -> bool {
        self.late.is_some_and(|(first, last)| last.saturating_sub(first) >= interval(self.target))
    }

    /// Whether the loop is saturated.
    fn is_saturated(&mut self, now: Duration, idle: Duration) -> bool {
        self.is_saturated = self.is_saturated_at(self.busy_at(now, idle));
        self.is_saturated
    }

    fn is_saturated_at(&self, busy: f64) -> bool {
        busy >= if self.is_saturated { RELIEVED } else { SATURATED }
    }

    /// The average, with this iteration as far as it has come.
    fn busy_at(&self, now: Duration, idle: Duration) -> f64 {
        let time = now.saturating_sub(self.turned);
        if time.is_zero() {
            return self.busy;
        }
        let busy = self.since_poll(now, idle).as_secs_f64() / time.as_secs_f64();
        // The interval is over when the weight of what was before it is a tenth.
        let constant = interval(self.target).as_secs_f64() / std::f64::consts::LN_10;
        let rest = (-time.as_secs_f64() / constant).exp();
        self.busy * rest + busy * (1.0 - rest)
    }
}
