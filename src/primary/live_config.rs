//! The configuration of the running cluster: applies changes to it, and says what each part has to use from then on.

use serde_json::Value;

use super::configure;
use super::report;
use super::setup::{LimitSettings, MemorySettings};
use crate::config::sections::scaling::AutoScaling;
use crate::config::{self, Config};
use crate::error::Result;
use crate::event::Event;
use crate::process::launch::Launch;

pub(super) struct LiveConfig(Box<Config>);

/// The settings after a change, for every part with options that can change.
pub(super) struct LiveSettings {
    pub limits: LimitSettings,
    pub memory: MemorySettings,
    pub auto_scaling: AutoScaling,
    pub connections_per_worker: Option<u32>,
    /// The log line; None: every option had its value already.
    pub changed: Option<Event>,
}

impl LiveConfig {
    pub fn new(config: Box<Config>) -> Self {
        Self(config)
    }

    /// The whole configuration, without secrets.
    pub fn to_json(&self) -> Value {
        self.0.to_json()
    }

    /// Changes options. `partial`: a part of a configuration.
    ///
    /// # Errors
    /// See [`config::update`]; nothing has changed then.
    pub fn update(&mut self, partial: &Value) -> Result<LiveSettings> {
        let config::Update { config, changes } = config::update(&self.0, partial)?;
        *self.0 = config;
        Ok(LiveSettings {
            limits: configure::limits(&self.0),
            memory: configure::memory(&self.0),
            auto_scaling: self.0.auto_scaling.clone(),
            connections_per_worker: self.0.resources.max_connections_per_worker,
            changed: report::changed(&changes),
        })
    }

    /// Sets how workers that are started from now on are limited and scheduled. `workers`: how many share the memory.
    pub fn limit_launch(&self, launch: &mut Launch, workers: u16) {
        configure::limit_launch(launch, &self.0, workers);
    }
}
