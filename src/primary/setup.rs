//! The settings of every part of the primary.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use crate::config::sections::process::Ready;
use crate::config::{Config, Secret};
use crate::dispatch;
use crate::event::{Event, Level};
use crate::health::{ejection, verdict};
use crate::ipc::control::{Admission, AffinityCookie, Hello, Messages};
use crate::ipc::crypto::{Key, SALT, WorkerKeys};
use crate::ipc::message_policy::MessagePolicy;
use crate::limits;
use crate::log;
use crate::memory::budget::Thresholds;
use crate::model::WorkerId;
use crate::process::launch::Launch;
use crate::process::script;
use crate::process::worker_groups::GroupLimits;
use crate::supervisor::Policy;
use crate::sys::hidden::Hidden;
use crate::webhook::Target;

pub struct Setup {
    pub policy: Policy,
    /// An event loop that does not respond for this long is hung; None: no hang detection.
    pub hang_timeout: Option<Duration>,
    pub dispatch: dispatch::Settings,
    pub worker: WorkerSetup,
    pub log: log::Settings,
    /// Logged when the workers are started.
    pub first_lines: Vec<Event>,
    /// The policy for messages between programs.
    pub message_policy: Arc<MessagePolicy>,
    /// None: no health checks.
    pub checks: Option<Checks>,
    /// None: no ejection.
    pub ejection: Option<ejection::Policy>,
    pub reporting: Reporting,
    /// None: no monitoring.
    pub watching: Option<Watching>,
    pub limits: LimitSettings,
    pub memory: MemorySettings,
    /// The whole configuration, for later changes.
    pub config: Box<Config>,
    /// The workers' runtime.
    pub runtime: script::Program,
    /// Seed for values that must differ between primaries and are not secret.
    pub seed: u32,
}

/// The settings of health checks.
#[derive(Clone)]
pub struct Checks {
    pub policy: verdict::Policy,
    pub path: String,
    /// None: any response counts as healthy.
    pub expected: Option<u16>,
}

/// The settings of error groups and the webhook.
#[derive(Clone)]
pub struct Reporting {
    /// Maximum number of error groups.
    pub most: usize,
    /// The webhook; None: none.
    pub webhook: Option<Target>,
    pub least: Level,
}

/// The limits of the workers.
#[derive(Clone)]
pub struct LimitSettings {
    pub policy: limits::Policy,
    /// Hard limits, which control groups enforce where they can.
    pub groups: GroupLimits,
    pub budget: BudgetSettings,
}

/// How the memory of the workers is watched over time.
#[derive(Clone, Copy, Debug)]
pub struct MemorySettings {
    pub enabled: bool,
    /// The soft limit of one worker, bytes.
    pub per_worker: Option<u64>,
    pub interval: Duration,
    /// Percent of a limit.
    pub warning: f64,
    pub critical: f64,
    pub detects_leaks: bool,
    /// Request collections.
    pub hints: bool,
    /// Sample the allocations of workers that seem to leak.
    pub evidence: bool,
}

/// The memory of all workers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetSettings {
    pub is_watched: bool,
    /// Bytes; None: the control group's limit or the machine's memory.
    pub total: Option<u64>,
    /// The primary is in a control group with a limit of memory. Otherwise other programs fill the machine's memory too.
    pub is_grouped: bool,
    /// `maxTotalMemory` is a hard limit.
    pub is_hard: bool,
    /// Bytes that stay free.
    pub reservation: u64,
    pub thresholds: Thresholds,
}

/// The settings of monitoring and of its API.
#[derive(Clone)]
pub struct Watching {
    pub host: String,
    /// None: the API has no port; 0: any.
    pub port: Option<u16>,
    /// The port was configured: there is no alternative.
    pub named: bool,
    pub token: Option<Secret>,
    /// The folder of the control socket.
    pub runtime_directory: PathBuf,
    /// A fallback folder for diagnoses.
    pub scratch: PathBuf,
    pub exports: bool,
    pub dashboard: bool,
    pub retention: Duration,
    /// Interval of `metrics:updated`.
    pub metrics_interval: Duration,
    /// The program provides custom metrics, which are requested first.
    pub has_custom_metrics: bool,
}

/// The settings of new workers.
pub struct WorkerSetup {
    pub launch: Launch,
    pub config: WorkerConfig,
    pub affinity: dispatch::Affinity,
    /// Their output is part of the log.
    pub captured: bool,
    /// The cluster's key; None: channels are not encrypted.
    pub key: Option<Hidden<Key>>,
}

impl WorkerSetup {
    /// New keys for a worker's channels, with a fresh salt.
    ///
    /// # Errors
    /// The kernel gave no random bytes.
    pub fn keys(&self, worker: WorkerId) -> io::Result<Option<WorkerKeys>> {
        let Some(key) = &self.key else { return Ok(None) };
        let mut salt = [0; SALT];
        SystemRandom::new().fill(&mut salt).map_err(|_| no_random_bytes())?;
        Ok(Some(WorkerKeys::derive(key, &salt, worker)))
    }

    /// # Errors
    /// The kernel gave no random bytes.
    pub fn hello(&self, worker: WorkerId) -> io::Result<Hello> {
        let config = &self.config;
        let affinity = match &self.affinity {
            dispatch::Affinity::Cookie { name, key } => Some(AffinityCookie {
                name: name.clone(),
                value: dispatch::cookie_value(worker.slot, key),
                attributes: config.cookie_attributes.clone(),
                key: base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key),
            }),
            dispatch::Affinity::None | dispatch::Affinity::Ip => None,
        };
        Ok(Hello {
            worker,
            primary_pid: std::process::id(),
            title: format!("drover: worker {worker} ({})", self.launch.script_name()),
            ready: config.ready,
            worker_headers: config.worker_headers,
            handoff: config.handoff,
            admission: config.admission.clone(),
            affinity,
            sticky: config.sticky,
            measured: config.measured,
            checked: config.checked,
            traced: config.traced,
            captured: self.captured,
            report_mark: if self.captured { report_mark()? } else { String::new() },
            slow_ms: config.slow_ms,
            request_ids: config.request_ids,
            sealed: self.key.is_some(),
            messages: config.messages,
            config: config.config.clone(),
        })
    }
}

/// The configuration that every worker gets when it attaches.
#[derive(Clone)]
pub struct WorkerConfig {
    pub ready: Ready,
    pub worker_headers: bool,
    pub handoff: bool,
    pub admission: Option<Admission>,
    pub sticky: bool,
    pub measured: bool,
    pub checked: bool,
    pub traced: bool,
    pub messages: Messages,
    pub slow_ms: u64,
    pub request_ids: bool,
    /// The attributes of the Set-Cookie header, after the cookie's value.
    pub cookie_attributes: String,
    pub config: Value,
}

fn no_random_bytes() -> io::Error {
    io::Error::other("the kernel gave no random bytes")
}

/// A random mark, which a program cannot write by chance or on a client's request.
fn report_mark() -> io::Result<String> {
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| no_random_bytes())?;
    Ok(format!("\u{1c}{:032x}\u{1c}", u128::from_ne_bytes(random)))
}
