//! Environment variables, which override code. The snapshot of the environment is an argument.

use super::fault::Fault;
use super::kind::Kind;
use super::schema::{Form, key};
use super::sections::logging::Level;
use super::settings::{Setting, Settings};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// A key that the environment has set, and the variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The canonical path.
    pub path: String,
    pub variable: String,
}

/// When a variable applies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// `createServer` only, and only if code does not set the key.
    CodeIsSilent,
    /// Only if code enables Redis. (Kubernetes sets its own REDIS_PORT for a service of that name.)
    RedisAsked,
}

/// Every variable that sets a key. If two set the same key, the later one takes precedence.
const VARIABLES: &[(&str, &str, When)] = &[
    ("ENABLE_CLUSTERING", "enabled", When::Always),
    ("CLUSTER_ENABLED", "enabled", When::Always),
    ("CLUSTER_WORKERS", "workers", When::Always),
    ("CLUSTER_AUTO_RESTART", "processManagement.respawn", When::Always),
    ("MAX_WORKER_RESTARTS", "processManagement.maxRestarts", When::Always),
    ("WORKER_RESTART_DELAY", "processManagement.restartDelay", When::Always),
    ("GRACEFUL_SHUTDOWN_TIMEOUT", "processManagement.gracefulShutdownTimeout", When::Always),
    ("CLUSTER_MONITORING_PORT", "monitoring.port", When::Always),
    ("CLUSTER_MONITORING_HOST", "monitoring.host", When::Always),
    ("CLUSTER_MONITORING_TOKEN", "monitoring.token", When::Always),
    ("IPC_ENCRYPTION_KEY", "ipc.key", When::Always),
    ("REDIS_URL", "redis.url", When::RedisAsked),
    ("REDIS_HOST", "redis.host", When::RedisAsked),
    ("REDIS_PORT", "redis.port", When::RedisAsked),
    ("REDIS_PASSWORD", "redis.password", When::RedisAsked),
    ("PORT", "port", When::CodeIsSilent),
    ("HOST", "host", When::CodeIsSilent),
    ("LOG_LEVEL", "logging.level", When::Always),
];

/// The variables that set `path`, in order of precedence; for the reference of the options.
pub fn variables_of(path: &str) -> Vec<&'static str> {
    VARIABLES.iter().rev().filter(|(_, set, _)| *set == path).map(|(name, ..)| *name).collect()
}

/// The value of a variable; an empty one counts as not set.
pub fn text<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    environment.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// The environment that NODE_ENV names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEnvironment {
    Unset,
    Development,
    Test,
    Production,
    /// Staging and the like.
    Other,
}

pub fn node_environment(environment: &BTreeMap<String, String>) -> NodeEnvironment {
    match text(environment, "NODE_ENV") {
        None => NodeEnvironment::Unset,
        Some("development") => NodeEnvironment::Development,
        Some("test") => NodeEnvironment::Test,
        Some("production") => NodeEnvironment::Production,
        Some(_) => NodeEnvironment::Other,
    }
}

/// Applies the environment to the settings; returns what it has set, and messages about it.
pub fn apply(
    settings: &mut Settings,
    environment: &BTreeMap<String, String>,
    form: Form,
) -> (Vec<Source>, Vec<String>) {
    let mut sources: Vec<Source> = Vec::new();
    let mut notes = Vec::new();
    for (variable, path, when) in VARIABLES {
        let (Some(text), Some(key)) = (text(environment, variable), key(path)) else { continue };
        let has_a_say = match when {
            When::Always => true,
            When::CodeIsSilent => form == Form::Server && !settings.is_given(path),
            When::RedisAsked => settings.value("redis.enabled") == Some(&json!(true)),
        };
        if !has_a_say {
            continue;
        }
        let value = match key.kind.read(&key.kind.text_to_raw(text)) {
            Ok(value) => value,
            Err(_) if *path == "logging.level" => {
                let level = Level::Info.name();
                notes.push(format!(
                    "{variable} is {text:?}, which is not a log level of drover: it logs at '{level}'"
                ));
                json!(level)
            }
            Err(hint) => {
                refuse(settings, variable, &key.kind, text, hint);
                settings.refused.insert(key.path);
                continue;
            }
        };
        settings.given.insert(key.path, Setting { key, value, origin: (*variable).to_owned() });
        sources.retain(|source| source.path != *path);
        sources.push(Source { path: (*path).to_owned(), variable: (*variable).to_owned() });
    }
    (sources, notes)
}

fn refuse(settings: &mut Settings, variable: &str, kind: &Kind, text: &str, hint: Option<String>) {
    let found = if kind.is_secret() { "a value that is not shown".to_owned() } else { format!("{text:?}") };
    settings.faults.push(Fault { path: variable.to_owned(), found, allowed: kind.allowed_as_text(), hint });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Index;
    use serde_json::Value;

    fn applied(options: Value, variables: &[(&str, &str)]) -> (Settings, Vec<Source>, Vec<String>) {
        let mut settings = Settings::read(&Index::new(Form::Server), &options, "options");
        let environment =
            variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let (sources, notes) = apply(&mut settings, &environment, Form::Server);
        (settings, sources, notes)
    }

    #[test]
    fn every_variable_names_a_key() {
        for (variable, path, _) in VARIABLES {
            assert!(key(path).is_some(), "{variable}");
        }
    }

    #[test]
    fn each_variable_sets_its_key_and_is_named_as_the_source() {
        for (variable, text, path, expected) in [
            ("CLUSTER_ENABLED", "on", "enabled", json!(true)),
            ("ENABLE_CLUSTERING", "0", "enabled", json!(false)),
            ("CLUSTER_WORKERS", "4", "workers", json!(4)),
            ("CLUSTER_WORKERS", "max", "workers", json!("max")),
            ("CLUSTER_AUTO_RESTART", "no", "processManagement.respawn", json!(false)),
            ("MAX_WORKER_RESTARTS", "10", "processManagement.maxRestarts", json!(10)),
            ("WORKER_RESTART_DELAY", "1000", "processManagement.restartDelay", json!(1000)),
            ("GRACEFUL_SHUTDOWN_TIMEOUT", "30s", "processManagement.gracefulShutdownTimeout", json!(30_000)),
            ("CLUSTER_MONITORING_PORT", "3004", "monitoring.port", json!(3004)),
            ("CLUSTER_MONITORING_PORT", "false", "monitoring.port", json!(false)),
            ("PORT", "8080", "port", json!(8080)),
            ("LOG_LEVEL", "debug", "logging.level", json!("debug")),
        ] {
            let (settings, sources, notes) = applied(json!({}), &[(variable, text)]);
            assert_eq!(settings.value(path), Some(&expected), "{variable}");
            assert_eq!(sources, [Source { path: path.into(), variable: variable.into() }]);
            assert_eq!((settings.faults.len(), notes.len()), (0, 0));
        }
    }

    #[test]
    fn the_environment_overrules_code_but_for_port_and_host() {
        let options = json!({ "port": 3000, "cluster": { "workers": 8, "autoRestart": true } });
        let variables = [("PORT", "8080"), ("CLUSTER_WORKERS", "2"), ("CLUSTER_AUTO_RESTART", "false")];
        let (settings, sources, _) = applied(options, &variables);
        assert_eq!(settings.value("port"), Some(&json!(3000)));
        assert_eq!(settings.value("workers"), Some(&json!(2)));
        assert_eq!(settings.value("processManagement.respawn"), Some(&json!(false)));
        assert_eq!(sources.len(), 2);
    }

    #[test]
    fn cluster_enabled_wins_over_enable_clustering() {
        let variables = [("CLUSTER_ENABLED", "false"), ("ENABLE_CLUSTERING", "true")];
        let (settings, sources, _) = applied(json!({}), &variables);
        assert_eq!(settings.value("enabled"), Some(&json!(false)));
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].variable, "CLUSTER_ENABLED");
    }

    #[test]
    fn a_bad_value_is_a_fault_that_names_the_variable_and_no_secret() {
        for (variable, text) in [
            ("CLUSTER_ENABLED", "maybe"),
            ("CLUSTER_WORKERS", "0"),
            ("MAX_WORKER_RESTARTS", "-1"),
            ("GRACEFUL_SHUTDOWN_TIMEOUT", "soon"),
            ("CLUSTER_MONITORING_PORT", "70000"),
            ("IPC_ENCRYPTION_KEY", "hunter2"),
            ("PORT", "http"),
        ] {
            let (settings, ..) = applied(json!({}), &[(variable, text)]);
            assert_eq!(settings.faults.len(), 1, "{variable}");
            assert_eq!(settings.faults[0].path, variable);
            assert!(!settings.faults[0].to_string().contains("hunter2"));
        }
    }

    #[test]
    fn an_unknown_log_level_is_a_note_and_info() {
        let (settings, _, notes) =
            applied(json!({ "cluster": { "logging": { "level": "error" } } }), &[("LOG_LEVEL", "verbose")]);
        assert_eq!(settings.value("logging.level"), Some(&json!("info")));
        assert!(notes[0].contains("LOG_LEVEL") && settings.faults.is_empty());
    }

    #[test]
    fn redis_variables_fill_in_only_what_code_asked_for() {
        let variables = [("REDIS_HOST", "cache"), ("REDIS_PORT", "tcp://10.0.0.1:6379")];
        let (settings, sources, _) = applied(json!({}), &variables);
        assert!(settings.given.is_empty() && settings.faults.is_empty() && sources.is_empty());
        let (settings, ..) = applied(json!({ "redis": true }), &variables);
        assert_eq!(settings.value("redis.host"), Some(&json!("cache")));
        assert_eq!(settings.faults.len(), 1);
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let (settings, ..) = applied(json!({}), &[("CLUSTER_WORKERS", ""), ("PORT", "  ")]);
        assert!(settings.given.is_empty() && settings.faults.is_empty());
    }
}
