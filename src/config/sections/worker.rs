//! The number of workers and what they run: the top-level keys of a ClusterConfig.

use crate::config::fault::did_you_mean;
use crate::config::fault::nearest;
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape, whole};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// The largest number of slots, and so of workers.
pub use crate::model::MAX_WORKERS;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[AT_THE_TOP];

/// Their fields are in `Config`.
const AT_THE_TOP: &[Key] = &[
    Key::new(
        "enabled",
        Kind::Bool,
        "serve with workers; otherwise in one process (default of `ClusterManager`: true)",
    ).with_default("false"),
    Key::new(
        "workers",
        Kind::Shaped(&WORKERS),
        "number of workers: a number, `'max'` (every usable CPU) or `'auto'` (usable CPUs less `reserveCores`, limited by memory)",
    ).with_default(r#""auto""#),
    Key::new("reserveCores", Kind::Whole { min: 0, max: 1024 }, "CPUs that `'auto'` leaves free").with_default("0"),
    Key::new(
        "exec",
        Kind::Text,
        "the script of the workers, a path relative to their folder or a file URL (default: the running script)",
    ).with_default("null"),
    Key::new("args", Kind::Texts, "its arguments (default: the primary's)").with_default("null"),
    Key::new("execArgv", Kind::Texts, "the runtime's arguments (default: the primary's)").with_default("null"),
    Key::new(
        "env",
        Kind::Shaped(&ENVIRONMENT),
        "environment variables of the workers in addition to the primary's; null removes one",
    ).with_default("{}"),
    Key::new("cwd", Kind::Text, "their working directory (default: the primary's when the cluster is created)").with_default("null"),
    Key::new("interpreter", Kind::Text, "the program that runs the script (default: the primary's own)").with_default("null"),
];

const WORKERS: Shape =
    Shape { allowed: "a whole number from 1 to 1024, 'auto' or 'max'", read: read_workers, shown: true };

fn read_workers(raw: &Value) -> Result<Value, Refusal> {
    if let Some(text) = raw.as_str().map(str::trim) {
        return match text.parse::<u64>() {
            Ok(count) => read_workers(&json!(count)),
            Err(_) if matches!(text, "auto" | "max") => Ok(json!(text)),
            Err(_) => Err(nearest(text, ["auto", "max"]).map(did_you_mean)),
        };
    }
    let count = whole(raw).filter(|count| (1..=u64::from(MAX_WORKERS)).contains(count));
    count.map(Value::from).ok_or(None)
}

const ENVIRONMENT: Shape = Shape {
    allowed: "an object of strings, numbers, booleans and null",
    read: read_environment,
    shown: false,
};

/// Variables of drover that identify a worker.
fn is_reserved(name: &str) -> bool {
    name == "CLUSTER_WORKER" || name.starts_with("DROVER_")
}

fn read_environment(raw: &Value) -> Result<Value, Refusal> {
    let mut variables = Map::new();
    for (name, value) in raw.as_object().ok_or(None)? {
        let text = match value {
            Value::Null => Value::Null,
            Value::String(_) => value.clone(),
            Value::Number(_) | Value::Bool(_) => Value::String(value.to_string()),
            Value::Array(_) | Value::Object(_) => return Err(Some(format!("{name} is none of these"))),
        };
        // A copy of a worker's own environment contains what every worker gets anyway.
        if is_reserved(name) && !(name == "CLUSTER_WORKER" && text == "true") {
            return Err(Some(format!("{name} is drover's own in a worker")));
        }
        if name.is_empty()
            || name.contains(['=', '\0'])
            || text.as_str().is_some_and(|text| text.contains('\0'))
        {
            return Err(Some(format!(
                "{name:?} or its value has a character that is not allowed in environment variables"
            )));
        }
        variables.insert(name.clone(), text);
    }
    Ok(Value::Object(variables))
}

/// The configured number of workers; [`crate::config::Loaded::worker_count`] is the actual number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "Value")]
pub enum Workers {
    Auto,
    Max,
    #[serde(untagged)]
    Count(u16),
}

impl TryFrom<Value> for Workers {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let count = value.as_u64().and_then(|count| u16::try_from(count).ok()).map(Workers::Count);
        match value.as_str() {
            Some("auto") => Ok(Workers::Auto),
            Some("max") => Ok(Workers::Max),
            Some(_) | None => count.ok_or_else(|| format!("{value} is not a number of workers")),
        }
    }
}

/// Variables for the workers; None: removed. Their values may be secrets of the user, so `Debug` shows only the names.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerEnvironment(pub BTreeMap<String, Option<String>>);

impl fmt::Debug for WorkerEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_a_number_auto_or_max() {
        for (raw, expected) in [
            (json!(4), Some(json!(4))),
            (json!("4"), Some(json!(4))),
            (json!("auto"), Some(json!("auto"))),
            (json!("max"), Some(json!("max"))),
            (json!(1024), Some(json!(1024))),
            (json!(1025), None),
            (json!(0), None),
            (json!("0"), None),
            (json!("many"), None),
            (json!(true), None),
        ] {
            assert_eq!(read_workers(&raw).ok(), expected, "{raw}");
        }
    }

    #[test]
    fn variables_become_texts_and_no_value_is_told() {
        let raw = json!({ "PORT": 80, "DEBUG": true, "NAME": "a", "GONE": null });
        let read = json!({ "PORT": "80", "DEBUG": "true", "NAME": "a", "GONE": null });
        assert_eq!(read_environment(&raw), Ok(read));
        let refusal = read_environment(&json!({ "TOKEN": ["hunter2"] })).unwrap_err().unwrap();
        assert!(refusal.contains("TOKEN") && !refusal.contains("hunter2"));
        let typed = WorkerEnvironment(BTreeMap::from([("TOKEN".into(), Some("hunter2".into()))]));
        assert_eq!(format!("{typed:?}"), r#"{"TOKEN"}"#);
    }

    #[test]
    fn what_a_worker_knows_itself_by_is_drovers() {
        for (name, value) in
            [("CLUSTER_WORKER", json!(null)), ("CLUSTER_WORKER", json!("")), ("DROVER_CHANNEL", json!("1"))]
        {
            let refusal = read_environment(&json!({ name: value })).unwrap_err().unwrap();
            assert!(refusal.contains(name), "{refusal}");
        }
        assert!(read_environment(&json!({ "CLUSTER_WORKER": "true" })).is_ok());
        for bad in ["", "A=B", "A\0"] {
            assert!(read_environment(&json!({ bad: "1" })).is_err(), "{bad:?}");
        }
        assert!(read_environment(&json!({ "A": "\0" })).is_err());
    }
}
