//! Converts a raw configuration to settings: every value in canonical form under its key, with its origin; and all
//! faults.

use super::fault::{Fault, did_you_mean, marker, shown, type_of};
use super::key::Key;
use super::kind::Kind;
use super::schema::{Index, Spelling, join};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A value given for a key.
#[derive(Clone)]
pub struct Setting {
    pub key: &'static Key,
    /// Canonical, never null.
    pub value: Value,
    /// The path as the user wrote it, or the variable's name.
    pub origin: String,
}

/// A value found at a spelling, not yet read.
pub struct Leaf<'a> {
    pub spelling: Spelling,
    pub raw: &'a Value,
    pub origin: String,
}

/// Given values by canonical path.
pub type Given = BTreeMap<&'static str, Setting>;

/// Given values and faults.
#[derive(Default)]
pub struct Settings {
    pub given: Given,
    /// Keys whose value was refused: rules do not check them again.
    pub refused: BTreeSet<&'static str>,
    pub faults: Vec<Fault>,
}

impl Settings {
    /// Reads a raw configuration; `name` is its name in faults.
    pub fn read(index: &Index, raw: &Value, name: &str) -> Self {
        let mut settings = Self::default();
        let mut leaves = Vec::new();
        if raw.is_object() || raw.is_null() {
            walk(index, raw, "", &mut leaves, &mut settings.faults);
        } else {
            settings.faults.push(no_section(name, raw, index, ""));
        }
        for leaf in leaves {
            match leaf.spelling.kind.read(leaf.raw) {
                Ok(value) => settings.give(leaf.spelling.key, value, leaf.origin),
                Err(hint) => {
                    settings.refuse(leaf.spelling.key, leaf.spelling.kind, leaf.raw, leaf.origin, hint);
                }
            }
        }
        settings
    }

    /// Stores a value; another value of the same key, under another name or in another place, is a fault.
    fn give(&mut self, key: &'static Key, value: Value, origin: String) {
        let Some(first) = self.given.get(key.path) else {
            self.given.insert(key.path, Setting { key, value, origin });
            return;
        };
        if first.value != value {
            let tell = |value: &Value| if key.kind.may_be_shown() { shown(value) } else { HIDDEN.into() };
            self.faults.push(Fault {
                path: origin,
                found: tell(&value),
                allowed: format!("the value of {}, {}", first.origin, tell(&first.value)),
                hint: Some("both mean the same: keep one of them".into()),
            });
            self.refused.insert(key.path);
        }
    }

    /// Records that a key's value was refused.
    pub fn refuse(
        &mut self,
        key: &'static Key,
        kind: &Kind,
        raw: &Value,
        origin: String,
        hint: Option<String>,
    ) {
        let found = match raw {
            Value::String(text) if text.is_empty() => "an empty string".to_owned(),
            _ if kind.is_secret() => HIDDEN.to_owned(),
            _ if kind.may_be_shown() => shown(raw),
            _ => type_of(raw),
        };
        self.faults.push(Fault { path: origin, found, allowed: kind.allowed(), hint });
        self.refused.insert(key.path);
    }

    pub fn value(&self, path: &str) -> Option<&Value> {
        self.given.get(path).map(|setting| &setting.value)
    }

    pub fn is_given(&self, path: &str) -> bool {
        self.given.contains_key(path)
    }
}

const HIDDEN: &str = "a value that is not shown";

/// Finds every value in `raw`. `null` means not given. An unknown name is a fault, without its value: a misspelt secret
/// is a secret.
pub fn walk<'a>(
    index: &Index,
    raw: &'a Value,
    path: &str,
    leaves: &mut Vec<Leaf<'a>>,
    faults: &mut Vec<Fault>,
) {
    for (name, child) in raw.as_object().into_iter().flatten() {
        // Paths are joined with dots, so a name with a dot would look like a path.
        if name.is_empty() || name.contains('.') {
            faults.push(unknown(index, path, name));
            continue;
        }
        let place = join(path, name);
        let spelling = index.spelling(&place);
        let is_section = index.is_section(&place);
        let goes_inside = is_section && child.is_object() && marker(child).is_none();
        match spelling {
            None if !is_section => faults.push(unknown(index, path, name)),
            _ if child.is_null() => {}
            _ if goes_inside => walk(index, child, &place, leaves, faults),
            Some(spelling) => leaves.push(Leaf { spelling, raw: child, origin: place }),
            None => faults.push(no_section(&place, child, index, &place)),
        }
    }
}

fn unknown(index: &Index, section: &str, name: &str) -> Fault {
    Fault {
        path: join(section, name),
        found: "an unknown key".into(),
        allowed: index.names(section).join(", "),
        hint: index.suggestion(section, name).map(|meant| did_you_mean(&meant)),
    }
}

fn no_section(path: &str, raw: &Value, index: &Index, section: &str) -> Fault {
    let names = index.names(section);
    let switch = raw.as_bool().filter(|_| names.contains(&"enabled"));
    Fault {
        path: path.to_owned(),
        found: type_of(raw),
        allowed: format!("an object with {}", names.join(", ")),
        hint: switch.map(|on| format!("write {{ enabled: {on} }}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Form;
    use serde_json::json;

    fn read(raw: Value) -> Settings {
        Settings::read(&Index::new(Form::Server), &raw, "options")
    }

    fn faults(raw: Value) -> Vec<(String, String)> {
        let faults = read(raw).faults;
        faults.into_iter().map(|fault| (fault.path, fault.hint.unwrap_or_default())).collect()
    }

    #[test]
    fn a_fault_is_told_where_the_user_wrote_it() {
        for (raw, path, hint) in [
            (json!(5), "options", ""),
            (json!({ "cluster": 5 }), "cluster", ""),
            (json!({ "cluster": true }), "cluster", "write { enabled: true }"),
            (
                json!({ "cluster": { "healthCheck": false } }),
                "cluster.healthCheck",
                "write { enabled: false }",
            ),
            (json!({ "cluster": { "config": { "autoRestart": 1 } } }), "cluster.config.autoRestart", ""),
            (
                json!({ "cluster": { "retries": 1 } }),
                "cluster.retries",
                "did you mean cluster.healthCheck.retries?",
            ),
            (
                json!({ "cluster": { "config": { "workes": 1 } } }),
                "cluster.config.workes",
                "did you mean workers?",
            ),
            (json!({ "cluster": { "scaling": { "minWorkers": 0 } } }), "cluster.scaling.minWorkers", ""),
        ] {
            assert_eq!(faults(raw.clone()), [(path.to_owned(), hint.to_owned())], "{raw}");
        }
    }

    #[test]
    fn a_synonym_may_repeat_its_key_but_not_contradict_it() {
        let repeated = json!({ "cluster": { "workers": 2, "config": { "workers": 2, "limits": { "memory": 64 },
            "resources": { "maxMemoryPerWorker": "64MB" } } } });
        assert_eq!(faults(repeated), []);
        for raw in [
            json!({ "cluster": { "workers": 2, "config": { "workers": 3 } } }),
            json!({ "cluster": { "autoRestart": true, "processManagement": { "respawn": false } } }),
            json!({ "cluster": { "scaling": { "minWorkers": 2 }, "autoScaling": { "minWorkers": 3 } } }),
            json!({ "cluster": { "limits": { "memory": 64 }, "resources": { "maxMemoryPerWorker": "65MB" } } }),
        ] {
            assert_eq!(faults(raw.clone()).len(), 1, "{raw}");
        }
    }

    #[test]
    fn a_path_is_no_name() {
        for raw in [
            json!({ "cluster.workers": 2 }),
            json!({ "cluster": { "": { "workers": 2 } } }),
            json!({ "": {} }),
        ] {
            assert_eq!(read(raw.clone()).faults.len(), 1, "{raw}");
        }
    }

    #[test]
    fn null_asks_for_nothing() {
        let raw =
            json!({ "port": null, "cluster": { "config": { "ipc": { "key": null }, "healthCheck": null } } });
        let settings = read(raw);
        assert!(settings.given.is_empty() && settings.faults.is_empty());
    }

    #[test]
    fn a_threshold_is_a_number_or_an_object() {
        for threshold in [json!(80), json!({ "cpu": 80 })] {
            let settings = read(json!({ "cluster": { "scaling": { "scaleUpThreshold": threshold } } }));
            assert_eq!(settings.value("autoScaling.scaleUpThreshold.cpu"), Some(&json!(80)));
        }
    }

    #[test]
    fn no_fault_shows_a_secret_wherever_it_was_put() {
        let secret = "hunter2-hunter2-hunter2";
        for raw in [
            json!({ "cluster": { "config": { "ipc": { "key": [secret] } } } }),
            json!({ "cluster": { "config": { "ipc": { "key": "hunter2" } } } }),
            json!({ "cluster": { "config": { "ipc": { "kye": secret } } } }),
            json!({ "cluster": { "config": { "ipc": secret } } }),
            json!({ "cluster": { "ipc": { "key": secret }, "config": { "ipc": { "key": "another-hunter2-secret" } } } }),
            json!({ "cluster": { "monitoring": secret } }),
            json!({ "cluster": { "args": secret } }),
            json!({ "cluster": { "env": { "TOKEN": [secret] } } }),
            json!({ "cluster": { "env": secret } }),
            json!({ "redis": [secret] }),
            json!({ "redis": { "password": { "is": secret } } }),
        ] {
            let found = faults(raw.clone());
            assert_eq!(found.len(), 1, "{raw}");
            assert!(!format!("{:?}", read(raw).faults).contains("hunter2"), "{found:?}");
        }
    }
}
