use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Code, Error, Result};

/// The maximum number of workers of a cluster.
pub const MAX_WORKERS: u16 = 1024;

/// A command to the running cluster, from any of its processes. Input from JavaScript or a client of the API is
/// converted at the boundary, by [`Command::parse`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Scale(Scale),
    /// Replaces the worker of one slot, or of all slots one after the other.
    Roll {
        slot: Option<u16>,
    },
    /// Changes options: a part of a ClusterConfig.
    Update(Value),
    /// One evaluation of the auto-scaling now; returns its decision.
    AutoScale,
    /// Returns the number of workers for the load of the last minute.
    OptimalWorkerCount,
    /// Returns the slot of the leader, after all earlier decisions have been sent.
    Leader,
}

/// A change of the number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    To(u16),
    By(i32),
    /// Adds one worker, in this slot, which must be vacant.
    With {
        slot: u16,
    },
    /// Removes this worker.
    Without {
        slot: u16,
        graceful: bool,
    },
}

impl Scale {
    /// The number of workers after this change of so many, within what a cluster can have.
    pub fn of(self, size: u16) -> u16 {
        match self {
            Self::To(size) => size,
            Self::By(more) => i32::from(size).saturating_add(more).clamp(1, i32::from(MAX_WORKERS)) as u16,
            Self::With { .. } => size.saturating_add(1),
            Self::Without { .. } => size.saturating_sub(1),
        }
    }
}

impl Command {
    /// Parses a verb and its argument from JavaScript.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`: an invalid number or worker id; `NOT_SUPPORTED`: no such verb.
    pub fn parse(verb: &str, argument: &Value) -> Result<Self> {
        Ok(match verb {
            "scale" => Self::Scale(Scale::To(count(verb, argument, None)?)),
            "scaleUp" => Self::Scale(Scale::By(i32::from(count(verb, argument, Some(1))?))),
            "scaleDown" => Self::Scale(Scale::By(-i32::from(count(verb, argument, Some(1))?))),
            "spawnWorker" if argument.is_null() => Self::Scale(Scale::By(1)),
            "spawnWorker" => Self::Scale(Scale::With { slot: slot(verb, argument)? }),
            "stopWorker" => Self::Scale(Scale::Without { slot: slot(verb, argument)?, graceful: true }),
            "endWorker" => Self::Scale(Scale::Without { slot: slot(verb, argument)?, graceful: false }),
            "restartWorker" => Self::Roll { slot: Some(slot(verb, argument)?) },
            "restartCluster" => Self::Roll { slot: None },
            "updateConfig" => Self::Update(argument.clone()),
            "autoScale" => Self::AutoScale,
            "getOptimalWorkerCount" => Self::OptimalWorkerCount,
            "leader" => Self::Leader,
            _ => return Err(Error::new(Code::NotSupported, format!("A cluster has no command {verb}"))),
        })
    }

    /// The name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Scale(Scale::To(_)) => "scale",
            Self::Scale(Scale::By(1..)) => "scaleUp",
            Self::Scale(Scale::By(_)) => "scaleDown",
            Self::Scale(Scale::With { .. }) => "spawnWorker",
            Self::Scale(Scale::Without { graceful: true, .. }) => "stopWorker",
            Self::Scale(Scale::Without { graceful: false, .. }) => "endWorker",
            Self::Roll { slot: Some(_) } => "restartWorker",
            Self::Roll { slot: None } => "restartCluster",
            Self::Update(_) => "updateConfig",
            Self::AutoScale => "autoScale",
            Self::OptimalWorkerCount => "getOptimalWorkerCount",
            Self::Leader => "leader",
        }
    }
}

fn invalid(verb: &str, found: &Value, allowed: &str) -> Error {
    Error::new(Code::InvalidArgument, format!("{verb}: found {found}, allowed: {allowed}"))
}

fn count(verb: &str, argument: &Value, default: Option<u16>) -> Result<u16> {
    let given = match (argument, default) {
        (Value::Null, Some(default)) => return Ok(default),
        // A JavaScript number may arrive as 2.0.
        _ => argument.as_f64().filter(|number| number.fract() == 0.0),
    };
    let valid = given.filter(|number| (1.0..=f64::from(MAX_WORKERS)).contains(number));
    valid
        .map(|number| number as u16)
        .ok_or_else(|| invalid(verb, argument, &format!("a whole number from 1 to {MAX_WORKERS}")))
}

fn slot(verb: &str, argument: &Value) -> Result<u16> {
    let text = match argument {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // Only the canonical form: "01" is not an id.
    let known = u16::from_str(&text).ok().filter(|slot| *slot < MAX_WORKERS && slot.to_string() == text);
    known.ok_or_else(|| invalid(verb, argument, "a worker's id such as '0'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn commands_say_how_many_or_which() {
        let parse = |verb: &str, argument: Value| Command::parse(verb, &argument).unwrap();
        for (verb, argument, command) in [
            ("scale", json!(4), Command::Scale(Scale::To(4))),
            ("scale", json!(4.0), Command::Scale(Scale::To(4))),
            ("scaleUp", Value::Null, Command::Scale(Scale::By(1))),
            ("scaleDown", json!(2), Command::Scale(Scale::By(-2))),
            ("stopWorker", json!("3"), Command::Scale(Scale::Without { slot: 3, graceful: true })),
            ("endWorker", json!("3"), Command::Scale(Scale::Without { slot: 3, graceful: false })),
            ("spawnWorker", json!("5"), Command::Scale(Scale::With { slot: 5 })),
            ("restartWorker", json!(2), Command::Roll { slot: Some(2) }),
            ("restartCluster", Value::Null, Command::Roll { slot: None }),
            ("updateConfig", json!({ "workers": 2 }), Command::Update(json!({ "workers": 2 }))),
            ("autoScale", Value::Null, Command::AutoScale),
            ("getOptimalWorkerCount", Value::Null, Command::OptimalWorkerCount),
            ("leader", Value::Null, Command::Leader),
        ] {
            assert_eq!(parse(verb, argument), command);
            assert_eq!(command.name(), verb);
        }
    }

    #[test]
    fn an_invalid_number_or_worker_is_refused_with_what_was_found() {
        for (verb, argument) in [
            ("scale", json!(0)),
            ("scale", json!(1.5)),
            ("scale", json!("4")),
            ("scale", Value::Null),
            ("scale", json!(1025)),
            ("scaleUp", json!(-1)),
            ("spawnWorker", json!("1024")),
            ("restartWorker", json!("01")),
            ("restartWorker", Value::Null),
            ("stopWorker", json!({})),
        ] {
            let error = Command::parse(verb, &argument).expect_err(verb);
            assert_eq!(error.code, Code::InvalidArgument, "{verb} {argument}");
            assert!(error.message.contains(&argument.to_string()), "{}", error.message);
        }
        assert_eq!(Command::parse("explode", &Value::Null).unwrap_err().code, Code::NotSupported);
    }
}
