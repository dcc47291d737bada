//! The options, one file per section: its keys, its choices and its typed form. A new option is one entry of an
//! `options!`.

pub mod balancing;
pub mod cache;
pub mod errors;
pub mod health;
pub mod ipc;
pub mod logging;
pub mod monitoring;
pub mod process;
pub mod redis;
pub mod resources;
pub mod scaling;
pub mod security;
pub mod server;
pub mod worker;

use super::key::Key;

/// A section's title in the reference, and its keys.
pub type Section = (&'static str, &'static [&'static [Key]]);

/// The sections of a ClusterConfig, in the order of the documentation.
pub const CLUSTER: &[Section] = &[
    ("Workers", worker::KEYS),
    ("processManagement", process::KEYS),
    ("resources", resources::KEYS),
    ("healthCheck", health::KEYS),
    ("loadBalancing", balancing::KEYS),
    ("ipc", ipc::KEYS),
    ("autoScaling", scaling::KEYS),
    ("monitoring", monitoring::KEYS),
    ("logging", logging::KEYS),
    ("errorHandling", errors::KEYS),
    ("security", security::KEYS),
    ("cache", cache::KEYS),
    ("redis", redis::KEYS),
];

/// Every key: those of `createServer` and those of a ClusterConfig.
pub fn all() -> impl Iterator<Item = &'static Key> {
    server().chain(cluster())
}

/// The keys of `createServer` other than `cluster`.
pub fn server() -> impl Iterator<Item = &'static Key> {
    server::KEYS.iter().copied().flatten()
}

/// Every key of a ClusterConfig.
pub fn cluster() -> impl Iterator<Item = &'static Key> {
    CLUSTER.iter().flat_map(|(_, lists)| *lists).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::clustering::HostFacts;
    use crate::config::environment::NodeEnvironment;
    use crate::config::kind::Kind;
    use crate::config::model::Config;
    use crate::config::schema::Form;
    use crate::config::settings::Settings;
    use crate::config::{derive, tree, units};
    use serde_json::{Value, json};

    fn whole() -> Value {
        let host = HostFacts { usable_cpus: 2.0, available_memory: None, single_process_reason: None };
        derive::complete(&Settings::default(), Form::Cluster, NodeEnvironment::Unset, &host)
    }

    #[test]
    fn the_typed_configuration_has_every_key() {
        let config: Config = serde_json::from_value(whole()).unwrap();
        let written = serde_json::to_value(config).unwrap();
        for key in cluster() {
            let spreads = derive::SPREAD.iter().any(|(path, _)| *path == key.path);
            let pointer = format!("/{}", key.path.replace('.', "/"));
            assert_eq!(written.pointer(&pointer).is_some(), !spreads, "{}", key.path);
        }
    }

    #[test]
    fn the_extremes_of_every_key_fit_the_typed_configuration() {
        let complete = |path: &str, value: Value| {
            let mut whole = whole();
            tree::put(&mut whole, path, value);
            serde_json::from_value::<Config>(whole)
        };
        for key in all() {
            let typed =
                !derive::SPREAD.iter().any(|(path, _)| *path == key.path) && !matches!(key.kind, Kind::Any);
            let extremes = match key.kind {
                Kind::Bool => vec![json!(true), json!(false)],
                Kind::Whole { min, max } => vec![json!(min), json!(max)],
                Kind::Number { min, max } => vec![json!(min), json!(max)],
                Kind::Duration { min } => vec![json!(min), json!(units::MAX_LENGTH)],
                Kind::Size { min } | Kind::Megabytes { min } => vec![json!(min), json!(units::LARGEST)],
                Kind::Choice(names) => names.iter().map(|name| json!(name)).collect(),
                Kind::Text | Kind::Secret { .. } => vec![json!("text")],
                Kind::Texts => vec![json!([]), json!(["text"])],
                Kind::Function => vec![json!({ "$function": "f" })],
                Kind::Functions => vec![json!([{ "$function": "f" }])],
                // These have their own tests.
                Kind::Any | Kind::Shaped(_) => Vec::new(),
            };
            for value in extremes.into_iter().filter(|_| typed) {
                assert!(complete(key.path, value.clone()).is_ok(), "{}: {value}", key.path);
            }
        }
    }
}
