//! Defaults that depend on other keys, on NODE_ENV or on the host. They apply only to options that were not given.

use super::clustering::HostFacts;
use super::defaults::defaults;
use super::environment::NodeEnvironment;
use super::schema::Form;
use super::sections::balancing::{Affinity, Strategy};
use super::sections::logging::Format;
use super::settings::Settings;
use super::tree;
use serde_json::{Value, json};

/// Keys that only set two others, if those are not given.
pub const SPREAD: &[(&str, [&str; 2])] = &[
    ("autoScaling.cooldownPeriod", ["autoScaling.scaleUpCooldown", "autoScaling.scaleDownCooldown"]),
    ("autoScaling.scaleStep", ["autoScaling.scaleUpIncrement", "autoScaling.scaleDownIncrement"]),
];

/// Keys that only the loader uses and that are not part of the canonical tree.
const DROPPED: &[&str] = &["app", "server", "tls"];

/// The whole configuration in canonical form: given values, then defaults.
pub fn complete(settings: &Settings, form: Form, node: NodeEnvironment, host: &HostFacts) -> Value {
    let mut whole = defaults();
    for (path, setting) in &settings.given {
        let spreads = SPREAD.iter().any(|(spread, _)| spread == path);
        if !spreads && !DROPPED.contains(path) {
            tree::put(&mut whole, path, setting.value.clone());
        }
    }
    for (path, targets) in SPREAD {
        if let Some(value) = settings.value(path) {
            for target in targets.iter().filter(|target| !settings.is_given(target)) {
                tree::put(&mut whole, target, value.clone());
            }
        }
    }
    for (path, value) in derived(settings, &whole, form, node, host) {
        if !settings.is_given(path) {
            tree::put(&mut whole, path, value);
        }
    }
    whole
}

fn derived(
    settings: &Settings,
    whole: &Value,
    form: Form,
    node: NodeEnvironment,
    host: &HostFacts,
) -> Vec<(&'static str, Value)> {
    let number = |path: &str| tree::get(whole, path).and_then(Value::as_u64).unwrap_or_default();
    let is = |path: &str, value: &str| tree::get(whole, path).is_some_and(|given| given == value);
    let moves = [Strategy::LeastConnections, Strategy::LeastResponseTime];
    let format = match node {
        NodeEnvironment::Unset => Value::Null,
        NodeEnvironment::Development => json!(Format::Pretty),
        NodeEnvironment::Test | NodeEnvironment::Production | NodeEnvironment::Other => json!(Format::Json),
    };
    let graceful = number("processManagement.gracefulShutdownTimeout");
    let sticky = settings.value("loadBalancing.stickySession") == Some(&json!(true));
    let has_affinity = !is("loadBalancing.sessionAffinity", Affinity::None.name());
    let affinity = if sticky { Affinity::Ip } else { Affinity::None };
    let file = if whole["logging"]["logRotation"] == true { json!("logs/drover.log") } else { Value::Null };
    vec![
        ("enabled", json!(form == Form::Cluster)),
        ("exposeWorkerHeaders", json!(node != NodeEnvironment::Production)),
        // Half of a short budget is reserved for the drain before SIGTERM.
        ("processManagement.killTimeout", json!(number("processManagement.killTimeout").min(graceful / 2))),
        (
            "processManagement.maxRestartDelay",
            json!(number("processManagement.maxRestartDelay").max(number("processManagement.restartDelay"))),
        ),
        (
            "loadBalancing.rebalance",
            json!(moves.iter().any(|strategy| is("loadBalancing.strategy", strategy.name()))),
        ),
        ("loadBalancing.sessionAffinity", json!(affinity)),
        ("loadBalancing.stickySession", json!(has_affinity)),
        ("autoScaling.maxWorkers", json!(u64::from(host.cpus()).max(number("autoScaling.minWorkers")))),
        ("logging.format", format),
        ("logging.file", file),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Index;

    fn completed(config: Value, node: NodeEnvironment) -> Value {
        let settings = Settings::read(&Index::new(Form::Cluster), &config, "config");
        assert_eq!(settings.faults, []);
        let host = HostFacts { usable_cpus: 3.5, available_memory: None, single_process_reason: None };
        complete(&settings, Form::Cluster, node, &host)
    }

    #[test]
    fn what_depends_on_other_keys_follows_them_unless_given() {
        for (config, path, expected) in [
            (json!({}), "loadBalancing.rebalance", json!(false)),
            (
                json!({ "loadBalancing": { "strategy": "least-connections" } }),
                "loadBalancing.rebalance",
                json!(true),
            ),
            (
                json!({ "loadBalancing": { "strategy": "least-connections", "rebalance": false } }),
                "loadBalancing.rebalance",
                json!(false),
            ),
            (
                json!({ "loadBalancing": { "stickySession": true } }),
                "loadBalancing.sessionAffinity",
                json!("ip"),
            ),
            (
                json!({ "loadBalancing": { "sessionAffinity": "cookie" } }),
                "loadBalancing.stickySession",
                json!(true),
            ),
            (json!({}), "autoScaling.maxWorkers", json!(4)),
            (json!({ "scaling": { "minWorkers": 9 } }), "autoScaling.maxWorkers", json!(9)),
            (json!({ "scaling": { "cooldownPeriod": "2s" } }), "autoScaling.scaleDownCooldown", json!(2000)),
            (
                json!({ "scaling": { "cooldownPeriod": "2s", "scaleUpCooldown": 1 } }),
                "autoScaling.scaleUpCooldown",
                json!(1),
            ),
            (json!({ "scaling": { "scaleStep": 3 } }), "autoScaling.scaleUpIncrement", json!(3)),
            (json!({ "shutdownTimeout": 2000 }), "processManagement.killTimeout", json!(1000)),
            (json!({ "restartDelay": "1m" }), "processManagement.maxRestartDelay", json!(60_000)),
            (json!({ "logging": { "logRotation": true } }), "logging.file", json!("logs/drover.log")),
            (json!({}), "logging.file", json!(null)),
        ] {
            let whole = completed(config.clone(), NodeEnvironment::Unset);
            assert_eq!(tree::get(&whole, path).cloned().unwrap_or_default(), expected, "{config} {path}");
        }
    }

    #[test]
    fn the_place_decides_about_worker_headers_and_the_format_of_lines() {
        for (node, headers, format) in [
            (NodeEnvironment::Unset, true, json!(null)),
            (NodeEnvironment::Development, true, json!("pretty")),
            (NodeEnvironment::Production, false, json!("json")),
            (NodeEnvironment::Other, true, json!("json")),
        ] {
            let whole = completed(json!({}), node);
            assert_eq!(whole["exposeWorkerHeaders"], headers, "{node:?}");
            assert_eq!(whole["logging"]["format"], format, "{node:?}");
        }
    }
}
