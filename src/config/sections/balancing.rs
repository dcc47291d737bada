//! `loadBalancing`: which worker gets a connection.

use super::worker::MAX_WORKERS;
use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape, whole};
use crate::config::millis;
use crate::config::network::{self, Network};
use crate::config::options::options;
use crate::config::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[LoadBalancing::KEYS, AffinityCookie::KEYS];

choices! {
    /// How the worker of a new connection is chosen.
    Strategy {
        /// In the order of the slots' numbers.
        RoundRobin = "round-robin",
        /// The fewest connections for its weight; in turn among equals.
        LeastConnections = "least-connections",
        /// By the client's address; adding or removing a slot moves only that slot's share of the clients.
        IpHash = "ip-hash",
        /// In proportion to the weights, interleaved as evenly as possible.
        WeightedRoundRobin = "weighted-round-robin",
        /// The better of two random workers, by latency times requests in progress.
        LeastResponseTime = "least-response-time",
        /// By a hash of the client's address and port, like the kernel's over a group of listeners.
        Os = "os",
    }
}

choices! {
    /// How connections are passed to workers.
    DispatchMode { Auto = "auto", Push = "push", Direct = "direct" }
}

choices! {
    /// What binds a client to a worker.
    Affinity { None = "none", Ip = "ip", Cookie = "cookie" }
}

choices! {
    /// A cookie's SameSite attribute.
    SameSite { Lax = "lax", Strict = "strict", None = "none" }
}

const HEAVIEST: u64 = 1000;

const WEIGHTS: Shape = Shape {
    allowed: "a list of whole numbers from 1 to 1000, or an object from slots (0 to 1023) to them",
    read: read_weights,
    shown: true,
};

fn read_weights(raw: &Value) -> Result<Value, Refusal> {
    let entries: Vec<(String, &Value)> = match raw {
        Value::Array(list) => {
            list.iter().enumerate().map(|(slot, weight)| (slot.to_string(), weight)).collect()
        }
        Value::Object(object) => object.iter().map(|(slot, weight)| (slot.clone(), weight)).collect(),
        _ => return Err(None),
    };
    let mut weights = Map::new();
    for (name, raw_weight) in entries {
        let slot = name.parse::<u16>().ok().filter(|slot| *slot < MAX_WORKERS && slot.to_string() == name);
        let weight = whole(raw_weight).filter(|weight| (1..=HEAVIEST).contains(weight));
        if slot.is_none() || weight.is_none() {
            return Err(Some(format!("the weight of slot {name:?} is wrong")));
        }
        weights.insert(name, json!(weight));
    }
    Ok(Value::Object(weights))
}

const ADMISSION: Shape = Shape {
    allowed: "'off', 'adaptive', or an object with targetDelay (from 1 millisecond on) and exempt (a list of paths)",
    read: read_admission,
    shown: true,
};

const TARGET_DELAY: &str = "targetDelay";
const EXEMPT: &str = "exempt";

fn read_admission(raw: &Value) -> Result<Value, Refusal> {
    let given = match raw {
        Value::String(text) if text == "off" => return Ok(raw.clone()),
        Value::String(text) if text == "adaptive" => Map::new(),
        Value::Object(given) => given.clone(),
        _ => return Err(None),
    };
    let mut admission =
        Map::from_iter([(TARGET_DELAY.into(), json!(50)), (EXEMPT.into(), json!(["/health", "/ready"]))]);
    for (name, value) in given {
        let read = match name.as_str() {
            TARGET_DELAY => Kind::TIME.read(&value).map_err(|_| Some("targetDelay is wrong".to_owned()))?,
            EXEMPT => {
                let is_path = |path: &Value| path.as_str().is_some_and(|path| path.starts_with('/'));
                let are_paths = value.as_array().is_some_and(|paths| paths.iter().all(is_path));
                let hint = "exempt is a list of paths, such as ['/health']";
                if are_paths { value } else { return Err(Some(hint.to_owned())) }
            }
            other => return Err(Some(format!("{other:?} is unknown"))),
        };
        admission.insert(name, read);
    }
    Ok(Value::Object(admission))
}

/// What is refused while all workers are saturated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Admission {
    Adaptive(AdaptiveAdmission),
    Off(Off),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Off {
    #[serde(rename = "off")]
    Off,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdaptiveAdmission {
    /// What waits longer before its handler is refused.
    #[serde(with = "millis")]
    pub target_delay: Duration,
    /// Paths that are never refused.
    pub exempt: Vec<String>,
}

const COOKIE_NAME: Shape = Shape {
    allowed: "a cookie's name: letters, digits and !#$%&'*+-.^_`|~",
    read: read_cookie_name,
    shown: true,
};

fn read_cookie_name(raw: &Value) -> Result<Value, Refusal> {
    // RFC 6265 takes the token of RFC 9110, section 5.6.2.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    raw.as_str().filter(|name| !name.is_empty() && name.bytes().all(token)).map(Value::from).ok_or(None)
}

options! {
    /// Which worker gets a connection.
    LoadBalancing in "loadBalancing." {
        strategy: Strategy = "round-robin", "strategy": Kind::Choice(Strategy::NAMES),
            "how the worker of a new connection is chosen";
        dispatch: DispatchMode = "auto", "dispatch": Kind::Choice(DispatchMode::NAMES),
            "fix the listener to one mode: the primary sends connections to workers (`push`) or the kernel assigns them (`direct`)";
        /// From slot to weight; a missing slot has weight 1.
        weights: BTreeMap<u16, u32> = {}, "weights": Kind::Shaped(&WEIGHTS),
            "the weight of each slot: a list by slot, or an object from slot to weight; the default weight is 1";
        health_aware: bool = true, "healthAware": Kind::Bool,
            "give no new connections to workers that are unhealthy or unresponsive";
        connection_tracking: bool = true, "connectionTracking": Kind::Bool,
            "count each worker's open connections";
        rebalance: bool = null, "rebalance": Kind::Bool,
            "move long-lived idle connections to lighter workers (default: with `least-connections` and `least-response-time`)";
        handoff: bool = true, "handoff": Kind::Bool,
            "a draining worker hands its idle connections off instead of closing them";
        /// Whether there is any affinity; `session_affinity` is its kind.
        sticky_session: bool = false, "stickySession": Kind::Bool,
            "true without `sessionAffinity` means `sessionAffinity: 'ip'`";
        session_affinity: Affinity = "none", "sessionAffinity": Kind::Choice(Affinity::NAMES),
            "what binds a client to a worker";
        /// Empty: forwarded addresses are ignored.
        trust_proxy: Vec<Network> = [], "trustProxy": Kind::Shaped(&network::PROXIES),
            "proxies whose X-Forwarded-For or Forwarded header gives the client's address for hashing; with affinity, each request on their connections is routed to its worker";
        max_queue: u32 = 1024, "maxQueue": Kind::Whole { min: 0, max: 1_048_576 },
            "connections that may wait while no worker can take one";
        #[serde(with = "millis")]
        queue_timeout: Duration = 5000, "queueTimeout": Kind::TIME,
            "how long a connection may wait; then it gets 503 on plain HTTP and is closed otherwise";
        admission: Admission = "off", "admission": Kind::Shaped(&ADMISSION),
            "`adaptive`: while all workers are saturated, refuse (503 with Retry-After) what would wait longer than `targetDelay` (50 ms) before its handler, except the paths in `exempt` (`/health` and `/ready`)";
    }
    with {
        affinity_cookie: AffinityCookie = "affinityCookie";
    }
}

options! {
    /// The cookie that binds a client to a worker; always HttpOnly and signed.
    AffinityCookie in "loadBalancing.affinityCookie." {
        name: String = "drover_affinity", "name": Kind::Shaped(&COOKIE_NAME),
            "the name of the cookie for `sessionAffinity: 'cookie'`";
        secret: Option<Secret> = null, "secret": Kind::Secret { min: 1 },
            "the key that signs it (default: derived from `ipc.key`, else random at each start)";
        #[serde(with = "millis::optional")]
        max_age: Option<Duration> = null, "maxAge": Kind::Duration { min: 1000 },
            "how long the client keeps it (default: until the browser closes)";
        same_site: SameSite = "lax", "sameSite": Kind::Choice(SameSite::NAMES),
            "its SameSite attribute";
        secure: bool = false, "secure": Kind::Bool,
            "its Secure attribute";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_go_by_slot_as_a_list_or_as_an_object() {
        for (raw, expected) in [
            (json!([3, 1]), Some(json!({ "0": 3, "1": 1 }))),
            (json!({ "2": 5 }), Some(json!({ "2": 5 }))),
            (json!([]), Some(json!({}))),
            (json!([0]), None),
            (json!([1.5]), None),
            (json!({ "1024": 1 }), None),
            (json!({ "01": 1 }), None),
            (json!({ "a": 1 }), None),
            (json!(3), None),
        ] {
            assert_eq!(read_weights(&raw).ok(), expected, "{raw}");
        }
    }

    #[test]
    fn admission_is_off_or_has_a_target_and_exempt_paths() {
        let standard = json!({ "targetDelay": 50, "exempt": ["/health", "/ready"] });
        for (raw, expected) in [
            (json!("off"), Some(json!("off"))),
            (json!("adaptive"), Some(standard.clone())),
            (json!({}), Some(standard)),
            (
                json!({ "targetDelay": "20ms", "exempt": [] }),
                Some(json!({ "targetDelay": 20, "exempt": [] })),
            ),
            (json!({ "targetDelay": 0 }), None),
            (json!({ "exempt": ["health"] }), None),
            (json!({ "exempt": "/health" }), None),
            (json!({ "target": 50 }), None),
            (json!("on"), None),
            (json!(true), None),
        ] {
            let read = read_admission(&raw).ok();
            assert_eq!(read, expected, "{raw}");
            if let Some(read) = read {
                let typed: Admission = serde_json::from_value(read.clone()).unwrap();
                assert_eq!(json!(typed), read);
            }
        }
    }

    #[test]
    fn a_cookie_name_is_a_token() {
        for (name, good) in
            [("drover_affinity", true), ("__Host-a", true), ("", false), ("a b", false), ("a=b", false)]
        {
            assert_eq!(read_cookie_name(&json!(name)).is_ok(), good, "{name}");
        }
    }
}
