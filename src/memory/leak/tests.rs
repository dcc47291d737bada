use super::*;
use proptest::prelude::*;

const MB: f64 = MIB;
/// Half an hour at the default `memoryCheckInterval`.
const HALF_HOUR: usize = 60;
const INTERVAL: f64 = 30.0;

/// Numbers between 0 and 1 that look random and are the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }
}

/// A program on a runtime that collects when its heap has doubled.
struct Program {
    /// Live MB by the time in seconds, and how much of it is random.
    live: fn(f64) -> f64,
    noise: f64,
    /// MB per second of garbage that a minor collection does not find.
    garbage: f64,
    /// MB outside of the heap, by the time in seconds.
    outside: fn(f64) -> f64,
    load: fn(f64) -> f64,
    tells: bool,
}

impl Default for Program {
    fn default() -> Self {
        Self { live: |_| 40.0, noise: 2.0, garbage: 2.0, outside: |_| 40.0, load: |_| 100.0, tells: true }
    }
}

impl Program {
    fn readings(&self, count: usize, interval: f64) -> Vec<Reading> {
        let mut noise = Noise(7);
        let (mut floor, mut collections, mut heap, mut committed) = (0.0, 0, 20.0, 30.0);
        let mut readings = Vec::new();
        let mut lived = (self.live)(0.0);
        for step in 0..count {
            // Ten steps between two readings, so that there may be several collections.
            for part in 0..10 {
                let at = (step as f64 + f64::from(part) / 10.0) * interval;
                let live = (self.live)(at);
                heap += (live - lived).max(0.0) + self.garbage * interval / 10.0;
                lived = live;
                if heap > f64::max(32.0, floor * 2.0) {
                    floor = live + self.noise * noise.next();
                    heap = floor;
                    collections += 1;
                    committed = f64::max(floor, committed * 0.9);
                }
                committed = f64::max(committed, heap);
            }
            let at = step as f64 * interval;
            let resident = committed + (self.outside)(at) + self.noise * noise.next();
            let known = Floor { bytes: (floor * MB) as u64, collections };
            readings.push(Reading {
                at: Duration::from_secs_f64(at),
                resident: (resident * MB) as u64,
                floor: self.tells.then_some(known),
                load: Load { requests_per_second: (self.load)(at), connections: 0.0 },
            });
        }
        readings
    }
}

/// After how many readings a leak is seen, with the verdict.
fn seen(readings: &[Reading], limit: Option<u64>) -> Option<(usize, Verdict)> {
    let mut detector = Detector::default();
    readings.iter().enumerate().find_map(|(index, reading)| {
        detector.observe(0, *reading);
        detector.verdict(&0, limit).filter(Verdict::is_leak).map(|verdict| (index + 1, verdict))
    })
}

/// Fills from 0 to 1, evenly, in so many seconds.
fn filled(at: f64, seconds: f64) -> f64 {
    (at / seconds).min(1.0)
}

/// Approaches 1.
fn saturated(at: f64, seconds: f64) -> f64 {
    1.0 - (-at / seconds).exp()
}

#[test]
fn half_an_hour_without_a_leak_raises_no_alarm() {
    let usual = Program::default;
    let programs: Vec<(&str, Program)> = vec![
        ("level", usual()),
        ("much garbage", Program { garbage: 40.0, ..usual() }),
        ("little garbage", Program { garbage: 0.02, ..usual() }),
        ("hardly any garbage, lazily collected", Program { garbage: 0.05, live: |_| 150.0, ..usual() }),
        ("noisy", Program { noise: 25.0, ..usual() }),
        ("very noisy", Program { noise: 100.0, garbage: 10.0, ..usual() }),
        ("a warm-up of two minutes", Program { live: |at| 20.0 + 150.0 * saturated(at, 60.0), ..usual() }),
        ("a warm-up of ten minutes", Program { live: |at| 20.0 + 200.0 * saturated(at, 200.0), ..usual() }),
        ("a warm-up that never ends", Program { live: |at| 20.0 + 150.0 * saturated(at, 900.0), ..usual() }),
        ("a memo of keys", Program { live: |at| 20.0 + 40.0 * (1.0 + at / 30.0).ln(), ..usual() }),
        (
            "a cache that is full after five minutes",
            Program { live: |at| 40.0 + 200.0 * filled(at, 300.0), ..usual() },
        ),
        (
            "a cache that is full after ten minutes",
            Program { live: |at| 40.0 + 150.0 * filled(at, 600.0), ..usual() },
        ),
        (
            "a cache that is full after a quarter of an hour",
            Program { live: |at| 40.0 + 200.0 * filled(at, 900.0), noise: 10.0, ..usual() },
        ),
        (
            "a cache that begins late",
            Program { live: |at| 40.0 + 150.0 * filled((at - 600.0).max(0.0), 600.0), ..usual() },
        ),
        ("a step", Program { live: |at| if at < 700.0 { 50.0 } else { 150.0 }, ..usual() }),
        ("three steps", Program { live: |at| 50.0 + 40.0 * (at / 500.0).floor(), ..usual() }),
        (
            "a job every ten minutes",
            Program { live: |at| if at % 600.0 < 90.0 { 250.0 } else { 60.0 }, ..usual() },
        ),
        ("a sawtooth of its own", Program { live: |at| 50.0 + 100.0 * (at % 400.0) / 400.0, ..usual() }),
        ("a slow sawtooth", Program { live: |at| 50.0 + 100.0 * (at % 900.0) / 900.0, ..usual() }),
        (
            "load that comes and goes",
            Program {
                live: |at| 60.0 + 50.0 * (at / 250.0).sin(),
                load: |at| 100.0 + 90.0 * (at / 250.0).sin(),
                ..usual()
            },
        ),
        (
            "load that grows all the time",
            Program { live: |at| 40.0 + 0.1 * at, load: |at| 20.0 + 0.5 * at, ..usual() },
        ),
        (
            "native memory that fills",
            Program { outside: |at| 40.0 + 100.0 * saturated(at, 300.0), ..usual() },
        ),
        ("a runtime that tells nothing", Program { tells: false, noise: 20.0, ..usual() }),
        (
            "a runtime that tells nothing of its warm-up",
            Program { tells: false, live: |at| 20.0 + 150.0 * saturated(at, 300.0), ..usual() },
        ),
    ];
    assert!(programs.len() >= 20);
    let mut alarms = Vec::new();
    for (name, program) in programs {
        let readings = program.readings(HALF_HOUR, INTERVAL);
        for limit in [None, Some((600.0 * MB) as u64), Some((1024.0 * MB) as u64)] {
            alarms.extend(seen(&readings, limit).map(|found| (name, limit, found)));
        }
    }
    assert!(alarms.is_empty(), "{alarms:#?}");
}

#[test]
fn a_leak_is_seen_in_time_with_its_rate() {
    let usual = Program::default;
    let leaks: Vec<(&str, Program, f64, usize, f64)> = vec![
        ("20 MB a second", Program { live: |at| 20.0 + 20.0 * at, ..usual() }, 1.0, 10, 20.0),
        (
            "20 MB a second of buffers",
            Program { outside: |at| 40.0 + 20.0 * at, tells: false, ..usual() },
            1.0,
            10,
            20.0,
        ),
        ("10 MB a second", Program { live: |at| 20.0 + 10.0 * at, ..usual() }, 2.0, 10, 10.0),
        ("1 MB a second at the default interval", Program { live: |at| 40.0 + at, ..usual() }, 30.0, 41, 1.0),
        ("50 KB a second", Program { live: |at| 40.0 + 0.05 * at, ..usual() }, 30.0, HALF_HOUR, 0.05),
        (
            "50 KB a second and much garbage",
            Program { live: |at| 40.0 + 0.05 * at, garbage: 20.0, noise: 8.0, ..usual() },
            30.0,
            HALF_HOUR,
            0.05,
        ),
        (
            "150 KB a second outside of the heap",
            Program { outside: |at| 40.0 + 0.15 * at, ..usual() },
            30.0,
            HALF_HOUR,
            0.15,
        ),
        ("10 KB a second for hours", Program { live: |at| 40.0 + 0.01 * at, ..usual() }, 30.0, 1000, 0.01),
    ];
    for (name, program, interval, within, megabytes) in leaks {
        let found = seen(&program.readings(within, interval), None);
        let Some((after, verdict)) = found else { panic!("{name}: not seen in {within} readings") };
        println!("{name}: after {after} readings: {}", verdict.text);
        let off = verdict.bytes_per_second / MB / megabytes;
        assert!((0.7..1.4).contains(&off), "{name}: {verdict:?}");
    }
}

#[test]
fn a_fast_leak_is_seen_as_soon_on_a_large_machine() {
    let program = Program { live: |at| 60.0 + 20.0 * at, ..Program::default() };
    let (after, verdict) = seen(&program.readings(20, 1.0), Some(1 << 40)).unwrap();
    assert!(after <= 10 && verdict.seconds_to_limit > Some(40_000.0), "after {after}: {verdict:?}");
}

#[test]
fn a_leak_that_begins_late_is_seen_as_soon() {
    let program = Program { live: |at| 60.0 + 20.0 * (at - 300.0).max(0.0), ..Program::default() };
    let (after, verdict) = seen(&program.readings(320, 1.0), None).unwrap();
    assert!((301..=311).contains(&after), "after {after}: {verdict:?}");
}

/// Feeds two workers with the same times and returns the latest verdict on the first.
fn beside(first: &Program, second: &Program, count: usize, lead: usize) -> Verdict {
    beside_each_other(first, second, count, lead, |_| {})
}

/// The same; `each` is called after every pair of readings.
fn beside_each_other(
    first: &Program,
    second: &Program,
    count: usize,
    lead: usize,
    each: impl Fn(&Detector<u8>),
) -> Verdict {
    let mut detector = Detector::default();
    let elder = second.readings(count + lead, INTERVAL);
    for reading in &elder[..lead] {
        detector.observe(1, *reading);
    }
    let shift = Duration::from_secs_f64(lead as f64 * INTERVAL);
    for (own, other) in first.readings(count, INTERVAL).iter().zip(&elder[lead..]) {
        detector.observe(0, Reading { at: own.at + shift, ..*own });
        detector.observe(1, *other);
        each(&detector);
    }
    detector.verdict(&0, None).unwrap()
}

#[test]
fn what_another_worker_does_is_known_by_its_latest_reading_however_often_it_is_asked() {
    let leak = Program { live: |at| 60.0 + 0.1 * at, ..Program::default() };
    let cache = Program { live: |at| 40.0 + 300.0 * filled(at, 1800.0), ..Program::default() };
    let full = Program { live: |at| 40.0 + 300.0 * filled(at, 300.0), ..Program::default() };
    for (first, second, expected) in [
        (&leak, &Program::default(), Siblings::Level),
        (&leak, &leak, Siblings::Growing),
        (&cache, &full, Siblings::Above),
    ] {
        let asked = beside_each_other(first, second, 45, 30, |detector| {
            let _ = (detector.verdict(&0, None), detector.verdict(&1, None));
        });
        assert_eq!(asked.siblings, expected);
        assert_eq!(asked, beside(first, second, 45, 30));
    }
}

#[test]
fn a_worker_below_what_others_settled_at_is_warming_up() {
    let cache = Program { live: |at| 40.0 + 300.0 * filled(at, 1800.0), ..Program::default() };
    let alone = seen(&cache.readings(45, INTERVAL), None);
    assert!(alone.is_some(), "alone it looks like a leak");
    let full = Program { live: |at| 40.0 + 300.0 * filled(at, 300.0), ..Program::default() };
    let verdict = beside(&cache, &full, 45, 30);
    assert!(!verdict.is_suspicion() && verdict.siblings == Siblings::Above, "{verdict:?}");
}

#[test]
fn a_worker_that_grows_alone_is_seen_sooner() {
    let leak = Program { live: |at| 60.0 + 0.1 * at, ..Program::default() };
    assert!(seen(&leak.readings(30, INTERVAL), None).is_none());
    let verdict = beside(&leak, &Program::default(), 30, 10);
    assert!(verdict.is_leak() && verdict.siblings == Siblings::Level, "{verdict:?}");
}

#[test]
fn the_sentence_has_the_figures() {
    let program = Program { live: |at| 20.0 + 20.0 * at, ..Program::default() };
    let (after, verdict) = seen(&program.readings(10, 1.0), Some((1024.0 * MB) as u64)).unwrap();
    assert!(verdict.text.starts_with("its "), "{}", verdict.text);
    for part in [
        " grows by ",
        " MB per second, from ",
        &format!(" in {after} samples ("),
        "; it reaches its limit in ",
    ] {
        assert!(verdict.text.contains(part), "{part}: {}", verdict.text);
    }
}

#[test]
fn a_worker_keeps_no_more_than_its_points() {
    let mut detector = Detector::default();
    for second in 0..20_000u64 {
        let floor = Some(Floor { bytes: second, collections: second });
        detector.observe(
            0,
            Reading { at: Duration::from_secs(second), resident: second, floor, load: Load::default() },
        );
    }
    let past = &detector.workers[&0];
    for series in [&past.resident, &past.floor] {
        assert_eq!((series.recent.len(), series.long.len()), (POINTS, POINTS));
        assert!(series.recent.capacity() <= 2 * POINTS && series.long.capacity() <= 2 * POINTS);
    }
    detector.forget(&0);
    assert_eq!(detector.workers().count(), 0);
}

proptest! {
    #[test]
    fn any_readings_give_a_verdict_that_makes_sense(
        readings in proptest::collection::vec((any::<u32>(), any::<u64>(), any::<Option<(u64, u64)>>(), any::<f64>()), 0..150),
        limit: Option<u64>,
    ) {
        let mut detector = Detector::default();
        for (index, (at, resident, floor, load)) in readings.into_iter().enumerate() {
            let floor = floor.map(|(bytes, collections)| Floor { bytes, collections });
            let load = Load { requests_per_second: load, connections: -load };
            detector.observe(index % 2, Reading { at: Duration::from_millis(at.into()), resident, floor, load });
            if let Some(verdict) = detector.verdict(&(index % 2), limit) {
                prop_assert!((0.0..=1.0).contains(&verdict.confidence), "{:?}", verdict);
                prop_assert!(verdict.bytes_per_second > 0.0 && verdict.samples >= 3);
            }
        }
    }

    #[test]
    fn memory_that_only_shrinks_or_stays_is_no_leak(
        start in 1u64 << 20..1 << 40,
        steps in proptest::collection::vec(0u64..1 << 30, 3..100),
    ) {
        let mut detector = Detector::default();
        let mut resident = start;
        for (index, step) in steps.iter().enumerate() {
            resident = resident.saturating_sub(*step);
            let at = Duration::from_secs(index as u64);
            detector.observe((), Reading { at, resident, floor: None, load: Load::default() });
        }
        prop_assert!(detector.verdict(&(), None).is_none_or(|verdict| !verdict.is_suspicion()));
    }

    #[test]
    fn an_even_and_fast_growth_is_always_seen(
        rate in 1e7f64..1e9, start in 1e6f64..2e8, interval in 0.2f64..30.0,
    ) {
        // Enough for a quarter of where it began.
        prop_assume!(rate * interval * 9.0 > 1.3 * start.max(3e7));
        let reading = |index: u32| Reading {
            at: Duration::from_secs_f64(f64::from(index) * interval),
            resident: (start + rate * interval * f64::from(index)) as u64,
            floor: None,
            load: Load::default(),
        };
        prop_assert!(seen(&(0..10).map(reading).collect::<Vec<_>>(), None).is_some());
    }
}
