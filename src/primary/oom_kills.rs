//! Whether the kernel's OOM killer has ended a worker.

use std::collections::BTreeMap;

use crate::event::Exit;
use crate::model::WorkerId;
use crate::process::worker_groups::OomCounter;

pub(super) struct OomKills {
    counter: OomCounter,
    /// Counted at the last two samples: a kill may be counted shortly before the worker's end is noticed.
    counted: [u64; 2],
    /// The same of the workers that have groups of their own: a kill there may be of a child.
    of_workers: BTreeMap<WorkerId, [u64; 2]>,
}

impl OomKills {
    pub fn find() -> Self {
        let counter = OomCounter::find();
        Self { counted: [counter.kills(); 2], of_workers: BTreeMap::new(), counter }
    }

    /// Once a second. `of_workers`: the kills that the workers' own groups have counted.
    pub fn sample(&mut self, of_workers: impl Iterator<Item = (WorkerId, u64)>) {
        self.counted = [self.counted[1], self.counter.kills()];
        let mut before = std::mem::take(&mut self.of_workers);
        self.of_workers = of_workers
            .map(|(worker, kills)| (worker, [before.remove(&worker).map_or(0, |[_, latest]| latest), kills]))
            .collect();
    }

    /// Whether a kill was counted recently: by the worker's own group (`own`: its count now), if it has one.
    pub fn has_ended(&self, worker: WorkerId, exit: Exit, own: Option<u64>) -> bool {
        let before = || self.of_workers.get(&worker).map_or(0, |counted| counted[0]);
        exit.signal == Some(libc::SIGKILL)
            && own.map_or_else(|| self.counter.kills() > self.counted[0], |own| own > before())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_in_a_group_of_its_own_is_judged_by_the_kills_of_that_group() {
        let mut kills = OomKills::find();
        let worker = WorkerId::new(0, 1);
        let killed = Exit { exit_code: None, signal: Some(libc::SIGKILL) };
        assert!(kills.has_ended(worker, killed, Some(1)));
        assert!(!kills.has_ended(worker, killed, Some(0)), "killed by someone else");
        let ended = Exit { exit_code: None, signal: Some(libc::SIGTERM) };
        assert!(!kills.has_ended(worker, ended, Some(1)), "a child was killed, not the worker");
        for _ in 0..2 {
            kills.sample([(worker, 1)].into_iter());
        }
        assert!(!kills.has_ended(worker, killed, Some(1)), "a child was killed long before");
        assert!(kills.has_ended(worker, killed, Some(2)));
        assert!(kills.has_ended(WorkerId::new(0, 2), killed, Some(1)), "another worker");
    }
}
