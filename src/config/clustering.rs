//! Whether there are workers, and how many.

use super::environment::{NodeEnvironment, node_environment, text};
use super::model::Config;
use super::sections::worker::{MAX_WORKERS, Workers};
use super::settings::Settings;
use std::collections::BTreeMap;

/// Facts about the host, determined by the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct HostFacts {
    /// CPUs this process may use: affinity and quota; a quota makes it fractional.
    pub usable_cpus: f64,
    /// Bytes this process and its workers may use, if known.
    pub available_memory: Option<u64>,
    /// Why this process starts no workers, if so: a process manager already runs one process per core, or its runtime has none.
    pub single_process_reason: Option<SingleProcessReason>,
}

impl HostFacts {
    /// Usable CPUs rounded up, at least 1 and at most the maximum number of workers.
    pub fn cpus(&self) -> u16 {
        // `as` saturates, and converts NaN to 0.
        (self.usable_cpus.ceil() as u16).clamp(1, MAX_WORKERS)
    }
}

/// Why this process starts no workers: it is already part of another cluster, or its runtime cannot run workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleProcessReason {
    /// PM2's cluster mode.
    Pm2,
    /// A worker of node:cluster.
    NodeCluster,
    /// The runtime cannot run workers.
    Bun,
}

/// Whether this process has workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clustering {
    On,
    /// No workers, and the reason.
    Off {
        because: &'static str,
    },
}

/// Decides; `enabled` is the value from environment, code or defaults, in this order of precedence. Adds messages that
/// are logged once to `notes`.
pub fn decide(
    settings: &Settings,
    enabled: bool,
    environment: &BTreeMap<String, String>,
    host: &HostFacts,
    notes: &mut Vec<String>,
) -> Clustering {
    let off = |because| Clustering::Off { because };
    if !enabled {
        let origin = settings.given.get("enabled").map(|setting| setting.origin.as_str());
        return off(match origin {
            None => "cluster.enabled is not set",
            Some("CLUSTER_ENABLED") => "CLUSTER_ENABLED says so",
            Some("ENABLE_CLUSTERING") => "ENABLE_CLUSTERING says so",
            Some(_) => "cluster.enabled is false",
        });
    }
    // Only drover's own variable counts here: the other one may be left over in old .env files.
    let operator_insists = text(environment, "CLUSTER_ENABLED").is_some();
    if node_environment(environment) == NodeEnvironment::Test && !operator_insists {
        return off("NODE_ENV is test");
    }
    let (because, who) = match host.single_process_reason {
        None => return Clustering::On,
        Some(SingleProcessReason::Bun) => {
            let text = "drover does not know how this version of Bun makes its socket calls (it knows 1.4.4 and 1.4.5): it serves \
                        in this process and starts no workers";
            notes.push(text.into());
            return off("this version of Bun runs this process");
        }
        Some(SingleProcessReason::Pm2) => ("PM2's cluster mode runs this process", "PM2's cluster mode"),
        Some(SingleProcessReason::NodeCluster) => {
            ("this process is a worker of node:cluster", "node:cluster")
        }
    };
    notes.push(format!(
        "{who} already runs this process as one of several: drover serves in this process and starts no workers"
    ));
    off(because)
}

/// The maximum number of workers regardless of code: few in development, unless CLUSTER_WORKERS is set.
pub fn ceiling(settings: &Settings, environment: &BTreeMap<String, String>) -> u16 {
    let operator_insists =
        settings.given.get("workers").is_some_and(|workers| workers.origin == "CLUSTER_WORKERS");
    let development = node_environment(environment) == NodeEnvironment::Development;
    if development && !operator_insists { IN_DEVELOPMENT } else { MAX_WORKERS }
}

const IN_DEVELOPMENT: u16 = 2;

/// The configured number of workers at start.
pub fn asked(config: &Config, host: &HostFacts) -> u16 {
    let asked = match config.workers {
        Workers::Count(count) => count,
        Workers::Max => host.cpus(),
        Workers::Auto => automatic(host, config.reserve_cores, config.resources.max_memory_per_worker),
    };
    let scaling = &config.auto_scaling;
    // Not `clamp`, which would panic if the bounds were ever crossed.
    if scaling.enabled { asked.min(scaling.max_workers).max(scaling.min_workers) } else { asked }
}

/// Usable CPUs less the reserved ones, limited by memory, at least 1.
fn automatic(host: &HostFacts, reserved: u16, memory_per_worker: Option<u64>) -> u16 {
    let cpus = host.cpus().saturating_sub(reserved);
    let room = host.available_memory.zip(memory_per_worker).and_then(|(all, each)| all.checked_div(each));
    let room = room.map_or(u16::MAX, |room| u16::try_from(room).unwrap_or(u16::MAX));
    cpus.min(room).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(usable_cpus: f64, available_memory: Option<u64>) -> HostFacts {
        HostFacts { usable_cpus, available_memory, single_process_reason: None }
    }

    #[test]
    fn auto_takes_the_cpus_it_may_use_and_what_memory_allows() {
        const MB: u64 = 1 << 20;
        for (cpus, reserved, available, each, expected) in [
            (8.0, 0, None, None, 8),
            (8.0, 1, None, None, 7),
            (0.5, 0, None, None, 1),
            (2.5, 0, None, None, 3),
            (1.0, 4, None, None, 1),
            (8.0, 0, Some(1024 * MB), None, 8),
            (8.0, 0, None, Some(256 * MB), 8),
            (8.0, 0, Some(1024 * MB), Some(256 * MB), 4),
            (8.0, 1, Some(1024 * MB), Some(256 * MB), 4),
            (8.0, 0, Some(100 * MB), Some(256 * MB), 1),
            (4096.0, 0, None, None, 1024),
        ] {
            let found = automatic(&host(cpus, available), reserved, each);
            assert_eq!(found, expected, "{cpus} CPUs, {reserved} reserved, {available:?} / {each:?}");
        }
    }

    proptest! {
        #[test]
        fn auto_is_always_a_number_of_workers(cpus: f64, reserved: u16, available: Option<u64>, each: Option<u64>) {
            let count = automatic(&host(cpus, available), reserved, each);
            prop_assert!((1..=MAX_WORKERS).contains(&count));
        }
    }
}
