//! Pending starts of workers, which wait for the program's environment. If the program's event loop is blocked, they
//! use the last known environment, and later starts do not wait until the program has responded. PURE.

use crate::model::WorkerId;
use std::time::Duration;

/// How long a start waits for the program's environment.
pub const ENVIRONMENT_TIMEOUT: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
enum Asked {
    #[default]
    No,
    Until(Duration),
    InVain,
}

#[derive(Debug, Default)]
pub struct Starts {
    waiting: Vec<WorkerId>,
    asked: Asked,
}

/// What to do for a pending start.
#[derive(Debug, PartialEq)]
pub enum Start {
    Now,
    /// Request the program's environment.
    Request,
    Wait,
}

impl Starts {
    /// Adds a pending start.
    pub fn add(&mut self, worker: WorkerId, now: Duration) -> Start {
        match self.asked {
            Asked::InVain => return Start::Now,
            // The program's pending response will be more recent than this start.
            Asked::Until(_) => self.waiting.push(worker),
            Asked::No => {
                self.waiting.push(worker);
                self.asked = Asked::Until(now + ENVIRONMENT_TIMEOUT);
                return Start::Request;
            }
        }
        Start::Wait
    }

    /// When the wait ends.
    pub fn due(&self) -> Option<Duration> {
        match self.asked {
            Asked::Until(due) => Some(due),
            Asked::No | Asked::InVain => None,
        }
    }

    /// The program has sent its environment; returns the workers to start.
    pub fn answered(&mut self) -> Vec<WorkerId> {
        self.asked = Asked::No;
        std::mem::take(&mut self.waiting)
    }

    /// The wait has timed out; returns the workers to start with the last known environment.
    pub fn expire(&mut self) -> Vec<WorkerId> {
        self.asked = Asked::InVain;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn id(slot: u16) -> WorkerId {
        WorkerId { slot, generation: 1 }
    }

    #[test]
    fn starts_of_one_moment_ask_once_and_go_with_the_answer() {
        let mut starts = Starts::default();
        assert_eq!((starts.add(id(0), at(10)), starts.add(id(1), at(11))), (Start::Request, Start::Wait));
        assert_eq!(starts.due(), Some(at(10) + ENVIRONMENT_TIMEOUT));
        assert_eq!(starts.answered(), [id(0), id(1)]);
        assert_eq!((starts.due(), starts.add(id(2), at(12))), (None, Start::Request));
    }

    #[test]
    fn a_program_that_does_not_answer_holds_up_one_moment_alone() {
        let mut starts = Starts::default();
        assert_eq!(starts.add(id(0), at(0)), Start::Request);
        assert_eq!((starts.expire(), starts.due()), (vec![id(0)], None));
        assert_eq!((starts.add(id(1), at(500)), starts.due()), (Start::Now, None));
        assert_eq!(starts.answered(), []);
        assert_eq!(starts.add(id(1), at(900)), Start::Request);
    }
}
