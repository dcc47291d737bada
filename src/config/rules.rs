//! Rules between keys. A rule applies only if the user gave one of its keys, and never to a value that was refused
//! already.

use super::fault::{Fault, shown};
use super::network::is_loopback;
use super::sections::balancing::{Affinity, DispatchMode, Strategy};
use super::sections::ipc::Serialization;
use super::sections::worker::MAX_WORKERS;
use super::settings::Settings;
use super::tree;
use super::units::size_text;
use serde_json::{Value, json};

/// The first of each pair must not exceed the second.
const ORDERED: &[(&str, &str)] = &[
    ("autoScaling.minWorkers", "autoScaling.maxWorkers"),
    ("autoScaling.scaleDownThreshold.cpu", "autoScaling.scaleUpThreshold.cpu"),
    ("autoScaling.scaleDownThreshold.memory", "autoScaling.scaleUpThreshold.memory"),
    ("autoScaling.memoryTarget", "autoScaling.memoryThreshold"),
    ("errorHandling.retry.initialDelay", "errorHandling.retry.maxDelay"),
    ("processManagement.killTimeout", "processManagement.gracefulShutdownTimeout"),
    ("processManagement.shutdownDelay", "processManagement.gracefulShutdownTimeout"),
    ("processManagement.restartDelay", "processManagement.maxRestartDelay"),
    (
        "resources.memoryManagement.memoryWarningThreshold",
        "resources.memoryManagement.memoryCriticalThreshold",
    ),
];

/// Bytes of a cache that every supported runtime can map, with the cache's own tables.
const MAX_CACHE: u64 = 3 << 30;

/// Every violated rule, as a fault at the key that the user gave.
pub fn check(settings: &Settings, whole: &Value) -> Vec<Fault> {
    let facts = Facts { settings, whole };
    let ordered = ORDERED.iter().filter_map(|(low, high)| facts.ordered(low, high));
    ordered
        .chain(facts.monitoring_is_guarded())
        .chain(facts.token_can_be_shown())
        .chain(facts.affinity_is_of_one_mind())
        .chain(facts.cookie_can_be_read())
        .chain(facts.direct_dispatch_can_be_exact())
        .chain(facts.spares_have_slots())
        .chain(facts.schemas_can_be_checked())
        .chain(facts.cache_can_be_mapped())
        .chain(facts.webhook_is_an_address())
        .chain(facts.fleet_is_one_place())
        .chain(facts.fleet_has_a_key())
        .collect()
}

struct Facts<'a> {
    settings: &'a Settings,
    whole: &'a Value,
}

impl Facts<'_> {
    fn ordered(&self, low: &str, high: &str) -> Option<Fault> {
        let value = |path: &str| tree::get(self.whole, path);
        let broken = value(low)?.as_f64()? > value(high)?.as_f64()?;
        let judged = self.settings.refused.iter().any(|path| *path == low || *path == high);
        if !broken || judged {
            return None;
        }
        let tell = |path: &str| {
            let origin = self.settings.given.get(path).map(|setting| setting.origin.as_str());
            let name = origin.unwrap_or(path);
            let note = if origin.is_some() { "" } else { ", the default" };
            format!("{name} ({}{note})", value(path).map(shown).unwrap_or_default())
        };
        let (path, allowed) = if self.settings.is_given(low) {
            (low, format!("no more than {}", tell(high)))
        } else {
            (high, format!("no less than {}", tell(low)))
        };
        let setting = self.settings.given.get(path)?;
        Some(Fault { path: setting.origin.clone(), found: shown(&setting.value), allowed, hint: None })
    }

    fn fleet_is_one_place(&self) -> Option<Fault> {
        const WAYS: [&str; 3] = ["redis.url", "redis.sentinels", "redis.nodes"];
        let mut given = WAYS.iter().filter_map(|path| self.settings.given.get(path));
        let (_, second) = (given.next()?, given.next()?);
        let allowed = "one of redis.url, redis.sentinels and redis.nodes".to_owned();
        let found = "another one too".to_owned();
        Some(Fault { path: second.origin.clone(), found, allowed, hint: None })
    }

    /// What passes over Redis is encrypted with a key that all machines have.
    fn fleet_has_a_key(&self) -> Option<Fault> {
        let is = |path: &str| tree::get(self.whole, path) == Some(&json!(true));
        let lacks = is("redis.enabled") && is("ipc.encryption") && !self.settings.is_given("ipc.key");
        let path = self.settings.given.get("redis.enabled").map(|setting| setting.origin.clone());
        lacks.then(|| Fault {
            path: path.unwrap_or_else(|| "redis".into()),
            found: "ipc.encryption without ipc.key".to_owned(),
            allowed: "ipc.key (or the variable IPC_ENCRYPTION_KEY), the same on every machine".to_owned(),
            hint: None,
        })
    }

    fn webhook_is_an_address(&self) -> Option<Fault> {
        let given = self.settings.given.get("errorHandling.reporting.webhook")?;
        let text = given.value.as_str()?;
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_address = host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', ':', '?']));
        (!is_address).then(|| Fault {
            path: given.origin.clone(),
            found: "another text".into(),
            allowed: "a URL that begins with https:// or http://".into(),
            hint: None,
        })
    }

    fn monitoring_is_guarded(&self) -> Option<Fault> {
        let host = self.settings.given.get("monitoring.host")?;
        let has_token = self.is_named("monitoring.token");
        let open = !is_loopback(host.value.as_str().unwrap_or_default());
        (open && !has_token && self.whole["monitoring"]["enabled"] == json!(true)).then(|| Fault {
            path: host.origin.clone(),
            found: shown(&host.value),
            allowed: "a loopback address, as long as there is no monitoring.token".into(),
            hint: Some("with a token (CLUSTER_MONITORING_TOKEN) any address is allowed".into()),
        })
    }

    /// The token is sent in a header: other characters do not pass through every client, and leading and trailing
    /// blanks are lost.
    fn token_can_be_shown(&self) -> Option<Fault> {
        let token = self.settings.given.get("monitoring.token")?;
        let text = token.value.as_str()?;
        let fits = text.trim() == text && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        (!fits).then(|| Fault {
            path: token.origin.clone(),
            found: "another text".into(),
            allowed: "printable ASCII without leading or trailing blanks, since it is sent in a header"
                .into(),
            hint: None,
        })
    }

    fn affinity_is_of_one_mind(&self) -> Option<Fault> {
        let sticky = self.settings.given.get("loadBalancing.stickySession")?;
        let affinity = self.settings.given.get("loadBalancing.sessionAffinity")?;
        let has_affinity = affinity.value != json!(Affinity::None);
        (sticky.value != json!(has_affinity)).then(|| Fault {
            path: sticky.origin.clone(),
            found: shown(&sticky.value),
            allowed: format!("what fits {} ({})", affinity.origin, shown(&affinity.value)),
            hint: Some("sessionAffinity alone is enough".into()),
        })
    }

    fn cookie_can_be_read(&self) -> Option<Fault> {
        let affinity = self.settings.given.get("loadBalancing.sessionAffinity")?;
        let tls = self.settings.value("tls") == Some(&json!(true));
        (tls && affinity.value == json!(Affinity::Cookie)).then(|| Fault {
            path: affinity.origin.clone(),
            found: shown(&affinity.value),
            allowed: format!("'{}' or '{}' together with server.key and server.cert", Affinity::Ip.name(), Affinity::None.name()),
            hint: Some("the worker terminates TLS, so the primary, which chooses the worker, cannot read the cookie; let a proxy terminate TLS, or bind clients by address".into()),
        })
    }

    /// In direct mode the kernel chooses: it neither counts connections nor reads requests.
    fn schemas_can_be_checked(&self) -> Option<Fault> {
        let serialization = self.settings.given.get("ipc.serialization")?;
        let has_schemas = self.whole["security"]["ipc"]["schemas"] != json!({});
        (has_schemas && serialization.value == json!(Serialization::Advanced)).then(|| Fault {
            path: serialization.origin.clone(),
            found: shown(&serialization.value),
            allowed: format!("'{}' together with security.ipc.schemas", Serialization::Json.name()),
            hint: Some("a structured clone cannot be validated against a JSON Schema".into()),
        })
    }

    fn cache_can_be_mapped(&self) -> Option<Fault> {
        let size = self.settings.given.get("cache.maxSize")?;
        (size.value.as_u64()? > MAX_CACHE).then(|| Fault {
            path: size.origin.clone(),
            found: size_text(size.value.as_u64().unwrap_or_default()),
            allowed: format!("at most {}", size_text(MAX_CACHE)),
            hint: Some("a Buffer of the oldest supported runtime has at most 4 GB".into()),
        })
    }

    fn spares_have_slots(&self) -> Option<Fault> {
        let spares = self.settings.given.get("processManagement.standbyWorkers")?;
        let workers = self.whole["workers"].as_u64().unwrap_or(1);
        let most = u64::from(MAX_WORKERS).saturating_sub(workers);
        (spares.value.as_u64()? > most).then(|| Fault {
            path: spares.origin.clone(),
            found: shown(&spares.value),
            allowed: format!("at most {most} in addition to {workers} workers"),
            hint: Some(format!("a cluster has {MAX_WORKERS} slots")),
        })
    }

    fn direct_dispatch_can_be_exact(&self) -> Option<Fault> {
        let dispatch = self.settings.given.get("loadBalancing.dispatch")?;
        let affinity = &self.whole["loadBalancing"]["sessionAffinity"];
        let hashes = *affinity == json!(Affinity::Ip)
            || self.whole["loadBalancing"]["strategy"] == json!(Strategy::IpHash);
        let reasons = [
            ("resources.maxConnectionsPerWorker", self.is_named("resources.maxConnectionsPerWorker")),
            ("loadBalancing.sessionAffinity: 'cookie'", *affinity == json!(Affinity::Cookie)),
            ("loadBalancing.trustProxy", hashes && self.whole["loadBalancing"]["trustProxy"] != json!([])),
        ];
        let (reason, _) = reasons.into_iter().find(|(_, holds)| *holds)?;
        (dispatch.value == json!(DispatchMode::Direct)).then(|| Fault {
            path: dispatch.origin.clone(),
            found: shown(&dispatch.value),
            allowed: format!(
                "'{}' or '{}' together with {reason}",
                DispatchMode::Auto.name(),
                DispatchMode::Push.name()
            ),
            hint: Some(
                "in direct mode the kernel chooses, which neither counts connections nor reads requests"
                    .into(),
            ),
        })
    }

    /// Whether the key was given. A refused value counts too: one fault is enough.
    fn is_named(&self, path: &str) -> bool {
        self.settings.is_given(path) || self.settings.refused.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::clustering::HostFacts;
    use crate::config::derive;
    use crate::config::environment::NodeEnvironment;
    use crate::config::schema::{Form, Index};

    fn broken(config: Value) -> Vec<String> {
        let options = json!({ "tls": true, "cluster": { "config": config } });
        let settings = Settings::read(&Index::new(Form::Server), &options, "options");
        assert_eq!(settings.faults, [], "{options}");
        let host = HostFacts { usable_cpus: 2.0, available_memory: None, single_process_reason: None };
        let whole = derive::complete(&settings, Form::Server, NodeEnvironment::Unset, &host);
        check(&settings, &whole).into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn a_broken_rule_is_a_fault_at_the_key_that_was_given() {
        for (config, path) in [
            (json!({ "scaling": { "minWorkers": 4, "maxWorkers": 2 } }), "scaling.minWorkers"),
            (json!({ "killTimeout": "40s" }), "killTimeout"),
            (json!({ "killTimeout": 3000, "shutdownTimeout": 2000 }), "killTimeout"),
            (json!({ "shutdownDelay": "1m" }), "shutdownDelay"),
            (json!({ "restartDelay": 10, "maxRestartDelay": 5 }), "restartDelay"),
            (json!({ "scaling": { "scaleUpThreshold": 20 } }), "scaling.scaleUpThreshold"),
            (
                json!({ "resources": { "memoryManagement": { "memoryCriticalThreshold": 70 } } }),
                "resources.memoryManagement.memoryCriticalThreshold",
            ),
            (json!({ "monitoring": { "host": "0.0.0.0" } }), "monitoring.host"),
            (json!({ "monitoring": { "token": "schlüssel" } }), "monitoring.token"),
            (json!({ "monitoring": { "token": " blank" } }), "monitoring.token"),
            (
                json!({ "loadBalancing": { "stickySession": true, "sessionAffinity": "none" } }),
                "loadBalancing.stickySession",
            ),
            (json!({ "loadBalancing": { "sessionAffinity": "cookie" } }), "loadBalancing.sessionAffinity"),
            (
                json!({ "loadBalancing": { "dispatch": "direct" }, "limits": { "connections": 5 } }),
                "loadBalancing.dispatch",
            ),
            (
                json!({ "loadBalancing": { "dispatch": "direct", "strategy": "ip-hash", "trustProxy": "loopback" } }),
                "loadBalancing.dispatch",
            ),
            (
                json!({ "workers": 1000, "processManagement": { "standbyWorkers": 25 } }),
                "processManagement.standbyWorkers",
            ),
            (
                json!({ "ipc": { "serialization": "advanced" }, "security": { "ipc": { "schemas": { "x": true } } } }),
                "ipc.serialization",
            ),
        ] {
            assert_eq!(broken(config.clone()), [format!("cluster.config.{path}")], "{config}");
        }
    }

    #[test]
    fn what_the_rules_allow_is_no_fault() {
        for config in [
            json!({}),
            json!({ "scaling": { "minWorkers": 64 } }),
            json!({ "shutdownTimeout": 500 }),
            json!({ "workers": 1000, "processManagement": { "standbyWorkers": 24 } }),
            json!({ "restartDelay": "5m" }),
            json!({ "monitoring": { "host": "0.0.0.0", "token": "t" } }),
            json!({ "monitoring": { "host": "0.0.0.0", "enabled": false } }),
            json!({ "monitoring": { "host": "::1" } }),
            json!({ "loadBalancing": { "stickySession": false, "sessionAffinity": "none" } }),
            json!({ "loadBalancing": { "dispatch": "direct", "strategy": "ip-hash" } }),
        ] {
            assert_eq!(broken(config.clone()), [""; 0], "{config}");
        }
    }
}
