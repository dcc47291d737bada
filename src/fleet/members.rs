//! The machines of a fleet. PURE: Redis decides which are alive, by its own clock.

use std::collections::BTreeMap;

use crate::model::Member;

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Joined(Member),
    Left(Member),
}

#[derive(Default)]
pub struct Members {
    by_id: BTreeMap<String, Member>,
}

impl Members {
    /// Takes the members that Redis knows now. `is_settled`: all that live have had the time to tell it so; otherwise those
    /// that it does not know remain.
    pub fn update(&mut self, now: Vec<Member>, is_settled: bool) -> Vec<Change> {
        let mut before = std::mem::take(&mut self.by_id);
        let mut changes = Vec::new();
        for member in now {
            if before.remove(&member.id).is_none() && !self.by_id.contains_key(&member.id) {
                changes.push(Change::Joined(member.clone()));
            }
            self.by_id.insert(member.id.clone(), member);
        }
        if is_settled {
            changes.extend(before.into_values().map(Change::Left));
        } else {
            self.by_id.append(&mut before);
        }
        changes
    }

    /// In a fixed order.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    pub fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str) -> Member {
        Member { id: id.into(), ..Member::default() }
    }

    #[test]
    fn who_comes_and_goes_is_told_once() {
        let mut members = Members::default();
        let changes = members.update(vec![member("a"), member("b"), member("a")], true);
        assert_eq!(changes, [Change::Joined(member("a")), Change::Joined(member("b"))]);
        assert_eq!(members.update(vec![member("b"), member("a")], true), []);
        let changes = members.update(vec![member("b"), member("c")], true);
        assert_eq!(changes, [Change::Joined(member("c")), Change::Left(member("a"))]);
        assert_eq!(members.all().map(|member| member.id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn who_has_not_spoken_yet_is_no_loss() {
        let mut members = Members::default();
        members.update(vec![member("a"), member("b")], true);
        assert_eq!(members.update(vec![member("c")], false), [Change::Joined(member("c"))]);
        assert_eq!(members.len(), 3);
        assert_eq!(members.update(vec![member("b"), member("c")], true), [Change::Left(member("a"))]);
    }

    #[test]
    fn figures_are_the_latest() {
        let mut members = Members::default();
        members.update(vec![member("a")], true);
        let newer = Member { figures: 5.into(), ..member("a") };
        assert_eq!(members.update(vec![newer.clone()], true), []);
        assert_eq!(members.get("a"), Some(&newer));
    }
}
