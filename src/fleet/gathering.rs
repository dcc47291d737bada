//! Answers to a message that went to several parties. PURE.

use std::collections::BTreeSet;

use serde_json::json;

use crate::error::{Code, Error};

/// A worker's answer: its id, '1' if its handler has answered, format and body.
pub type Answer = [Vec<u8>; 4];

/// JSON, as [`crate::ipc::message::Format`] has it.
const JSON: &[u8] = b"0";

/// The failure of a worker, or of all workers of a machine: then its id is empty.
pub fn failure(worker: &str, error: &Error) -> Answer {
    [worker.into(), b"0".to_vec(), JSON.to_vec(), json!(error).to_string().into_bytes()]
}

pub fn no_answer() -> Error {
    Error::new(Code::MessageTimeout, "No answer came in time")
}

/// What is still awaited, and what has come.
pub struct Gathering<Party: Ord> {
    waiting: BTreeSet<Party>,
    pub answers: Vec<(Party, Answer)>,
}

impl<Party: Ord + Clone> Gathering<Party> {
    pub fn new(waiting: BTreeSet<Party>) -> Self {
        Self { waiting, answers: Vec::new() }
    }

    /// The answers of a party; those of one that nobody waits for are dropped. Returns whether all have answered.
    pub fn answered(&mut self, party: &Party, answers: Vec<Answer>) -> bool {
        if self.waiting.remove(party) {
            self.answers.extend(answers.into_iter().map(|answer| (party.clone(), answer)));
        }
        self.waiting.is_empty()
    }

    pub fn waits_for(&self, party: &Party) -> bool {
        self.waiting.contains(party)
    }

    /// Nobody is waited for any more.
    pub fn end(&mut self, failure: impl Fn(&Party) -> Answer) {
        let late = std::mem::take(&mut self.waiting);
        self.answers.extend(late.into_iter().map(|party| {
            let answer = failure(&party);
            (party, answer)
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_party_answers_once_or_fails() {
        let mut gathering = Gathering::new(BTreeSet::from([1, 2, 3]));
        let answer = |text: &str| [text.into(), b"1".to_vec(), JSON.to_vec(), b"5".to_vec()];
        assert!(!gathering.answered(&1, vec![answer("a"), answer("b")]));
        assert!(!gathering.answered(&1, vec![answer("again")]));
        assert!(!gathering.answered(&9, vec![answer("nobody asked")]));
        assert!(!gathering.answered(&2, vec![]));
        gathering.end(|_| failure("", &no_answer()));
        let who: Vec<_> =
            gathering.answers.iter().map(|(party, [worker, ..])| (*party, worker.as_slice())).collect();
        assert_eq!(who, [(1, &b"a"[..]), (1, b"b"), (3, b"")]);
        let [.., body] = &gathering.answers[2].1;
        assert!(String::from_utf8_lossy(body).contains("MESSAGE_TIMEOUT"));
    }

    #[test]
    fn the_last_answer_completes_it() {
        let mut gathering = Gathering::new(BTreeSet::from(["a"]));
        assert!(gathering.answered(&"a", vec![]));
    }
}
