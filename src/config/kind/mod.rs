//! The kinds of option values: each converts a raw value to its canonical form or refuses it, and describes what it
//! allows. Nothing here depends on the name of a key.

use super::fault::{did_you_mean, marker, nearest};
use super::units::{self, MIB};
use serde_json::{Value, json};

/// Why a value was refused, in addition to `allowed`: a hint, if there is one.
pub type Refusal = Option<String>;

/// The kind of an option's values. The typed configuration is read from the canonical form.
#[derive(Clone, Copy)]
pub enum Kind {
    Bool,
    Whole {
        min: u64,
        max: u64,
    },
    Number {
        min: f64,
        max: f64,
    },
    /// Canonical: milliseconds.
    Duration {
        min: u64,
    },
    /// Canonical: bytes; `min` too.
    Size {
        min: u64,
    },
    /// A number of MB, or a string as for `Size`. Canonical: bytes; `min` too.
    Megabytes {
        min: u64,
    },
    Choice(&'static [&'static str]),
    Text,
    /// A string that is never shown, of at least `min` characters.
    Secret {
        min: usize,
    },
    Texts,
    Function,
    /// One function or a list of them. Canonical: a list.
    Functions,
    /// Not checked by drover: passed to Node unchanged.
    Any,
    /// A special form with its own reader.
    Shaped(&'static Shape),
}

/// A form that only one or two options use.
pub struct Shape {
    pub allowed: &'static str,
    pub read: fn(&Value) -> Result<Value, Refusal>,
    /// Whether a refused value may be shown.
    pub shown: bool,
}

/// Sixteen TiB in MB: a larger "number of MB" is a number of bytes.
const MAX_MEGABYTES: u64 = 1 << 24;

impl Kind {
    pub const COUNT: Kind = Kind::Whole { min: 1, max: u32::MAX as u64 };
    pub const PERCENT: Kind = Kind::Number { min: 0.0, max: 100.0 };
    /// Percent of one core; a process with threads passes 100.
    pub const CPU: Kind = Kind::Number { min: 1.0, max: 102_400.0 };
    /// A limit on a process's memory; Node.js itself needs about 32 MB.
    pub const MEMORY_LIMIT: Kind = Kind::Size { min: 32 * MIB };
    pub const STATUS: Kind = Kind::Whole { min: 100, max: 599 };
    pub const FROM_ZERO: Kind = Kind::Duration { min: 0 };
    pub const TIME: Kind = Kind::Duration { min: 1 };

    /// Whether a refused value may be shown to the user. Command lines may contain secrets.
    pub fn may_be_shown(&self) -> bool {
        match self {
            Kind::Secret { .. } | Kind::Texts => false,
            Kind::Shaped(shape) => shape.shown,
            _ => true,
        }
    }

    pub fn is_secret(&self) -> bool {
        matches!(self, Kind::Secret { .. })
    }

    /// The canonical form of `raw`, which is not null.
    pub fn read(&self, raw: &Value) -> Result<Value, Refusal> {
        match *self {
            Kind::Bool => raw.as_bool().map(Value::from).ok_or_else(|| quoted(raw)),
            Kind::Whole { min, max } => match whole(raw) {
                Some(number) if (min..=max).contains(&number) => Ok(json!(number)),
                _ => Err(quoted(raw)),
            },
            Kind::Number { min, max } => match raw.as_f64() {
                Some(number) if (min..=max).contains(&number) => Ok(raw.clone()),
                _ => Err(quoted(raw)),
            },
            Kind::Duration { min } => {
                units::milliseconds(raw).filter(|time| *time >= min).map(Value::from).ok_or(None)
            }
            Kind::Size { min } => {
                units::bytes(raw).filter(|size| *size >= min).map(Value::from).ok_or_else(|| {
                    raw.is_number().then(|| "a bare number is bytes: for megabytes write '512MB'".to_owned())
                })
            }
            Kind::Megabytes { min } => megabytes(raw, min),
            Kind::Choice(names) => match raw.as_str() {
                Some(text) if names.contains(&text) => Ok(raw.clone()),
                Some(text) => Err(nearest(text, names.iter().copied()).map(did_you_mean)),
                None => Err(None),
            },
            Kind::Text => raw.as_str().filter(|text| !text.is_empty()).map(Value::from).ok_or(None),
            Kind::Secret { min } => {
                raw.as_str().filter(|text| text.chars().count() >= min).map(Value::from).ok_or(None)
            }
            Kind::Texts => match raw.as_array() {
                Some(list) if list.iter().all(Value::is_string) => Ok(raw.clone()),
                _ => Err(None),
            },
            Kind::Function => is_function(raw).then(|| raw.clone()).ok_or(None),
            Kind::Functions => match raw {
                Value::Array(list) if list.iter().all(is_function) => Ok(raw.clone()),
                one if is_function(one) => Ok(json!([one])),
                _ => Err(None),
            },
            Kind::Any => Ok(raw.clone()),
            Kind::Shaped(shape) => (shape.read)(raw),
        }
    }

    /// Converts the text of an environment variable to a raw value.
    pub fn text_to_raw(&self, text: &str) -> Value {
        match self {
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "on" | "yes" => json!(true),
                "false" | "0" | "off" | "no" => json!(false),
                _ => json!(text),
            },
            Kind::Whole { .. } | Kind::Number { .. } => {
                serde_json::from_str::<serde_json::Number>(text).map_or_else(|_| json!(text), Value::Number)
            }
            _ => json!(text),
        }
    }

    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        match self {
            Kind::Bool => "true or false".into(),
            Kind::Whole { min, max } if *max >= u64::from(u32::MAX) => format!("a whole number from {min}"),
            Kind::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Number { min, max } => format!("a number from {min} to {max}"),
            Kind::Duration { min } => {
                format!(
                    "milliseconds, or a string such as '30s', '5m' or '1h'{}",
                    at_least(*min, units::duration_text)
                )
            }
            Kind::Size { min } => {
                format!("bytes, or a string such as '512MB' or '1G'{}", at_least(*min, units::size_text))
            }
            Kind::Megabytes { min } => {
                format!("a number of MB, or a string such as '512MB'{}", at_least(*min, units::size_text))
            }
            Kind::Choice(names) => {
                names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
            }
            Kind::Text => "a string".into(),
            Kind::Secret { min: 0 | 1 } => "a string (never shown)".into(),
            Kind::Secret { min } => format!("a string of at least {min} characters (never shown)"),
            Kind::Texts => "a list of strings".into(),
            Kind::Function => "a function".into(),
            Kind::Functions => "a function or a list of functions".into(),
            Kind::Any => "anything".into(),
            Kind::Shaped(shape) => shape.allowed.into(),
        }
    }

    /// What is allowed in an environment variable, in words.
    pub fn allowed_as_text(&self) -> String {
        match self {
            Kind::Bool => "true, false, 1, 0, on, off, yes or no".into(),
            other => other.allowed(),
        }
    }
}

fn at_least(min: u64, text: fn(u64) -> String) -> String {
    if min <= 1 { String::new() } else { format!(", at least {}", text(min)) }
}

/// A number without a fraction, also if it is represented as a float.
pub fn whole(raw: &Value) -> Option<u64> {
    let exact = |number: &f64| number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(number);
    raw.as_u64().or_else(|| raw.as_f64().filter(exact).map(|number| number as u64))
}

/// The hint for a number or a boolean that was given as a string.
fn quoted(raw: &Value) -> Refusal {
    let text = raw.as_str()?.trim();
    let bare = text.parse::<f64>().is_ok() || matches!(text, "true" | "false");
    bare.then(|| "write it without the quotes".to_owned())
}

fn is_function(raw: &Value) -> bool {
    marker(raw) == Some("function")
}

fn megabytes(raw: &Value, min: u64) -> Result<Value, Refusal> {
    let unit = || Some("a bare number is MB: 512 means 512 MB; with a unit write '512MB'".to_owned());
    let bytes = match raw.as_f64() {
        Some(number) if number > MAX_MEGABYTES as f64 => return Err(unit()),
        Some(number) => units::bytes(&json!(number * MIB as f64)),
        None => units::bytes(raw),
    };
    match bytes {
        Some(bytes) if bytes >= min => Ok(json!(bytes)),
        _ if raw.is_number() => Err(unit()),
        _ => Err(None),
    }
}

#[cfg(test)]
mod tests;
