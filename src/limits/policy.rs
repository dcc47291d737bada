//! The limits, as configured.

use std::time::Duration;

/// Limits of each worker; None: none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    pub memory: Option<MemoryLimit>,
    pub cpu: Option<CpuLimit>,
    /// Percent of one core: a worker above it in three samples is replaced.
    pub cpu_threshold: Option<f64>,
    /// Requests in a worker's life.
    pub requests: Option<u64>,
    pub age: Option<Duration>,
    /// Open connections of a worker, which dispatch enforces: that one is at it is reported here.
    pub connections: Option<u64>,
}

/// Bytes of resident memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryLimit {
    /// A worker above it in three samples is replaced.
    pub soft: u64,
    /// The option of the soft limit.
    pub option: &'static str,
    /// A worker above it is killed; None: none.
    pub hard: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuLimit {
    /// Percent of one core.
    pub percent: f64,
    /// A worker that is above it for a minute is killed.
    pub kills: bool,
}

impl Policy {
    /// Whether any worker could be killed for its memory.
    pub fn hard_memory(&self) -> Option<u64> {
        self.memory.and_then(|memory| memory.hard)
    }
}

/// A value between 90 % and 100 % of a limit, different for each worker, so that workers that were started together do
/// not reach theirs together. `seed`: a random number of the cluster.
pub fn jittered(limit: f64, slot: u16, generation: u32, seed: u32) -> f64 {
    let mut mixed = (u64::from(slot) << 32 | u64::from(generation)) ^ (u64::from(seed) << 16);
    mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    limit * (1.0 - (mixed >> 40) as f64 / (1u64 << 24) as f64 / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_reach_a_limit_at_different_times_and_never_late() {
        let values: Vec<f64> = (0..8).map(|slot| jittered(1000.0, slot, 1, 7)).collect();
        assert!(values.iter().all(|value| (900.0..=1000.0).contains(value)), "{values:?}");
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] > 0.1), "{sorted:?}");
        assert!((jittered(1000.0, 0, 2, 7) - values[0]).abs() > 0.1, "nor does its replacement");
    }
}
