//! The pending requests of a process: each is settled exactly once, by a response, by the end of its peer or by its
//! timeout. PURE: time is an argument.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use super::message::Peer;

/// Too many requests to one peer are pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A pending request.
#[derive(Clone, Debug)]
pub struct Request {
    pub peer: Peer,
    /// When it was sent.
    pub since: Duration,
    /// When it times out.
    pub until: Duration,
    /// Its message type.
    pub kind: Rc<str>,
}

pub struct PendingRequests {
    /// Maximum pending requests to one peer.
    most: usize,
    last: u32,
    /// By id; ids increase.
    open: BTreeMap<u32, Request>,
    /// Number of pending requests by peer.
    counts: HashMap<Peer, usize>,
}

impl PendingRequests {
    pub fn new(most: usize) -> Self {
        Self { most, last: 0, open: BTreeMap::new(), counts: HashMap::new() }
    }

    /// Adds a request and returns its id, which is never 0.
    ///
    /// # Errors
    /// [`Full`].
    pub fn ask(&mut self, request: Request) -> Result<u32, Full> {
        let count = self.counts.entry(request.peer).or_default();
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
        self.open.insert(self.last, request);
        Ok(self.last)
    }

    /// Settles the request that `peer` answers; None if it is not pending.
    pub fn answered(&mut self, peer: Peer, id: u32) -> Option<Request> {
        if self.open.get(&id)?.peer == peer { self.close(id) } else { None }
    }

    fn close(&mut self, id: u32) -> Option<Request> {
        let request = self.open.remove(&id)?;
        if let Some(count) = self.counts.get_mut(&request.peer) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&request.peer);
            }
        }
        Some(request)
    }

    /// The peer has ended: removes the requests that it will not answer, and returns them oldest first.
    pub fn gone(&mut self, peer: Peer) -> Vec<(u32, Request)> {
        if self.counts.remove(&peer).is_none() {
            return Vec::new();
        }
        self.open.extract_if(.., |_, request| request.peer == peer).collect()
    }

    /// Removes and returns timed-out requests, ordered by deadline. Examines all pending requests.
    pub fn late(&mut self, now: Duration) -> Vec<(u32, Request)> {
        let is_late = self.open.iter().filter(|(_, request)| request.until <= now);
        let mut late: Vec<(Duration, u32)> = is_late.map(|(id, request)| (request.until, *id)).collect();
        late.sort_unstable();
        late.into_iter().filter_map(|(_, id)| self.close(id).map(|request| (id, request))).collect()
    }

    /// When `late` must be called next. Examines all pending requests.
    pub fn next_due(&self) -> Option<Duration> {
        self.open.values().map(|request| request.until).min()
    }

    /// The peers with pending requests.
    pub fn peers(&self) -> Vec<Peer> {
        self.counts.keys().copied().collect()
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

    fn ask(pending: &mut PendingRequests, peer: Peer, until: Duration) -> Result<u32, Full> {
        pending.ask(Request { peer, since: Duration::ZERO, until, kind: "type".into() })
    }

    fn answered(pending: &mut PendingRequests, peer: Peer, id: u32) -> bool {
        pending.answered(peer, id).is_some_and(|request| request.peer == peer)
    }

    fn ids(requests: Vec<(u32, Request)>) -> Vec<u32> {
        requests.into_iter().map(|(id, _)| id).collect()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_answer_settles_its_question_once_and_nobody_elses_does() {
        let mut pending = PendingRequests::new(10);
        let id = ask(&mut pending, ALICE, ms(100)).unwrap();
        assert!(!answered(&mut pending, BOB, id), "not asked");
        assert!(answered(&mut pending, ALICE, id));
        assert!(!answered(&mut pending, ALICE, id), "twice");
        assert!(pending.is_empty());
    }

    #[test]
    fn no_more_than_the_limit_wait_for_one_peer() {
        let mut pending = PendingRequests::new(2);
        let first = ask(&mut pending, ALICE, ms(1)).unwrap();
        ask(&mut pending, ALICE, ms(1)).unwrap();
        assert_eq!(ask(&mut pending, ALICE, ms(1)), Err(Full));
        assert!(ask(&mut pending, BOB, ms(1)).is_ok(), "another peer has a limit of its own");
        answered(&mut pending, ALICE, first);
        assert!(ask(&mut pending, ALICE, ms(1)).is_ok());
    }

    #[test]
    fn a_peers_end_settles_what_waited_for_it_and_nothing_else() {
        let mut pending = PendingRequests::new(10);
        let to_alice: Vec<u32> = (0..3).map(|_| ask(&mut pending, ALICE, ms(100)).unwrap()).collect();
        let to_bob = ask(&mut pending, BOB, ms(100)).unwrap();
        assert_eq!(ids(pending.gone(ALICE)), to_alice);
        assert!(pending.gone(ALICE).is_empty());
        assert!(answered(&mut pending, BOB, to_bob));
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
        /// In any order of events every request is settled exactly once, and none times out early.
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
                        match ask(&mut pending, peer(slot), now + ms(time)) {
                            Ok(id) => open.push((id, slot, now + ms(time))),
                            Err(Full) => prop_assert_eq!(waiting, 5),
                        }
                    }
                    Step::Answer(id, slot) => {
                        let expected = open.iter().position(|(open, to, _)| (*open, *to) == (id, slot));
                        prop_assert_eq!(answered(&mut pending, peer(slot), id), expected.is_some());
                        expected.map(|at| open.remove(at));
                    }
                    Step::Gone(slot) => {
                        let mut gone: Vec<u32> = open.iter().filter(|(_, to, _)| *to == slot).map(|(id, ..)| *id).collect();
                        gone.sort_unstable();
                        prop_assert_eq!(ids(pending.gone(peer(slot))), gone);
                        open.retain(|(_, to, _)| *to != slot);
                    }
                    Step::Pass(time) => {
                        now += ms(time);
                        let mut late = ids(pending.late(now));
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
