//! `ipc`: messages between the primary and the workers.

use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::config::millis;
use crate::config::secret::Secret;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub const KEYS: &[Key] = &[
    Key::new("ipc.encryption", Kind::Bool, "encrypt and authenticate what crosses between processes")
        .also(&["security.encryptIPC"]),
    Key::new(
        "ipc.key",
        Kind::Secret { min: 16 },
        "32 bytes as hex or base64, or a passphrase (default: random at each start)",
    ),
    Key::new("ipc.timeout", Kind::TIME, "how long an answer may take"),
    Key::new("ipc.maxMessageSize", Kind::Size { min: 1024 }, "the largest message"),
    Key::new(
        "ipc.serialization",
        Kind::Choice(Serialization::NAMES),
        "how messages are written, as for Node's child processes",
    ),
    Key::new("ipc.maxPending", Kind::COUNT, "messages to a worker that may wait for their answers"),
];

choices! {
    /// How messages are written, as for Node's child processes.
    Serialization { Json = "json", Advanced = "advanced" }
}

/// Messages between the primary and the workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ipc {
    pub encryption: bool,
    pub key: Option<Secret>,
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// Bytes.
    pub max_message_size: u64,
    pub serialization: Serialization,
    pub max_pending: u32,
}
