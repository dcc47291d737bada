//! Every default, in canonical names and units: the only list. `null` is none, or a default that depends
//! on other keys or on the host; `derive.rs` fills those in.

use super::tree;
use super::units::MIB;
use serde_json::{Value, json};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;

/// The canonical configuration of somebody who asks for nothing.
pub fn defaults() -> Value {
    json!({
        "port": null,
        "host": null,
        "exposeWorkerHeaders": null,
        "redis": {
            "enabled": false,
            "url": null,
            "host": "localhost",
            "port": 6379,
            "password": null,
        },
        "enabled": false,
        "workers": "auto",
        "reserveCores": 0,
        "exec": null,
        "args": null,
        "execArgv": null,
        "env": {},
        "cwd": null,
        "interpreter": null,
        "processManagement": {
            "respawn": true,
            "maxRestarts": 3,
            "restartWindow": 5 * MINUTE,
            "restartDelay": 2 * SECOND,
            "maxRestartDelay": 30 * SECOND,
            "gracefulShutdown": true,
            "gracefulShutdownTimeout": 30 * SECOND,
            "shutdownDelay": 0,
            "killTimeout": 5 * SECOND,
            "lingerTimeout": 5 * SECOND,
            "startupTimeout": MINUTE,
            "ready": "listen",
            "hangTimeout": 10 * SECOND,
            "zombieDetection": true,
            "memoryThreshold": null,
            "cpuThreshold": null,
            "standbyWorkers": 0,
        },
        "resources": {
            "maxMemoryPerWorker": null,
            "maxCpuPerWorker": null,
            "maxRequestsPerWorker": null,
            "maxConnectionsPerWorker": null,
            "priorityLevel": "normal",
            "memoryManagement": {
                "enabled": true,
                "maxTotalMemory": null,
                "memoryCheckInterval": 30 * SECOND,
                "memoryWarningThreshold": 80,
                "memoryCriticalThreshold": 95,
                "memoryLeakDetection": true,
                "garbageCollectionHint": false,
                "memoryReservation": null,
            },
            "enforcement": {
                "enforceHardLimits": false,
                "killOnMemoryExceed": false,
                "killOnCpuExceed": false,
            },
            "performanceOptimization": {
                "lowMemoryMode": false,
                "cpuOptimization": false,
                "ioOptimization": false,
            },
        },
        "healthCheck": {
            "enabled": true,
            "interval": 30 * SECOND,
            "timeout": 10 * SECOND,
            "maxFailures": 3,
            "retryDelay": SECOND,
            "gracePeriod": 0,
            "endpoint": "/health",
            "expectedStatus": 200,
            "customCheck": null,
        },
        "loadBalancing": {
            "strategy": "round-robin",
            "dispatch": "auto",
            "weights": {},
            "healthAware": true,
            "connectionTracking": true,
            "rebalance": null,
            "handoff": true,
            "stickySession": false,
            "sessionAffinity": "none",
            "affinityCookie": {
                "name": "drover_affinity",
                "secret": null,
                "maxAge": null,
                "sameSite": "lax",
                "secure": false,
            },
            "trustProxy": [],
            "maxQueue": 1024,
            "queueTimeout": 5 * SECOND,
        },
        "ipc": {
            "encryption": false,
            "key": null,
            "timeout": 30 * SECOND,
            "maxMessageSize": MIB,
            "serialization": "json",
            "maxPending": 10_000,
        },
        "autoScaling": {
            "enabled": false,
            "minWorkers": 1,
            "maxWorkers": null,
            "strategy": null,
            "scaleUpThreshold": {
                "cpu": 75,
                "memory": 80,
                "responseTime": 1500,
                "queueLength": 100,
                "consecutiveChecks": 2,
            },
            "scaleDownThreshold": {
                "cpu": 25,
                "memory": 40,
                "idleTime": 5 * MINUTE,
                "consecutiveChecks": 3,
            },
            "scaleUpCooldown": MINUTE,
            "scaleDownCooldown": 5 * MINUTE,
            "scaleUpIncrement": 1,
            "scaleDownIncrement": 1,
            "evaluationInterval": 15 * SECOND,
            "tolerance": 0.1,
            "memoryThreshold": null,
            "memoryTarget": null,
            "requestsPerWorker": null,
            "responseTimeThreshold": null,
        },
        "monitoring": {
            "enabled": true,
            "metricsInterval": MINUTE,
            "exportMetrics": true,
            "customMetrics": null,
            "exporters": [],
            "port": 3003,
            "host": "127.0.0.1",
            "token": null,
            "retention": 60 * MINUTE,
            "dashboard": true,
        },
        "logging": {
            "enabled": true,
            "level": "info",
            "components": {},
            "format": null,
            "includeWorkerLogs": true,
            "file": null,
            "logRotation": false,
            "maxLogSize": 10 * MIB,
            "maxLogFiles": 5,
            "requestIds": false,
            "slowRequests": 5 * SECOND,
            "maxRate": null,
        },
        "errorHandling": {
            "enabled": true,
            "circuitBreaker": { "enabled": true, "failureThreshold": 5, "resetTimeout": 30 * SECOND },
            "retry": { "maxRetries": 3, "initialDelay": 100, "maxDelay": 5 * SECOND },
            "fallback": { "status": 503, "body": null, "retryAfter": SECOND },
            "reporting": { "webhook": null, "minSeverity": "error", "maxEntries": 1000 },
        },
        "security": {
            "isolateWorkers": false,
            "sandbox": false,
            "modules": { "allow": null, "deny": [] },
            "ipc": { "allow": null, "schemas": {} },
            "auditLog": null,
        },
        "cache": { "maxSize": 64 * MIB, "maxEntries": null, "defaultTtl": null, "warm": null },
    })
}

/// `DEFAULT_VALUES` as it is exported: durations in milliseconds.
pub fn default_values() -> Value {
    const EXPORTED: [(&str, &str); 9] = [
        ("WORKER_TIMEOUT", "processManagement.startupTimeout"),
        ("HEALTH_CHECK_INTERVAL", "healthCheck.interval"),
        ("HEALTH_CHECK_TIMEOUT", "healthCheck.timeout"),
        ("RESTART_DELAY", "processManagement.restartDelay"),
        ("MAX_RESTARTS", "processManagement.maxRestarts"),
        ("GRACEFUL_SHUTDOWN_TIMEOUT", "processManagement.gracefulShutdownTimeout"),
        ("IPC_TIMEOUT", "ipc.timeout"),
        ("MEMORY_CHECK_INTERVAL", "resources.memoryManagement.memoryCheckInterval"),
        ("METRICS_INTERVAL", "monitoring.metricsInterval"),
    ];
    let all = defaults();
    EXPORTED.iter().map(|(name, path)| ((*name).to_owned(), json!(tree::get(&all, path)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::key;

    #[test]
    fn every_default_is_a_value_its_key_takes() {
        fn walk(tree: &Value, path: &str, checked: &mut usize) {
            if let Some(key) = key(path) {
                *checked += 1;
                if tree.is_null() {
                    return;
                }
                let read = key.kind.read(tree).map_err(|_| format!("{path}: {tree} is refused"));
                assert_eq!(read.as_ref(), Ok(tree), "{path}");
                return;
            }
            let object = tree.as_object().unwrap_or_else(|| panic!("{path} is no key"));
            for (name, value) in object {
                walk(value, &crate::config::schema::join(path, name), checked);
            }
        }
        let mut checked = 0;
        walk(&defaults(), "", &mut checked);
        assert!(checked > 100, "{checked} defaults");
    }

    #[test]
    fn the_exported_defaults_are_those_of_the_documentation() {
        assert_eq!(
            default_values(),
            json!({
                "WORKER_TIMEOUT": 60000,
                "HEALTH_CHECK_INTERVAL": 30000,
                "HEALTH_CHECK_TIMEOUT": 10000,
                "RESTART_DELAY": 2000,
                "MAX_RESTARTS": 3,
                "GRACEFUL_SHUTDOWN_TIMEOUT": 30000,
                "IPC_TIMEOUT": 30000,
                "MEMORY_CHECK_INTERVAL": 30000,
                "METRICS_INTERVAL": 60000,
            })
        );
    }
}
