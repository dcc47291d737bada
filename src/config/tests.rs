//! Tests from raw values to a configuration.

use super::sections::balancing::Affinity;
use super::sections::worker::Workers;
use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn host(usable_cpus: f64) -> HostFacts {
    HostFacts { usable_cpus, available_memory: None, single_process_reason: None }
}

fn variables(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn load_with(options: &Value, environment: &[(&str, &str)], host: &HostFacts) -> Result<Loaded> {
    load(&Input { options, env: &variables(environment), host })
}

fn loaded(options: Value, environment: &[(&str, &str)]) -> Loaded {
    load_with(&options, environment, &host(8.0)).unwrap_or_else(|error| panic!("{options}: {error}"))
}

fn cluster(config: Value) -> Value {
    json!({ "cluster": { "enabled": true, "config": config } })
}

#[test]
fn nothing_at_all_is_a_cluster_of_one_with_every_default() {
    for options in [json!(null), json!({}), json!({ "cluster": {} }), json!({ "cluster": { "config": {} } })]
    {
        let found = loaded(options, &[]);
        assert_eq!(found.clustering, Clustering::Off { because: "cluster.enabled is not set" });
        assert_eq!(found.config.workers, Workers::Auto);
        assert_eq!(found.config.process_management.graceful_shutdown_timeout, Duration::from_secs(30));
        assert!(found.named.is_empty() && found.sources.is_empty() && found.notes.is_empty());
    }
}

#[test]
fn all_faults_are_told_at_once_one_a_line() {
    let options = json!({ "prot": 1, "cluster": { "enabled": "yes", "config": {
        "workers": 0, "scaling": { "minWorkers": 9, "maxWorkers": 2 }, "limits": { "memory": 8 } } } });
    let error = load_with(&options, &[("MAX_WORKER_RESTARTS", "lots")], &host(2.0)).unwrap_err();
    assert_eq!(error.code, Code::ConfigurationInvalid);
    let faults = error.details["faults"].as_array().unwrap();
    let mut paths: Vec<&str> = faults.iter().filter_map(|fault| fault["path"].as_str()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "MAX_WORKER_RESTARTS",
            "cluster.config.limits.memory",
            "cluster.config.scaling.minWorkers",
            "cluster.config.workers",
            "cluster.enabled",
            "prot"
        ]
    );
    assert_eq!(error.message.lines().count(), 1 + faults.len());
}

#[test]
fn who_says_whether_there_is_a_cluster() {
    let on = json!({ "cluster": { "enabled": true } });
    let off = json!({ "cluster": { "enabled": false } });
    for (options, environment, expected) in [
        (&on, vec![], None),
        (&off, vec![], Some("cluster.enabled is false")),
        (&off, vec![("CLUSTER_ENABLED", "1")], None),
        (&on, vec![("CLUSTER_ENABLED", "off")], Some("CLUSTER_ENABLED says so")),
        (&on, vec![("ENABLE_CLUSTERING", "false")], Some("ENABLE_CLUSTERING says so")),
        (&on, vec![("NODE_ENV", "test")], Some("NODE_ENV is test")),
        (&on, vec![("NODE_ENV", "test"), ("ENABLE_CLUSTERING", "true")], Some("NODE_ENV is test")),
        (&on, vec![("NODE_ENV", "test"), ("CLUSTER_ENABLED", "true")], None),
        (&on, vec![("NODE_ENV", "production")], None),
    ] {
        let expected = expected.map_or(Clustering::On, |because| Clustering::Off { because });
        assert_eq!(loaded(options.clone(), &environment).clustering, expected, "{options} {environment:?}");
    }
}

#[test]
fn drover_never_nests_and_says_so_once() {
    for single_process_reason in
        [SingleProcessReason::Pm2, SingleProcessReason::NodeCluster, SingleProcessReason::Bun]
    {
        let host = HostFacts { single_process_reason: Some(single_process_reason), ..host(4.0) };
        let found = load_with(&cluster(json!({})), &[("CLUSTER_ENABLED", "true")], &host).unwrap();
        assert!(matches!(found.clustering, Clustering::Off { .. }));
        assert_eq!(found.notes.len(), 1);
        let quiet = load_with(&json!({}), &[], &host).unwrap();
        assert_eq!(quiet.notes, [""; 0]);
    }
}

#[test]
fn development_has_at_most_two_workers_unless_the_operator_says_otherwise() {
    let development = ("NODE_ENV", "development");
    for (workers, environment, count, notes) in [
        (json!(8), vec![development], 2, 1),
        (json!("auto"), vec![development], 2, 1),
        (json!(1), vec![development], 1, 0),
        (json!(2), vec![development, ("CLUSTER_WORKERS", "6")], 6, 0),
        (json!(8), vec![], 8, 0),
    ] {
        let found = loaded(cluster(json!({ "workers": workers })), &environment);
        assert_eq!((found.worker_count, found.notes.len()), (count, notes), "{workers} {environment:?}");
    }
    let scaled = loaded(cluster(json!({ "scaling": { "enabled": true, "minWorkers": 4 } })), &[development]);
    assert_eq!(scaled.worker_count, 2);
    assert_eq!((scaled.config.auto_scaling.min_workers, scaled.config.auto_scaling.max_workers), (2, 2));
}

#[test]
fn max_is_every_usable_cpu_and_auto_leaves_the_reserved() {
    for (config, count) in [
        (json!({ "workers": "max", "reserveCores": 3 }), 8),
        (json!({ "workers": "auto", "reserveCores": 3 }), 5),
        (json!({ "workers": 12, "reserveCores": 3 }), 12),
        (json!({ "workers": 12, "scaling": { "enabled": true, "maxWorkers": 4 } }), 4),
        (json!({ "workers": 1, "scaling": { "enabled": true, "minWorkers": 3 } }), 3),
    ] {
        assert_eq!(loaded(cluster(config.clone()), &[]).worker_count, count, "{config}");
    }
}

#[test]
fn a_cluster_config_by_itself_is_on_and_leaves_port_to_its_caller() {
    let env = variables(&[("PORT", "8080")]);
    for (config, clustering) in [
        (json!({ "workers": 2 }), Clustering::On),
        (json!(null), Clustering::On),
        (json!({ "enabled": false }), Clustering::Off { because: "cluster.enabled is false" }),
    ] {
        let found = load_cluster(&Input { options: &config, env: &env, host: &host(2.0) }).unwrap();
        assert_eq!(found.clustering, clustering, "{config}");
        assert_eq!(found.config.port, None);
    }
    let stray = load_cluster(&Input { options: &json!({ "port": 1 }), env: &env, host: &host(2.0) });
    assert!(stray.is_err());
}

#[test]
fn what_is_lacking_is_refused_only_where_it_is_asked_for() {
    let asks = json!({ "security": { "sandbox": true, "isolateWorkers": true } });
    let found = loaded(cluster(asks.clone()), &[]);
    let refusal = found.refusal().unwrap();
    assert_eq!(refusal.code, Code::NotSupported);
    let paths = [0, 1].map(|at| &refusal.details["unsupported"][at]["path"]);
    assert!(paths.contains(&&json!("cluster.config.security.sandbox")), "{paths:?}");
    assert_eq!(found.unsupported.len(), 2);
    assert_eq!(loaded(cluster(asks), &[("CLUSTER_ENABLED", "false")]).refusal(), None);
    let environment =
        [("IPC_ENCRYPTION_KEY", "a passphrase of some length"), ("CLUSTER_MONITORING_PORT", "3004")];
    assert_eq!(loaded(cluster(json!({})), &environment).unsupported, []);
}

#[test]
fn redis_may_stand_beside_the_cluster_and_in_it() {
    for options in [
        json!({ "redis": true }),
        json!({ "redis": {} }),
        json!({ "redis": "redis://a" }),
        json!({ "redis": { "host": "a" } }),
        json!({ "cluster": { "redis": "redis://a" } }),
        json!({ "cluster": { "config": { "redis": { "host": "a" } } } }),
    ] {
        let found = loaded(options.clone(), &[]);
        assert_eq!((found.unsupported, found.config.redis.enabled), (vec![], true), "{options}");
    }
    assert!(!loaded(json!({ "redis": false }), &[]).config.redis.enabled);
    assert!(!loaded(json!({}), &[("REDIS_URL", "redis://a")]).config.redis.enabled);
}

#[test]
fn secrets_are_in_the_configuration_and_nowhere_else() {
    let options = json!({
        "redis": { "url": "redis://:hunter2@host", "password": "hunter2" },
        "cluster": { "enabled": true, "config": {
            "env": { "TOKEN": "hunter2" },
            "ipc": { "key": "hunter2-hunter2-hunter2" },
            "monitoring": { "token": "hunter2" },
            "loadBalancing": { "affinityCookie": { "secret": "hunter2" } },
            "errorHandling": { "reporting": { "webhook": "https://hooks.example/hunter2" } },
        } },
    });
    let found = loaded(options, &[("CLUSTER_MONITORING_TOKEN", "hunter2-too")]);
    assert_eq!(found.config.monitoring.token.as_ref().map(Secret::reveal), Some("hunter2-too"));
    assert!(!format!("{found:?}").contains("hunter2"));
    let mut written = found.config.to_json();
    // The user's own variables are not drover's secrets: the caller of getConfig() has set them.
    written["env"] = json!(null);
    assert!(!written.to_string().contains("hunter2"));
}

#[test]
fn get_config_is_canonical_and_loads_as_itself() {
    let config = json!({ "workers": 3, "autoRestart": false, "shutdownTimeout": "10s", "limits": { "memory": 256 },
        "scaling": { "scaleUpThreshold": 70, "cooldownPeriod": "1m" }, "monitoring": { "port": false },
        "loadBalancing": { "stickySession": true, "weights": [2], "trustProxy": ["10.0.0.0/8"] },
        "healthCheck": { "customCheck": { "$function": "check" } } });
    let first = load_cluster(&Input { options: &config, env: &variables(&[]), host: &host(2.0) }).unwrap();
    let written = first.config.to_json();
    assert_eq!(written["processManagement"]["gracefulShutdownTimeout"], 10_000);
    assert_eq!(written["resources"]["maxMemoryPerWorker"], 256 << 20);
    assert_eq!(written["loadBalancing"]["sessionAffinity"], Affinity::Ip.name());
    assert_eq!(written["healthCheck"]["customCheck"], json!({ "$function": "check" }));
    assert_eq!(written["monitoring"]["port"], false);
    assert!(written.get("exec").is_none() && written.get("port").is_none());
    let second = load_cluster(&Input { options: &written, env: &variables(&[]), host: &host(2.0) }).unwrap();
    assert_eq!(second.config, first.config);
}

#[test]
fn a_key_that_was_named_is_known_even_when_it_equals_the_default() {
    let found = loaded(
        cluster(json!({ "healthCheck": { "endpoint": "/health" } })),
        &[("CLUSTER_MONITORING_PORT", "3003")],
    );
    assert!(found.named.contains("healthCheck.endpoint") && found.named.contains("monitoring.port"));
    assert!(!found.named.contains("healthCheck.expectedStatus"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "cluster",
            "config",
            "enabled",
            "workers",
            "limits",
            "memory",
            "ipc",
            "key",
            "env",
            "scaling",
            "scaleUpThreshold",
            "healthCheck",
            "redis",
            "loadBalancing",
            "weights",
            "port",
            "$function"
        ])
        .prop_map(str::to_owned),
        "[a-z.]{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_given_is_loaded_or_told_as_faults(options in any_json(), cluster in any_json()) {
        for options in [options, json!({ "cluster": { "config": cluster } })] {
            if let Err(error) = load_with(&options, &[], &host(2.0)) {
                let faults = error.details["faults"].as_array().map_or(0, Vec::len);
                prop_assert!(faults > 0, "{}", error);
            }
        }
    }
}
