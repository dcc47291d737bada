//! One connection for many requests: each answer is followed by the next request at once. With `--workers` every
//! worker has the same number of them: those that a worker has beyond its share are closed and opened anew
//! before the run begins.

use crate::arguments::Arguments;
use crate::hold::{Held, fill};
use crate::pool::{Outcome, Pool};
use crate::report::Tally;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const MAX_TURN: Duration = Duration::from_millis(20);

pub fn run(arguments: &Arguments) -> std::io::Result<Value> {
    let mut pool = Pool::new(arguments.target, &arguments.path, "keep-alive", arguments.connections)?;
    let (held, failed) = fill_evenly(&mut pool, arguments)?;
    let mut tally = Tally::start()?;
    tally.conns = held.len() as u64;
    tally.errors = failed;
    let end = tally.began() + Duration::from_secs_f64(arguments.seconds);
    let mut asked = 0;
    for index in held.into_keys().take(usize::try_from(arguments.total).unwrap_or(usize::MAX)) {
        asked += 1;
        tally.errors += u64::from(!pool.ask(index, Instant::now()));
    }
    let mut outcomes = Vec::new();
    let turn = if arguments.spin { Duration::ZERO } else { MAX_TURN };
    while pool.waiting() > 0 && Instant::now() < end + arguments.grace {
        pool.turn(turn, &mut outcomes)?;
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

/// Connections of which each worker has its share, and how many could not be opened.
fn fill_evenly(pool: &mut Pool, arguments: &Arguments) -> std::io::Result<(Held, u64)> {
    let mut tally = Tally::start()?;
    let mut held = Held::new();
    let share = arguments.connections.div_ceil(arguments.workers);
    let end = Instant::now() + arguments.grace;
    loop {
        let stuck = fill(pool, arguments, &mut held, &mut tally)?;
        let beyond = beyond(&held, share);
        if beyond.is_empty() || stuck + tally.errors > 0 || Instant::now() > end {
            return Ok((held, stuck + tally.errors));
        }
        for index in beyond {
            pool.close(index);
            held.remove(&index);
        }
    }
}

/// The connections that their workers have beyond their share.
fn beyond(held: &Held, share: usize) -> Vec<usize> {
    let mut counts = BTreeMap::new();
    let is_beyond = |(&index, worker): (&usize, &String)| {
        let count: &mut usize = counts.entry(worker.clone()).or_default();
        *count += 1;
        (*count > share).then_some(index)
    };
    held.iter().filter_map(is_beyond).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_has_beyond_its_share_is_named() {
        let held: Held = ["a", "b", "a", "a", "b"].map(String::from).into_iter().enumerate().collect();
        assert_eq!(beyond(&held, 2), [3]);
        assert_eq!(beyond(&held, 1), [2, 3, 4]);
        assert!(beyond(&held, 3).is_empty());
    }
}
