//! One connection for many requests: each answer is followed by the next request at once.

use crate::arguments::Arguments;
use crate::pool::{Outcome, Pool};
use crate::report::Tally;
use serde_json::Value;
use std::time::{Duration, Instant};

const LONGEST_TURN: Duration = Duration::from_millis(20);

pub fn run(arguments: &Arguments) -> std::io::Result<Value> {
    let mut pool = Pool::new(arguments.target, &arguments.path, "keep-alive", arguments.connections)?;
    let mut tally = Tally::start()?;
    let end = tally.began() + Duration::from_secs_f64(arguments.seconds);
    let mut asked = 0;
    while asked < arguments.total && pool.has_room() {
        asked += 1;
        tally.conns += 1;
        if pool.open(Instant::now()).is_none() {
            tally.errors += 1;
            break;
        }
    }
    let mut outcomes = Vec::new();
    while pool.waiting() > 0 && Instant::now() < end + arguments.grace {
        pool.turn(LONGEST_TURN, &mut outcomes)?;
        for outcome in outcomes.drain(..) {
            let now = Instant::now();
            match outcome {
                Outcome::Answered(index, latency) => {
                    tally.answered(latency, now);
                    if now < end && asked < arguments.total {
                        asked += 1;
                        tally.errors += u64::from(!pool.ask(index, now));
                    }
                }
                Outcome::Ended(_) | Outcome::Failed(_) => tally.errors += 1,
            }
        }
    }
    let stuck = pool.waiting();
    tally.report("keepalive", stuck)
}
