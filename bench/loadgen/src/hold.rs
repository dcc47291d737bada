//! Long-lived connections: who got how many of them, and who gets those that come in the place of one
//! worker's. A worker is known by the body of its answers.

use crate::arguments::Arguments;
use crate::pool::{Outcome, Pool};
use crate::report::Tally;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const MAX_TURN: Duration = Duration::from_millis(20);

/// Time for the servers to see that connections were closed, before others take their place.
const NOTICE: Duration = Duration::from_millis(250);

/// The worker of each connection that is held.
pub type Held = BTreeMap<usize, String>;

pub fn run(arguments: &Arguments) -> std::io::Result<Value> {
    let mut pool = Pool::new(arguments.target, &arguments.path, "keep-alive", arguments.connections)?;
    let mut tally = Tally::start()?;
    let mut held = Held::new();
    let mut stuck = fill(&mut pool, arguments, &mut held, &mut tally)?;
    let before = count(&held);
    let emptied = before.keys().next().cloned();
    for index in held.iter().filter(|(_, worker)| Some(*worker) == emptied.as_ref()).map(|(&index, _)| index)
    {
        pool.close(index);
    }
    held.retain(|_, worker| Some(&*worker) != emptied.as_ref());
    let noticed = Instant::now() + NOTICE;
    let mut outcomes = Vec::new();
    while Instant::now() < noticed {
        pool.turn(MAX_TURN, &mut outcomes)?;
    }
    stuck += fill(&mut pool, arguments, &mut held, &mut tally)?;
    let mut report = tally.report("hold", stuck)?;
    report["workers"] = json!(before);
    report["emptied"] = json!(emptied);
    report["workers_after_churn"] = json!(count(&held));
    Ok(report)
}

/// Opens connections, all at once, until the pool is full. Those that got no answer are returned, and closed.
pub fn fill(
    pool: &mut Pool,
    arguments: &Arguments,
    held: &mut Held,
    tally: &mut Tally,
) -> std::io::Result<u64> {
    let mut asked = Vec::new();
    while pool.has_room() {
        tally.conns += 1;
        match pool.open(Instant::now()) {
            Some(index) => asked.push(index),
            None => {
                tally.errors += 1;
                break;
            }
        }
    }
    let end = Instant::now() + arguments.grace;
    let mut outcomes = Vec::new();
    while pool.waiting() > 0 && Instant::now() < end {
        pool.turn(MAX_TURN, &mut outcomes)?;
        for outcome in outcomes.drain(..) {
            match outcome {
                Outcome::Answered(index, latency) => {
                    tally.answered(latency, Instant::now());
                    held.insert(index, pool.text(index).unwrap_or_default());
                }
                Outcome::Ended(index) | Outcome::Failed(index) => {
                    tally.errors += 1;
                    held.remove(&index);
                }
            }
        }
    }
    let stuck = pool.waiting();
    for index in asked.into_iter().filter(|index| !held.contains_key(index)) {
        pool.close(index);
    }
    Ok(stuck)
}

fn count(held: &Held) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for worker in held.values() {
        *counts.entry(worker.clone()).or_default() += 1;
    }
    counts
}
