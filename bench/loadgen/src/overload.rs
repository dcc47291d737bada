//! More requests than the server can answer: Poisson arrivals that keep their times whatever the answers do, on new
//! connections or on kept ones. A client gives up after the patience, so that a late answer is worth nothing. A 503 is
//! a refusal, which is counted and timed for itself. The first second, in which a server adapts, is not counted.

use crate::arguments::Arguments;
use crate::pool::{Outcome, Pool};
use crate::report::quantiles;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a run sleeps at most before it looks at the clock.
const MAX_TURN: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Counts {
    answered: Vec<u64>,
    refused: Vec<u64>,
    asked: u64,
    given_up: u64,
    failed: u64,
}

pub fn run(arguments: &Arguments) -> std::io::Result<Value> {
    let connection = if arguments.keep { "keep-alive" } else { "close" };
    let mut pool = Pool::new(arguments.target, &arguments.path, connection, arguments.connections)?;
    pool.take_refusals();
    let start = Instant::now();
    let counted_from = start + Duration::from_secs_f64(arguments.lead);
    let end = counted_from + Duration::from_secs_f64(arguments.seconds);
    let mut arrivals = Arrivals::new(arguments.rate, start);
    let (mut counts, mut outcomes) = (Counts::default(), Vec::new());
    let mut idle = VecDeque::new();
    loop {
        let now = Instant::now();
        while arrivals.next <= now && arrivals.next < end {
            let due = arrivals.next;
            arrivals.advance();
            let asked = ask(&mut pool, &mut idle, due);
            if due >= counted_from {
                counts.asked += 1;
                counts.failed += u64::from(!asked);
            }
        }
        // Who has waited too long.
        for due in pool.give_up(arguments.patience, now) {
            counts.given_up += u64::from(due >= counted_from);
        }
        if now >= end && pool.waiting() == 0 {
            break;
        }
        let next = if arrivals.next < end { arrivals.next.saturating_duration_since(now) } else { MAX_TURN };
        pool.turn(next.min(MAX_TURN), &mut outcomes)?;
        for outcome in outcomes.drain(..) {
            match outcome {
                Outcome::Answered(index, latency) => {
                    let is_refused = pool.is_refused(index);
                    let is_counted = Instant::now().checked_sub(latency).is_some_and(|due| due >= counted_from);
                    if is_counted {
                        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
                        if is_refused { counts.refused.push(ns) } else { counts.answered.push(ns) }
                    }
                    if arguments.keep && !pool.is_last(index) { idle.push_back(index) } else { pool.close(index) }
                }
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::Ended(index) => idle.retain(|one| *one != index),
            }
        }
    }
    Ok(counts.report(arguments.seconds))
}

fn ask(pool: &mut Pool, idle: &mut VecDeque<usize>, due: Instant) -> bool {
    while let Some(index) = idle.pop_front() {
        if pool.ask(index, due) {
            return true;
        }
    }
    pool.open(due).is_some()
}

impl Counts {
    fn report(mut self, seconds: f64) -> Value {
        let (answered, refused) = (self.answered.len() as f64, self.refused.len());
        let [p50, p99, max] = quantiles(&mut self.answered, [0.5, 0.99, 1.0]);
        let [refusal_p50, refusal_p99, _] = quantiles(&mut self.refused, [0.5, 0.99, 1.0]);
        json!({
            "mode": "overload",
            "asked": self.asked,
            "answered": answered,
            "per_second": (answered / seconds * 10.0).round() / 10.0,
            "p50_us": p50,
            "p99_us": p99,
            "max_us": max,
            "refused": refused,
            "refusal_p50_us": refusal_p50,
            "refusal_p99_us": refusal_p99,
            "given_up": self.given_up,
            "failed": self.failed,
        })
    }
}

/// A Poisson process with a generator of its own.
struct Arrivals {
    rate: f64,
    random: u64,
    next: Instant,
}

impl Arrivals {
    fn new(rate: f64, start: Instant) -> Self {
        let mut arrivals = Self { rate, random: 0x9e37_79b9_7f4a_7c15, next: start };
        arrivals.advance();
        arrivals
    }

    fn advance(&mut self) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = ((self.random >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        self.next += Duration::from_secs_f64(-uniform.ln() / self.rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_at_their_rate_and_not_evenly() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(1000.0, start);
        let mut gaps = Vec::new();
        for _ in 0..10_000 {
            let before = arrivals.next;
            arrivals.advance();
            gaps.push((arrivals.next - before).as_secs_f64());
        }
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.00095..0.00105).contains(&mean) && (0.9..1.1).contains(&(variance.sqrt() / mean)));
    }
}
