//! Message counts by type: a process counts its program's messages in its segment, every process reads the sum.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::instrument::{Definition, Families, Family, OTHERS, Spread, spread};
use super::memory::MetricStore;
use super::text::Kind;
use crate::ipc::endpoint::Tally;
use crate::model::MessageCounts;

/// Maximum number of types that a process counts separately; all further ones are counted as OTHERS.
const MAX_TYPES: usize = 64;
/// Maximum bytes of a type's name.
const MAX_TYPE: usize = 100;

const SENT: &str = "drover_messages_sent";
const RECEIVED: &str = "drover_messages_received";
const ANSWERS: &str = "drover_message_answer_seconds";
const ANSWERED: &str = "answered";
const FAILED: &str = "failed";
/// Seconds.
const BOUNDS: [f64; 7] = [0.0001, 0.0003, 0.001, 0.01, 0.1, 1.0, 10.0];

/// The cell of a type's counter, allocated with its first message.
#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    Unknown,
    At(usize),
    /// The segment has no room for it.
    Nowhere,
}

#[derive(Default)]
struct Places {
    sent: Place,
    received: Place,
    answered: Place,
    failed: Place,
}

/// The messages of this process's program.
pub struct MessageTally {
    metric_store: MetricStore,
    /// The index of each type's cells.
    types: HashMap<String, usize>,
    places: Vec<Places>,
    /// The type of the last message, which is usually the type of the next one.
    last: (String, usize),
}

impl MessageTally {
    pub fn new(metric_store: MetricStore) -> Self {
        let others = HashMap::from([(OTHERS.to_owned(), 0)]);
        Self { metric_store, types: others, places: vec![Places::default()], last: (OTHERS.to_owned(), 0) }
    }

    fn places_of(&mut self, kind: &str) -> usize {
        if self.last.0 == kind {
            return self.last.1;
        }
        let at = match self.types.get(kind) {
            Some(at) => *at,
            None if self.types.len() > MAX_TYPES => return 0,
            None => {
                self.types.insert(kind.to_owned(), self.places.len());
                self.places.push(Places::default());
                self.places.len() - 1
            }
        };
        self.last.0.clear();
        self.last.0.push_str(kind);
        self.last.1 = at;
        at
    }

    fn find(
        &mut self,
        kind: &str,
        which: fn(&mut Places) -> &mut Place,
        family: fn() -> Definition,
        labels: &[&str],
    ) -> Option<usize> {
        let at = self.places_of(kind);
        let place = which(&mut self.places[at]);
        if let Place::Unknown = place {
            let kind = if at == 0 { OTHERS } else { shortened(kind) };
            let labels: Vec<String> =
                std::iter::once(kind).chain(labels.iter().copied()).map(str::to_owned).collect();
            let at = self
                .metric_store
                .own_family(&family())
                .and_then(|family| self.metric_store.series(family, &labels));
            *place = at.map_or(Place::Nowhere, Place::At);
        }
        match *place {
            Place::At(at) => Some(at),
            Place::Unknown | Place::Nowhere => {
                self.metric_store.drop_value();
                None
            }
        }
    }
}

impl Tally for MessageTally {
    fn sent(&mut self, kind: &str) {
        if let Some(at) = self.find(kind, |places| &mut places.sent, sent, &[]) {
            self.metric_store.add(at, 1.0);
        }
    }

    fn received(&mut self, kind: &str) {
        if let Some(at) = self.find(kind, |places| &mut places.received, received, &[]) {
            self.metric_store.add(at, 1.0);
        }
    }

    fn settled(&mut self, kind: &str, failed: bool, waited: Duration) {
        let found = if failed {
            self.find(kind, |places| &mut places.failed, answers, &[FAILED])
        } else {
            self.find(kind, |places| &mut places.answered, answers, &[ANSWERED])
        };
        let Some(first) = found else { return };
        let seconds = waited.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.metric_store.add(first + bucket, 1.0);
        self.metric_store.add(first + BOUNDS.len() + 1, seconds);
    }
}

fn shortened(kind: &str) -> &str {
    let end = (0..=MAX_TYPE.min(kind.len())).rev().find(|end| kind.is_char_boundary(*end));
    &kind[..end.unwrap_or(0)]
}

fn sent() -> Definition {
    define(Kind::Counter, SENT, "Messages that programs sent, by type.", &["type"])
}

fn received() -> Definition {
    define(Kind::Counter, RECEIVED, "Messages that programs received, by type.", &["type"])
}

fn answers() -> Definition {
    let help = "Time from a request to its response or failure, by type.";
    Definition { buckets: BOUNDS.to_vec(), ..define(Kind::Histogram, ANSWERS, help, &["type", "result"]) }
}

fn define(kind: Kind, name: &str, help: &str, labels: &[&str]) -> Definition {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Definition { kind, name: name.to_owned(), help: help.to_owned(), labels, buckets: Vec::new() }
}

#[derive(Default)]
struct TypeTotals {
    sent: f64,
    received: f64,
    answered: f64,
    failed: f64,
    seconds: f64,
}

/// By type.
pub fn counts(families: &Families) -> BTreeMap<String, MessageCounts> {
    let mut types: BTreeMap<&str, TypeTotals> = BTreeMap::new();
    for name in [SENT, RECEIVED, ANSWERS] {
        let Some(Family { definition, series }) = families.by_name.get(name) else { continue };
        for (labels, values) in series {
            let label =
                |of: &str| labels.iter().find(|(label, _)| label == of).map(|(_, value)| value.as_str());
            let totals = types.entry(label("type").unwrap_or_default()).or_default();
            match name {
                SENT => totals.sent += values[0],
                RECEIVED => totals.received += values[0],
                _ => {
                    let Spread { count, sum, .. } = spread(definition, values);
                    totals.seconds += sum;
                    *(if label("result") == Some(FAILED) {
                        &mut totals.failed
                    } else {
                        &mut totals.answered
                    }) += count;
                }
            }
        }
    }
    let each = types.into_iter().map(|(kind, TypeTotals { sent, received, answered, failed, seconds })| {
        let settled = answered + failed;
        let average = if settled > 0.0 { seconds * 1000.0 / settled } else { 0.0 };
        let counts = MessageCounts {
            sent: sent as u64,
            received: received as u64,
            answered: answered as u64,
            failed: failed as u64,
            average_time: average,
        };
        (kind.to_owned(), counts)
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::layout::header;
    use crate::metrics::memory::SharedMemory;
    use crate::model::WorkerId;

    fn memory() -> SharedMemory {
        let (memory, _memfds) = SharedMemory::create(0).unwrap();
        memory.set(header::SLOTS, 1);
        memory
    }

    #[test]
    fn what_all_processes_counted_is_told_by_type_and_outlives_them() {
        let memory = memory();
        let mut worker = MessageTally::new(MetricStore::of_worker(&memory, WorkerId::new(0, 1)));
        let mut primary = MessageTally::new(MetricStore::of_primary(&memory));
        for waited in [2, 4] {
            worker.sent("job");
            primary.received("job");
            worker.settled("job", waited == 4, Duration::from_millis(waited));
        }
        worker.received("news");
        let zero = MessageCounts { sent: 0, received: 0, answered: 0, failed: 0, average_time: 0.0 };
        let job = MessageCounts { sent: 2, received: 2, answered: 1, failed: 1, average_time: 3.0 };
        let news = MessageCounts { received: 1, ..zero };
        let expected = BTreeMap::from([("job".to_owned(), job), ("news".to_owned(), news)]);
        assert_eq!(counts(&memory.metric_store()), expected);
        memory.retire(WorkerId::new(0, 1));
        assert_eq!(counts(&memory.metric_store()), expected);
        assert_eq!(memory.metric_store().user_metrics(), BTreeMap::new(), "they are not the program's own");
    }

    #[test]
    fn types_beyond_the_most_are_counted_together_and_long_ones_cut() {
        let memory = memory();
        let mut tally = MessageTally::new(MetricStore::of_primary(&memory));
        for number in 0..MAX_TYPES + 10 {
            tally.sent(&format!("type {number}"));
        }
        tally.sent("type 0");
        let all = counts(&memory.metric_store());
        assert_eq!((all["type 0"].sent, all[OTHERS].sent), (2, 10));
        assert_eq!(all.len(), MAX_TYPES + 1);
        let mut tally = MessageTally::new(MetricStore::of_worker(&memory, WorkerId::new(0, 1)));
        tally.sent(&"ä".repeat(5000));
        assert_eq!(counts(&memory.metric_store())[&"ä".repeat(50)].sent, 1);
    }

    #[test]
    fn types_of_workers_that_are_gone_do_not_take_all_the_room() {
        let memory = memory();
        for generation in 1..40 {
            let mut tally = MessageTally::new(MetricStore::of_worker(&memory, WorkerId::new(0, generation)));
            for number in 0..MAX_TYPES {
                tally.sent(&format!("reply {generation}.{number}"));
            }
            assert_eq!(memory.retire(WorkerId::new(0, generation)), 0, "nothing is lost");
        }
        let all = counts(&memory.metric_store());
        assert_eq!(all.len(), 257);
        let sum: u64 = all.values().map(|counts| counts.sent).sum();
        assert_eq!(sum, 39 * MAX_TYPES as u64);
    }

    #[test]
    fn what_finds_no_room_is_counted_as_dropped() {
        let memory = memory();
        let metric_store = MetricStore::of_primary(&memory);
        let family = metric_store.own_family(&sent()).unwrap();
        while metric_store.series(family, &["x".repeat(100)]).is_some() {}
        while metric_store.series(family, &[String::new()]).is_some() {}
        let mut tally = MessageTally::new(metric_store);
        tally.sent("job");
        tally.sent("job");
        assert!((memory.metric_store().dropped - 2.0).abs() < f64::EPSILON);
    }
}
