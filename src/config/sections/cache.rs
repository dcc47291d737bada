//! `cache`: the cache that all workers share.

use super::ipc::Serialization;
use super::monitoring::Function;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::config::millis;
use crate::config::options::options;
use crate::config::units::MIB;
use std::time::Duration;

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[Cache::KEYS];

options! {
    /// The cache that all workers share.
    Cache in "cache." {
        /// Bytes.
        max_size: u64 = 67108864, "maxSize": Kind::Size { min: MIB },
            "maximum memory";
        max_entries: Option<u32> = null, "maxEntries": Kind::COUNT,
            "maximum number of entries";
        #[serde(with = "millis::optional")]
        default_ttl: Option<Duration> = null, "defaultTtl": Kind::TIME,
            "lifetime of entries that are set without one";
        #[serde(with = "millis")]
        grace: Duration = 0, "grace": Kind::FROM_ZERO,
            "how long after its lifetime `getOrSet` may use a value while it computes a new one";
        early_refresh: f64 = 0.0, "earlyRefresh": Kind::Number { min: 0.0, max: 0.9 },
            "last part of a value's lifetime in which `getOrSet` computes it anew, at a random time, while it is still used";
        serialization: Serialization = "json", "serialization": Kind::Choice(Serialization::NAMES),
            "encoding of values that are neither text nor Buffers";
        persist: Option<String> = null, "persist": Kind::Text,
            "a file that keeps the values while the primary does not run";
        warm: Option<Function> = null, "warm": Kind::Function,
            "`async (cache) => void`, run once in the cluster's life, in one worker";
        warm_before_ready: bool = false, "warmBeforeReady": Kind::Bool,
            "no worker is ready before `warm` is done";
    }
}
