//! Questions between workers, as the primary that carries them knows them: who asked whom, so that an answer comes
//! from the one who was asked and a worker's end is told to all who wait for it. PURE.

use std::collections::BTreeMap;

use super::message::Peer;

/// A question: its asker and the id that the asker gave it.
pub type Question = (Peer, u32);

#[derive(Default)]
pub struct Router {
    asked: BTreeMap<Question, Peer>,
}

impl Router {
    pub fn ask(&mut self, question: Question, to: Peer) {
        self.asked.insert(question, to);
    }

    /// `by` answers; was it asked?
    pub fn answered(&mut self, question: Question, by: Peer) -> bool {
        let was_asked = self.asked.get(&question) == Some(&by);
        if was_asked {
            self.asked.remove(&question);
        }
        was_asked
    }

    /// The worker is gone: the questions that it will not answer. Its own are forgotten.
    pub fn gone(&mut self, peer: Peer) -> Vec<Question> {
        self.asked.retain(|(asker, _), _| *asker != peer);
        let lost: Vec<Question> =
            self.asked.iter().filter(|(_, to)| **to == peer).map(|(question, _)| *question).collect();
        lost.iter().for_each(|question| {
            self.asked.remove(question);
        });
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(slot: u16) -> Peer {
        Peer::Worker { slot, generation: 1 }
    }

    #[test]
    fn only_the_worker_that_was_asked_answers_and_only_once() {
        let mut router = Router::default();
        router.ask((worker(0), 7), worker(1));
        assert!(!router.answered((worker(0), 7), worker(2)), "another one");
        assert!(!router.answered((worker(0), 8), worker(1)), "another question");
        assert!(router.answered((worker(0), 7), worker(1)));
        assert!(!router.answered((worker(0), 7), worker(1)), "again");
    }

    #[test]
    fn a_workers_end_is_told_to_those_who_asked_it_and_its_own_questions_are_forgotten() {
        let mut router = Router::default();
        router.ask((worker(0), 1), worker(1));
        router.ask((worker(2), 5), worker(1));
        router.ask((worker(1), 9), worker(0));
        assert_eq!(router.gone(worker(1)), [(worker(0), 1), (worker(2), 5)]);
        assert!(!router.answered((worker(1), 9), worker(0)));
        assert!(router.gone(worker(1)).is_empty());
    }
}
