//! The memory that all workers may use together: how near its end is, and which worker makes room. PURE.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::WorkerId;

/// The growth of the last samples is continued for this long: the time of a replacement.
const REPLACEMENT: Duration = Duration::from_secs(5);
/// The same, before the kernel would choose a process: the time until the next sample.
const NEXT_SAMPLE: Duration = Duration::from_secs(1);
/// Number of samples of which growth is computed.
const KEPT: usize = 6;
const MIN_SAMPLES: usize = 3;
/// A worker makes room if it uses so many times the memory of the smallest one.
const STANDS_OUT: f64 = 1.25;

/// The budget and its use, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub limit: u64,
    pub used: u64,
}

impl Budget {
    pub fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// How many more workers fit, each with this footprint.
    pub fn room_for(&self, footprint: u64) -> u64 {
        self.free().checked_div(footprint).unwrap_or(u64::MAX)
    }

    /// Fraction of the limit that is used.
    pub fn share(&self) -> f64 {
        self.used as f64 / self.limit.max(1) as f64
    }
}

/// Fractions of the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    pub warning: f64,
    pub critical: f64,
}

/// The use of a budget over time.
#[derive(Debug, Default)]
pub struct BudgetWatch {
    kept: VecDeque<(Duration, u64)>,
    /// The limit of the budget that they are of.
    limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nearness {
    Far,
    /// Above the warning threshold, or full before a worker could be replaced. `growth`: bytes a second.
    Near {
        growth: f64,
    },
    /// Above the critical threshold and full before the next sample: the kernel would kill a process then.
    Full {
        growth: f64,
    },
}

impl BudgetWatch {
    pub fn look(&mut self, budget: Budget, thresholds: Thresholds, now: Duration) -> Nearness {
        if std::mem::replace(&mut self.limit, budget.limit) != budget.limit {
            self.kept.clear();
        }
        self.kept.push_back((now, budget.used));
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
        let growth = self.growth();
        let after = |time: Duration| budget.used as f64 + growth.max(0.0) * time.as_secs_f64();
        let limit = budget.limit as f64;
        if budget.share() >= thresholds.critical && after(NEXT_SAMPLE) >= limit {
            Nearness::Full { growth }
        } else if budget.share() >= thresholds.warning || (growth > 0.0 && after(REPLACEMENT) >= limit) {
            Nearness::Near { growth }
        } else {
            Nearness::Far
        }
    }

    /// Bytes per second, between the first and the last of the kept samples; 0 with too few of them.
    fn growth(&self) -> f64 {
        if self.kept.len() < MIN_SAMPLES {
            return 0.0;
        }
        let (Some((then, before)), Some((now, after))) = (self.kept.front(), self.kept.back()) else {
            return 0.0;
        };
        let seconds = now.saturating_sub(*then).as_secs_f64();
        if seconds > 0.0 { (*after as f64 - *before as f64) / seconds } else { 0.0 }
    }
}

/// A worker, as far as the budget is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tenant {
    pub worker: WorkerId,
    /// Resident memory, bytes.
    pub memory: u64,
    /// Its memory grows steadily.
    pub leaks: bool,
}

/// The worker whose replacement frees most: the largest of those that leak, otherwise the largest, if it uses clearly
/// more than the smallest. None: a new worker would use as much as any.
pub fn largest(tenants: &[Tenant]) -> Option<Tenant> {
    let by_memory = |one: &&Tenant, other: &&Tenant| one.memory.cmp(&other.memory);
    let leaking = tenants.iter().filter(|tenant| tenant.leaks).max_by(by_memory);
    let smallest = tenants.iter().min_by(by_memory)?.memory;
    let stands_out = |tenant: &&Tenant| tenant.memory as f64 >= smallest as f64 * STANDS_OUT;
    leaking.or_else(|| tenants.iter().max_by(by_memory).filter(stands_out)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;
    const THRESHOLDS: Thresholds = Thresholds { warning: 0.8, critical: 0.95 };

    /// What is said of the last of these seconds of use, of 1000 MB.
    fn nearness(megabytes: &[u64]) -> Nearness {
        let mut watch = BudgetWatch::default();
        let mut last = Nearness::Far;
        for (second, used) in (0..).zip(megabytes) {
            let budget = Budget { limit: 1000 * MB, used: used * MB };
            last = watch.look(budget, THRESHOLDS, Duration::from_secs(second));
        }
        last
    }

    #[test]
    fn a_budget_is_near_its_end_by_its_use_or_by_its_growth() {
        let mb = MB as f64;
        for (used, expected) in [
            (&[500, 500][..], Nearness::Far),
            (&[500, 590], Nearness::Far),
            (&[500, 540, 580], Nearness::Far),
            (&[500, 585, 670], Nearness::Near { growth: 85.0 * mb }),
            (&[790, 800], Nearness::Near { growth: 0.0 }),
            (&[960, 960], Nearness::Near { growth: 0.0 }),
            (&[800, 900, 980], Nearness::Full { growth: 90.0 * mb }),
            (&[990, 975, 960], Nearness::Near { growth: -15.0 * mb }),
            (&[1000], Nearness::Full { growth: 0.0 }),
        ] {
            assert_eq!(nearness(used), expected, "{used:?}");
        }
    }

    #[test]
    fn the_growth_of_another_budget_is_not_that_of_this_one() {
        let mut watch = BudgetWatch::default();
        for (second, limit, used) in
            [(0, 1000, 100), (1, 1000, 100), (2, 2000, 700), (3, 2000, 700), (4, 2000, 700)]
        {
            let budget = Budget { limit: limit * MB, used: used * MB };
            assert_eq!(
                watch.look(budget, THRESHOLDS, Duration::from_secs(second)),
                Nearness::Far,
                "{second}"
            );
        }
    }

    #[test]
    fn the_largest_that_leaks_makes_room_or_one_that_stands_out() {
        let tenant = |slot, megabytes: u64, leaks| Tenant {
            worker: WorkerId::new(slot, 1),
            memory: megabytes * MB,
            leaks,
        };
        let chosen = |tenants: &[Tenant]| largest(tenants).map(|tenant| tenant.worker.slot);
        assert_eq!(chosen(&[tenant(0, 300, false), tenant(1, 200, true), tenant(2, 250, true)]), Some(2));
        assert_eq!(chosen(&[tenant(0, 100, false), tenant(1, 126, false)]), Some(1));
        assert_eq!(chosen(&[tenant(0, 100, false), tenant(1, 120, false)]), None);
        assert_eq!(chosen(&[tenant(0, 100, false)]), None);
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn as_many_workers_fit_as_their_footprints_do() {
        let budget = Budget { limit: 1000, used: 790 };
        assert_eq!((budget.room_for(100), budget.room_for(211), budget.room_for(0)), (2, 0, u64::MAX));
        assert_eq!(Budget { limit: 5, used: 9 }.room_for(1), 0);
    }
}
