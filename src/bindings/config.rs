//! Configuration: validation, presets and defaults for JavaScript.

use std::collections::BTreeMap;

use napi_derive::napi;
use serde::Deserialize;
use serde_json::{Value, json};

use super::outcome;
use crate::config::{
    self, Clustering, Environment, HostFacts, Input, Loaded, ServerType, SingleProcessReason,
};
use crate::error::{Code, Error, Result};
use crate::process::cpus;

/// The input from JavaScript: a configuration and facts about the process.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigArguments {
    /// `new ClusterManager(config)` instead of `createServer(options)`.
    #[serde(default)]
    pub standalone: bool,
    #[serde(default)]
    pub options: Value,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Why this process starts no workers, if so: "pm2" or "node-cluster" run it as one of several, "bun" has no workers.
    #[serde(default)]
    pub single_process_reason: Option<String>,
}

pub fn host(single_process_reason: Option<&str>) -> HostFacts {
    HostFacts {
        usable_cpus: cpus::usable_cpus(),
        available_memory: cpus::available_memory(),
        single_process_reason: match single_process_reason {
            Some("pm2") => Some(SingleProcessReason::Pm2),
            Some("bun") => Some(SingleProcessReason::Bun),
            Some(_) => Some(SingleProcessReason::NodeCluster),
            None => None,
        },
    }
}

fn load(arguments: &ConfigArguments) -> Result<Loaded> {
    let host = host(arguments.single_process_reason.as_deref());
    let input = Input { options: &arguments.options, env: &arguments.env, host: &host };
    if arguments.standalone { config::load_cluster(&input) } else { config::load(&input) }
}

pub fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Error::new(Code::ConfigurationInvalid, error.to_string()))
}

/// A validated configuration, from which any number of primaries can be created.
#[napi(js_name = "Configuration")]
pub struct NativeConfiguration {
    loaded: Result<Loaded>,
    /// The environment variables with which it was validated.
    pub(super) env: BTreeMap<String, String>,
}

#[napi]
impl NativeConfiguration {
    /// `{ options, env, standalone?, singleProcessReason? }`; `outcome` has the result.
    #[napi(constructor)]
    pub fn new(input: Value) -> Self {
        match parse::<ConfigArguments>(input) {
            Ok(arguments) => Self { loaded: load(&arguments), env: arguments.env },
            Err(error) => Self { loaded: Err(error), env: BTreeMap::new() },
        }
    }

    pub(super) fn loaded(&self) -> Result<&Loaded> {
        self.loaded.as_ref().map_err(Clone::clone)
    }

    /// `{ ok: { config, clustering, because, workerCount, port, host, exposeWorkerHeaders, notes, refusal } }` or
    /// `{ error }` with every fault.
    #[napi(getter)]
    pub fn outcome(&self) -> Value {
        outcome(self.loaded().map(view))
    }
}

fn view(loaded: &Loaded) -> Value {
    let because = match &loaded.clustering {
        Clustering::On => None,
        Clustering::Off { because } => Some(because),
    };
    json!({
        "config": loaded.config.to_json(),
        "clustering": because.is_none(),
        "because": because,
        "workerCount": loaded.worker_count,
        "port": loaded.config.port,
        "host": loaded.config.host,
        "exposeWorkerHeaders": loaded.config.expose_worker_headers,
        "notes": loaded.notes,
        "refusal": loaded.refusal(),
    })
}

/// Whether a tool runs this process that restarts it whenever a file is saved.
#[napi(js_name = "isWatched")]
pub fn is_watched() -> bool {
    crate::process::watcher::watches()
}

/// Parses a duration like an option, in milliseconds: `{ ok }` or `{ error }`.
#[napi(js_name = "readDuration")]
pub fn read_duration(value: Value) -> Value {
    outcome(config::duration(&value).map(Value::from))
}

/// `DEFAULT_VALUES` of the public API.
#[napi(js_name = "defaultValues")]
pub fn default_values() -> Value {
    config::default_values()
}

/// A recommended ClusterConfig: `api`, `web`, `microservice`, `worker`; or for an environment: `development`,
/// `production`, `test`; null for any other name.
#[napi(js_name = "presetConfig")]
pub fn preset_config(name: String) -> Value {
    let name = Value::from(name);
    if let Ok(server) = serde_json::from_value::<ServerType>(name.clone()) {
        return config::recommended(server);
    }
    serde_json::from_value::<Environment>(name).map_or(Value::Null, config::for_environment)
}

/// A ClusterConfig for this machine and environment.
#[napi(js_name = "intelligentConfig")]
pub fn intelligent_config(env: Value) -> Value {
    let env: BTreeMap<String, String> = serde_json::from_value(env).unwrap_or_default();
    config::intelligent(config::node_environment(&env), &host(None))
}

/// Merges one configuration into another, in canonical names.
#[napi(js_name = "mergeConfigs")]
pub fn merge_configs(base: Value, over: Value) -> Value {
    config::merge(&base, &over)
}

/// The option reference, as Markdown.
#[napi(js_name = "optionReference")]
pub fn option_reference() -> String {
    config::reference()
}
