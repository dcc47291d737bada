//! The options of `createServer` other than `cluster`.

use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape, whole};
use serde_json::Value;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[AT_THE_TOP];

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
