//! The simulation of `npm run bench:scaling`: each trace of load through the same queueing model under each policy.
//! One line of JSON for each trace of each round, then one with the costs of an evaluation and of a look for leaks. See
//! bench/scaling.mjs for the method. Arguments: the number of rounds, `shortest` to place requests at the worker that is
//! free first, and `costs` to measure the costs alone.

mod cost;
mod drover;
mod hpa;
mod model;
mod policy;
mod random;
mod traces;
mod watt;

use model::{Placement, Run};
use policy::{Bounds, Fixed, Policy};
use serde_json::{Map, Value, json};
use traces::Trace;

/// The utilisation, in percent, at which a worker is as busy as it should be: of drover and of HPA.
const TARGET: f64 = 70.0;

/// A second whose 95th percentile is longer, in milliseconds, is above the target.
const TARGET_LATENCY: f64 = 500.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(1);
    let shortest = arguments.iter().any(|argument| argument == "shortest");
    let placement = if shortest { Placement::ShortestQueue } else { Placement::InTurn };
    let simulated_rounds = if arguments.iter().any(|argument| argument == "costs") { 0 } else { rounds };
    for round in 0..simulated_rounds {
        for trace in traces::all(round) {
            println!("{}", simulated(round, &trace, placement));
        }
    }
    println!("{}", json!({ "evaluation_us": cost::by_workers(), "leak_look_ms": cost::looks_by_workers() }));
}

/// The number of workers for so many requests a second.
fn size_for(rate: f64, bounds: Bounds) -> u32 {
    ((rate * model::SERVICE_SECONDS / (TARGET / 100.0)).ceil() as u32).clamp(bounds.min, bounds.max)
}

/// A trace under each policy.
fn simulated(round: u64, trace: &Trace, placement: Placement) -> Value {
    let load = model::Load::of(trace);
    let bounds = trace.bounds;
    // For the load of its peak: what one would run without scaling.
    let peak = size_for(trace.rates.iter().copied().fold(0.0, f64::max), bounds);
    // What each policy would have come to under the trace's first load.
    let first = size_for(trace.rates.first().copied().unwrap_or_default(), bounds);
    let policies: [(&str, Box<dyn Policy>); 5] = [
        ("drover", Box::new(drover::Drover::tuned(bounds))),
        ("defaults", Box::new(drover::Drover::with_defaults(bounds))),
        ("hpa", Box::new(hpa::Hpa::new(bounds))),
        ("watt", Box::new(watt::Watt::new(bounds))),
        ("fixed", Box::new(Fixed(peak))),
    ];
    let runs: Map<String, Value> = policies
        .into_iter()
        .map(|(name, mut policy)| {
            let size = if name == "fixed" { peak } else { first };
            (name.to_owned(), report(&model::run(&load, placement, size, policy.as_mut())))
        })
        .collect();
    let demand: Vec<f64> = trace.rates.iter().map(|rate| rate * model::SERVICE_SECONDS).collect();
    json!({ "round": round, "trace": trace.name, "demand": demand, "runs": runs })
}

fn report(run: &Run) -> Value {
    json!({
        "above_target_s": run.p95.iter().filter(|p95| **p95 > TARGET_LATENCY).count(),
        "worker_s": run.worker_seconds.round(),
        "flaps": run.direction_changes(),
        "sizes": run.sizes,
        "p95": run.p95.iter().map(|p95| p95.round()).collect::<Vec<f64>>(),
    })
}
