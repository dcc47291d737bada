//! `ipc`: messages between the primary and the workers.

use crate::config::choices::choices;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::config::millis;
use crate::config::options::options;
use crate::config::secret::Secret;
use std::time::Duration;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[Ipc::KEYS];

choices! {
    /// How messages are serialized, as for Node's child processes.
    Serialization { Json = "json", Advanced = "advanced" }
}

options! {
    /// Messages between the primary and the workers.
    Ipc in "ipc." {
        encryption: bool = false, "encryption": Kind::Bool,
            "encrypt and authenticate all messages between processes",
            also ["security.encryptIPC"];
        key: Option<Secret> = null, "key": Kind::Secret { min: 16 },
            "32 bytes as hex or base64, or a passphrase (default: random at each start)";
        #[serde(with = "millis")]
        timeout: Duration = 30000, "timeout": Kind::TIME,
            "how long a response may take";
        /// Bytes.
        max_message_size: u64 = 1048576, "maxMessageSize": Kind::Size { min: 1024 },
            "maximum size of a message";
        serialization: Serialization = "json", "serialization": Kind::Choice(Serialization::NAMES),
            "how messages are serialized, as for Node's child processes";
        max_pending: u32 = 10000, "maxPending": Kind::COUNT,
            "maximum number of pending requests to a worker";
    }
}
