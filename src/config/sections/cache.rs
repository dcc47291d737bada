//! `cache`: the cache that all workers share.

use super::monitoring::Function;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::config::millis;
use crate::config::units::MIB;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub const KEYS: &[Key] = &[
    Key::new("cache.maxSize", Kind::Size { min: MIB }, "the memory it may use"),
    Key::new("cache.maxEntries", Kind::COUNT, "the entries it may hold"),
    Key::new("cache.defaultTtl", Kind::TIME, "how long an entry lives that names no time itself"),
    Key::new("cache.warm", Kind::Function, "`async (cache) => void`, run once before the first request"),
];

/// The cache that all workers share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cache {
    /// Bytes.
    pub max_size: u64,
    pub max_entries: Option<u32>,
    #[serde(with = "millis::optional")]
    pub default_ttl: Option<Duration>,
    pub warm: Option<Function>,
}
