//! The defaults, as the options give them (`options!`), in canonical names and units: milliseconds, bytes.

use super::sections;
use super::tree;
use serde_json::{Value, json};

/// The canonical configuration without any given option. `null` means no value, or a default that depends on other keys
/// or on the host; `derive.rs` fills those in.
pub fn defaults() -> Value {
    let mut defaults = json!({});
    for key in sections::all() {
        if let Some(default) = key.default {
            let value = serde_json::from_str(default).expect("a default is JSON: the tests read each");
            tree::put(&mut defaults, key.path, value);
        }
    }
    defaults
}

/// `DEFAULT_VALUES` as it is exported: durations in milliseconds.
pub fn default_values() -> Value {
    const EXPORTED: [(&str, &str); 9] = [
        ("WORKER_TIMEOUT", "processManagement.startupTimeout"),
        ("HEALTH_CHECK_INTERVAL", "healthCheck.interval"),
        ("HEALTH_CHECK_TIMEOUT", "healthCheck.timeout"),
        ("RESTART_DELAY", "processManagement.restartDelay"),
        ("MAX_RESTARTS", "processManagement.maxRestarts"),
        ("GRACEFUL_SHUTDOWN_TIMEOUT", "processManagement.gracefulShutdownTimeout"),
        ("IPC_TIMEOUT", "ipc.timeout"),
        ("MEMORY_CHECK_INTERVAL", "resources.memoryManagement.memoryCheckInterval"),
        ("METRICS_INTERVAL", "monitoring.metricsInterval"),
    ];
    let all = defaults();
    EXPORTED.iter().map(|(name, path)| ((*name).to_owned(), json!(tree::get(&all, path)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::key;

    #[test]
    fn every_default_is_a_value_its_key_takes() {
        fn walk(tree: &Value, path: &str, checked: &mut usize) {
            if let Some(key) = key(path) {
                *checked += 1;
                if tree.is_null() {
                    return;
                }
                let read = key.kind.read(tree).map_err(|_| format!("{path}: {tree} is refused"));
                assert_eq!(read.as_ref(), Ok(tree), "{path}");
                return;
            }
            let object = tree.as_object().unwrap_or_else(|| panic!("{path} is no key"));
            for (name, value) in object {
                walk(value, &crate::config::schema::join(path, name), checked);
            }
        }
        let mut checked = 0;
        walk(&defaults(), "", &mut checked);
        assert!(checked > 100, "{checked} defaults");
    }

    #[test]
    fn the_exported_defaults_are_those_of_the_documentation() {
        assert_eq!(
            default_values(),
            json!({
                "WORKER_TIMEOUT": 60000,
                "HEALTH_CHECK_INTERVAL": 30000,
                "HEALTH_CHECK_TIMEOUT": 10000,
                "RESTART_DELAY": 2000,
                "MAX_RESTARTS": 3,
                "GRACEFUL_SHUTDOWN_TIMEOUT": 30000,
                "IPC_TIMEOUT": 30000,
                "MEMORY_CHECK_INTERVAL": 30000,
                "METRICS_INTERVAL": 60000,
            })
        );
    }
}
