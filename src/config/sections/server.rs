//! The options of `createServer` other than `cluster`.

use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape, whole};
use crate::config::options::options;
use crate::config::secret::Secret;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[AT_THE_TOP, Redis::KEYS];

/// Their fields are in `Config`.
const AT_THE_TOP: &[Key] = &[
    Key::new(
        "port",
        Kind::Shaped(&PORT),
        "the port if `start` and `listen` are given none; default: the variable `PORT`, else 3000",
    ).with_default("null"),
    Key::new(
        "host",
        Kind::Text,
        "the address if `start` and `listen` are given none; default: the variable `HOST`, else all addresses",
    ).with_default("null"),
    Key::new(
        "app",
        Kind::Any,
        "the application: an Express, Koa, Fastify, Hono or Nest application, a Node request listener or server, or an object with `fetch`",
    ),
    Key::new(
        "server",
        Kind::Any,
        "options for `http.createServer`; with `key` and `cert` for `https.createServer`",
    ),
    Key::new(
        "exposeWorkerHeaders",
        Kind::Bool,
        "add `X-Worker-ID` and `X-Worker-PID` to responses (default: outside production)",
    ).with_default("null"),
];

/// Set by the JavaScript layer if `server` has a key and a certificate. Users never set it.
pub const TLS: Key = Key::new("tls", Kind::Bool, "");

/// A port as a number or a string: `process.env.PORT || 3000` may be either.
pub const PORT: Shape = Shape { allowed: "a port from 0 to 65535", read: read_port, shown: true };

pub fn read_port(raw: &Value) -> Result<Value, Refusal> {
    let port = whole(raw).or_else(|| raw.as_str()?.trim().parse().ok());
    port.filter(|port| *port <= 65_535).map(Value::from).ok_or(None)
}

/// `redis: true` means `{}`, and a string is the `url` ([`with_redis_spelled_out`]).
const REDIS_SWITCH: Shape =
    Shape { allowed: "true, false, a URL or an object", read: read_redis_switch, shown: false };

fn read_redis_switch(raw: &Value) -> Result<Value, Refusal> {
    raw.as_bool().map(|on| json!(on)).ok_or(None)
}

/// The options with `redis: <url>` written as `redis: { url }`, so that the URL, which may contain a password, is read
/// as a secret.
pub fn with_redis_spelled_out(options: &Value) -> Cow<'_, Value> {
    let Some(url) = options.get("redis").filter(|redis| redis.is_string()) else {
        return Cow::Borrowed(options);
    };
    let mut spelled_out = options.clone();
    spelled_out["redis"] = json!({ "url": url });
    Cow::Owned(spelled_out)
}

options! {
    /// The Redis server of the configuration.
    Redis in "redis." {
        enabled: bool = false, "enabled": Kind::Bool,
            "use Redis, so that broadcast and shared state reach other machines",
            variant ("redis", Kind::Shaped(&REDIS_SWITCH));
        url: Option<Secret> = null, "url": Kind::Secret { min: 1 },
            "the server's address as a URL";
        host: String = "localhost", "host": Kind::Text,
            "the server's host";
        port: u16 = 6379, "port": Kind::Shaped(&PORT),
            "the server's port";
        password: Option<Secret> = null, "password": Kind::Secret { min: 1 },
            "the password";
    }
}
