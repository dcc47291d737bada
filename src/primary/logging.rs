//! Converts a validated configuration to the log's settings.

use std::collections::BTreeMap;

use crate::component::Component;
use crate::config::sections::logging as config;
use crate::config::{Config, NodeEnvironment, node_environment};
use crate::event::Level;
use crate::log::{self, Format};

/// The log file with `logRotation` and no `file`.
const DEFAULT_FILE: &str = "logs/drover.log";

pub fn settings(config: &Config, env: &BTreeMap<String, String>, terminal: bool) -> log::Settings {
    let logging = &config.logging;
    let pretty = match (logging.format, node_environment(env)) {
        (Some(format), _) => format == config::Format::Pretty,
        (None, NodeEnvironment::Development) => true,
        (None, NodeEnvironment::Unset) => terminal,
        (None, _) => false,
    };
    // Unknown names were refused with the configuration.
    let component = |(name, own): (&String, &config::Level)| Some((Component::named(name)?, level(*own)));
    let path = logging.file.clone().or_else(|| logging.log_rotation.then(|| DEFAULT_FILE.to_owned()));
    log::Settings {
        enabled: logging.enabled,
        captures: logging.enabled && logging.include_worker_logs,
        least: level(logging.level),
        components: logging.components.iter().filter_map(component).collect(),
        style: log::Style {
            format: if pretty { Format::Pretty } else { Format::Json },
            color: path.is_none() && log::may_color(is_set(env, "NO_COLOR")),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            env: env.get("NODE_ENV").cloned().unwrap_or_default(),
        },
        file: path.map(|path| log::FileSettings {
            // The program may change its working directory later.
            path: std::path::absolute(&path).unwrap_or_else(|_| path.into()),
            rotation: logging
                .log_rotation
                .then_some(log::Rotation { size: logging.max_log_size, files: logging.max_log_files }),
        }),
        max_rate: logging.max_rate,
    }
}

fn is_set(env: &BTreeMap<String, String>, name: &str) -> bool {
    env.get(name).is_some_and(|value| !value.is_empty())
}

/// Whether workers are told to use colours: their output is a pipe, not a terminal, even if the log is read on one.
pub fn is_colored(log: &log::Settings) -> bool {
    log.captures && log.style.color
}

fn level(level: config::Level) -> Level {
    // The names are the same.
    log::own_level(level.name()).unwrap_or(Level::Info)
}
