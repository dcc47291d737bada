//! The options of `createServer` beside `cluster`.

use crate::config::kind::{Kind, Refusal, Shape, whole};
use crate::config::schema::Key;
use crate::config::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub const KEYS: &[Key] = &[
    Key::new("port", Kind::Shaped(&PORT), "the port; without it `PORT`, and without that what `start` names"),
    Key::new("host", Kind::Text, "the address to listen on; without it `HOST`"),
    Key::new(
        "app",
        Kind::Any,
        "what serves: an Express, Koa, Fastify, Hono or Nest application, a Node request listener or server, or an object with `fetch`",
    ),
    Key::new(
        "server",
        Kind::Any,
        "options for `http.createServer`; with `key` and `cert` for `https.createServer`",
    ),
    Key::new(
        "exposeWorkerHeaders",
        Kind::Bool,
        "answer with `X-Worker-ID` and `X-Worker-PID` (default: outside production)",
    ),
    Key::new(
        "redis.enabled",
        Kind::Bool,
        "use Redis, so that broadcast and shared state reach other machines",
    )
    .variant("redis", Kind::Shaped(&REDIS_SWITCH)),
    Key::new("redis.url", Kind::Secret { min: 1 }, "the server's address as a URL"),
    Key::new("redis.host", Kind::Text, "the server's host"),
    Key::new("redis.port", Kind::Shaped(&PORT), "the server's port"),
    Key::new("redis.username", Kind::Text, "the user to authenticate as"),
    Key::new("redis.password", Kind::Secret { min: 1 }, "that user's password"),
    Key::new("redis.db", Kind::Whole { min: 0, max: 65_535 }, "the number of the database"),
];

/// The key by which the JavaScript layer says that `server` has a key and a certificate. Users never write it.
pub const TLS: Key = Key::new("tls", Kind::Bool, "");

/// A port, also as a text: `process.env.PORT || 3000` is one or the other.
pub const PORT: Shape = Shape { allowed: "a port from 0 to 65535", read: read_port, shown: true };

pub fn read_port(raw: &Value) -> Result<Value, Refusal> {
    let port = whole(raw).or_else(|| raw.as_str()?.trim().parse().ok());
    port.filter(|port| *port <= 65_535).map(Value::from).ok_or(None)
}

/// `redis: true` means `{}`; an address in its place would hide a password in a place that is shown.
const REDIS_SWITCH: Shape =
    Shape { allowed: "true, false or an object", read: read_redis_switch, shown: false };

fn read_redis_switch(raw: &Value) -> Result<Value, Refusal> {
    let hint = || raw.is_string().then(|| "write redis: { url: ... }".to_owned());
    raw.as_bool().map(|on| json!(on)).ok_or_else(hint)
}

/// The Redis server that code asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    pub enabled: bool,
    pub url: Option<Secret>,
    pub host: String,
    pub port: u16,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub db: u16,
}
