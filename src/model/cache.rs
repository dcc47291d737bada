//! The figures of the shared cache.

use serde::Serialize;

/// The figures of a namespace since the start of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheStatistics {
    /// '' for the one of `app.cache`; [`crate::metrics::instrument::OTHERS`] for those beyond the limit.
    pub namespace: String,
    /// Values that are there now, and their bytes in the memory.
    pub entries: u64,
    pub bytes: u64,
    /// Looks that found a value that the process had read before, and those that read it from the memory.
    pub near_hits: u64,
    pub far_hits: u64,
    pub misses: u64,
    /// Values computed by `getOrSet`, and callers that waited for such a value of others.
    pub computed: u64,
    pub waited: u64,
    pub sets: u64,
    pub evicted: u64,
    pub expired: u64,
    pub invalidated: u64,
    /// Values that were too large, or for which there was no room.
    pub refused: u64,
}
