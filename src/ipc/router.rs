//! Pending requests between workers, as tracked by the primary that forwards them: only the receiver of a request may
//! answer it, and when a worker ends everyone who waits for its response is notified. PURE.

use std::collections::{BTreeMap, BTreeSet};

use super::message::Peer;

/// A request: its requester and the requester's id for it.
pub type Question = (Peer, u32);

pub struct Router {
    /// By requester and receiver.
    open: BTreeMap<(Peer, Peer), BTreeSet<u32>>,
    /// Adds a request from one worker to another.
    most: usize,
}

impl Router {
    /// `most`: maximum pending requests from one worker to another. The requester has given up older ones.
    pub fn new(most: usize) -> Self {
        Self { open: BTreeMap::new(), most }
    }

    pub fn ask(&mut self, (requester, id): Question, to: Peer) {
        let open = self.open.entry((requester, to)).or_default();
        open.insert(id);
        if open.len() > self.most {
            // Ids increase: the first is the oldest.
            open.pop_first();
        }
    }

    /// Settles a request that `by` answers; returns whether it was pending.
    pub fn answered(&mut self, (requester, id): Question, by: Peer) -> bool {
        self.open.get_mut(&(requester, by)).is_some_and(|open| open.remove(&id))
    }

    /// The peer has ended: removes its own requests, and returns those that it will not answer.
    pub fn gone(&mut self, peer: Peer) -> Vec<Question> {
        self.open.retain(|(requester, _), _| *requester != peer);
        let lost = self.open.extract_if(.., |(_, to), _| *to == peer);
        lost.flat_map(|((requester, _), ids)| ids.into_iter().map(move |id| (requester, id))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WorkerId;

    fn worker(slot: u16) -> Peer {
        Peer::Worker(WorkerId { slot, generation: 1 })
    }

    #[test]
    fn only_the_worker_that_was_asked_answers_and_only_once() {
        let mut router = Router::new(10);
        router.ask((worker(0), 7), worker(1));
        assert!(!router.answered((worker(0), 7), worker(2)), "another one");
        assert!(!router.answered((worker(0), 8), worker(1)), "another question");
        assert!(router.answered((worker(0), 7), worker(1)));
        assert!(!router.answered((worker(0), 7), worker(1)), "again");
    }

    #[test]
    fn a_workers_end_is_told_to_those_who_asked_it_and_its_own_questions_are_forgotten() {
        let mut router = Router::new(10);
        router.ask((worker(0), 1), worker(1));
        router.ask((worker(2), 5), worker(1));
        router.ask((worker(1), 9), worker(0));
        assert_eq!(router.gone(worker(1)), [(worker(0), 1), (worker(2), 5)]);
        assert!(!router.answered((worker(1), 9), worker(0)));
        assert!(router.gone(worker(1)).is_empty());
    }

    #[test]
    fn questions_that_are_never_answered_do_not_pile_up() {
        let mut router = Router::new(3);
        (1..=1000).for_each(|id| router.ask((worker(0), id), worker(1)));
        assert_eq!(router.gone(worker(1)), [998, 999, 1000].map(|id| (worker(0), id)));
    }
}
