//! What a run has to say: the counts, the latencies, what the generator itself cost.

use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Collects while a run goes on.
pub struct Tally {
    start: Instant,
    cpu_ns: u64,
    latencies_ns: Vec<u64>,
    /// Connections that were opened.
    pub conns: u64,
    pub errors: u64,
    last: Option<Instant>,
}

impl Tally {
    pub fn start() -> std::io::Result<Self> {
        let (start, cpu_ns) = (Instant::now(), cpu_ns()?);
        Ok(Self { start, cpu_ns, latencies_ns: Vec::new(), conns: 0, errors: 0, last: None })
    }

    pub fn began(&self) -> Instant {
        self.start
    }

    pub fn answered(&mut self, latency: Duration, now: Instant) {
        self.latencies_ns.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        self.last = Some(now);
    }

    /// The line that is printed. Latencies in microseconds; `seconds` until the last answer, so that waiting
    /// for the stuck does not dilute the rate; `stuck`: asked, and nothing came within the grace.
    pub fn report(mut self, mode: &str, stuck: u64) -> std::io::Result<Value> {
        let seconds = self.last.map_or(0.0, |last| last.duration_since(self.start).as_secs_f64());
        let cpu_us = (cpu_ns()? - self.cpu_ns) as f64 / 1000.0;
        let requests = self.latencies_ns.len();
        let [p50, p90, p99, max] = quantiles(&mut self.latencies_ns, [0.5, 0.9, 0.99, 1.0]);
        Ok(json!({
            "mode": mode,
            "conns": self.conns,
            "requests": requests,
            "seconds": (seconds * 1e6).round() / 1e6,
            "per_second": if seconds > 0.0 { round(requests as f64 / seconds) } else { 0.0 },
            "p50_us": p50,
            "p90_us": p90,
            "p99_us": p99,
            "max_us": max,
            "errors": self.errors,
            "stuck": stuck,
            "cpu_us_per_request": round(cpu_us / requests.max(1) as f64),
        }))
    }
}

/// Quantiles of nanoseconds, in microseconds; None for none.
pub fn quantiles<const N: usize>(latencies_ns: &mut [u64], parts: [f64; N]) -> [Option<f64>; N] {
    latencies_ns.sort_unstable();
    parts.map(|part| {
        let index = (latencies_ns.len() as f64 * part).ceil().max(1.0) as usize - 1;
        latencies_ns.get(index).map(|&ns| round(ns as f64 / 1000.0))
    })
}

/// To a tenth.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// What this thread, the only one, has used of a processor. The first field of schedstat, see proc(5).
fn cpu_ns() -> std::io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = stat.split_whitespace().next().and_then(|ns| ns.parse().ok());
    first.ok_or_else(|| std::io::Error::other("/proc/thread-self/schedstat is not readable here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_latencies() {
        let mut tally = Tally::start().unwrap();
        for us in (1..=1000u64).rev() {
            tally.answered(Duration::from_micros(us), Instant::now());
        }
        let report = tally.report("new", 3).unwrap();
        let got = ["p50_us", "p90_us", "p99_us", "max_us"].map(|key| report[key].as_f64().unwrap());
        assert_eq!(got, [500.0, 900.0, 990.0, 1000.0]);
        assert_eq!((report["requests"].as_u64(), report["stuck"].as_u64()), (Some(1000), Some(3)));
    }

    #[test]
    fn a_run_without_an_answer_has_no_latency() {
        let report = Tally::start().unwrap().report("new", 0).unwrap();
        assert_eq!(report["per_second"], 0.0);
        assert!(report["p50_us"].is_null());
    }
}
