//! User metrics: their names, their definitions, and the aggregation over processes. PURE. Sources: Prometheus' data
//! model, OpenMetrics 1.0 ("MetricFamily", "Suffixes").

use std::collections::BTreeMap;

use super::text::Kind;
use crate::error::{Code, Error, Result};
use crate::model::{Bucket, Series, SeriesValue, UserMetric};
use serde::{Deserialize, Serialize};

/// Default bounds of a histogram: seconds, as for requests.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const MAX_BUCKETS: usize = 100;
const MAX_LABELS: usize = 32;
const MAX_NAME: usize = 200;

/// Name prefixes reserved by drover.
pub const PREFIXES: [&str; 3] = ["drover_", "process_", "nodejs_"];

/// The label of drover's own series when there are too many.
pub const OTHERS: &str = "(other)";

/// Drover's own families with other prefixes; a test compares them with the exposition.
pub const RESERVED: [(&str, Kind); 10] = [
    ("http_requests", Kind::Counter),
    ("http_requests_aborted", Kind::Counter),
    ("http_affinity_mismatches", Kind::Counter),
    ("http_responses", Kind::Counter),
    ("http_connections", Kind::Counter),
    ("http_connections_open", Kind::Gauge),
    ("http_requests_in_flight", Kind::Gauge),
    ("http_request_duration_seconds", Kind::Histogram),
    ("http_received_bytes", Kind::Counter),
    ("http_sent_bytes", Kind::Counter),
];

/// A user metric. A counter's name is without `_total`, which its samples have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    pub kind: Kind,
    pub name: String,
    pub help: String,
    #[serde(default)]
    pub labels: Vec<String>,
    /// Ascending upper bounds of a histogram; values above the last one are counted too.
    #[serde(default)]
    pub buckets: Vec<f64>,
}

impl Definition {
    /// Validates and normalizes the definition.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`: a name, a help or a bound that is invalid in Prometheus, or a reserved name.
    pub fn checked(mut self) -> Result<Self> {
        if self.kind == Kind::Counter
            && let Some(base) = self.name.strip_suffix("_total")
        {
            self.name = base.to_owned();
        }
        self.check_name()?;
        if self.help.trim().is_empty() {
            return Err(fault(&self.name, "help", &self.help, "a sentence that says what is measured"));
        }
        self.check_labels()?;
        self.check_buckets()?;
        Ok(self)
    }

    fn check_name(&self) -> Result<()> {
        let Self { kind, name, .. } = self;
        if !is_name(name, true) || name.len() > MAX_NAME {
            let allowed = "letters, digits, _ and :, not a digit first, at most 200";
            return Err(fault(name, "name", name, allowed));
        }
        if *kind != Kind::Counter && name.ends_with("_total") {
            return Err(fault(
                name,
                "name",
                name,
                "an end other than _total, which says that it is a counter",
            ));
        }
        let own = RESERVED.iter().find(|(own, kind)| clash(own, *kind, name, self.kind));
        if own.is_some() || self.is_drovers() {
            let allowed = format!("a name that is not drover's own, such as app_{name}");
            return Err(fault(name, "name", name, &allowed));
        }
        Ok(())
    }

    fn check_labels(&self) -> Result<()> {
        for (index, label) in self.labels.iter().enumerate() {
            if !is_name(label, false) || label.starts_with("__") || label.len() > MAX_NAME {
                let allowed = "letters, digits and _, not a digit and not __ first";
                return Err(fault(&self.name, "label", label, allowed));
            }
            if self.kind == Kind::Histogram && label == "le" {
                return Err(fault(&self.name, "label", label, "another: the buckets of a histogram have it"));
            }
            if self.labels[..index].contains(label) {
                return Err(fault(&self.name, "label", label, "each label once"));
            }
        }
        if self.labels.len() > MAX_LABELS {
            let found = self.labels.len().to_string();
            return Err(fault(&self.name, "labels", &found, "at most 32 of them"));
        }
        Ok(())
    }

    fn check_buckets(&mut self) -> Result<()> {
        if self.kind != Kind::Histogram {
            self.buckets.clear();
            return Ok(());
        }
        if self.buckets.is_empty() {
            self.buckets = BUCKETS.to_vec();
        }
        let grows = self.buckets.windows(2).all(|pair| pair[0] < pair[1]);
        if !grows || self.buckets.len() > MAX_BUCKETS || self.buckets.iter().any(|bound| !bound.is_finite()) {
            let found = format!("{:?}", self.buckets);
            return Err(fault(
                &self.name,
                "buckets",
                &found,
                "at most 100 finite numbers, each above the last",
            ));
        }
        Ok(())
    }

    /// Whether it is one of drover's own families with a reserved prefix.
    pub fn is_drovers(&self) -> bool {
        PREFIXES.iter().any(|prefix| self.name.starts_with(prefix))
    }

    /// Number of values of a series.
    pub fn values(&self) -> usize {
        match self.kind {
            Kind::Counter | Kind::Gauge => 1,
            Kind::Histogram => self.buckets.len() + 2,
        }
    }

    /// Whether it can be aggregated with another process's definition of the same name. Labels may differ, because a
    /// new version of a program may have more of them.
    pub fn agrees(&self, other: &Self) -> bool {
        self.kind == other.kind && self.buckets == other.buckets
    }

    /// Checks that both can be in one exposition.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`
    pub fn check_beside(&self, other: &Self) -> Result<()> {
        if self.name == other.name {
            return if self.agrees(other) { Ok(()) } else { Err(self.defined_otherwise(other)) };
        }
        if clash(&self.name, self.kind, &other.name, other.kind) {
            let text = format!("a name whose samples are not those of the metric {}", other.name);
            return Err(fault(&self.name, "name", &self.name, &text));
        }
        Ok(())
    }

    /// The error of a second, different definition.
    pub fn defined_otherwise(&self, first: &Self) -> Error {
        let text = format!(
            "The metric {} exists and is another: {}; now: {}. A metric must be defined once, or each time in the same way",
            self.name,
            first.in_words(),
            self.in_words()
        );
        Error::new(Code::InvalidArgument, text).and("metric", self.name.clone().into())
    }

    fn in_words(&self) -> String {
        let kind = format!("{:?}", self.kind).to_lowercase();
        let buckets = if self.kind == Kind::Histogram {
            format!(", buckets {:?}", self.buckets)
        } else {
            String::new()
        };
        format!("a {kind} with labels [{}]{buckets}, {:?}", self.labels.join(", "), self.help)
    }
}

fn fault(metric: &str, what: &str, found: &str, allowed: &str) -> Error {
    let text = format!("The {what} of a metric ({metric:?}): found {found:?}, allowed: {allowed}");
    Error::new(Code::InvalidArgument, text).and("metric", metric.into())
}

fn is_name(text: &str, is_metric: bool) -> bool {
    let fits = |(at, outgoing): (usize, char)| match outgoing {
        'a'..='z' | 'A'..='Z' | '_' => true,
        ':' => is_metric,
        '0'..='9' => at > 0,
        _ => false,
    };
    !text.is_empty() && text.char_indices().all(fits)
}

/// The suffixes with which samples of this family are named.
fn suffixes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Counter => &["", "_total", "_created"],
        Kind::Gauge => &[""],
        Kind::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
    }
}

fn clash(one: &str, kind: Kind, other: &str, other_kind: Kind) -> bool {
    let claims =
        |name: &str, kind| suffixes(kind).iter().map(move |end| format!("{name}{end}")).collect::<Vec<_>>();
    let others = claims(other, other_kind);
    claims(one, kind).iter().any(|claim| others.contains(claim))
}

/// Label and value, in the order of the labels' names.
pub type Labels = Vec<(String, String)>;

pub struct Family {
    pub definition: Definition,
    /// The values of each series, [`Definition::values`] of them.
    pub series: BTreeMap<Labels, Vec<f64>>,
}

/// The aggregated metrics of several processes.
#[derive(Default)]
pub struct Families {
    /// By name; each has at least one series.
    pub by_name: BTreeMap<String, Family>,
    /// Values dropped for lack of room for their series.
    pub dropped: f64,
    /// Series of ended workers dropped for lack of room.
    pub lost: f64,
    /// Series omitted because another process has defined their metric differently.
    pub conflicts: u32,
}

impl Families {
    /// Adds a series: values of the same labels are summed.
    pub fn add(&mut self, definition: &Definition, labels: &[String], values: &[f64]) {
        let name = definition.name.clone();
        let new = || Family { definition: definition.clone(), series: BTreeMap::new() };
        let family = self.by_name.entry(name).or_insert_with(new);
        if !family.definition.agrees(definition) {
            self.conflicts += 1;
            return;
        }
        let mut key: Labels = definition.labels.iter().cloned().zip(labels.iter().cloned()).collect();
        key.sort();
        let sums = family.series.entry(key).or_insert_with(|| vec![0.0; values.len()]);
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }

    /// The program's own.
    pub fn user_metrics(&self) -> BTreeMap<String, UserMetric> {
        let own = self.by_name.iter().filter(|(_, family)| !family.definition.is_drovers());
        let metrics = own.map(|(name, Family { definition, series })| {
            let values = series.iter().map(|(labels, values)| one(definition, labels, values)).collect();
            (name.clone(), UserMetric { kind: definition.kind, help: definition.help.clone(), values })
        });
        metrics.collect()
    }
}

fn one(definition: &Definition, labels: &Labels, values: &[f64]) -> Series {
    let labels = labels.iter().cloned().collect();
    if definition.kind != Kind::Histogram {
        return Series { labels, value: SeriesValue::Number { value: values[0] } };
    }
    let Spread { bounds, count, sum } = spread(definition, values);
    let buckets = bounds.into_iter().map(|(le, count)| Bucket { le, count }).collect();
    Series { labels, value: SeriesValue::Histogram { count, sum, buckets } }
}

/// A histogram as it is published.
pub struct Spread {
    /// How many values are at most each bound.
    pub bounds: Vec<(f64, f64)>,
    pub count: f64,
    pub sum: f64,
}

pub fn spread(definition: &Definition, values: &[f64]) -> Spread {
    let mut count = 0.0;
    let bounds = definition.buckets.iter().zip(values).map(|(bound, within)| {
        count += within;
        (*bound, count)
    });
    let bounds: Vec<(f64, f64)> = bounds.collect();
    let [.., above, sum] = values else { return Spread { bounds, count, sum: 0.0 } };
    Spread { bounds, count: count + above, sum: *sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn define(kind: Kind, name: &str, labels: &[&str]) -> Result<Definition> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Definition { kind, name: name.to_owned(), help: "Help.".to_owned(), labels, buckets: Vec::new() }
            .checked()
    }

    #[test]
    fn what_prometheus_would_not_read_is_refused_with_a_reason() {
        for (kind, name, labels, reason) in [
            (Kind::Counter, "1st", &[][..], "not a digit first"),
            (Kind::Gauge, "", &[], "letters"),
            (Kind::Gauge, "with space", &[], "letters"),
            (Kind::Gauge, "größe", &[], "letters"),
            (Kind::Gauge, "jobs_total", &[], "_total"),
            (Kind::Counter, "http_requests_total", &[], "app_http_requests"),
            (Kind::Gauge, "http_request_duration_seconds_count", &[], "drover's own"),
            (Kind::Gauge, "drover_things", &[], "drover's own"),
            (Kind::Counter, "jobs", &["a-b"], "label"),
            (Kind::Counter, "jobs", &["__a"], "label"),
            (Kind::Counter, "jobs", &["a", "a"], "each label once"),
            (Kind::Histogram, "jobs", &["le"], "buckets"),
        ] {
            let error = define(kind, name, labels).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument);
            assert!(error.message.contains(reason), "{name}: {}", error.message);
        }
        let growing = Definition { buckets: vec![1.0, 1.0], ..define(Kind::Histogram, "a", &[]).unwrap() };
        assert!(growing.checked().unwrap_err().message.contains("each above the last"));
        let silent = Definition { help: " ".into(), ..define(Kind::Gauge, "a", &[]).unwrap() };
        assert!(silent.checked().is_err());
    }

    #[test]
    fn a_counter_is_one_with_its_suffix_or_without() {
        let (with, without) =
            (define(Kind::Counter, "jobs_total", &["a"]), define(Kind::Counter, "jobs", &["a"]));
        assert_eq!(with, without);
        assert_eq!(with.unwrap().name, "jobs");
    }

    #[test]
    fn one_name_is_one_metric_and_samples_have_one_family() {
        let counter = define(Kind::Counter, "jobs", &[]).unwrap();
        for (kind, name, fits) in [
            (Kind::Counter, "jobs", true),
            (Kind::Gauge, "jobs", false),
            (Kind::Gauge, "jobs_created", false),
            (Kind::Gauge, "jobs_open", true),
        ] {
            assert_eq!(
                define(kind, name, &[]).unwrap().check_beside(&counter).is_ok(),
                fits,
                "{kind:?} {name}"
            );
        }
        // A new version of a program may have one label more, but not other buckets.
        assert!(define(Kind::Counter, "jobs", &["queue"]).unwrap().check_beside(&counter).is_ok());
        let histogram = define(Kind::Histogram, "wait", &[]).unwrap();
        let other = Definition { buckets: vec![1.0], ..histogram.clone() };
        assert!(other.check_beside(&histogram).unwrap_err().message.contains("exists and is another"));
    }

    #[test]
    fn what_processes_have_counted_is_summed_by_labels() {
        let counter = define(Kind::Counter, "jobs", &["queue", "done"]).unwrap();
        let turned = define(Kind::Counter, "jobs", &["done", "queue"]).unwrap();
        let mut families = Families::default();
        families.add(&counter, &["mail".into(), "yes".into()], &[2.0]);
        families.add(&turned, &["yes".into(), "mail".into()], &[3.0]);
        families.add(&counter, &["mail".into(), "no".into()], &[1.0]);
        families.add(&define(Kind::Gauge, "jobs", &[]).unwrap(), &[], &[1.0]);
        assert_eq!(families.conflicts, 1);
        let expected = json!({ "jobs": { "type": "counter", "help": "Help.", "values": [
            { "labels": { "done": "no", "queue": "mail" }, "value": 1.0 },
            { "labels": { "done": "yes", "queue": "mail" }, "value": 5.0 },
        ] } });
        assert_eq!(json!(families.user_metrics()), expected);
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let histogram =
            Definition { buckets: vec![1.0, 2.0], ..define(Kind::Histogram, "wait", &[]).unwrap() };
        let mut families = Families::default();
        families.add(&histogram, &[], &[3.0, 1.0, 2.0, 12.5]);
        let listed = json!(families.user_metrics());
        let value = &listed["wait"]["values"][0];
        let buckets = json!([{ "le": 1.0, "count": 3.0 }, { "le": 2.0, "count": 4.0 }]);
        assert_eq!(*value, json!({ "labels": {}, "count": 6.0, "sum": 12.5, "buckets": buckets }));
    }
}
