//! `redis`: the server through which the primaries of several machines are one fleet. It may stand among the options of
//! `createServer` and in a ClusterConfig.

use super::server::PORT;
use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape};
use crate::config::millis;
use crate::config::options::options;
use crate::config::secret::Secret;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::Duration;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[Redis::KEYS, RedisTls::KEYS];

/// Where the section may stand, before its name.
pub const PLACES: [&str; 3] = ["", "cluster.", "cluster.config."];

/// `redis: true` means `{}`, and a string is the `url` ([`with_redis_spelled_out`]).
const SWITCH: Shape = Shape { allowed: "true, false, a URL or an object", read: read_switch, shown: false };

fn read_switch(raw: &Value) -> Result<Value, Refusal> {
    raw.as_bool().map(|on| json!(on)).ok_or(None)
}

/// `host:port` each; canonical: a list of such strings.
const SERVERS: Shape = Shape {
    allowed: "a list of strings like 'host:6379', or of objects like { host, port }",
    read: read_servers,
    shown: true,
};

fn read_servers(raw: &Value) -> Result<Value, Refusal> {
    let read = |server: &Value| {
        if let Some(text) = server.as_str() {
            let (host, port) = text.rsplit_once(':')?;
            return (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| text.to_owned());
        }
        let host = server.get("host")?.as_str().filter(|host| !host.is_empty())?;
        let port = u16::try_from(server.get("port")?.as_u64()?).ok()?;
        Some(format!("{host}:{port}"))
    };
    let servers: Option<Vec<String>> = raw.as_array().and_then(|list| list.iter().map(read).collect());
    servers.filter(|servers| !servers.is_empty()).map(|servers| json!(servers)).ok_or(None)
}

/// The options with `redis: <url>` written as `redis: { url }`, so that the URL, which may contain a password, is read
/// as a secret.
pub fn with_redis_spelled_out(options: &Value) -> Cow<'_, Value> {
    let mut spelled_out = Cow::Borrowed(options);
    for place in PLACES {
        let pointer = format!("/{}redis", place.replace('.', "/"));
        if let Some(url) = options.pointer(&pointer).filter(|redis| redis.is_string())
            && let Some(redis) = spelled_out.to_mut().pointer_mut(&pointer)
        {
            *redis = json!({ "url": url });
        }
    }
    spelled_out
}

/// Whether there is a `redis` that is an object, which enables it though it may be empty: the environment supplies its
/// options.
pub fn is_asked_for(options: &Value) -> bool {
    PLACES.iter().any(|place| {
        options.pointer(&format!("/{}redis", place.replace('.', "/"))).is_some_and(Value::is_object)
    })
}

choices! {
    /// What sessions and limits do while Redis cannot be reached.
    OnFailure {
        Local = "local",
        Refuse = "refuse",
    }
}

options! {
    /// The Redis server of the configuration.
    Redis in "redis." {
        enabled: bool = false, "enabled": Kind::Bool,
            "the primaries of all machines with this Redis and prefix are one fleet",
            variant ("redis", Kind::Shaped(&SWITCH));
        url: Option<Secret> = null, "url": Kind::Secret { min: 1 },
            "the server as a URL: `redis://user:password@host:port/db`, `rediss://` with TLS, `unix:///path`; instead of `host`, `port`, `username`, `password` and `db`";
        host: String = "localhost", "host": Kind::Text,
            "the server's host";
        port: u16 = 6379, "port": Kind::Shaped(&PORT),
            "the server's port";
        username: Option<String> = null, "username": Kind::Text,
            "the user of its ACL";
        password: Option<Secret> = null, "password": Kind::Secret { min: 1 },
            "the password";
        db: u32 = 0, "db": Kind::Whole { min: 0, max: u32::MAX as u64 },
            "the number of the database";
        sentinels: Option<Vec<String>> = null, "sentinels": Kind::Shaped(&SERVERS),
            "sentinels, which know the server; instead of `host` and `port`";
        master: String = "mymaster", "master": Kind::Text,
            "the name of the server for the sentinels";
        sentinel_password: Option<Secret> = null, "sentinelPassword": Kind::Secret { min: 1 },
            "the password of the sentinels";
        nodes: Option<Vec<String>> = null, "nodes": Kind::Shaped(&SERVERS),
            "some nodes of a Redis Cluster; instead of `host` and `port`";
        prefix: Option<String> = null, "prefix": Kind::Text,
            "of all keys and channels: primaries with the same are one fleet; default: `drover:<name of the script's folder>:`";
        #[serde(with = "millis")]
        timeout: Duration = 250, "timeout": Kind::TIME,
            "maximum time for which an operation waits for Redis";
        on_failure: OnFailure = "local", "onFailure": Kind::Choice(OnFailure::NAMES),
            "what sessions and limits do while Redis cannot be reached: 'local' goes on with those of this machine, 'refuse' fails with `FLEET_UNAVAILABLE`";
    }
    with { tls: RedisTls = "tls"; }
}

options! {
    /// The encryption of the connection to Redis.
    RedisTls in "redis.tls." {
        enabled: bool = false, "enabled": Kind::Bool,
            "encrypt the connection, as the URL's scheme `rediss` does",
            variant ("redis.tls", Kind::Bool);
        ca: Option<String> = null, "ca": Kind::Text,
            "the certificates of the authorities: a file, or PEM text; default: those of the system";
        cert: Option<String> = null, "cert": Kind::Text,
            "the client's certificate: a file, or PEM text";
        key: Option<Secret> = null, "key": Kind::Secret { min: 1 },
            "the client's key: a file, or PEM text";
    }
}
