//! Workers that are about to be started, while the program is asked for its environment. A program whose event loop is
//! blocked does not answer: then the environment that is known holds, and nobody waits again until it has answered. PURE.

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

/// What is to be done about a worker that is to be started.
#[derive(Debug, PartialEq)]
pub enum Start {
    Now,
    /// The program is to be asked.
    Request,
    Wait,
}

impl Starts {
    /// A worker is to be started.
    pub fn add(&mut self, worker: WorkerId, now: Duration) -> Start {
        match self.asked {
            Asked::InVain => return Start::Now,
            // What the program answers now it saw after this start was decided on.
            Asked::Until(_) => self.waiting.push(worker),
            Asked::No => {
                self.waiting.push(worker);
                self.asked = Asked::Until(now + ENVIRONMENT_TIMEOUT);
                return Start::Request;
            }
        }
        Start::Wait
    }

    /// When the wait is over.
    pub fn due(&self) -> Option<Duration> {
        match self.asked {
            Asked::Until(due) => Some(due),
            Asked::No | Asked::InVain => None,
        }
    }

    /// The program has given its environment: who can be started now.
    pub fn answered(&mut self) -> Vec<WorkerId> {
        self.asked = Asked::No;
        std::mem::take(&mut self.waiting)
    }

    /// The wait is over: who is to be started with what is known.
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
