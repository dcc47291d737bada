use super::*;
use crate::metrics::layout::header;
use proptest::prelude::*;

fn definition(kind: Kind, name: &str, labels: &[&str]) -> Definition {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Definition { kind, name: name.to_owned(), help: "Help.".to_owned(), labels, buckets: vec![] }
}

fn memory() -> SharedMemory {
    let (memory, _memfds) = SharedMemory::create(0).unwrap();
    memory.set(header::SLOTS, 2);
    memory
}

/// Counts as a program does.
fn count(metric_store: &MetricStore, name: &str, label: &str, by: f64) {
    let (family, _) = metric_store.define(definition(Kind::Counter, name, &["of"])).unwrap();
    let at = metric_store.series(family, &[label.to_owned()]).unwrap();
    metric_store.segment.add(at, by);
}

fn value(memory: &SharedMemory, name: &str, at: usize) -> Option<f64> {
    serde_json::json!(memory.metric_store().user_metrics())[name]["values"][at]["value"].as_f64()
}

#[test]
fn what_a_worker_counted_outlives_it_and_its_gauges_do_not() {
    let memory = memory();
    let (old, other) =
        (MetricStore::of_worker(&memory, WorkerId::new(0, 1)), MetricStore::of_primary(&memory));
    count(&old, "jobs", "mail", 3.0);
    count(&other, "jobs", "mail", 10.0);
    let (gauge, _) = old.define(definition(Kind::Gauge, "open_files", &[])).unwrap();
    old.segment.add(old.series(gauge, &[]).unwrap(), 7.0);
    assert_eq!((value(&memory, "jobs", 0), value(&memory, "open_files", 0)), (Some(13.0), Some(7.0)));
    assert_eq!(memory.retire(WorkerId::new(0, 1)), 0);
    assert_eq!((value(&memory, "jobs", 0), value(&memory, "open_files", 0)), (Some(13.0), None));
    // The next one continues from there, any number of times.
    for generation in 2..8 {
        count(&MetricStore::of_worker(&memory, WorkerId::new(0, generation)), "jobs", "mail", 1.0);
        memory.retire(WorkerId::new(0, generation));
    }
    assert_eq!(value(&memory, "jobs", 0), Some(19.0));
}

#[test]
fn a_name_is_one_metric_in_all_processes_and_for_those_that_are_gone() {
    let memory = memory();
    let one = MetricStore::of_worker(&memory, WorkerId::new(0, 1));
    count(&one, "jobs", "mail", 1.0);
    let again = one.define(definition(Kind::Counter, "jobs_total", &["of"])).unwrap();
    assert_eq!(again.0, one.define(definition(Kind::Counter, "jobs", &["of"])).unwrap().0);
    for (labels, help) in [(&["by"][..], "Help."), (&["of"], "Other.")] {
        let other = Definition { help: help.to_owned(), ..definition(Kind::Counter, "jobs", labels) };
        assert!(one.define(other).unwrap_err().message.contains("exists and is another"));
    }
    let gauge =
        || MetricStore::of_worker(&memory, WorkerId::new(1, 1)).define(definition(Kind::Gauge, "jobs", &[]));
    assert!(gauge().is_err());
    memory.retire(WorkerId::new(0, 1));
    assert!(gauge().is_err());
}

#[test]
fn without_room_nothing_is_written_and_what_does_not_fit_is_counted() {
    let memory = memory();
    let mut workers = 0u32;
    let mut series = 0u32;
    // Different labels in each worker fill the retired segment.
    while memory.retired_segment().lost() == 0.0 {
        workers += 1;
        let metric_store = MetricStore::of_worker(&memory, WorkerId::new(0, workers));
        let (family, _) = metric_store.define(definition(Kind::Counter, "jobs", &["of"])).unwrap();
        while metric_store.series(family, &[format!("{:0300}", series)]).is_some() {
            series += 1;
        }
        assert!(
            metric_store
                .define(Definition { help: "x".repeat(9000), ..definition(Kind::Gauge, "a", &[]) })
                .is_err()
        );
        metric_store.segment.add(DROPPED, 1.0);
        memory.retire(WorkerId::new(0, workers));
    }
    let families = memory.metric_store();
    assert_eq!(families.dropped, f64::from(workers));
    let kept = families.by_name["jobs"].series.len() as f64;
    assert_eq!(kept + families.lost, f64::from(series));
}

proptest! {
    #[test]
    fn a_spoilt_segment_ends_and_harms_nobody(cells in proptest::collection::vec((0..200usize, any::<u64>()), 1..60)) {
        let memory = memory();
        let metric_store = MetricStore::of_worker(&memory, WorkerId::new(0, 1));
        count(&metric_store, "jobs", "mail", 1.0);
        count(&MetricStore::of_primary(&memory), "jobs", "mail", 1.0);
        for (at, value) in cells {
            metric_store.cells().set(at, value);
        }
        let _ = memory.metric_store();
        memory.retire(WorkerId::new(0, 1));
        let _ = memory.metric_store();
    }

    #[test]
    fn labels_come_back_as_they_were(label in "\\PC{0,40}", by in 0.0..1e9f64) {
        let memory = memory();
        count(&MetricStore::of_worker(&memory, WorkerId::new(1, 5)), "jobs", &label, by);
        memory.retire(WorkerId::new(1, 5));
        let families = memory.metric_store();
        let (labels, values) = families.by_name["jobs"].series.first_key_value().unwrap();
        prop_assert_eq!(&labels[0].1, &label);
        prop_assert_eq!(values[0], by);
    }
}
