//! The configuration: raw values, the environment and facts about the host go in; a typed [`Config`], or all faults at
//! once, comes out. PURE: all inputs are arguments.
//!
//! Reading order: `sections/` (the keys), `schema` (how a key is found), `kind` (the kinds of values), `settings` (raw
//! to canonical), `environment`, `derive` and `defaults`, `rules` (between keys), `model` (the result).

mod choices;
mod clustering;
mod defaults;
mod derive;
mod environment;
mod fault;
mod json_schema;
mod key;
mod kind;
mod millis;
mod model;
mod network;
mod options;
mod presets;
mod reference;
mod rules;
mod schema;
mod secret;
pub mod sections;
mod settings;
mod support;
mod tree;
pub mod units;
mod update;

/// Parses a duration like an option, in milliseconds.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn duration(raw: &serde_json::Value) -> Result<u64> {
    units::milliseconds(raw).filter(|ms| *ms > 0).ok_or_else(|| {
        let allowed = kind::Kind::TIME.allowed();
        Error::new(Code::InvalidArgument, format!("found {raw}, allowed: {allowed}"))
    })
}

pub use clustering::{Clustering, HostFacts, SingleProcessReason};
pub use defaults::default_values;
pub use environment::{NodeEnvironment, Source, node_environment};
pub use fault::Fault;
pub use json_schema::JsonSchema;
pub use model::Config;
pub use network::{Network, is_loopback};
pub use presets::environment as for_environment;
pub use presets::{Environment, ServerType, intelligent, merge, recommended};
pub use reference::reference;
pub use secret::Secret;
pub use sections::security::{IpcPolicy, Rule as IpcRule};
pub use sections::worker::MAX_WORKERS;
pub use support::Unsupported;
pub use update::{Change, Update, is_live, update};

use crate::error::{Code, Error, Result};
use schema::{Form, Index};
use serde_json::{Value, json};
use settings::Settings;
use std::collections::{BTreeMap, BTreeSet};

/// The inputs of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// As JSON; a function is `{ "$function": name }`, and other values that JSON cannot express are markers of their
    /// type. `undefined` and `null` mean not given.
    pub options: &'a Value,
    /// A snapshot of the environment.
    pub env: &'a BTreeMap<String, String>,
    pub host: &'a HostFacts,
}

/// A valid configuration, and messages about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub config: Config,
    pub clustering: Clustering,
    /// The initial number of workers, 1 to 1024; meaningless without clustering.
    pub worker_count: u16,
    /// Canonical paths of the keys that code or the environment has set.
    pub named: BTreeSet<String>,
    /// The keys that the environment has set.
    pub sources: Vec<Source>,
    /// Messages that are logged once at start.
    pub notes: Vec<String>,
    /// Unsupported options, refused at start. Options that need a cluster are listed only if there is one.
    pub unsupported: Vec<Unsupported>,
}

impl Loaded {
    /// The error for unsupported options, if any are set: `NOT_SUPPORTED` with `details.unsupported`.
    pub fn refusal(&self) -> Option<Error> {
        support::refusal(&self.unsupported)
    }
}

/// Loads the options of `createServer`. The error is [`Code::ConfigurationInvalid`], with every fault in its message,
/// one per line, and in `details.faults`.
pub fn load(input: &Input<'_>) -> Result<Loaded> {
    load_form(input, Form::Server)
}

/// Loads the ClusterConfig of `new ClusterManager(config, basePort)`. There `enabled` is true by default, and `PORT`
/// and `HOST` do not apply.
pub fn load_cluster(input: &Input<'_>) -> Result<Loaded> {
    load_form(input, Form::Cluster)
}

fn load_form(input: &Input<'_>, form: Form) -> Result<Loaded> {
    let index = Index::new(form);
    let name = if form == Form::Server { "options" } else { "config" };
    let options = sections::redis::with_redis_spelled_out(input.options);
    let mut settings = Settings::read(&index, &options, name);
    ask_for_redis(&mut settings, &options);
    let from_code = settings.given.clone();
    let (sources, mut notes) = environment::apply(&mut settings, input.env, form);

    let node = node_environment(input.env);
    let whole = derive::complete(&settings, form, node, input.host);
    let broken = rules::check(&settings, &whole);
    settings.faults.extend(broken);
    if !settings.faults.is_empty() {
        return Err(fault::report(&settings.faults));
    }
    let mut config: Config = serde_json::from_value(whole)
        .map_err(|mismatch| Error::new(Code::ConfigurationInvalid, mismatch.to_string()))?;

    let clustering = clustering::decide(&settings, config.enabled, input.env, input.host, &mut notes);
    let ceiling = clustering::ceiling(&settings, input.env);
    let asked = clustering::asked(&config, input.host);
    let worker_count = asked.min(ceiling);
    if worker_count < asked && clustering == Clustering::On {
        notes.push(format!("NODE_ENV is development: {worker_count} workers instead of {asked}; CLUSTER_WORKERS overrides this"));
    }
    let scaling = &mut config.auto_scaling;
    scaling.max_workers = scaling.max_workers.min(ceiling);
    scaling.min_workers = scaling.min_workers.min(ceiling);
    let unsupported = support::unsupported(&from_code, clustering == Clustering::On);
    let named = settings.given.keys().map(|path| (*path).to_owned()).collect();
    Ok(Loaded { config, clustering, worker_count, named, sources, notes, unsupported })
}

/// An empty `redis` enables Redis too: the environment supplies its options.
fn ask_for_redis(settings: &mut Settings, options: &Value) {
    let key = schema::key("redis.enabled").filter(|_| sections::redis::is_asked_for(options));
    if let Some(key) = key.filter(|key| !settings.is_given(key.path)) {
        let setting = settings::Setting { key, value: json!(true), origin: "redis".into() };
        settings.given.insert(key.path, setting);
    }
}

#[cfg(test)]
mod tests;
