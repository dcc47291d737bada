//! How many connections of a runtime that accepts by itself have to move to other workers, by group. PURE.

use std::cell::RefCell;

use crate::ipc::control::GroupId;

#[derive(Clone, Copy, Debug)]
struct Move {
    group: GroupId,
    /// How many still have to move.
    most: usize,
    quiet_ms: u32,
}

pub struct Moves {
    /// `processManagement.handoff` allows it, and there are other workers.
    allowed: bool,
    moves: RefCell<Vec<Move>>,
}

impl Moves {
    pub fn new(allowed: bool) -> Self {
        Self { allowed, moves: RefCell::default() }
    }

    /// `most` connections of the group have to move; 0: no more of them.
    pub fn begin(&self, group: GroupId, most: usize, quiet_ms: u32) {
        let mut moves = self.moves.borrow_mut();
        moves.retain(|one| one.group != group);
        if self.allowed && most > 0 {
            moves.push(Move { group, most, quiet_ms });
        }
    }

    /// `act` moves connections of a group, at most so many, and returns how many have moved.
    pub fn each(&self, act: impl Fn(GroupId, usize, u32) -> usize) {
        let mut moves = self.moves.borrow_mut();
        for one in moves.iter_mut() {
            one.most -= act(one.group, one.most, one.quiet_ms).min(one.most);
        }
        moves.retain(|one| one.most > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_ends_when_enough_have_moved() {
        let moves = Moves::new(true);
        moves.begin(1, 5, 100);
        moves.begin(2, usize::MAX, 100);
        moves.each(|group, most, _| if group == 1 { most.min(3) } else { 2 });
        moves.each(|group, most, _| {
            if group == 1 {
                assert_eq!(most, 2);
                2
            } else {
                0
            }
        });
        moves.each(|group, _, _| {
            assert_eq!(group, 2);
            0
        });
        moves.begin(2, 0, 100);
        moves.each(|_, _, _| panic!("nothing has to move"));
    }

    #[test]
    fn nothing_moves_where_it_is_not_allowed() {
        let moves = Moves::new(false);
        moves.begin(1, 5, 100);
        moves.each(|_, _, _| panic!("nothing has to move"));
    }
}
