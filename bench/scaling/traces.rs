//! The loads: requests per second, second by second. Synthetic and seeded, so that each run is the same, or recorded:
//! counts of a real web server, scaled to the model's workers.

use crate::model::SERVICE_SECONDS;
use crate::policy::Bounds;
use crate::random::Random;

/// Of every policy.
const BOUNDS: Bounds = Bounds { min: 2, max: 32 };

/// Of every policy under the load of many workers: as many as a cluster can have.
const WIDE_BOUNDS: Bounds = Bounds { min: 1, max: 1024 };

pub struct Trace {
    pub name: &'static str,
    pub seed: u64,
    pub bounds: Bounds,
    /// Requests per second.
    pub rates: Vec<f64>,
}

/// A trace from its load over time, in workers that it keeps busy.
fn of(name: &'static str, seed: u64, seconds: usize, load: &mut dyn FnMut(f64) -> f64) -> Trace {
    let rates =
        (0..seconds).map(|second| second as f64).map(load).map(|load| load.max(0.0) / SERVICE_SECONDS);
    Trace { name, seed, bounds: BOUNDS, rates: rates.collect() }
}

/// From `from` to `to` between two times.
fn between(at: f64, (start, end): (f64, f64), (from, to): (f64, f64)) -> f64 {
    from + (to - from) * ((at - start) / (end - start)).clamp(0.0, 1.0)
}

/// Counts of a web server's requests, minute by minute, from midnight on.
struct Recording {
    name: &'static str,
    counts: &'static str,
    minutes: std::ops::Range<usize>,
    /// So many minutes are one point of the trace, which takes so many seconds.
    minutes_per_point: usize,
    seconds_per_point: f64,
    /// Of its highest point, in workers that it keeps busy.
    peak: f64,
}

const RECORDINGS: [Recording; 2] = [
    // A day in an hour. The server had about a request a second, which would make single minutes far noisier than those
    // of a server that is as busy as the model's.
    Recording {
        name: "recorded_day",
        counts: include_str!("recorded/nasa-1995-07-11.txt"),
        minutes: 0..1440,
        minutes_per_point: 5,
        seconds_per_point: 12.5,
        peak: 12.0,
    },
    // From 08:00 to 11:00, the hours around the launch.
    Recording {
        name: "recorded_launch",
        counts: include_str!("recorded/nasa-1995-07-13.txt"),
        minutes: 480..660,
        minutes_per_point: 1,
        seconds_per_point: 60.0,
        peak: 20.0,
    },
];

impl Recording {
    fn trace(&self, seed: u64) -> Trace {
        let lines = self.counts.lines().filter(|line| !line.starts_with('#'));
        let counts: Vec<f64> =
            lines.flat_map(str::split_whitespace).map(|count| count.parse().unwrap_or_default()).collect();
        let points: Vec<f64> = counts[self.minutes.clone()]
            .chunks(self.minutes_per_point)
            .map(|point| point.iter().sum())
            .collect();
        let highest = points.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let seconds = (points.len() as f64 * self.seconds_per_point) as usize;
        of(self.name, seed, seconds, &mut |at| {
            // A count is that of the middle of its time.
            let place = (at / self.seconds_per_point - 0.5).clamp(0.0, (points.len() - 1) as f64);
            let (before, after) = (points[place.floor() as usize], points[place.ceil() as usize]);
            self.peak / highest * (before + (after - before) * place.fract())
        })
    }
}

/// All traces. `round`: other requests at the same rates, and other noise.
pub fn all(round: u64) -> Vec<Trace> {
    let recorded =
        RECORDINGS.iter().zip(7..).map(|(recording, number)| recording.trace(100 * round + number));
    synthetic(round).into_iter().chain(recorded).chain([wide(100 * round + 9)]).collect()
}

/// Up to 900 busy workers within three minutes, for a minute and a half, and down again.
fn wide(seed: u64) -> Trace {
    let trace = of("wide", seed, 900, &mut |at| match at {
        ..330.0 => between(at, (60.0, 240.0), (60.0, 900.0)),
        _ => between(at, (330.0, 510.0), (900.0, 60.0)),
    });
    Trace { bounds: WIDE_BOUNDS, ..trace }
}

fn synthetic(round: u64) -> [Trace; 6] {
    let seed = |number: u64| 100 * round + number;
    let trace =
        |name, number, seconds, load: &mut dyn FnMut(f64) -> f64| of(name, seed(number), seconds, load);
    let mut noise = Random::new(seed(5));
    let mut wander = 0.0;
    [
        // Ten minutes up, ten minutes at the top, ten minutes down.
        trace("ramp", 1, 2700, &mut |at| match at {
            ..1320.0 => between(at, (120.0, 720.0), (1.0, 12.0)),
            _ => between(at, (1320.0, 1920.0), (12.0, 1.0)),
        }),
        // Five times the load within ten seconds, for three minutes.
        trace("spike", 2, 1500, &mut |at| match at {
            ..450.0 => between(at, (300.0, 310.0), (2.0, 10.0)),
            _ => between(at, (490.0, 500.0), (10.0, 2.0)),
        }),
        // A day in an hour.
        trace("diurnal", 3, 3600, &mut |at| 1.0 + 11.0 * (std::f64::consts::PI * at / 3600.0).sin().powi(2)),
        // Waves of four minutes.
        trace("oscillation", 4, 2400, &mut |at| 5.0 - 3.0 * (std::f64::consts::TAU * at / 240.0).cos()),
        // A load that wanders, with a standard deviation of 25 % and a memory of ten seconds.
        trace("noisy", 5, 2400, &mut |_| {
            wander = 0.9 * wander + 0.19f64.sqrt() * noise.normal();
            5.0 * (1.0 + 0.25 * wander)
        }),
        // Thirteen times the load within three seconds, which then wears off.
        trace("flash_crowd", 6, 1800, &mut |at| match at {
            ..300.0 => 1.5,
            ..303.0 => between(at, (300.0, 303.0), (1.5, 20.0)),
            _ => 1.5 + 18.5 * (-(at - 303.0) / 200.0).exp(),
        }),
    ]
}
