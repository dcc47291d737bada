//! Converts a validated configuration to the settings of each part of the primary.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::logging;
use super::setup::{
    BudgetSettings, Checks, LimitSettings, MemorySettings, Reporting, Setup, Watching, WorkerConfig,
    WorkerSetup,
};
use crate::admin::socket;
use crate::config::sections::balancing::{self, AdaptiveAdmission, LoadBalancing, SameSite};
use crate::config::sections::errors::{Body, Severity};
use crate::config::sections::ipc::{Ipc, Serialization};
use crate::config::sections::process::Ready;
use crate::config::sections::resources::{Priority, Resources};
use crate::config::{Config, Loaded, Secret};
use crate::dispatch::{self, Affinity, Fallback, Settings};
use crate::error::{Code, Error, Result};
use crate::event::{Event, Level, Subject};
use crate::health::{ejection, verdict};
use crate::ipc::control::{Admission, Messages};
use crate::ipc::crypto::{KEY, Key};
use crate::ipc::message_policy::MessagePolicy;
use crate::ipc::message_rules::Policy;
use crate::limits::{self, CpuLimit, MemoryLimit};
use crate::memory::budget::Thresholds;
use crate::process::cpus;
use crate::process::launch::{Launch, logical, through};
use crate::process::scheduling::Scheduling;
use crate::process::script::{self, Runtime};
use crate::process::worker_groups::GroupLimits;
use crate::supervisor;
use crate::sys::hidden::Hidden;
use crate::webhook::Target;

/// How the primary itself was started: the basis of a worker's command line.
#[derive(Clone, Debug)]
pub struct Command {
    pub program: String,
    /// What `program` is.
    pub runtime: script::Program,
    pub exec_argv: Vec<String>,
    /// None: there is no script to run again (a REPL, `-e`).
    pub script: Option<String>,
    pub args: Vec<String>,
    pub preload: String,
    /// The program contains the script and drover.
    pub standalone: bool,
    /// The working directory when the cluster was created; None: it had been removed.
    pub folder: Option<String>,
}

/// Random bytes for values that must differ between primaries.
pub type Entropy = [u8; 32];

/// # Errors
/// `NO_SCRIPT`; the audit log cannot be written.
pub fn setup(
    loaded: &Loaded,
    env: &BTreeMap<String, String>,
    command: Command,
    terminal: bool,
    entropy: &Entropy,
) -> Result<Setup> {
    let config = &loaded.config;
    let log = logging::settings(config, env, terminal);
    let runtime = config.interpreter.as_deref().map_or(command.runtime, interpreter);
    check_runtime(config, runtime)?;
    let workers = loaded.worker_count;
    let launch = launch(config, env, command, logging::is_colored(&log), workers)?;
    let policy = lives(config, workers, launch.script_name());
    let inspected = launch.is_inspected();
    let hang_timeout = Some(config.process_management.hang_timeout);
    let hang_timeout = hang_timeout.filter(|timeout| !timeout.is_zero() && !inspected);
    let dispatch = dispatch(config, workers, inspected, entropy);
    Ok(Setup {
        hang_timeout,
        checks: checks(loaded, inspected),
        ejection: ejection(config),
        reporting: reporting(config),
        watching: watching(loaded, env),
        limits: limits(config),
        memory: memory(config),
        config: Box::new(config.clone()),
        runtime,
        message_policy: Arc::new(message_policy(config)?),
        first_lines: first_lines(loaded, &launch),
        seed: u32::from_le_bytes([entropy[0], entropy[1], entropy[2], entropy[3]]),
        worker: WorkerSetup {
            launch,
            config: worker_config(config, hang_timeout.is_some(), inspected),
            affinity: dispatch.affinity.clone(),
            captured: log.captures,
            key: if config.ipc.encryption { Some(hide(cluster_key(config, entropy)?)?) } else { None },
        },
        dispatch,
        log,
        policy,
    })
}

/// `traced`: the primary may request a worker's stack. `inspected`: a debugger may stop the workers, which is no overload.
fn worker_config(config: &Config, traced: bool, inspected: bool) -> WorkerConfig {
    let balancing = &config.load_balancing;
    WorkerConfig {
        ready: config.process_management.ready,
        worker_headers: config.expose_worker_headers,
        handoff: balancing.handoff,
        admission: worker_admission(config).filter(|_| !inspected),
        sticky: balancing.session_affinity != balancing::Affinity::None
            || balancing.strategy == balancing::Strategy::IpHash,
        measured: config.monitoring.enabled,
        checked: config.health_check.enabled,
        traced,
        messages: messages(&config.ipc),
        slow_ms: config.logging.slow_requests.as_millis() as u64,
        request_ids: config.logging.request_ids,
        cookie_attributes: cookie_attributes(balancing),
        config: config.to_json(),
    }
}

/// No checks if a debugger may stop the workers.
fn checks(loaded: &Loaded, inspected: bool) -> Option<Checks> {
    let health = &loaded.config.health_check;
    let named = ["healthCheck.endpoint", "healthCheck.expectedStatus"];
    let is_named = named.iter().any(|path| loaded.named.contains(*path));
    (health.enabled && !inspected).then(|| Checks {
        policy: verdict::Policy {
            interval: health.interval,
            timeout: health.timeout,
            max_failures: health.max_failures,
            retry_delay: health.retry_delay,
            grace: health.grace_period,
        },
        path: health.endpoint.clone(),
        expected: is_named.then_some(health.expected_status),
    })
}

fn ejection(config: &Config) -> Option<ejection::Policy> {
    let errors = &config.error_handling;
    let breaker = &errors.circuit_breaker;
    // Without healthAware no worker is excluded, and none is reported as ejected.
    (errors.enabled && breaker.enabled && config.load_balancing.health_aware)
        .then_some(ejection::Policy { threshold: breaker.failure_threshold, reset: breaker.reset_timeout })
}

fn reporting(config: &Config) -> Reporting {
    let errors = &config.error_handling;
    let (reporting, retry) = (&errors.reporting, &errors.retry);
    let webhook = reporting.webhook.clone().filter(|_| errors.enabled);
    Reporting {
        most: reporting.max_entries as usize,
        webhook: webhook.map(|url| Target {
            url,
            max_retries: retry.max_retries,
            initial_delay: retry.initial_delay,
            max_delay: retry.max_delay,
        }),
        least: match reporting.min_severity {
            Severity::Debug => Level::Debug,
            Severity::Info => Level::Info,
            Severity::Warn => Level::Warn,
            Severity::Error => Level::Error,
        },
    }
}

/// The smallest heap that the budget asks for, bytes.
const MIN_SHARE: u64 = 128 << 20;

/// A hard limit is this much above the soft one.
const HARD: f64 = 1.1;

pub(super) fn limits(config: &Config) -> LimitSettings {
    let (resources, process) = (&config.resources, &config.process_management);
    let enforcement = &resources.enforcement;
    let is_enforced = enforcement.enforce_hard_limits;
    let hard = resources.max_memory_per_worker.and_then(|soft| {
        let enforced = is_enforced.then_some((soft as f64 * HARD) as u64);
        if enforcement.kill_on_memory_exceed { Some(soft) } else { enforced }
    });
    let soft = [
        (resources.max_memory_per_worker, "resources.maxMemoryPerWorker"),
        (process.memory_threshold, "processManagement.memoryThreshold"),
    ];
    let soft = soft.into_iter().filter_map(|(limit, option)| Some((limit?, option))).min();
    let management = &resources.memory_management;
    let fraction = |percent: f64| percent / 100.0;
    LimitSettings {
        policy: limits::Policy {
            memory: soft.map(|(soft, option)| MemoryLimit { soft, option, hard }),
            cpu: resources
                .max_cpu_per_worker
                .map(|percent| CpuLimit { percent, kills: enforcement.kill_on_cpu_exceed }),
            cpu_threshold: process.cpu_threshold,
            requests: resources.max_requests_per_worker.map(u64::from),
            age: resources.max_age_per_worker,
            connections: resources.max_connections_per_worker.map(u64::from),
        },
        groups: GroupLimits {
            memory: resources
                .max_memory_per_worker
                .filter(|_| is_enforced)
                .map(|soft| (soft as f64 * HARD) as u64),
            cpu: resources.max_cpu_per_worker.filter(|_| is_enforced).map(|soft| soft * HARD),
            processes: config.security.limits.processes.map(u64::from),
        },
        budget: BudgetSettings {
            is_watched: management.enabled,
            total: management.max_total_memory,
            is_grouped: cpus::group_share().0.is_some(),
            is_hard: is_enforced,
            reservation: management.memory_reservation.unwrap_or(0),
            thresholds: Thresholds {
                warning: fraction(management.memory_warning_threshold),
                critical: fraction(management.memory_critical_threshold),
            },
        },
    }
}

pub(super) fn memory(config: &Config) -> MemorySettings {
    let management = &config.resources.memory_management;
    MemorySettings {
        enabled: management.enabled,
        per_worker: limits(config).policy.memory.map(|limit| limit.soft),
        interval: management.memory_check_interval,
        warning: management.memory_warning_threshold,
        critical: management.memory_critical_threshold,
        detects_leaks: management.memory_leak_detection,
        hints: management.garbage_collection_hint,
        evidence: management.evidence,
    }
}

/// Sets how workers that are started from now on are limited and scheduled.
pub(super) fn limit_launch(launch: &mut Launch, config: &Config, workers: u16) {
    launch.scheduling = scheduling(&config.resources);
    launch.heap = if launch.has_v8 { heap(config, workers, launch) } else { Vec::new() };
}

pub(super) fn scheduling(resources: &Resources) -> Scheduling {
    let optimization = &resources.performance_optimization;
    Scheduling {
        nicer: match resources.priority_level {
            Priority::Low => 10,
            Priority::Normal => 0,
            Priority::High => -5,
        },
        pins: optimization.cpu_optimization,
        io_priority: optimization.io_optimization,
    }
}

/// V8's options for the workers' heaps; what the user set himself wins.
fn heap(config: &Config, workers: u16, launch: &Launch) -> Vec<String> {
    let mut options = Vec::new();
    let is_set = |name: &str| {
        let names = |text: &String| text.trim_start_matches('-').replace('_', "-").starts_with(name);
        let words: Vec<String> = launch.node_options().split_whitespace().map(str::to_owned).collect();
        launch.exec_argv.iter().chain(&words).any(names)
    };
    if let Some(limit) = heap_limit(config, workers).filter(|_| !is_set("max-old-space-size")) {
        options.push(format!("--max-old-space-size={}", (limit >> 20).max(32)));
    }
    if config.resources.performance_optimization.low_memory_mode {
        let small = ["--optimize-for-size", "--max-semi-space-size=2"];
        options.extend(
            small
                .into_iter()
                .filter(|option| {
                    !is_set(option.trim_start_matches('-').split('=').next().unwrap_or_default())
                })
                .map(str::to_owned),
        );
    }
    options
}

/// Bytes of a worker's heap: somewhat more than the soft limit of its memory, so that a worker which leaks is replaced
/// before V8 ends it; from the budget without one. None without either.
fn heap_limit(config: &Config, workers: u16) -> Option<u64> {
    let management = &config.resources.memory_management;
    let group = || cpus::group_share().0.map(|share| share.limit);
    let reservation = management.memory_reservation.unwrap_or(0);
    let shared = group().map(|limit| limit.saturating_sub(reservation));
    let budget = management.max_total_memory.into_iter().chain(shared).min();
    let scaling = &config.auto_scaling;
    let most = if scaling.enabled { scaling.max_workers.max(workers) } else { workers };
    let share = budget.filter(|_| management.enabled).map(|budget| budget / u64::from(most.max(1)));
    // A program that needs more than a tiny share is better ended by the limit itself than always by V8.
    let share = share.map(|share| share.max(MIN_SHARE));
    let limit = config.resources.max_memory_per_worker.into_iter().chain(share).min()?;
    Some((limit as f64 * HARD) as u64)
}

fn watching(loaded: &Loaded, env: &BTreeMap<String, String>) -> Option<Watching> {
    let monitoring = &loaded.config.monitoring;
    monitoring.enabled.then(|| Watching {
        host: monitoring.host.clone(),
        port: monitoring.port.number(),
        named: loaded.named.contains("monitoring.port"),
        token: monitoring.token.clone(),
        runtime_directory: socket::runtime_directory(env),
        scratch: socket::temporary(env),
        exports: monitoring.export_metrics,
        dashboard: monitoring.dashboard,
        retention: monitoring.retention,
        metrics_interval: monitoring.metrics_interval,
        has_custom_metrics: monitoring.custom_metrics.is_some(),
    })
}

fn messages(ipc: &Ipc) -> Messages {
    Messages {
        timeout_ms: ipc.timeout.as_millis() as u64,
        most: usize::try_from(ipc.max_message_size).unwrap_or(usize::MAX / 2),
        max_pending: ipc.max_pending as usize,
        advanced: ipc.serialization == Serialization::Advanced,
    }
}

fn message_policy(config: &Config) -> Result<MessagePolicy> {
    let security = &config.security;
    MessagePolicy::new(Policy::of(&security.ipc), security.audit_log.as_deref()).map_err(|error| {
        let path = security.audit_log.as_deref().unwrap_or_default();
        Error::system("open", &error).and("path", path.into()).and("option", "security.auditLog".into())
    })
}

fn hide(key: Key) -> Result<Hidden<Key>> {
    Hidden::new(key).map_err(|error| Error::system("memory for the key", &error))
}

/// The cluster's key: the given 32 bytes, derived from a passphrase, or random.
fn cluster_key(config: &Config, entropy: &Entropy) -> Result<Key> {
    let Some(secret) = config.ipc.key.as_ref().map(Secret::reveal) else { return Ok(Key::new(fresh()?)) };
    if let Some(key) = Key::read(secret) {
        return Ok(key);
    }
    // The key is never derived again, so the salt does not have to be stored.
    Key::stretch(secret, entropy)
        .ok_or_else(|| Error::new(Code::ResourceExhausted, "ipc.key: not enough memory to derive the key"))
}

fn fresh() -> Result<[u8; KEY]> {
    let mut bytes = [0; KEY];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::new(Code::System, "the kernel gave no random bytes"))?;
    Ok(bytes)
}

fn launch(
    config: &Config,
    env: &BTreeMap<String, String>,
    command: Command,
    colored: bool,
    workers: u16,
) -> Result<Launch> {
    let Command { program, runtime, exec_argv, script, args, preload, standalone, folder } = command;
    let known = folder.as_ref().map(|folder| logical(folder, env.get("PWD").map(String::as_str), is_same));
    let script = match (&folder, &known) {
        // A deployment that moves a symbolic link moves the script with the folder.
        (Some(folder), Some(known)) => script.map(|script| through(&script, folder, known)),
        _ => script,
    };
    let script = config.exec.clone().or(script).ok_or_else(|| {
        Error::new(
            Code::NoScript,
            "There is no script that a worker could run: start the program from a file, or name one in `exec`",
        )
    })?;
    if standalone && config.exec.is_some() && config.interpreter.is_none() {
        let text =
            "This program contains its script and can run no other: name in `interpreter` what runs `exec`";
        return Err(Error::new(Code::NoScript, text));
    }
    let cwd = match (&config.cwd, known) {
        (Some(cwd), Some(known)) => Some(Path::new(&known).join(cwd).to_string_lossy().into_owned()),
        (Some(cwd), None) => Some(cwd.clone()),
        (None, known) => known,
    };
    let mut launch = Launch {
        program: config.interpreter.clone().unwrap_or(program),
        heap: Vec::new(),
        exec_argv: config.exec_argv.clone().unwrap_or(exec_argv),
        preload,
        standalone: standalone && config.exec.is_none(),
        script,
        args: config.args.clone().unwrap_or(args),
        env: Arc::new(env.clone()),
        own_env: config.env.0.clone(),
        colored,
        cwd,
        scheduling: Scheduling::default(),
        has_v8: false,
    };
    let runtime = config.interpreter.as_deref().map_or(runtime, interpreter);
    launch.has_v8 = runtime != script::Program::Bun && !launch.standalone;
    limit_launch(&mut launch, config, workers);
    if config.exec.is_some() {
        let found = script::find(
            &launch.script,
            launch.cwd.as_deref().unwrap_or("/"),
            &Runtime {
                program: runtime,
                arguments: &launch.exec_argv,
                node_options: launch.node_options(),
                script_arguments: &launch.args,
                is_ready_at_boot: config.process_management.ready == Ready::Boot,
            },
            script::look,
            script::package,
        )?;
        launch.script = found.path;
        launch.exec_argv.extend(found.option.map(str::to_owned));
    }
    Ok(launch)
}

/// Options that `runtime`, the workers', must support.
///
/// # Errors
/// It does not support one of them.
pub fn check_runtime(config: &Config, runtime: script::Program) -> Result<()> {
    if runtime != script::Program::Bun || adaptive(config).is_none() {
        return Ok(());
    }
    let text = "loadBalancing.admission needs workers under Node.js: under Bun, drover cannot answer a request before \
                the program does. Let admission be 'off'";
    Err(Error::new(Code::ConfigurationInvalid, text))
}

/// What an interpreter is, by the name of its file.
fn interpreter(path: &str) -> script::Program {
    match Path::new(path).file_name().and_then(|name| name.to_str()) {
        Some("bun") => script::Program::Bun,
        _ => script::Program::Other,
    }
}

/// Whether two paths name the same folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    identity(one).is_some_and(|found| Some(found) == identity(other))
}

fn lives(config: &Config, workers: u16, script: &str) -> supervisor::Policy {
    let process = &config.process_management;
    supervisor::Policy {
        workers,
        standby: process.standby_workers,
        respawn: process.respawn,
        max_restarts: process.max_restarts,
        restart_window: process.restart_window,
        restart_delay: process.restart_delay,
        max_restart_delay: process.max_restart_delay,
        reset_timeout: config.error_handling.circuit_breaker.reset_timeout,
        startup_timeout: process.startup_timeout,
        ready: process.ready,
        graceful: process.graceful_shutdown,
        graceful_timeout: process.graceful_shutdown_timeout,
        shutdown_delay: process.shutdown_delay,
        kill_timeout: process.kill_timeout,
        script: script.to_owned(),
    }
}

fn dispatch(config: &Config, workers: u16, inspected: bool, entropy: &Entropy) -> Settings {
    let balancing = &config.load_balancing;
    let slots = balancing.weights.keys().max().map_or(0, |last| usize::from(*last) + 1);
    let mut weights = vec![1; slots];
    for (slot, weight) in &balancing.weights {
        weights[usize::from(*slot)] = *weight;
    }
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    Settings {
        strategy: balancing.strategy,
        mode: balancing.dispatch,
        weights,
        health_aware: balancing.health_aware,
        connection_tracking: balancing.connection_tracking,
        affinity: match balancing.session_affinity {
            balancing::Affinity::None => Affinity::None,
            balancing::Affinity::Ip => Affinity::Ip,
            balancing::Affinity::Cookie => Affinity::Cookie {
                name: balancing.affinity_cookie.name.clone(),
                key: cookie_key(config, entropy),
            },
        },
        trusted_proxies: balancing.trust_proxy.clone(),
        rebalance: balancing.rebalance && balancing.handoff && !is_bound(config),
        max_connections_per_worker: config.resources.max_connections_per_worker,
        max_queue: balancing.max_queue as usize,
        queue_timeout: balancing.queue_timeout,
        inspected,
        // Spare slots for growth: another program may have joined the port by the time further listeners would be
        // created.
        slots: (workers + config.process_management.standby_workers)
            .max(u16::try_from(2 * cpus).unwrap_or(u16::MAX)),
        fallback: fallback(config),
        admission: dispatch_admission(config),
    }
}

/// The part of admission that is dispatch's.
pub fn dispatch_admission(config: &Config) -> Option<dispatch::Admission> {
    let adaptive = adaptive(config)?;
    Some(dispatch::Admission { target: adaptive.target_delay, exempt: exempt(config, adaptive) })
}

/// Paths that are never refused. Probes from outside use the path of the health checks: one that is refused would end a
/// cluster that is only busy.
fn exempt(config: &Config, adaptive: &AdaptiveAdmission) -> Vec<String> {
    let health = &config.health_check;
    // Without a query, as paths are compared.
    let path = health.endpoint.split('?').next().filter(|_| health.enabled);
    let is_new = |path: &&str| adaptive.exempt.iter().all(|exempt| exempt != path);
    adaptive.exempt.iter().map(String::as_str).chain(path.filter(is_new)).map(str::to_owned).collect()
}

fn adaptive(config: &Config) -> Option<&AdaptiveAdmission> {
    match &config.load_balancing.admission {
        balancing::Admission::Adaptive(adaptive) => Some(adaptive),
        balancing::Admission::Off(_) => None,
    }
}

/// The part of admission that is a worker's.
pub fn worker_admission(config: &Config) -> Option<Admission> {
    let adaptive = adaptive(config)?;
    let Fallback { status, body, content_type, retry_after } = fallback(config);
    let retry = (retry_after > 0).then(|| ("Retry-After".to_owned(), retry_after.to_string()));
    Some(Admission {
        target_delay: adaptive.target_delay.as_millis() as u64,
        exempt: exempt(config, adaptive),
        status,
        headers: retry.into_iter().chain([("Content-Type".to_owned(), content_type)]).collect(),
        body,
    })
}

/// Whether a client's connections belong to one worker, by an option or by the strategy.
fn is_bound(config: &Config) -> bool {
    let balancing = &config.load_balancing;
    balancing.session_affinity != balancing::Affinity::None
        || balancing.strategy == balancing::Strategy::IpHash
}

fn fallback(config: &Config) -> Fallback {
    let fallback = &config.error_handling.fallback;
    let (body, content_type) = match &fallback.body {
        None => ("Service Unavailable\n".to_owned(), "text/plain; charset=utf-8"),
        Some(Body::Text(text)) => (text.clone(), "text/plain; charset=utf-8"),
        Some(Body::Json(value)) => (value.to_string(), "application/json"),
    };
    Fallback {
        status: fallback.status,
        body,
        content_type: content_type.to_owned(),
        retry_after: fallback.retry_after.as_millis().div_ceil(1000) as u64,
    }
}

/// The user's secret, or one derived from the cluster's key (so that cookies remain valid after a restart), or a random
/// one.
fn cookie_key(config: &Config, entropy: &Entropy) -> Vec<u8> {
    let secret = config.load_balancing.affinity_cookie.secret.as_ref().or(config.ipc.key.as_ref());
    let Some(secret) = secret.map(Secret::reveal) else { return entropy.to_vec() };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::sign(&key, b"drover affinity key").as_ref().to_vec()
}

fn cookie_attributes(balancing: &LoadBalancing) -> String {
    let cookie = &balancing.affinity_cookie;
    let mut attributes = "; Path=/; HttpOnly".to_owned();
    if let Some(max_age) = cookie.max_age {
        attributes.push_str(&format!("; Max-Age={}", max_age.as_secs()));
    }
    attributes.push_str(match cookie.same_site {
        SameSite::Lax => "; SameSite=Lax",
        SameSite::Strict => "; SameSite=Strict",
        SameSite::None => "; SameSite=None",
    });
    if cookie.secure {
        attributes.push_str("; Secure");
    }
    attributes
}

fn first_lines(loaded: &Loaded, launch: &Launch) -> Vec<Event> {
    let (pid, workers, script) = (std::process::id(), loaded.worker_count, launch.script_name());
    let text = format!("Primary {pid} is running {script} in {workers} workers");
    let subject = Subject::ClusterStarting { script: script.to_string(), worker_count: u32::from(workers) };
    let mut lines = vec![Event::notice(Level::Info, text).with(subject)];
    let changed: Vec<String> =
        loaded.sources.iter().map(|source| format!("{} ({})", source.path, source.variable)).collect();
    if !changed.is_empty() {
        lines.push(Event::notice(Level::Info, format!("The environment set {}", changed.join(", "))));
    }
    lines.extend(loaded.notes.iter().map(|note| Event::notice(Level::Warn, note.clone())));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostFacts, Input};
    use serde_json::{Value, json};

    fn config(options: &Value) -> Config {
        let host = HostFacts { usable_cpus: 2.0, available_memory: None, single_process_reason: None };
        let input = Input { options, env: &BTreeMap::new(), host: &host };
        crate::config::load_cluster(&input).unwrap().config
    }

    #[test]
    fn the_path_of_the_health_checks_is_exempt_from_admission_in_dispatch_and_workers() {
        let adaptive = json!("adaptive");
        let of = |paths: &[&str]| json!({ "exempt": paths });
        for (admission, health, expected) in [
            (&adaptive, json!({}), vec!["/health", "/ready"]),
            (&adaptive, json!({ "endpoint": "/healthz" }), vec!["/health", "/ready", "/healthz"]),
            (&adaptive, json!({ "endpoint": "/healthz?full=1" }), vec!["/health", "/ready", "/healthz"]),
            (&of(&["/vital"]), json!({}), vec!["/vital", "/health"]),
            (&of(&["/healthz"]), json!({ "endpoint": "/healthz" }), vec!["/healthz"]),
            (&of(&[]), json!({ "endpoint": "/healthz" }), vec!["/healthz"]),
            (&of(&[]), json!({ "enabled": false, "endpoint": "/healthz" }), vec![]),
        ] {
            let options = json!({ "healthCheck": health, "loadBalancing": { "admission": admission } });
            let config = config(&options);
            let dispatch = dispatch_admission(&config).map(|admission| admission.exempt);
            let worker = worker_admission(&config).map(|admission| admission.exempt);
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(dispatch.as_ref(), Some(&expected), "{options}");
            assert_eq!(worker.as_ref(), Some(&expected), "{options}");
        }
    }
}
