//! Pending starts of workers, which wait for the program's environment. If the program's event loop is blocked, they
//! use the last known environment, and later starts do not wait until the program has responded. PURE.

use crate::model::WorkerId;
use std::time::Duration;

/// How long a start waits for the program's environment.
pub const ENVIRONMENT_TIMEOUT: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
enum EnvironmentRequest {
    #[default]
    None,
    Pending(Duration),
    TimedOut,
}

#[derive(Debug, Default)]
pub struct Starts {
    waiting: Vec<WorkerId>,
    request: EnvironmentRequest,
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
        match self.request {
            EnvironmentRequest::TimedOut => return Start::Now,
            // The program's pending response will be more recent than this start.
            EnvironmentRequest::Pending(_) => self.waiting.push(worker),
            EnvironmentRequest::None => {
                self.waiting.push(worker);
                self.request = EnvironmentRequest::Pending(now + ENVIRONMENT_TIMEOUT);
                return Start::Request;
            }
        }
        Start::Wait
    }

    /// When the wait ends.
    pub fn due(&self) -> Option<Duration> {
        match self.request {
            EnvironmentRequest::Pending(due) => Some(due),
            EnvironmentRequest::None | EnvironmentRequest::TimedOut => None,
        }
    }

    /// The program has sent its environment; returns the workers to start.
    pub fn answered(&mut self) -> Vec<WorkerId> {
        self.request = EnvironmentRequest::None;
        std::mem::take(&mut self.waiting)
    }

    /// The wait has timed out; returns the workers to start with the last known environment.
    pub fn expire(&mut self) -> Vec<WorkerId> {
        self.request = EnvironmentRequest::TimedOut;
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
