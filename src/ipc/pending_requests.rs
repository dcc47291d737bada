//! Questions that wait for their answers: each is settled once, by an answer, by its peer's end or by its time.
//! PURE: time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::message::Peer;

/// So many questions to one peer wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Clone, Copy, Debug)]
struct Open {
    peer: Peer,
    until: Duration,
}

pub struct PendingRequests {
    /// To one peer.
    most: usize,
    last: u32,
    open: HashMap<u32, Open>,
    by_peer: HashMap<Peer, usize>,
    /// By the time at which they are too late.
    due: BTreeSet<(Duration, u32)>,
}

impl PendingRequests {
    pub fn new(most: usize) -> Self {
        Self { most, last: 0, open: HashMap::new(), by_peer: HashMap::new(), due: BTreeSet::new() }
    }

    /// A question to `peer`, which has until `until`; its id, which is never 0.
    ///
    /// # Errors
    /// [`Full`].
    pub fn ask(&mut self, peer: Peer, until: Duration) -> Result<u32, Full> {
        let count = self.by_peer.entry(peer).or_default();
        if *count >= self.most {
            return Err(Full);
        }
        *count += 1;
        loop {
            self.last = self.last.wrapping_add(1).max(1);
            if !self.open.contains_key(&self.last) {
                break;
            }
        }
        self.open.insert(self.last, Open { peer, until });
        self.due.insert((until, self.last));
        Ok(self.last)
    }

    /// An answer of `peer`'s; does anybody wait for it?
    pub fn answered(&mut self, peer: Peer, id: u32) -> bool {
        self.open.get(&id).is_some_and(|open| open.peer == peer) && self.close(id)
    }

    /// The question is settled otherwise.
    pub fn close(&mut self, id: u32) -> bool {
        let Some(Open { peer, until }) = self.open.remove(&id) else { return false };
        self.due.remove(&(until, id));
        if let Some(count) = self.by_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&peer);
            }
        }
        true
    }

    /// The peer is gone: the questions that it will not answer, oldest first.
    pub fn gone(&mut self, peer: Peer) -> Vec<u32> {
        if !self.by_peer.contains_key(&peer) {
            return Vec::new();
        }
        let mut ids: Vec<u32> =
            self.open.iter().filter(|(_, open)| open.peer == peer).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in &ids {
            self.close(*id);
        }
        ids
    }

    /// The questions whose time is over.
    pub fn late(&mut self, now: Duration) -> Vec<u32> {
        let mut ids = Vec::new();
        while let Some((until, id)) = self.due.first().copied().filter(|(until, _)| *until <= now) {
            debug_assert!(until <= now);
            self.close(id);
            ids.push(id);
        }
        ids
    }

    /// When `late` is next wanted.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(until, _)| *until)
    }

    /// Those that something is waited for from.
    pub fn peers(&self) -> Vec<Peer> {
        self.by_peer.keys().copied().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WorkerId;
    use proptest::prelude::*;

    const ALICE: Peer = Peer::Worker(WorkerId::new(0, 1));
    const BOB: Peer = Peer::Worker(WorkerId::new(1, 1));

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_answer_settles_its_question_once_and_nobody_elses_does() {
        let mut pending = PendingRequests::new(10);
        let id = pending.ask(ALICE, ms(100)).unwrap();
        assert!(!pending.answered(BOB, id), "not asked");
        assert!(pending.answered(ALICE, id));
        assert!(!pending.answered(ALICE, id), "twice");
        assert!(pending.is_empty());
    }

    #[test]
    fn no_more_than_the_limit_wait_for_one_peer() {
        let mut pending = PendingRequests::new(2);
        let first = pending.ask(ALICE, ms(1)).unwrap();
        pending.ask(ALICE, ms(1)).unwrap();
        assert_eq!(pending.ask(ALICE, ms(1)), Err(Full));
        assert!(pending.ask(BOB, ms(1)).is_ok(), "another peer has a limit of its own");
        pending.answered(ALICE, first);
        assert!(pending.ask(ALICE, ms(1)).is_ok());
    }

    #[test]
    fn a_peers_end_settles_what_waited_for_it_and_nothing_else() {
        let mut pending = PendingRequests::new(10);
        let to_alice: Vec<u32> = (0..3).map(|_| pending.ask(ALICE, ms(100)).unwrap()).collect();
        let to_bob = pending.ask(BOB, ms(100)).unwrap();
        assert_eq!(pending.gone(ALICE), to_alice);
        assert!(pending.gone(ALICE).is_empty());
        assert!(pending.answered(BOB, to_bob));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Request(u16, u64),
        Answer(u32, u16),
        Gone(u16),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4u16, 0..1000u64).prop_map(|(slot, time)| Step::Request(slot, time)),
            3 => (0..60u32, 0..4u16).prop_map(|(id, slot)| Step::Answer(id, slot)),
            1 => (0..4u16).prop_map(Step::Gone),
            2 => (0..400u64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Whatever happens: every question is settled exactly once, none before its time without a reason.
        #[test]
        fn every_question_is_settled_once(steps in proptest::collection::vec(step(), 0..120)) {
            let mut pending = PendingRequests::new(5);
            let peer = |slot| Peer::Worker(WorkerId { slot, generation: 1 });
            let mut now = Duration::ZERO;
            let mut open: Vec<(u32, u16, Duration)> = Vec::new();
            for step in steps.into_iter().chain([Step::Pass(2000)]) {
                match step {
                    Step::Request(slot, time) => {
                        let waiting = open.iter().filter(|(_, to, _)| *to == slot).count();
                        match pending.ask(peer(slot), now + ms(time)) {
                            Ok(id) => open.push((id, slot, now + ms(time))),
                            Err(Full) => prop_assert_eq!(waiting, 5),
                        }
                    }
                    Step::Answer(id, slot) => {
                        let expected = open.iter().position(|(open, to, _)| (*open, *to) == (id, slot));
                        prop_assert_eq!(pending.answered(peer(slot), id), expected.is_some());
                        expected.map(|at| open.remove(at));
                    }
                    Step::Gone(slot) => {
                        let mut ids: Vec<u32> = open.iter().filter(|(_, to, _)| *to == slot).map(|(id, ..)| *id).collect();
                        ids.sort_unstable();
                        prop_assert_eq!(pending.gone(peer(slot)), ids);
                        open.retain(|(_, to, _)| *to != slot);
                    }
                    Step::Pass(time) => {
                        now += ms(time);
                        let mut late = pending.late(now);
                        late.sort_unstable();
                        let mut expected: Vec<u32> = open.iter().filter(|(.., until)| *until <= now).map(|(id, ..)| *id).collect();
                        expected.sort_unstable();
                        prop_assert_eq!(late, expected);
                        open.retain(|(.., until)| *until > now);
                    }
                }
                prop_assert_eq!(pending.next_due(), open.iter().map(|(.., until)| *until).min());
                prop_assert_eq!(pending.is_empty(), open.is_empty());
            }
            prop_assert!(pending.is_empty());
        }
    }
}
