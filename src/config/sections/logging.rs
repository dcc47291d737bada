//! `logging`: drover's own lines and the workers'.

use crate::component::Component;
use crate::config::choices::choices;
use crate::config::fault::{did_you_mean, nearest};
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape};
use crate::config::millis;
use crate::config::options::options;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[Logging::KEYS];

choices! {
    /// The level of a line; the same levels as pino's.
    Level {
        Trace = "trace",
        Debug = "debug",
        Info = "info",
        Warn = "warn",
        Error = "error",
        Fatal = "fatal",
        /// Nothing is written.
        Silent = "silent",
    }
}

choices! {
    /// How a line is written.
    Format { Json = "json", Pretty = "pretty" }
}

const COMPONENTS: Shape = Shape {
    allowed: "an object from components (supervisor, workers, dispatch, health, messages, monitoring, requests, log) to levels \
              (trace, debug, info, warn, error, fatal, silent)",
    read: read_components,
    shown: true,
};

fn read_components(raw: &Value) -> Result<Value, Refusal> {
    for (component, level) in raw.as_object().ok_or(None)? {
        if Component::named(component).is_none() {
            let meant = nearest(component, Component::NAMES).map(did_you_mean).unwrap_or_default();
            return Err(Some(
                format!("{component:?} is no component; {meant}").trim_end_matches("; ").to_owned(),
            ));
        }
        let text = level.as_str().unwrap_or_default();
        if !Level::NAMES.contains(&text) {
            let meant = nearest(text, Level::NAMES.iter().copied()).map(did_you_mean).unwrap_or_default();
            return Err(Some(format!("the level of {component:?} is wrong; {meant}")));
        }
    }
    Ok(raw.clone())
}

options! {
    /// Drover's own lines and the workers'.
    Logging in "logging." {
        enabled: bool = true, "enabled": Kind::Bool,
            "write drover's own lines";
        level: Level = "info", "level": Kind::Choice(Level::NAMES),
            "the minimum level that is written";
        components: BTreeMap<String, Level> = {}, "components": Kind::Shaped(&COMPONENTS),
            "levels of components of drover that differ from `level`";
        /// None: pretty when stdout is a terminal, else JSON.
        format: Option<Format> = null, "format": Kind::Choice(Format::NAMES),
            "JSON lines, or lines formatted for people (default: pretty in development and, without NODE_ENV, on a terminal)";
        include_worker_logs: bool = true, "includeWorkerLogs": Kind::Bool,
            "include the workers' output in the log; false: workers write to the primary's own streams";
        file: Option<String> = null, "file": Kind::Text,
            "write to this file (default with `logRotation`: `logs/drover.log`)";
        log_rotation: bool = false, "logRotation": Kind::Bool,
            "start a new file at `maxLogSize`";
        /// Bytes.
        max_log_size: u64 = 10485760, "maxLogSize": Kind::Size { min: 1024 },
            "the size at which a new file is started";
        max_log_files: u32 = 5, "maxLogFiles": Kind::Whole { min: 1, max: 10_000 },
            "number of files that are kept, including the current one";
        request_ids: bool = false, "requestIds": Kind::Bool,
            "give every request an id and add it to the lines that are written during the request";
        #[serde(with = "millis")]
        slow_requests: Duration = 5000, "slowRequests": Kind::FROM_ZERO,
            "warn about requests that take at least this long; 0 switches this off";
        /// Lines per second.
        max_rate: Option<u32> = null, "maxRate": Kind::COUNT,
            "maximum number of lines per second and worker; further lines are counted, not written";
    }
}
