//! A new connection for each request, until the server closes it. With a rate the arrivals keep their times
//! whatever the answers do, and a latency counts from when the request was due: a stalled server cannot make
//! itself look good by stalling the generator as well.

use crate::arguments::Arguments;
use crate::pool::{Outcome, Pool};
use crate::report::Tally;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long a run sleeps at most before it looks at the clock.
const MAX_TURN: Duration = Duration::from_millis(20);

pub fn run(arguments: &Arguments) -> std::io::Result<Value> {
    let mut pool = Pool::new(arguments.target, &arguments.path, "close", arguments.connections)?;
    let mut tally = Tally::start()?;
    let plan = Plan::new(arguments, tally.began());
    let mut outcomes = Vec::new();
    let mut asked = 0;
    loop {
        let now = Instant::now();
        while asked < plan.due(now) && pool.has_room() {
            asked += 1;
            tally.conns += 1;
            if pool.open(plan.time_of(asked, now)).is_none() {
                // Back to the clock: a target that refuses at once must not fill the whole count with errors.
                tally.errors += 1;
                break;
            }
        }
        let all_asked = asked >= plan.due(now) && plan.complete(asked, now);
        if (all_asked && pool.is_empty()) || now > plan.end + arguments.grace {
            break;
        }
        let timeout = if pool.has_room() { plan.until_next(asked, now) } else { MAX_TURN };
        pool.turn(timeout, &mut outcomes)?;
        for outcome in outcomes.drain(..) {
            match outcome {
                Outcome::Answered(_, latency) => tally.answered(latency, Instant::now()),
                Outcome::Failed(_) => tally.errors += 1,
                Outcome::Ended(_) => {}
            }
        }
    }
    // Due, but not even begun, because every connection was waiting: as stuck as those.
    let unasked = plan.due(plan.end).saturating_sub(asked);
    let stuck = pool.waiting() + if arguments.rate > 0.0 { unasked } else { 0 };
    tally.report("new", stuck)
}

/// When which request is due.
struct Plan {
    start: Instant,
    end: Instant,
    total: u64,
    rate: f64,
}

impl Plan {
    fn new(arguments: &Arguments, start: Instant) -> Self {
        let rate = arguments.rate;
        let total = if rate > 0.0 {
            arguments.total.min((rate * arguments.seconds).ceil() as u64)
        } else {
            arguments.total
        };
        let seconds = if rate > 0.0 { arguments.seconds.min(total as f64 / rate) } else { arguments.seconds };
        Self { start, end: start + Duration::from_secs_f64(seconds), total, rate }
    }

    /// How many requests should have been made by `now`.
    fn due(&self, now: Instant) -> u64 {
        if self.rate > 0.0 {
            let passed = now.min(self.end).duration_since(self.start).as_secs_f64();
            ((passed * self.rate) as u64 + 1).min(self.total)
        } else if now < self.end {
            self.total
        } else {
            0
        }
    }

    /// When the `nth` request, counted from 1, was due.
    fn time_of(&self, nth: u64, now: Instant) -> Instant {
        if self.rate > 0.0 { self.start + Duration::from_secs_f64((nth - 1) as f64 / self.rate) } else { now }
    }

    fn complete(&self, asked: u64, now: Instant) -> bool {
        asked >= self.total || now >= self.end
    }

    fn until_next(&self, asked: u64, now: Instant) -> Duration {
        if self.rate > 0.0 && asked < self.total {
            self.time_of(asked + 1, now).saturating_duration_since(now).min(MAX_TURN)
        } else {
            MAX_TURN
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Plan {
        let arguments = Arguments::parse(line.split_whitespace().map(String::from)).unwrap();
        Plan::new(&arguments, Instant::now())
    }

    #[test]
    fn a_rate_keeps_its_times_and_its_count() {
        let plan = plan("new 127.0.0.1:1 --rate 1000 --seconds 0.5");
        let at = |ms| plan.start + Duration::from_millis(ms);
        assert_eq!([0, 1, 100, 499, 500, 9999].map(|ms| plan.due(at(ms))), [1, 2, 101, 500, 500, 500]);
        assert_eq!(plan.time_of(1, at(7)), plan.start);
        assert_eq!(plan.time_of(101, at(7)), at(100));
        assert_eq!(plan.until_next(100, at(99)), Duration::from_millis(1));
        assert!(plan.complete(500, at(499)) && !plan.complete(499, at(499)));
    }

    #[test]
    fn without_a_rate_everything_is_due_at_once_until_the_time_is_up() {
        let plan = plan("new 127.0.0.1:1 --seconds 1 --total 70");
        assert_eq!(plan.due(plan.start), 70);
        assert_eq!(plan.due(plan.end), 0);
        assert!(plan.complete(3, plan.end));
    }
}
