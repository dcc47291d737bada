//! Preset configurations, and merging of two configurations. Options that this version does not support are left out of
//! the presets, so that each of them starts.

use super::choices::choices;
use super::clustering::HostFacts;
use super::environment::NodeEnvironment;
use super::kind::Kind;
use super::schema::{Form, Index};
use super::settings::{self, Leaf};
use super::{support, tree};
use serde_json::{Value, json};

choices! {
    /// The kind of server that a configuration is for.
    ServerType {
        Api = "api",
        Web = "web",
        Microservice = "microservice",
        /// A consumer of a queue, which does not have to listen.
        Worker = "worker",
    }
}

choices! {
    /// The environment that a configuration is for.
    Environment { Development = "development", Production = "production", Test = "test" }
}

/// A ClusterConfig for a kind of server.
pub fn recommended(server: ServerType) -> Value {
    let config = match server {
        ServerType::Api => json!({
            "enabled": true,
            "workers": "auto",
            "loadBalancing": { "strategy": "least-connections" },
            "healthCheck": { "enabled": true, "interval": 15_000, "timeout": 5000 },
            "autoScaling": { "enabled": true, "minWorkers": 2, "scaleUpThreshold": { "responseTime": 500 } },
            "monitoring": { "enabled": true },
        }),
        ServerType::Web => json!({
            "enabled": true,
            "workers": "auto",
            "loadBalancing": { "strategy": "round-robin" },
            "healthCheck": { "enabled": true },
            "monitoring": { "enabled": true },
        }),
        // An orchestrator adds replicas and gives a container 30 s to stop.
        ServerType::Microservice => json!({
            "enabled": true,
            "workers": "auto",
            "processManagement": { "gracefulShutdownTimeout": 25_000, "shutdownDelay": 5000 },
            "healthCheck": { "enabled": true, "interval": 10_000, "timeout": 3000 },
            "logging": { "format": "json" },
        }),
        ServerType::Worker => json!({
            "enabled": true,
            "workers": "auto",
            "processManagement": { "ready": "boot", "gracefulShutdownTimeout": 120_000 },
            "resources": { "memoryManagement": { "garbageCollectionHint": true } },
            "healthCheck": { "enabled": true, "timeout": 30_000 },
        }),
    };
    support::within(&config)
}

/// A ClusterConfig for an environment.
pub fn environment(place: Environment) -> Value {
    let config = match place {
        Environment::Development => json!({
            "enabled": true,
            "workers": 2,
            "processManagement": { "gracefulShutdownTimeout": 5000, "restartDelay": 500 },
            "logging": { "level": "debug", "format": "pretty" },
        }),
        Environment::Production => json!({
            "enabled": true,
            "workers": "auto",
            "healthCheck": { "enabled": true },
            "monitoring": { "enabled": true },
            "logging": { "level": "info", "format": "json" },
        }),
        Environment::Test => json!({ "enabled": false, "workers": 1, "logging": { "level": "warn" } }),
    };
    support::within(&config)
}

/// A ClusterConfig for this host: that of the environment, with a memory limit that allows one worker per CPU.
pub fn intelligent(node: NodeEnvironment, host: &HostFacts) -> Value {
    let place = match node {
        NodeEnvironment::Development => Environment::Development,
        NodeEnvironment::Test => Environment::Test,
        NodeEnvironment::Production | NodeEnvironment::Unset | NodeEnvironment::Other => {
            Environment::Production
        }
    };
    let mut config = environment(place);
    // A fifth is reserved for the primary and the page cache. Below the minimum there is no limit.
    let share = host.available_memory.map(|memory| memory / 5 * 4 / u64::from(host.cpus()));
    if let Some(share) = share.filter(|share| Kind::MEMORY_LIMIT.read(&json!(share)).is_ok()) {
        tree::put(&mut config, "resources.maxMemoryPerWorker", json!(share));
    }
    support::within(&config)
}

/// Merges `over` into `base`: both in canonical names, objects key by key, everything else replaced. Faults in either
/// are kept, so that validation finds them.
pub fn merge(base: &Value, over: &Value) -> Value {
    let index = Index::new(Form::Cluster);
    let mut merged = canonical(&index, base);
    lay(&mut merged, canonical(&index, over));
    merged
}

fn lay(base: &mut Value, over: Value) {
    match (base, over) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                lay(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// A raw ClusterConfig with each synonym moved to its canonical name, unless that has another value.
fn canonical(index: &Index, raw: &Value) -> Value {
    let (mut leaves, mut faults) = (Vec::new(), Vec::new());
    settings::walk(index, raw, "", &mut leaves, &mut faults);
    let mut renamed = json!({});
    for fault in faults {
        let stray = tree::get(raw, &fault.path).cloned().unwrap_or_default();
        tree::put(&mut renamed, &fault.path, stray);
    }
    // Canonical names first: a synonym with another value is kept in addition, as a fault for validation.
    leaves.sort_by_key(|leaf| leaf.origin != leaf.spelling.key.path);
    for leaf in leaves {
        let path = leaf.spelling.key.path;
        let value = translated(&leaf);
        let taken = tree::get(&renamed, path).is_some_and(|other| *other != value);
        if taken {
            tree::put(&mut renamed, &leaf.origin, leaf.raw.clone());
        } else {
            tree::put(&mut renamed, path, value);
        }
    }
    renamed
}

/// The canonical form of a value that would be read differently under the canonical name, such as a number of MB.
fn translated(leaf: &Leaf<'_>) -> Value {
    let kind = leaf.spelling.kind;
    let same_kind = std::ptr::eq(kind, &leaf.spelling.key.kind);
    if same_kind { leaf.raw.clone() } else { kind.read(leaf.raw).unwrap_or_else(|_| leaf.raw.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Input, load_cluster};
    use std::collections::BTreeMap;

    const HOST: HostFacts =
        HostFacts { usable_cpus: 4.0, available_memory: Some(8 << 30), single_process_reason: None };

    #[test]
    fn every_preset_is_valid_and_starts() {
        let servers =
            [ServerType::Api, ServerType::Web, ServerType::Microservice, ServerType::Worker].map(recommended);
        let places = [Environment::Development, Environment::Production, Environment::Test].map(environment);
        let nodes = [NodeEnvironment::Unset, NodeEnvironment::Development, NodeEnvironment::Test];
        let clever = nodes.map(|node| intelligent(node, &HOST));
        for preset in servers.iter().chain(&places).chain(&clever) {
            let input = Input { options: preset, env: &BTreeMap::new(), host: &HOST };
            let loaded = load_cluster(&input).unwrap_or_else(|error| panic!("{preset}: {error}"));
            assert_eq!(loaded.refusal(), None, "{preset}");
            assert!(preset.get("workers").is_some(), "{preset}");
        }
    }

    #[test]
    fn merging_goes_key_by_key_and_the_second_wins() {
        for (base, over, expected) in [
            (json!({ "workers": 2 }), json!({ "workers": "auto" }), json!({ "workers": "auto" })),
            (json!({ "workers": 2 }), json!({ "workers": null }), json!({ "workers": 2 })),
            (
                json!({ "healthCheck": { "interval": 1, "timeout": 2 } }),
                json!({ "healthCheck": { "interval": 3 } }),
                json!({ "healthCheck": { "interval": 3, "timeout": 2 } }),
            ),
            (json!({ "args": ["a", "b"] }), json!({ "args": ["c"] }), json!({ "args": ["c"] })),
            (
                json!({ "processManagement": { "respawn": true } }),
                json!({ "autoRestart": false }),
                json!({ "processManagement": { "respawn": false } }),
            ),
            (
                json!({ "resources": { "maxMemoryPerWorker": "1G" } }),
                json!({ "limits": { "memory": 512 } }),
                json!({ "resources": { "maxMemoryPerWorker": 512 << 20 } }),
            ),
            (
                json!({ "scaling": { "scaleUpThreshold": 70 } }),
                json!({ "autoScaling": { "scaleUpThreshold": { "memory": 60 } } }),
                json!({ "autoScaling": { "scaleUpThreshold": { "cpu": 70, "memory": 60 } } }),
            ),
        ] {
            assert_eq!(merge(&base, &over), expected, "{base} {over}");
        }
    }

    #[test]
    fn what_is_wrong_in_either_side_is_still_found_after_merging() {
        for (base, over) in [
            (json!({ "worker": 2 }), json!({})),
            (json!({}), json!({ "healthCheck": 5 })),
            (json!({ "autoRestart": true, "processManagement": { "respawn": false } }), json!({})),
            (json!({}), json!({ "limits": { "memory": 1 } })),
        ] {
            let merged = merge(&base, &over);
            let input = Input { options: &merged, env: &BTreeMap::new(), host: &HOST };
            assert!(load_cluster(&input).is_err(), "{merged}");
        }
    }
}
