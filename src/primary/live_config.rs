//! The configuration of the running cluster: applies changes to it, and says what each part has to use from then on.

use serde_json::Value;

use super::configure;
use super::report;
use super::setup::{LimitSettings, MemorySettings};
use crate::config::sections::scaling::AutoScaling;
use crate::config::{self, Config};
use crate::dispatch;
use crate::error::Result;
use crate::event::Event;
use crate::ipc::control::Admission;
use crate::process::launch::Launch;
use crate::process::scheduling::Scheduling;
use crate::process::script;

pub(super) struct LiveConfig {
    config: Box<Config>,
    /// The workers'.
    runtime: script::Program,
}

/// The settings after a change, for every part with options that can change.
pub(super) struct LiveSettings {
    pub limits: LimitSettings,
    pub memory: MemorySettings,
    pub auto_scaling: AutoScaling,
    pub scheduling: Scheduling,
    pub connections_per_worker: Option<u32>,
    /// Bytes.
    pub cache_size: u64,
    /// None: unchanged.
    pub admission: Option<AdmissionSettings>,
    /// The log line; None: every option had its value already.
    pub changed: Option<Event>,
}

/// Settings of adaptive admission; None: off.
pub(super) struct AdmissionSettings {
    pub of_dispatch: Option<dispatch::Admission>,
    pub of_workers: Option<Admission>,
}

impl LiveConfig {
    pub fn new(config: Box<Config>, runtime: script::Program) -> Self {
        Self { config, runtime }
    }

    /// The whole configuration, without secrets.
    pub fn to_json(&self) -> Value {
        self.config.to_json()
    }

    /// Changes options. `partial`: a part of a configuration.
    ///
    /// # Errors
    /// See [`config::update`] and [`configure::check_runtime`]; nothing has changed then.
    pub fn update(&mut self, partial: &Value) -> Result<LiveSettings> {
        let config::Update { config, changes } = config::update(&self.config, partial)?;
        configure::check_runtime(&config, self.runtime)?;
        let has_other_admission = config.load_balancing.admission != self.config.load_balancing.admission;
        *self.config = config;
        Ok(LiveSettings {
            limits: configure::limits(&self.config),
            memory: configure::memory(&self.config),
            auto_scaling: self.config.auto_scaling.clone(),
            scheduling: configure::scheduling(&self.config.resources),
            connections_per_worker: self.config.resources.max_connections_per_worker,
            cache_size: self.config.cache.max_size,
            admission: has_other_admission.then(|| AdmissionSettings {
                of_dispatch: configure::dispatch_admission(&self.config),
                of_workers: configure::worker_admission(&self.config),
            }),
            changed: report::changed(&changes),
        })
    }

    /// Sets how workers that are started from now on are limited and scheduled. `workers`: how many share the memory.
    pub fn limit_launch(&self, launch: &mut Launch, workers: u16) {
        configure::limit_launch(launch, &self.config, workers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostFacts, Input};
    use crate::error::Code;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn live(runtime: script::Program) -> LiveConfig {
        let host = HostFacts { usable_cpus: 2.0, available_memory: None, single_process_reason: None };
        let input = Input { options: &json!({}), env: &BTreeMap::new(), host: &host };
        LiveConfig::new(Box::new(config::load_cluster(&input).unwrap().config), runtime)
    }

    #[test]
    fn admission_is_told_to_its_parts_when_it_changes() {
        let mut live = live(script::Program::Other);
        let mut told = |value: &str| {
            let settings = live.update(&json!({ "loadBalancing": { "admission": value } })).unwrap();
            settings.admission.map(|AdmissionSettings { of_dispatch, of_workers }| {
                (of_dispatch.is_some(), of_workers.is_some())
            })
        };
        assert_eq!(told("off"), None);
        assert_eq!(told("adaptive"), Some((true, true)));
        assert_eq!(told("adaptive"), None);
        assert_eq!(told("off"), Some((false, false)));
    }

    #[test]
    fn what_the_workers_runtime_does_not_support_is_refused_and_nothing_changes() {
        let mut live = live(script::Program::Bun);
        let before = live.to_json();
        let refused = live.update(&json!({ "loadBalancing": { "admission": "adaptive" } }));
        assert_eq!(refused.err().map(|error| error.code), Some(Code::ConfigurationInvalid));
        assert_eq!(live.to_json(), before);
    }
}
