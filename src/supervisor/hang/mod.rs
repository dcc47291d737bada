//! Detection of hung workers. PURE: observations and the time go in, actions come out. An idle worker is never woken to
//! check that it is alive: its event loop is pinged only if it does not run although it has work. `place` names the
//! line at which a worker hangs.

mod place;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use place::place;

/// Timeout for the stack of a hung worker. A worker that runs JavaScript sends it within milliseconds.
pub const CAPTURE: Duration = Duration::from_secs(1);

/// What to do about a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangAction {
    /// Ping its event loop.
    Ping,
    /// It has been hung for this long: request its stack.
    Capture(Duration),
    /// Its stack has arrived or will not arrive: kill it. No further action follows.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The loop runs, or has nothing to do.
    Well,
    /// A ping is pending.
    PingPending {
        since: Duration,
    },
    /// The stack is pending.
    Hung {
        until: Duration,
    },
    Over,
}

/// Checks one worker, from when it is ready.
#[derive(Clone, Debug)]
pub struct Checker {
    timeout: Duration,
    heartbeat: u64,
    looked: Duration,
    state: State,
}

impl Checker {
    /// `timeout`: how long a ping may stay unanswered. `heartbeat`: the current heartbeat counter.
    pub fn new(timeout: Duration, heartbeat: u64, now: Duration) -> Self {
        Self { timeout, heartbeat, looked: now, state: State::Well }
    }

    /// Interval between two checks of a worker whose loop runs.
    fn period(&self) -> Duration {
        (self.timeout / 20).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }

    /// Checks the worker with heartbeat counter `heartbeat`. `should_turn` says whether the loop has or does work; it is
    /// called only if that matters.
    pub fn look(
        &mut self,
        heartbeat: u64,
        now: Duration,
        should_turn: impl FnOnce() -> bool,
    ) -> Option<HangAction> {
        self.forgive_absence(now);
        if self.state == State::Over {
            return None;
        }
        if heartbeat != self.heartbeat {
            self.heartbeat = heartbeat;
            self.state = State::Well;
            return None;
        }
        match self.state {
            State::Well if should_turn() => {
                self.state = State::PingPending { since: now };
                Some(HangAction::Ping)
            }
            State::PingPending { since } if now >= since + self.timeout => {
                self.state = State::Hung { until: now + CAPTURE };
                Some(HangAction::Capture(now - since))
            }
            State::Hung { until } if now >= until => self.stack_received(),
            State::Well | State::PingPending { .. } | State::Hung { .. } | State::Over => None,
        }
    }

    /// The primary or the whole machine was stopped, and maybe the workers too. The unobserved time counts as one
    /// period.
    fn forgive_absence(&mut self, now: Duration) {
        let (away, period) = (now.saturating_sub(self.looked), self.period());
        self.looked = now;
        if away > 2 * period {
            match &mut self.state {
                State::PingPending { since: from } | State::Hung { until: from } => *from += away - period,
                State::Well | State::Over => {}
            }
        }
    }

    /// The ping was answered.
    pub fn answered(&mut self) {
        if self.state != State::Over {
            self.state = State::Well;
        }
    }

    /// The stack has arrived, or cannot be taken.
    pub fn stack_received(&mut self) -> Option<HangAction> {
        let was_asked = matches!(self.state, State::Hung { .. });
        was_asked.then(|| {
            self.state = State::Over;
            HangAction::End
        })
    }

    /// Whether a check is due or due soon enough to be done together with another one, so that the primary wakes once
    /// for several workers.
    pub fn is_near(&self, now: Duration) -> bool {
        self.due().is_some_and(|due| due <= now + self.period() / 2)
    }

    /// When the next check is due.
    pub fn due(&self) -> Option<Duration> {
        let next = self.looked + self.period();
        match self.state {
            State::Well => Some(next),
            State::PingPending { since } => Some(next.min(since + self.timeout)),
            State::Hung { until } => Some(next.min(until)),
            State::Over => None,
        }
    }
}
