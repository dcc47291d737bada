//! Metrics for Prometheus: the text format 0.0.4 and OpenMetrics 1.0. PURE.

use std::fmt::Write;

pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub use crate::model::MetricKind as Kind;

/// An exposition to which metric families are appended.
pub struct Exposition {
    text: String,
    open_metrics: bool,
    /// The family that samples belong to.
    name: String,
    kind: Kind,
}

impl Exposition {
    pub fn new(open_metrics: bool) -> Self {
        Self { text: String::new(), open_metrics, name: String::new(), kind: Kind::Gauge }
    }

    /// Begins a family; `name` is without `_total`.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) -> &mut Self {
        (self.name, self.kind) = (name.to_owned(), kind);
        let (word, suffix) = match kind {
            // In the older format a counter has the name of its samples.
            Kind::Counter => ("counter", if self.open_metrics { "" } else { "_total" }),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
        };
        let unit = ["_seconds", "_bytes"].into_iter().find(|unit| name.ends_with(unit));
        let _ = writeln!(self.text, "# HELP {name}{suffix} {}", escaped(help, false));
        let _ = writeln!(self.text, "# TYPE {name}{suffix} {word}");
        if let Some(unit) = unit.filter(|_| self.open_metrics) {
            let _ = writeln!(self.text, "# UNIT {name} {}", &unit[1..]);
        }
        self
    }

    /// A sample of a counter or a gauge.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        self.line(suffix, labels, value)
    }

    /// A histogram: the cumulative counts for each bound, the number of values and their sum.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[(f64, f64)],
        count: f64,
        sum: f64,
    ) -> &mut Self {
        for (bound, at_most) in bounds.iter().copied().chain([(f64::INFINITY, count)]) {
            let bound = number(bound);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line("_bucket", &labels, at_most);
        }
        self.line("_sum", labels, sum).line("_count", labels, count)
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{name}=\"{}\"", escaped(value, true));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", number(value));
        self
    }

    pub fn end(mut self) -> String {
        if self.open_metrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// Bounds of OpenMetrics are written with a decimal point.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        return "+Inf".to_owned();
    }
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.1}") } else { format!("{value}") }
}

fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(open_metrics: bool) -> String {
        let mut text = Exposition::new(open_metrics);
        text.family("http_requests", Kind::Counter, "Requests\nso far.")
            .sample(&[("worker", "a\"b\\c")], 3.0);
        text.family("process_resident_memory_bytes", Kind::Gauge, "Memory.").sample(&[], 1.5);
        text.family("http_request_duration_seconds", Kind::Histogram, "Times.").histogram(
            &[],
            &[(0.5, 2.0)],
            3.0,
            4.25,
        );
        text.end()
    }

    #[test]
    fn the_text_format_names_counters_by_their_samples() {
        let expected = "# HELP http_requests_total Requests\\nso far.\n\
                        # TYPE http_requests_total counter\n\
                        http_requests_total{worker=\"a\\\"b\\\\c\"} 3.0\n\
                        # HELP process_resident_memory_bytes Memory.\n\
                        # TYPE process_resident_memory_bytes gauge\n\
                        process_resident_memory_bytes 1.5\n\
                        # HELP http_request_duration_seconds Times.\n\
                        # TYPE http_request_duration_seconds histogram\n\
                        http_request_duration_seconds_bucket{le=\"0.5\"} 2.0\n\
                        http_request_duration_seconds_bucket{le=\"+Inf\"} 3.0\n\
                        http_request_duration_seconds_sum 4.25\n\
                        http_request_duration_seconds_count 3.0\n";
        assert_eq!(example(false), expected);
    }

    #[test]
    fn open_metrics_has_units_and_an_end() {
        let text = example(true);
        assert!(text.contains("# TYPE http_requests counter\nhttp_requests_total{"));
        assert!(text.contains("# UNIT process_resident_memory_bytes bytes\n"));
        assert!(text.ends_with("# EOF\n"));
    }
}
