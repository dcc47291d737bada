//! Faults of a configuration as data: the place, the value found, the values allowed. All faults are reported together.
//! They never contain a secret: its `found` only says that it is not shown.

use crate::error::{Code, Error};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;

/// One fault, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The path as the user wrote it (`cluster.config.workers`), or the name of an environment variable.
    pub path: String,
    pub found: String,
    pub allowed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}; allowed: {}", self.path, self.found, self.allowed)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// One error for all faults: a headline, then a line for each.
pub fn report(faults: &[Fault]) -> Error {
    let noun = if faults.len() == 1 { "fault" } else { "faults" };
    let lines: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
    let message = format!("The configuration has {} {noun}:\n{}", faults.len(), lines.join("\n"));
    Error::new(Code::ConfigurationInvalid, message).with(json!({ "faults": faults }))
}

const MAX_SHOWN: usize = 60;

/// A short description of a value. Strings are quoted, with control characters escaped, and cut if long.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > MAX_SHOWN => {
            let start: String = text.chars().take(MAX_SHOWN).collect();
            format!("{start:?} and more")
        }
        Value::String(text) => format!("{text:?}"),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        other => type_of(other),
    }
}

/// The type of a value, without its content. A value that JSON cannot express is represented by a marker, an object
/// with one key such as `$function`, and is described by that type.
pub fn type_of(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(_) => "a boolean".into(),
        Value::Number(_) => "a number".into(),
        Value::String(_) => "a string".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => match marker(value) {
            Some(kind) => format!("a {kind}"),
            None => "an object".into(),
        },
    }
}

/// The type that a marker names: `function` for `{ "$function": "check" }`.
pub fn marker(value: &Value) -> Option<&str> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.keys().next()?.strip_prefix('$')
}

/// Minimum similarity of a word to a name that it may be a misspelling of.
const ALIKE: f64 = 0.55;

/// The candidate of which `word` is most probably a misspelling, if any is similar.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(&word, &candidate.to_lowercase()), candidate)
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// The result of `nearest` as a hint.
pub fn did_you_mean(candidate: &str) -> String {
    format!("did you mean {candidate}?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_typing_mistakes_and_leaves_strangers_alone() {
        let known = ["maxRestarts", "restartDelay", "respawn"];
        for (word, expected) in [
            ("maxRestart", Some("maxRestarts")),
            ("MAXRESTARTS", Some("maxRestarts")),
            ("restratDelay", Some("restartDelay")),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn the_message_has_a_line_for_each_fault_and_the_details_all_of_them() {
        let fault = |path: &str, hint: Option<&str>| Fault {
            path: path.into(),
            found: "0".into(),
            allowed: "more".into(),
            hint: hint.map(str::to_owned),
        };
        let error = report(&[fault("a.b", None), fault("c", Some("d"))]);
        assert_eq!(
            error.message,
            "The configuration has 2 faults:\n  a.b: found 0; allowed: more\n  c: found 0; allowed: more (d)"
        );
        assert_eq!(error.details["faults"][1]["hint"], "d");
        assert!(error.details["faults"][0].get("hint").is_none());
    }

    #[test]
    fn values_are_shown_short_and_on_one_line() {
        for (value, expected) in [
            (json!("a\nb"), "\"a\\nb\""),
            (json!({ "$function": "check" }), "a function"),
            (json!({ "a": 1 }), "an object"),
            (json!([1]), "a list"),
            (json!(null), "nothing"),
        ] {
            assert_eq!(shown(&value), expected);
        }
        assert!(shown(&json!("x".repeat(500))).len() < 80);
    }
}
