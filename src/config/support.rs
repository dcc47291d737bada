//! What this version supports. A value that needs something else is refused at start, never ignored; later versions
//! remove lines from the table.

use super::fault::type_of;
use super::key::Key;
use super::sections;
use super::settings::{Given, Setting};
use super::tree;
use crate::error::{Code, Error};
use serde::Serialize;
use serde_json::{Value, json};

/// A value that needs something that this version does not support.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unsupported {
    /// As the user wrote it.
    pub path: String,
    /// Canonical; of a secret, or a list that may contain one, only its type in words.
    pub value: Value,
    /// What it needs, in a few words.
    pub needs: &'static str,
}

/// How far a key is supported.
#[derive(Clone, Copy)]
pub enum Support {
    Full,
    /// These values only; the texts are for the reference.
    Only(fn(&Value) -> bool, &'static str, &'static str),
    /// Only `enabled: false`, which needs nothing.
    Lacks(&'static str),
}

use Support::{Full, Lacks, Only};

/// By canonical path; the longest prefix of a key's path applies, and a key without one is supported.
const TABLE: &[(&str, Support)] = &[
    ("interpreter", Only(is_runtime, "node or bun", "another interpreter than node or bun")),
    ("security", Lacks("isolation")),
    ("security.ipc", Full),
    ("security.limits", Full),
    ("security.auditLog", Full),
];

/// npm's package of Bun has `bun.exe` on every system.
fn is_runtime(value: &Value) -> bool {
    let name = value.as_str().and_then(|path| path.rsplit('/').next());
    matches!(name, Some("node" | "bun" | "bun.exe"))
}

/// How far the key with this canonical path is supported.
pub fn support(path: &str) -> Support {
    let covers = |entry: &&(&str, Support)| {
        path.strip_prefix(entry.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    TABLE.iter().filter(covers).max_by_key(|(prefix, _)| prefix.len()).map_or(Full, |(_, support)| *support)
}

/// What a value of a key needs that this version does not support.
fn lacks(key: &Key, value: &Value) -> Option<&'static str> {
    let switched_off = key.path.ends_with(".enabled") && *value == json!(false);
    match support(key.path) {
        Full => None,
        Only(takes, ..) if takes(value) => None,
        Lacks(_) if switched_off => None,
        Only(_, _, needs) | Lacks(needs) => Some(needs),
    }
}

/// All given values that this version does not support: from code, because the environment alone enables nothing. A
/// section with `enabled: false` needs nothing; without a cluster a ClusterConfig needs nothing.
pub fn unsupported(given: &Given, clustered: bool) -> Vec<Unsupported> {
    let is_off = |section: &str| {
        let switch = given.get(format!("{section}.enabled").as_str());
        switch.is_some_and(|setting| setting.value == json!(false))
    };
    let asks_for = |path: &str, setting: &Setting| {
        let is_moot = path.match_indices('.').any(|(end, _)| is_off(&path[..end]));
        let counts = clustered || sections::server().any(|key| key.path == path);
        if is_moot || !counts { None } else { lacks(setting.key, &setting.value) }
    };
    let refused = given.iter().filter_map(|(path, setting)| Some((setting, asks_for(path, setting)?)));
    refused
        .map(|(setting, needs)| {
            let shown = setting.key.kind.may_be_shown();
            let value = if shown { setting.value.clone() } else { json!(type_of(&setting.value)) };
            Unsupported { path: setting.origin.clone(), value, needs }
        })
        .collect()
}

/// The error for unsupported options, if there are any: `NOT_SUPPORTED` with `details.unsupported`.
pub fn refusal(unsupported: &[Unsupported]) -> Option<Error> {
    if unsupported.is_empty() {
        return None;
    }
    let lines: Vec<String> =
        unsupported.iter().map(|one| format!("  {}: asks for {}", one.path, one.needs)).collect();
    let message = format!("This version of drover does not support:\n{}", lines.join("\n"));
    Some(Error::new(Code::NotSupported, message).with(json!({ "unsupported": unsupported })))
}

/// A canonical ClusterConfig without unsupported options.
pub fn within(config: &Value) -> Value {
    let mut kept = json!({});
    for key in sections::cluster() {
        if let Some(value) = tree::get(config, key.path).filter(|value| lacks(key, value).is_none()) {
            tree::put(&mut kept, key.path, value.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{Form, Index};
    use crate::config::settings::Settings;

    fn asked(config: Value) -> Vec<String> {
        let settings = Settings::read(&Index::new(Form::Cluster), &config, "config");
        assert_eq!(settings.faults, []);
        unsupported(&settings.given, true).into_iter().map(|one| one.path).collect()
    }

    #[test]
    fn every_line_of_the_table_is_about_keys_that_exist() {
        for (prefix, _) in TABLE {
            let begins = |key: &Key| key.path == *prefix || key.path.starts_with(&format!("{prefix}."));
            let known = sections::all().any(begins);
            assert!(known, "{prefix}");
        }
    }

    #[test]
    fn what_this_version_brings_is_not_refused() {
        for config in [
            json!({ "workers": 4, "reserveCores": 1, "exec": "a.js", "interpreter": "/usr/bin/node" }),
            json!({ "exec": "a.ts", "interpreter": "bun" }),
            json!({ "autoRestart": true, "maxRestarts": 5, "shutdownTimeout": 1000, "killTimeout": 500 }),
            json!({ "processManagement": { "ready": "boot", "startupTimeout": 1000, "zombieDetection": true } }),
            json!({ "processManagement": { "hangTimeout": 0 } }),
            json!({ "loadBalancing": { "strategy": "ip-hash", "dispatch": "push", "maxQueue": 5, "trustProxy": "loopback" } }),
            json!({ "limits": { "connections": 5 }, "logging": { "enabled": true, "level": "warn", "format": "json" } }),
            json!({ "logging": { "includeWorkerLogs": false, "logRotation": true, "maxLogFiles": 5, "maxRate": 5 } }),
            json!({ "monitoring": { "dashboard": false } }),
            json!({ "errorHandling": { "fallback": { "status": 500 }, "circuitBreaker": { "resetTimeout": 5 } } }),
            json!({ "ipc": { "key": null, "encryption": true, "timeout": 5, "maxPending": 5 } }),
            json!({ "monitoring": { "customMetrics": { "$function": "a" }, "exporters": [{ "$function": "b" }] } }),
            json!({ "security": { "encryptIPC": false, "ipc": { "allow": [] }, "auditLog": "audit.log" } }),
        ] {
            assert_eq!(asked(config.clone()), [""; 0], "{config}");
        }
    }

    #[test]
    fn what_it_lacks_is_refused_also_when_it_equals_the_default() {
        for (config, path) in [
            (json!({ "security": { "isolateWorkers": false } }), "security.isolateWorkers"),
            (json!({ "interpreter": "/usr/bin/python3" }), "interpreter"),
            (json!({ "security": { "sandbox": false } }), "security.sandbox"),
        ] {
            assert_eq!(asked(config.clone()), [path], "{config}");
        }
    }

    #[test]
    fn a_section_that_is_off_asks_for_nothing() {
        for config in [
            json!({ "healthCheck": { "enabled": false, "interval": 5 } }),
            json!({ "scaling": { "enabled": false, "scaleUpThreshold": { "cpu": 50 } } }),
            json!({ "monitoring": { "enabled": false, "port": 3003 } }),
            json!({ "logging": { "enabled": false, "logRotation": true } }),
            json!({ "errorHandling": { "circuitBreaker": { "enabled": false, "failureThreshold": 5 } } }),
            json!({ "resources": { "memoryManagement": { "enabled": false, "memoryCheckInterval": 5 } } }),
        ] {
            assert_eq!(asked(config.clone()), [""; 0], "{config}");
        }
    }

    #[test]
    fn no_refusal_shows_a_secret() {
        let config = json!({ "security": { "modules": { "deny": ["hunter2"] } } });
        let settings = Settings::read(&Index::new(Form::Cluster), &config, "config");
        let refused = unsupported(&settings.given, true);
        assert_eq!(refused.len(), 1);
        assert!(!format!("{refused:?}").contains("hunter2"));
    }
}
