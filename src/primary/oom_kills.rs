//! Whether the kernel's OOM killer has ended a worker.

use crate::event::Exit;
use crate::process::worker_groups::OomCounter;

pub(super) struct OomKills {
    counter: OomCounter,
    /// Counted at the last two samples: a kill may be counted shortly before the worker's end is noticed.
    counted: [u64; 2],
}

impl OomKills {
    pub fn find() -> Self {
        let counter = OomCounter::find();
        Self { counted: [counter.kills(); 2], counter }
    }

    /// Once a second.
    pub fn sample(&mut self) {
        self.counted = [self.counted[1], self.counter.kills()];
    }

    /// `own`: the kills that the worker's own group has counted, if it has one; without, a recent kill counts.
    pub fn has_ended(&self, exit: Exit, own: Option<u64>) -> bool {
        exit.signal == Some(libc::SIGKILL)
            && own.map_or_else(|| self.counter.kills() > self.counted[0], |own| own > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_in_a_group_of_its_own_is_judged_by_the_kills_of_that_group() {
        let kills = OomKills::find();
        let exit = |signal| Exit { exit_code: None, signal: Some(signal) };
        assert!(kills.has_ended(exit(libc::SIGKILL), Some(1)));
        assert!(!kills.has_ended(exit(libc::SIGKILL), Some(0)), "killed by someone else");
        assert!(!kills.has_ended(exit(libc::SIGTERM), Some(1)), "a child was killed, not the worker");
    }
}
