//! When is a worker hung? PURE: what was seen of it and the time go in, what to do comes out. An idle worker is
//! never woken to prove that it lives: its loop is asked for an answer only when it stands still although it
//! should turn. `place` names the line at which a hung one hangs.

mod place;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use place::place;

/// How long the stack of a hung worker is waited for. One that runs JavaScript tells it within milliseconds.
pub const CAPTURE: Duration = Duration::from_secs(1);

/// What is to be done about a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ask its loop for an answer.
    Ping,
    /// It has been hung for so long: ask for its stack.
    Capture(Duration),
    /// Its stack is here or will not come: end it. Nothing is ordered after this.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The loop turns, or has nothing to do.
    Well,
    /// A ping is under way.
    Asked {
        since: Duration,
    },
    /// The stack is waited for.
    Hung {
        until: Duration,
    },
    Over,
}

/// Judges one worker, from when it is ready.
#[derive(Clone, Debug)]
pub struct Checker {
    timeout: Duration,
    beat: u64,
    looked: Duration,
    state: State,
}

impl Checker {
    /// `timeout`: a ping may stay unanswered for so long. `beat`: what the loop has counted to.
    pub fn new(timeout: Duration, beat: u64, now: Duration) -> Self {
        Self { timeout, beat, looked: now, state: State::Well }
    }

    /// Between two looks at a worker that is well.
    fn period(&self) -> Duration {
        (self.timeout / 20).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }

    /// The loop has counted to `beat`. `should_turn` is asked only when that decides: is there something to do
    /// for the loop, or is it doing something?
    pub fn look(&mut self, beat: u64, now: Duration, should_turn: impl FnOnce() -> bool) -> Option<Order> {
        self.forgive_absence(now);
        if self.state == State::Over {
            return None;
        }
        if beat != self.beat {
            self.beat = beat;
            self.state = State::Well;
            return None;
        }
        match self.state {
            State::Well if should_turn() => {
                self.state = State::Asked { since: now };
                Some(Order::Ping)
            }
            State::Asked { since } if now >= since + self.timeout => {
                self.state = State::Hung { until: now + CAPTURE };
                Some(Order::Capture(now - since))
            }
            State::Hung { until } if now >= until => self.stack_received(),
            State::Well | State::Asked { .. } | State::Hung { .. } | State::Over => None,
        }
    }

    /// The primary was stopped, or the whole machine was: the workers may have been too. What nobody watched
    /// counts as one period.
    fn forgive_absence(&mut self, now: Duration) {
        let (away, period) = (now.saturating_sub(self.looked), self.period());
        self.looked = now;
        if away > 2 * period {
            match &mut self.state {
                State::Asked { since: from } | State::Hung { until: from } => *from += away - period,
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

    /// The stack is here, or cannot come.
    pub fn stack_received(&mut self) -> Option<Order> {
        let was_asked = matches!(self.state, State::Hung { .. });
        was_asked.then(|| {
            self.state = State::Over;
            Order::End
        })
    }

    /// Is a look due, or so soon that it is done along with another's? Looks fall together so, and the primary
    /// wakes once for all.
    pub fn is_near(&self, now: Duration) -> bool {
        self.due().is_some_and(|due| due <= now + self.period() / 2)
    }

    /// When the next look is due.
    pub fn due(&self) -> Option<Duration> {
        let next = self.looked + self.period();
        match self.state {
            State::Well => Some(next),
            State::Asked { since } => Some(next.min(since + self.timeout)),
            State::Hung { until } => Some(next.min(until)),
            State::Over => None,
        }
    }
}
