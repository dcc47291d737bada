//! The configurations in drover's documents load as they are written there.

use drover::config::{Clustering, HostFacts, Input, Loaded, load, load_cluster};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const HOST: HostFacts =
    HostFacts { usable_cpus: 8.0, available_memory: Some(16 << 30), single_process_reason: None };

fn loaded_with(options: &Value, variables: &[(&str, &str)]) -> Loaded {
    let env = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    load(&Input { options, env: &env, host: &HOST }).unwrap_or_else(|error| panic!("{options}: {error}"))
}

fn loaded(cluster: Value) -> Loaded {
    loaded_with(&json!({ "cluster": cluster }), &[])
}

/// Loads a fragment from the documents, which omit `enabled`.
fn configured(config: Value) -> Loaded {
    loaded(json!({ "config": config }))
}

#[test]
fn enabling_and_counting_workers_is_one_line_each() {
    for (cluster, count) in [
        (json!({ "enabled": true }), 8),
        (json!({ "enabled": true, "config": { "workers": "auto" } }), 8),
        (json!({ "enabled": true, "config": { "workers": 4 } }), 4),
    ] {
        let found = loaded(cluster);
        assert_eq!(found.clustering, Clustering::On);
        assert_eq!(found.worker_count, count);
        assert_eq!(found.refusal(), None);
    }
}

#[test]
fn the_complete_configuration_with_its_synonyms_means_what_it_says() {
    let found = loaded(json!({
        "enabled": true,
        "config": {
            "workers": "auto",
            "autoRestart": true,
            "maxRestarts": 5,
            "restartDelay": 1000,
            "gracefulShutdown": true,
            "shutdownTimeout": 30000,
            "healthCheck": {
                "enabled": true,
                "interval": 30000,
                "timeout": 5000,
                "retries": 3,
                "endpoint": "/health",
                "expectedStatus": 200,
            },
            "loadBalancing": { "strategy": "round-robin", "stickySession": false, "sessionAffinity": "none" },
            "limits": { "memory": 512, "cpu": 80, "requests": 1000, "connections": 100 },
            "scaling": {
                "enabled": true,
                "minWorkers": 2,
                "maxWorkers": 8,
                "scaleUpThreshold": 80,
                "scaleDownThreshold": 30,
                "scaleUpCooldown": 60000,
                "scaleDownCooldown": 300000,
            },
        },
    }));
    let config = &found.config;
    assert_eq!(config.process_management.max_restarts, 5);
    assert_eq!(config.process_management.restart_delay, Duration::from_secs(1));
    assert_eq!(config.health_check.max_failures, 3);
    assert_eq!(config.resources.max_memory_per_worker, Some(512 << 20));
    assert_eq!(config.resources.max_connections_per_worker, Some(100));
    assert_eq!(config.auto_scaling.scale_up_threshold.cpu, 80.0);
    assert_eq!(config.auto_scaling.scale_down_threshold.cpu, 30.0);
    assert_eq!(config.auto_scaling.scale_down_cooldown, Duration::from_secs(300));
}

#[test]
fn each_fragment_loads() {
    for config in [
        json!({ "healthCheck": { "enabled": true, "interval": 15000, "timeout": 3000, "retries": 2,
            "customCheck": { "$function": "customCheck" } } }),
        json!({ "ipc": { "encryption": true, "key": null, "timeout": 5000, "maxMessageSize": 1024 * 1024 } }),
        json!({ "ipc": { "encryption": true, "timeout": 5000, "maxMessageSize": 1024 * 1024 } }),
        json!({ "loadBalancing": { "strategy": "round-robin" } }),
        json!({ "loadBalancing": { "strategy": "least-connections", "connectionTracking": true } }),
        json!({ "loadBalancing": { "strategy": "ip-hash", "stickySession": true, "sessionAffinity": "ip" } }),
        json!({ "scaling": { "enabled": true, "minWorkers": 2, "maxWorkers": 16, "scaleUpThreshold": 75,
            "scaleDownThreshold": 25, "scaleUpCooldown": 30000, "scaleDownCooldown": 180000,
            "scaleUpIncrement": 2, "scaleDownIncrement": 1 } }),
        json!({ "scaling": { "enabled": true, "strategy": "memory", "memoryThreshold": 80, "memoryTarget": 60 } }),
        json!({ "scaling": { "enabled": true, "strategy": "requests", "requestsPerWorker": 100,
            "responseTimeThreshold": 500 } }),
        json!({ "monitoring": { "enabled": true, "metricsInterval": 30000, "exportMetrics": true,
            "customMetrics": { "$function": "customMetrics" } } }),
        json!({ "logging": { "enabled": true, "level": "info", "includeWorkerLogs": true, "logRotation": true,
            "maxLogSize": "10MB", "maxLogFiles": 5 } }),
        json!({ "limits": { "memory": 512, "cpu": 80, "requests": 1000, "connections": 100 } }),
        json!({ "workers": "auto", "resources": { "maxMemoryPerWorker": "256MB", "maxCpuPerWorker": 50 } }),
    ] {
        let found = configured(config.clone());
        assert!(!found.named.is_empty(), "{config}");
        loaded(json!({ "enabled": true, "config": config }));
        let direct = load_cluster(&Input { options: &config, env: &BTreeMap::new(), host: &HOST });
        assert!(direct.is_ok(), "{config}");
    }
}

#[test]
fn the_advanced_configuration_is_the_same_by_itself_and_in_create_server() {
    let config = json!({
        "enabled": true,
        "workers": 4,
        "resources": {
            "maxMemoryPerWorker": "512MB",
            "maxCpuPerWorker": 75,
            "memoryManagement": {
                "enabled": true,
                "memoryWarningThreshold": 80,
                "memoryCriticalThreshold": 95,
                "memoryLeakDetection": true,
                "garbageCollectionHint": true,
            },
        },
        "processManagement": {
            "respawn": true,
            "maxRestarts": 3,
            "restartDelay": 2000,
            "gracefulShutdownTimeout": 30000,
            "zombieDetection": true,
        },
        "healthCheck": { "enabled": true, "interval": 30000, "timeout": 10000, "maxFailures": 3, "endpoint": "/health" },
        "autoScaling": {
            "enabled": true,
            "minWorkers": 2,
            "maxWorkers": 8,
            "scaleUpThreshold": { "cpu": 75, "memory": 80, "responseTime": 1500 },
        },
    });
    let alone = load_cluster(&Input { options: &config, env: &BTreeMap::new(), host: &HOST });
    let alone = alone.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(alone.config, loaded(config.clone()).config);
    assert_eq!(alone.config, configured(config).config);
    assert_eq!((alone.clustering, alone.worker_count), (Clustering::On, 4));
}

#[test]
fn every_member_of_the_interfaces_is_a_key() {
    let config = json!({
        "enabled": true,
        "workers": 4,
        "resources": {
            "maxMemoryPerWorker": "512MB",
            "maxCpuPerWorker": 75,
            "priorityLevel": "high",
            "memoryManagement": {
                "enabled": true,
                "maxTotalMemory": "4GB",
                "memoryCheckInterval": 30000,
                "memoryWarningThreshold": 80,
                "memoryCriticalThreshold": 95,
                "memoryLeakDetection": true,
                "garbageCollectionHint": false,
                "memoryReservation": "1GB",
            },
            "enforcement": { "enforceHardLimits": true, "killOnMemoryExceed": false, "killOnCpuExceed": false },
            "performanceOptimization": { "lowMemoryMode": false, "cpuOptimization": true, "ioOptimization": false },
        },
        "processManagement": {
            "respawn": true,
            "maxRestarts": 3,
            "restartDelay": 2000,
            "gracefulShutdownTimeout": 30000,
            "killTimeout": 5000,
            "zombieDetection": true,
            "memoryThreshold": "1GB",
            "cpuThreshold": 90,
        },
        "healthCheck": {
            "enabled": true,
            "interval": 30000,
            "timeout": 10000,
            "maxFailures": 3,
            "endpoint": "/health",
            "retryDelay": 1000,
            "gracePeriod": 5000,
        },
        "loadBalancing": {},
        "ipc": {},
        "autoScaling": {
            "enabled": true,
            "minWorkers": 2,
            "maxWorkers": 8,
            "cooldownPeriod": 60000,
            "scaleStep": 1,
            "evaluationInterval": 15000,
            "scaleUpThreshold": {
                "cpu": 75, "memory": 80, "responseTime": 1500, "queueLength": 100, "consecutiveChecks": 2,
            },
            "scaleDownThreshold": { "cpu": 25, "memory": 40, "idleTime": 300000, "consecutiveChecks": 3 },
        },
        "monitoring": {},
        "errorHandling": {},
        "security": {},
    });
    let found = load_cluster(&Input { options: &config, env: &BTreeMap::new(), host: &HOST });
    let found = found.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.config.auto_scaling.scale_down_cooldown, Duration::from_secs(60));
    assert_eq!(found.config.resources.memory_management.max_total_memory, Some(4 << 30));
}

#[test]
fn the_builders_example_loads() {
    let config = json!({
        "workers": "auto",
        "healthCheck": { "interval": 30000, "timeout": 10000 },
        "autoScaling": { "enabled": true, "minWorkers": 2, "maxWorkers": 8 },
        "security": { "isolateWorkers": true },
    });
    let found = load_cluster(&Input { options: &config, env: &BTreeMap::new(), host: &HOST });
    assert!(found.unwrap_or_else(|error| panic!("{error}")).config.security.isolate_workers);
}

#[test]
fn the_environments_of_the_documents_configure_a_program_that_says_nothing() {
    let docker = [("CLUSTER_ENABLED", "true"), ("CLUSTER_WORKERS", "auto"), ("CLUSTER_AUTO_RESTART", "true")];
    let kubernetes = [("CLUSTER_ENABLED", "true"), ("CLUSTER_WORKERS", "2")];
    let dashboard = [
        ("ENABLE_CLUSTERING", "true"),
        ("CLUSTER_WORKERS", "4"),
        ("MAX_WORKER_RESTARTS", "10"),
        ("WORKER_RESTART_DELAY", "1000"),
        ("GRACEFUL_SHUTDOWN_TIMEOUT", "30000"),
        ("CLUSTER_MONITORING_PORT", "3003"),
        ("REDIS_HOST", "localhost"),
        ("REDIS_PORT", "6379"),
        ("NODE_ENV", "production"),
        ("PORT", "3001"),
        ("LOG_LEVEL", "info"),
    ];
    for (variables, count) in [(&docker[..], 8), (&kubernetes[..], 2), (&dashboard[..], 4)] {
        let found = loaded_with(&json!({}), variables);
        assert_eq!((found.clustering, found.worker_count), (Clustering::On, count));
        assert_eq!(found.refusal(), None);
    }
    let pm2 = loaded_with(
        &json!({ "cluster": { "enabled": true } }),
        &[("CLUSTER_ENABLED", "false"), ("PORT", "8080")],
    );
    assert!(matches!(pm2.clustering, Clustering::Off { .. }));
    assert_eq!(pm2.config.port, Some(8080));
}
