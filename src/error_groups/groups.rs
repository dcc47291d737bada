//! Error groups: counts, first and last time, workers, and the trend.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::fingerprint::fingerprint;
use super::{Class, Occurrence};
use crate::event::{Level, head};

/// Length of the trend in minutes.
const MINUTES: usize = 60;
const MINUTE_MS: u64 = 60_000;
/// Maximum bytes of a message and of a stack.
const MAX_MESSAGE: usize = 2000;
const MAX_STACK: usize = 8000;

struct Entry {
    class: Class,
    /// The highest severity so far.
    severity: Level,
    /// The latest message.
    message: String,
    stack: Option<String>,
    count: u64,
    first: u64,
    last: u64,
    workers: BTreeSet<String>,
    /// Counts per minute; the minute `minute` is at `minute % MINUTES`.
    trend: [u32; MINUTES],
    minute: u64,
}

/// The result of recording an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub fingerprint: String,
    /// Errors of this group so far.
    pub count: u64,
}

/// Times are milliseconds since 1970.
pub struct Groups {
    most: usize,
    entries: HashMap<String, Entry>,
    /// Number of evicted groups.
    dropped: u64,
}

impl Groups {
    /// `most`: maximum number of groups.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), entries: HashMap::new(), dropped: 0 }
    }

    pub fn note(&mut self, occurrence: &Occurrence, now_ms: u64) -> Noted {
        let key = fingerprint(occurrence);
        if !self.entries.contains_key(&key) && self.entries.len() >= self.most {
            self.make_room();
        }
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(occurrence, now_ms));
        entry.add(occurrence, now_ms);
        Noted { fingerprint: key, count: entry.count }
    }

    fn make_room(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(key, entry)| (entry.last, (*key).clone()));
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.entries.remove(&key);
            self.dropped += 1;
        }
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The latest first.
    pub fn list(&self, now_ms: u64) -> Vec<Value> {
        let mut entries: Vec<(&String, &Entry)> = self.entries.iter().collect();
        entries.sort_by_key(|(key, entry)| (std::cmp::Reverse(entry.last), (*key).clone()));
        entries.into_iter().map(|(key, entry)| entry.view(key, now_ms)).collect()
    }
}

impl Entry {
    fn new(occurrence: &Occurrence, now_ms: u64) -> Self {
        Self {
            class: occurrence.class,
            severity: occurrence.severity,
            message: String::new(),
            stack: None,
            count: 0,
            first: now_ms,
            last: now_ms,
            workers: BTreeSet::new(),
            trend: [0; MINUTES],
            minute: now_ms / MINUTE_MS,
        }
    }

    fn add(&mut self, occurrence: &Occurrence, now_ms: u64) {
        self.roll_to(now_ms / MINUTE_MS);
        self.count += 1;
        // If the clock was set back, time does not go back here.
        self.last = self.last.max(now_ms);
        self.severity = self.severity.max(occurrence.severity);
        self.message = head(&occurrence.message, MAX_MESSAGE).to_owned();
        let stack = occurrence.stack.as_deref().map(|stack| head(stack, MAX_STACK).to_owned());
        self.stack = stack.or_else(|| self.stack.take());
        self.workers.extend(occurrence.worker.clone());
        let at = self.minute as usize % MINUTES;
        self.trend[at] = self.trend[at].saturating_add(1);
    }

    /// Advances the trend; minutes without errors count 0.
    fn roll_to(&mut self, minute: u64) {
        let passed = minute.saturating_sub(self.minute).min(MINUTES as u64);
        for step in 1..=passed {
            self.trend[(self.minute + step) as usize % MINUTES] = 0;
        }
        if passed == MINUTES as u64 {
            self.trend = [0; MINUTES];
        }
        self.minute = self.minute.max(minute);
    }

    /// The last hour, the current minute last.
    fn trend(&self, now_ms: u64) -> Vec<u32> {
        let now = (now_ms / MINUTE_MS).max(self.minute);
        let count = |back: u64| {
            let minute = now.checked_sub(back)?;
            let is_kept = minute <= self.minute && minute + MINUTES as u64 > self.minute;
            is_kept.then(|| self.trend[minute as usize % MINUTES])
        };
        (0..MINUTES as u64).rev().map(|back| count(back).unwrap_or(0)).collect()
    }

    fn view(&self, key: &str, now_ms: u64) -> Value {
        json!({
            "fingerprint": key,
            "class": self.class,
            "severity": self.severity,
            "message": self.message,
            "count": self.count,
            "first": self.first,
            "last": self.last,
            "workers": self.workers,
            "stack": self.stack,
            "trend": self.trend(now_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn occurrence(message: &str, worker: &str) -> Occurrence {
        Occurrence {
            class: Class::UncaughtException,
            severity: Level::Error,
            message: message.into(),
            worker: Some(worker.into()),
            stack: None,
        }
    }

    #[test]
    fn one_kind_is_counted_with_its_workers_and_times() {
        let mut groups = Groups::new(10);
        groups.note(&occurrence("no order 7", "1"), 1_000_000);
        let noted = groups.note(&occurrence("no order 8", "0"), 1_090_000);
        assert_eq!(noted.count, 2);
        let listed = groups.list(1_100_000);
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["message"], "no order 8");
        assert_eq!((&listed[0]["count"], &listed[0]["first"]), (&json!(2), &json!(1_000_000)));
        assert_eq!(listed[0]["workers"], json!(["0", "1"]));
        let trend = listed[0]["trend"].as_array().unwrap();
        assert_eq!((trend.len(), &trend[59], &trend[58]), (60, &json!(1), &json!(0)));
    }

    #[test]
    fn more_kinds_than_are_kept_drop_the_oldest_and_say_so() {
        let mut groups = Groups::new(2);
        for (at, message) in [(1, "a"), (2, "b"), (3, "a"), (4, "c")] {
            groups.note(&occurrence(message, "0"), at);
        }
        let kept: Vec<String> = groups.list(5).iter().map(|entry| entry["message"].to_string()).collect();
        assert_eq!(kept, ["\"c\"", "\"a\""]);
        assert_eq!(groups.dropped(), 1);
    }

    proptest! {
        /// The trend equals the one computed from a list of all times.
        #[test]
        fn the_trend_counts_each_minute_of_the_last_hour(steps in prop::collection::vec(0u64..400_000, 1..80)) {
            let mut groups = Groups::new(1);
            let mut now = 100_000_000;
            let mut times = Vec::new();
            for step in steps {
                now += step;
                times.push(now);
                groups.note(&occurrence("x", "0"), now);
                let minute = now / MINUTE_MS;
                let expected: Vec<u64> = (0..60)
                    .rev()
                    .map(|back| times.iter().filter(|time| *time / MINUTE_MS == minute - back).count() as u64)
                    .collect();
                prop_assert_eq!(&groups.list(now)[0]["trend"], &json!(expected));
            }
        }
    }
}
