//! Leak detection over the memory of real Node.js programs, as `tests/leak/record.js` has recorded it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use drover::memory::leak::{Detector, Floor, Load, Measure, Reading, Verdict};

fn readings(name: &str) -> Vec<Reading> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/leak").join(format!("{name}.csv"));
    let text = fs::read_to_string(file).unwrap();
    let rows = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let reading = |row: Vec<&str>| {
        let number = |index: usize| row[index].parse::<u64>().unwrap_or(0);
        Reading {
            at: Duration::from_secs(number(0)),
            resident: number(1),
            floor: Some(Floor { bytes: number(2), collections: number(3) }),
            load: Load { requests_per_second: number(4) as f64, connections: 0.0 },
        }
    };
    rows.map(reading).collect()
}

fn seen(name: &str) -> Option<(usize, Verdict)> {
    let readings = readings(name);
    assert!(readings.len() >= 60, "{name}: half an hour at the default interval");
    let mut detector = Detector::default();
    readings.iter().enumerate().find_map(|(index, reading)| {
        detector.observe(name, *reading);
        detector.verdict(&name, None).filter(Verdict::is_leak).map(|verdict| (index + 1, verdict))
    })
}

#[test]
fn programs_without_a_leak_raise_no_alarm() {
    let mut names = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/leak")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        names
            .extend(file.strip_suffix(".csv").filter(|name| !name.starts_with("leaking")).map(str::to_owned));
    }
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        let found = seen(&name);
        assert!(found.is_none(), "{name}: {found:?}");
    }
}

#[test]
fn programs_that_leak_are_seen_within_half_an_hour() {
    for name in ["leaking-closures", "leaking-buffers"] {
        let (after, verdict) = seen(name).unwrap_or_else(|| panic!("{name} is not seen"));
        println!("{name}: after {after} samples: {}", verdict.text);
        assert_eq!(verdict.measure, Measure::Heap, "{name}: {verdict:?}");
    }
}
