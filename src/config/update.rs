//! Changes of the configuration of a running cluster: which options can change, and the configuration after it.

use super::derive;
use super::fault;
use super::model::Config;
use super::rules;
use super::schema::{Form, Index};
use super::settings::Settings;
use super::support;
use super::tree;
use crate::error::{Code, Error, Result};
use serde_json::{Value, json};

/// Options that can change while the cluster runs: paths, or the beginnings of paths. No secret may be among them.
const LIVE: [&str; 7] = [
    "resources",
    "autoScaling",
    "loadBalancing.admission",
    "processManagement.memoryThreshold",
    "processManagement.cpuThreshold",
    "security.limits.processes",
    "cache.maxSize",
];
/// These only apply to workers that are started later.
const LATER: [&str; 1] = ["resources.performanceOptimization.lowMemoryMode"];

/// A changed option.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Canonical.
    pub path: &'static str,
    pub from: Value,
    pub to: Value,
    /// It applies to workers that are started from now on.
    pub is_for_new_workers: bool,
}

/// A new configuration and what differs from the old one.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub config: Config,
    pub changes: Vec<Change>,
}

fn covers(list: &[&str], path: &str) -> bool {
    let begins = |prefix: &&str| {
        path.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    list.iter().any(begins)
}

/// Whether an option can change while the cluster runs.
pub fn is_live(path: &str) -> bool {
    covers(&LIVE, path)
}

/// The configuration after `partial`, a part of a ClusterConfig, was applied.
///
/// # Errors
/// `CONFIGURATION_INVALID` with every fault; `NOT_SUPPORTED`; `RESTART_REQUIRED`: some option cannot change while the
/// cluster runs. Nothing changes then.
pub fn update(config: &Config, partial: &Value) -> Result<Update> {
    let mut settings = Settings::read(&Index::new(Form::Cluster), partial, "config");
    let mut whole = serde_json::to_value(config).unwrap_or_default();
    let before = whole.clone();
    let mut changes = Vec::new();
    let mut fixed = Vec::new();
    for (path, setting) in &settings.given {
        let targets = derive::SPREAD.iter().find(|(spread, _)| spread == path).map(|(_, targets)| targets);
        let targets: Vec<&'static str> = match targets {
            Some(targets) => {
                targets.iter().filter(|target| !settings.given.contains_key(*target)).copied().collect()
            }
            None => vec![path],
        };
        for path in targets {
            let from = tree::get(&before, path).cloned().unwrap_or_default();
            if from == setting.value {
                continue;
            }
            if !is_live(path) {
                fixed.push(setting.origin.clone());
                continue;
            }
            let (to, is_for_new_workers) = (setting.value.clone(), covers(&LATER, path));
            tree::put(&mut whole, path, to.clone());
            changes.push(Change { path, from, to, is_for_new_workers });
        }
    }
    let broken = rules::check(&settings, &whole);
    settings.faults.extend(broken);
    if !settings.faults.is_empty() {
        return Err(fault::report(&settings.faults));
    }
    if let Some(refusal) = support::refusal(&support::unsupported(&settings.given, true)) {
        return Err(refusal);
    }
    if !fixed.is_empty() {
        let message = format!(
            "{} cannot change while the cluster runs: restart the program with the new value",
            fixed.join(", ")
        );
        return Err(Error::new(Code::RestartRequired, message).with(json!({ "options": fixed })));
    }
    Ok(Update { config: applied(config, &whole)?, changes })
}

/// Only live options are read back, because secrets are not written.
fn applied(config: &Config, whole: &Value) -> Result<Config> {
    fn read<T: serde::de::DeserializeOwned>(whole: &Value, path: &str) -> Result<T> {
        serde_json::from_value(tree::get(whole, path).cloned().unwrap_or_default())
            .map_err(|mismatch| Error::new(Code::ConfigurationInvalid, format!("{path}: {mismatch}")))
    }
    let mut changed = config.clone();
    changed.resources = read(whole, "resources")?;
    changed.auto_scaling = read(whole, "autoScaling")?;
    changed.load_balancing.admission = read(whole, "loadBalancing.admission")?;
    changed.process_management = read(whole, "processManagement")?;
    changed.security.limits.processes = read(whole, "security.limits.processes")?;
    changed.cache.max_size = read(whole, "cache.maxSize")?;
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::clustering::HostFacts;
    use crate::config::environment::NodeEnvironment;
    use crate::config::sections;

    fn config(given: Value) -> Config {
        let host = HostFacts { usable_cpus: 2.0, available_memory: None, single_process_reason: None };
        let settings = Settings::read(&Index::new(Form::Cluster), &given, "config");
        let whole = derive::complete(&settings, Form::Cluster, NodeEnvironment::Unset, &host);
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn every_live_option_exists_and_is_no_secret() {
        for prefix in LIVE.iter().chain(&LATER) {
            assert!(sections::cluster().any(|key| covers(&[prefix], key.path)), "{prefix}");
        }
        for key in sections::cluster().filter(|key| is_live(key.path)) {
            assert!(!key.kind.is_secret(), "{}", key.path);
        }
    }

    #[test]
    fn what_changes_is_listed_and_everything_else_stays() {
        let before = config(json!({ "limits": { "memory": 512 }, "ipc": { "key": "0123456789abcdef" } }));
        let update = update(&before, &json!({ "limits": { "memory": 256 }, "workers": "auto" })).unwrap();
        let (from, to) = (json!(512 << 20), json!(256 << 20));
        let path = "resources.maxMemoryPerWorker";
        assert_eq!(update.changes, [Change { path, from, to, is_for_new_workers: false }]);
        let expected = Config { resources: update.config.resources.clone(), ..before };
        assert_eq!(update.config, expected, "the key too, which is not shown");
        assert_eq!(update.config.resources.max_memory_per_worker, Some(256 << 20));
    }

    #[test]
    fn admission_changes_as_a_whole_and_nothing_beside_it() {
        let cookie = json!({ "name": "a", "secret": "0123456789abcdef" });
        let before = config(json!({ "loadBalancing": { "affinityCookie": cookie } }));
        let update_to =
            |before: &Config, to: Value| update(before, &json!({ "loadBalancing": { "admission": to } }));
        let on = update_to(&before, json!({ "targetDelay": 20 })).unwrap();
        let value = json!({ "targetDelay": 20, "exempt": ["/health", "/ready"] });
        let path = "loadBalancing.admission";
        assert_eq!(on.changes, [Change { path, from: json!("off"), to: value, is_for_new_workers: false }]);
        let mut expected = before.clone();
        expected.load_balancing.admission = on.config.load_balancing.admission.clone();
        assert_eq!(on.config, expected, "the secret too, which is not shown");
        assert!(update_to(&on.config, json!({ "targetDelay": "20ms" })).unwrap().changes.is_empty());
        assert_eq!(update_to(&on.config, json!("off")).unwrap().config, before);
        let error = update_to(&before, json!("on")).unwrap_err();
        assert_eq!(error.code, Code::ConfigurationInvalid);
    }

    #[test]
    fn what_cannot_change_is_refused_and_nothing_changes() {
        let before = config(json!({}));
        let error = update(&before, &json!({ "workers": 4, "limits": { "memory": 256 } })).unwrap_err();
        assert_eq!((error.code, &error.details["options"]), (Code::RestartRequired, &json!(["workers"])));
        let error = update(&before, &json!({ "limits": { "memory": 1 } })).unwrap_err();
        assert_eq!(error.code, Code::ConfigurationInvalid);
        let error = update(&before, &json!({ "security": { "isolateWorkers": true } })).unwrap_err();
        assert_eq!(error.code, Code::NotSupported);
    }

    #[test]
    fn every_option_that_can_change_is_read_back() {
        let before = config(json!({}));
        let whole = serde_json::to_value(&before).unwrap();
        for path in sections::cluster().map(|key| key.path).filter(|path| is_live(path)) {
            let Some(value) = tree::get(&whole, path) else { continue };
            let other = match value {
                Value::Bool(value) => json!(!value),
                Value::Number(_) => json!(50),
                Value::Null => json!(64 << 20),
                _ => continue,
            };
            let Ok(update) = update(&before, &tree_of(path, &other)) else { continue };
            let after = serde_json::to_value(&update.config).unwrap();
            assert_ne!(tree::get(&after, path), Some(value), "{path}");
        }
    }

    fn tree_of(path: &str, value: &Value) -> Value {
        let mut tree = json!({});
        tree::put(&mut tree, path, value.clone());
        tree
    }

    #[test]
    fn an_option_that_sets_several_changes_those() {
        let before = config(json!({ "autoScaling": { "enabled": false } }));
        let spread =
            update(&before, &json!({ "scaling": { "enabled": false, "cooldownPeriod": 5 } })).unwrap();
        let paths: Vec<&str> = spread.changes.iter().map(|change| change.path).collect();
        assert_eq!(paths, ["autoScaling.scaleUpCooldown", "autoScaling.scaleDownCooldown"]);
    }
}
