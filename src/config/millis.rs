//! Durations as the milliseconds of the canonical form, for `#[serde(with = "millis")]`.

pub mod optional;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

// Durations from a configuration are at most `units::MAX_LENGTH`; a longer one is written as the maximum u64.
fn count(duration: &Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    count(duration).serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}
