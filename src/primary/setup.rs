//! What a configuration asks of every part of the primary.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use crate::config::Secret;
use crate::config::sections::process::Ready;
use crate::dispatch;
use crate::event::{Event, Level};
use crate::health::{ejection, verdict};
use crate::ipc::control::{AffinityCookie, Hello, Messages};
use crate::ipc::crypto::{Key, SALT, WorkerKeys};
use crate::ipc::message_policy::MessagePolicy;
use crate::log;
use crate::model::WorkerId;
use crate::process::launch::Launch;
use crate::supervisor::Policy;
use crate::sys::hidden::Hidden;
use crate::webhook::Target;

pub struct Setup {
    pub policy: Policy,
    /// An event loop that answers nothing for so long is hung; None: nobody looks.
    pub hang_timeout: Option<Duration>,
    pub dispatch: dispatch::Settings,
    pub worker: WorkerSetup,
    pub log: log::Settings,
    /// Said when the workers are started.
    pub first_lines: Vec<Event>,
    /// What every message passes.
    pub message_policy: Arc<MessagePolicy>,
    /// None: nobody asks whether the workers are well.
    pub checks: Option<Checks>,
    /// None: no worker is left out for what it answers.
    pub ejection: Option<ejection::Policy>,
    pub reporting: Reporting,
    /// None: nothing is monitored.
    pub watching: Option<Watching>,
    /// Seeds what must differ between primaries and need not be secret.
    pub seed: u32,
}

/// How the workers are asked whether they are well.
#[derive(Clone)]
pub struct Checks {
    pub policy: verdict::Policy,
    pub path: String,
    /// None: any answer will do.
    pub expected: Option<u16>,
}

/// What becomes of errors.
#[derive(Clone)]
pub struct Reporting {
    /// Kinds that are kept apart.
    pub most: usize,
    /// Who gets messages about them; None: nobody.
    pub webhook: Option<Target>,
    pub least: Level,
}

/// What is monitored, and who may look.
#[derive(Clone)]
pub struct Watching {
    pub host: String,
    /// None: the API has no port; 0: any.
    pub port: Option<u16>,
    /// The user named the port: no other will do.
    pub named: bool,
    pub token: Option<Secret>,
    /// The folder of the control socket.
    pub room: PathBuf,
    /// A folder for files that the program's own has no place for.
    pub scratch: PathBuf,
    pub exports: bool,
    pub dashboard: bool,
    pub retention: Duration,
    /// How often the metrics are told.
    pub told_every: Duration,
    /// The program measures as well, and is asked first.
    pub asks: bool,
}

/// What workers are made of.
pub struct WorkerSetup {
    pub launch: Launch,
    pub config: WorkerConfig,
    pub affinity: dispatch::Affinity,
    /// What they write is written by the log.
    pub captured: bool,
    /// Of the cluster; None: channels are not sealed.
    pub key: Option<Hidden<Key>>,
}

impl WorkerSetup {
    /// New keys for a worker's channels, with a salt that was never used before.
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

/// What every worker is told when it attaches.
#[derive(Clone)]
pub struct WorkerConfig {
    pub ready: Ready,
    pub worker_headers: bool,
    pub handoff: bool,
    pub sticky: bool,
    pub measured: bool,
    pub checked: bool,
    pub traced: bool,
    pub messages: Messages,
    pub slow_ms: u64,
    pub request_ids: bool,
    /// Everything after the value of a Set-Cookie header.
    pub cookie_attributes: String,
    pub config: Value,
}

fn no_random_bytes() -> io::Error {
    io::Error::other("the kernel gave no random bytes")
}

/// Nothing that a program writes by chance, or because a client asks it to.
fn report_mark() -> io::Result<String> {
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| no_random_bytes())?;
    Ok(format!("\u{1c}{:032x}\u{1c}", u128::from_ne_bytes(random)))
}
