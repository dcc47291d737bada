//! Rolls, scales and standby workers: the goal is reached, and no slot is without a worker meanwhile.

use super::*;
use crate::error::Code;
use crate::model::Scale;

fn done(actions: &[Action]) -> Vec<(u32, bool)> {
    let results = actions.iter().map(|action| match action {
        Action::Done { id, result } => Some((*id, result.is_ok())),
        _ => None,
    });
    results.flatten().collect()
}

fn roll(id: u32, slot: Option<u16>) -> Fact {
    Fact::Roll { id, slot, requester: None }
}

fn scale(id: u32, target: Scale) -> Fact {
    Fact::Scale { id, target, requester: None }
}

fn position(log: &[Action], wanted: impl Fn(&Action) -> bool) -> usize {
    log.iter().position(wanted).expect("the action is in the log")
}

impl World {
    /// The worker of an earlier generation exits with code 0.
    fn old_leaves(&mut self, slot: u16, generation: u32) -> Vec<Action> {
        self.tell(Fact::Exited { worker: id(slot, generation), exit: CLEAN })
    }
}

#[test]
fn a_roll_brings_the_new_worker_up_before_the_old_one_leaves_slot_by_slot() {
    let mut world = World::started(policy(2));
    assert_eq!(spawns(&world.tell(roll(1, None))), [0], "one at a time");
    world.up(0);
    let promoted = position(
        &world.log,
        |action| matches!(action, Action::Promote { worker, .. } if *worker == id(0, 2)),
    );
    let drained =
        position(&world.log, |action| matches!(action, Action::Drain { worker, .. } if *worker == id(0, 1)));
    assert!(promoted < drained);
    assert_eq!(world.generation(1), 2, "the next slot begins while the first old one drains");
    world.up(1);
    assert!(done(&world.log).is_empty());
    world.old_leaves(0, 1);
    assert!(done(&world.old_leaves(1, 1)).contains(&(1, true)), "done when the old ones are gone");
    assert!(world.slot(0).is_ready() && world.slot(1).is_ready());
    assert_eq!((world.slot(0).restarts, world.slot(0).replacements), (0, 1), "nobody has died");
}

#[test]
fn the_next_slot_waits_until_the_new_worker_is_warm() {
    let mut world = World::started(policy(2));
    world.tell(roll(1, None));
    world.spawned(0);
    assert!(spawns(&world.tell(Fact::Ready { worker: id(0, 2) })).is_empty());
    assert_eq!(spawns(&world.tell(Fact::Warm { worker: id(0, 2) })), [1]);
}

#[test]
fn a_new_worker_that_does_not_get_ready_ends_the_roll_and_the_old_go_on_serving() {
    let mut world = World::started(policy(2));
    world.tell(roll(7, None));
    world.spawned(0);
    let own = Error::new(Code::WorkerStartupFailed, "SyntaxError: Unexpected token");
    world.tell(Fact::Failed { worker: id(0, 2), error: own.clone(), reported: false });
    let actions = world.exit(0, CRASH);
    let error = actions.iter().find_map(|action| match action {
        Action::Done { id: 7, result: Err(error) } => Some(error),
        _ => None,
    });
    let error = error.expect("the roll has ended");
    assert_eq!(error.code, Code::WorkerStartupFailed);
    assert!(error.message.contains("SyntaxError: Unexpected token"), "{error}");
    assert_eq!(error.details["cause"]["message"], own.message);
    assert!(world.slot(0).is_ready() && world.slot(1).is_ready());
    assert!(!world.log.iter().any(|action| matches!(action, Action::Drain { .. })), "nobody left");
    assert_eq!(world.generation(1), 1, "the roll went no further");
}

#[test]
fn a_new_worker_that_is_never_ready_is_killed_and_ends_the_roll() {
    let mut world = World::started(policy(1));
    world.tell(roll(7, None));
    world.spawned(0);
    assert_eq!(world.wait(), seconds(60));
    assert!(world.log.contains(&Action::Kill { worker: id(0, 2) }));
    assert_eq!(done(&world.exit(0, KILLED)), [(7, false)]);
    assert!(world.slot(0).is_ready());
}

#[test]
fn a_crash_of_the_old_one_during_its_roll_gives_the_new_one_the_seat() {
    let mut world = World::started(policy(1));
    world.tell(roll(3, None));
    world.spawned(0);
    let actions = world.old_leaves(0, 1);
    assert!(spawns(&actions).is_empty(), "the next one is on its way already");
    assert_eq!((world.slot(0).restarts, world.slot(0).replacements), (1, 0), "it died");
    let generation = world.generation(0);
    let actions = world.tell(Fact::Ready { worker: id(0, generation) });
    assert!(actions.contains(&Action::Promote { worker: id(0, 2) }));
    assert_eq!(done(&actions), [(3, true)]);
}

#[test]
fn growing_is_done_when_the_new_ones_serve() {
    let mut world = World::started(policy(1));
    assert_eq!(spawns(&world.tell(scale(1, Scale::To(3)))), [1, 2]);
    world.up(1);
    assert!(done(&world.log).is_empty());
    world.up(2);
    assert_eq!(done(&world.log), [(1, true)]);
    let scaled =
        |action: &Action| matches!(action, Action::Emit(Event::ClusterScaled { old_count: 1, new_count: 3 }));
    assert!(world.log.iter().any(scaled));
}

#[test]
fn shrinking_drains_the_highest_and_is_done_when_they_are_gone() {
    let mut world = World::started(policy(3));
    let actions = world.tell(scale(1, Scale::To(1)));
    assert!(actions.iter().any(|action| matches!(action, Action::Drain { worker, .. } if worker.slot == 2)));
    assert!(actions.iter().any(|action| matches!(action, Action::Drain { worker, .. } if worker.slot == 1)));
    assert!(!actions.iter().any(|action| matches!(action, Action::Drain { worker, .. } if worker.slot == 0)));
    world.exit(1, CLEAN);
    assert!(done(&world.log).is_empty());
    assert_eq!(done(&world.exit(2, CLEAN)), [(1, true)]);
    assert_eq!(spawns(&world.tell(scale(2, Scale::To(2)))), [1], "the lowest free number comes back");
}

#[test]
fn growing_that_brings_nothing_leaves_the_cluster_as_it_was() {
    let mut world = World::started(Policy { max_restarts: 0, ..policy(1) });
    world.tell(scale(1, Scale::To(2)));
    let error = Error::new(Code::ResourceExhausted, "fork: EAGAIN");
    let actions = world.tell(Fact::SpawnFailed { worker: id(1, 1), error: error.clone() });
    assert!(actions.contains(&Action::Done { id: 1, result: Err(error) }));
    assert_eq!(world.supervisor.next_due(), None, "nothing is tried again behind the requester's back");
}

#[test]
fn operations_wait_for_each_other_in_the_order_of_the_asking() {
    let mut world = World::started(policy(1));
    world.tell(roll(1, None));
    assert!(spawns(&world.tell(scale(2, Scale::To(2)))).is_empty());
    world.up(0);
    let actions = world.old_leaves(0, 1);
    assert_eq!(done(&actions), [(1, true)]);
    assert_eq!(spawns(&actions), [1]);
    world.up(1);
    assert_eq!(done(&world.log), [(1, true), (2, true)]);
}

#[test]
fn a_stop_during_a_roll_ends_the_new_one_too_and_tells_the_askers() {
    let mut world = World::started(policy(1));
    world.tell(roll(1, None));
    world.tell(scale(2, Scale::To(5)));
    world.spawned(0);
    let actions = world.tell(Fact::Stop { graceful: true, limit: None });
    assert_eq!(done(&actions), [(1, false), (2, false)]);
    world.old_leaves(0, 1);
    assert_eq!(world.exit(0, CLEAN).last(), Some(&Action::Stopped));
}

#[test]
fn restarting_one_worker_keeps_the_others_and_an_unknown_one_is_an_error() {
    let mut world = World::started(policy(2));
    assert_eq!(spawns(&world.tell(roll(1, Some(1)))), [1]);
    world.up(1);
    assert_eq!(done(&world.old_leaves(1, 1)), [(1, true)]);
    assert_eq!(world.generation(0), 1);
    assert_eq!(done(&world.tell(roll(2, Some(9)))), [(2, false)]);
}

#[test]
fn restarting_a_slot_whose_circuit_is_open_tries_at_once_and_tells_what_came_of_it() {
    for works in [true, false] {
        let mut world = World::started(Policy { max_restarts: 0, ..policy(1) });
        world.exit(0, CRASH);
        assert!(world.is_open(0));
        assert!(done(&world.tell(roll(1, Some(0)))).is_empty());
        assert_eq!(spawns(&world.pass(Duration::ZERO)), [0]);
        if works {
            world.up(0);
        } else {
            world.spawned(0);
            world.exit(0, CRASH);
        }
        assert_eq!(done(&world.log), [(1, works)]);
    }
}

#[test]
fn a_roll_is_not_done_before_a_slot_that_waited_has_its_new_worker() {
    let mut world = World::started(policy(2));
    for _ in 0..2 {
        world.exit(1, CRASH);
        world.spawned(1);
    }
    world.exit(1, CRASH);
    assert!(world.is_waiting(1));
    world.tell(roll(1, Some(1)));
    assert_eq!(spawns(&world.pass(Duration::ZERO)), [1], "it need not wait for its time");
    assert!(done(&world.log).is_empty());
    world.up(1);
    assert_eq!(done(&world.log), [(1, true)]);
}

#[test]
fn a_worker_that_starts_when_a_roll_begins_is_replaced_too() {
    let mut world = World::started(policy(1));
    world.exit(0, KILLED);
    assert!(spawns(&world.tell(roll(1, None))).is_empty(), "nobody knows which code it has");
    world.spawned(0);
    assert_eq!(spawns(&world.tell(Fact::Ready { worker: id(0, 2) })), [0]);
    world.up(0);
    assert_eq!(done(&world.old_leaves(0, 2)), [(1, true)]);
}

#[test]
fn what_failed_before_a_roll_or_elsewhere_is_no_fault_of_its() {
    let mut world = World::started(policy(2));
    // A replacement that fails, before and during the roll.
    world.exit(1, CRASH);
    world.spawned(1);
    world.exit(1, CRASH);
    world.tell(roll(1, Some(0)));
    world.spawned(1);
    world.exit(1, CRASH);
    world.up(0);
    assert_eq!(done(&world.old_leaves(0, 1)), [(1, true)]);
}

#[test]
fn a_scale_up_fails_with_its_own_error_and_not_with_an_older_one() {
    let mut world = World::started(policy(1));
    let old = Error::new(Code::WorkerStartupFailed, "weeks ago");
    world.tell(Fact::Failed { worker: id(0, 1), error: old, reported: false });
    world.tell(scale(1, Scale::To(2)));
    let error = Error::new(Code::System, "fork: EAGAIN");
    let mut actions = world.tell(Fact::SpawnFailed { worker: id(1, 1), error });
    while done(&actions).is_empty() {
        world.wait();
        let generation = world.generation(1);
        let error = Error::new(Code::System, "fork: EAGAIN");
        actions = world.tell(Fact::SpawnFailed { worker: id(1, generation), error });
    }
    let result = actions.iter().find_map(|action| match action {
        Action::Done { result: Err(error), .. } => Some(error.clone()),
        _ => None,
    });
    let error = result.expect("nothing could be done");
    assert_eq!(error.code, Code::ResourceExhausted);
    assert!(error.message.contains("fork: EAGAIN"), "{error}");
}

#[test]
fn whoever_asks_from_within_a_worker_gets_the_answer_before_that_worker_ends() {
    let mut world = World::started(policy(2));
    world.tell(Fact::Roll { id: 1, slot: None, requester: Some(id(0, 1)) });
    world.up(0);
    world.up(1);
    assert!(done(&world.log).is_empty(), "the other one is waited for");
    assert_eq!(done(&world.old_leaves(1, 1)), [(1, true)]);
    let actions = world.tell(Fact::Scale { id: 2, target: Scale::To(1), requester: Some(id(1, 2)) });
    assert_eq!(done(&actions), [(2, true)], "it still has to answer whoever asked it");
}

#[test]
fn a_worker_may_be_ended_without_draining() {
    let mut world = World::started(policy(2));
    let target = Scale::Without { slot: 1, graceful: false };
    assert!(world.tell(scale(1, target)).contains(&Action::Kill { worker: id(1, 1) }));
    assert_eq!(done(&world.exit(1, KILLED)), [(1, true)]);
}

#[test]
fn a_spare_serves_at_once_when_a_worker_dies_and_the_freed_slot_has_the_next_spare() {
    let mut world = World::new(Policy { standby: 1, ..policy(2) });
    world.tell(Fact::Start);
    let standby =
        |action: &Action| matches!(action, Action::Spawn { worker, standby: true } if worker.slot == 2);
    assert!(world.log.iter().any(standby));
    (0..3).for_each(|slot| world.up(slot));
    let promoted = |actions: &[Action], slot: u16| {
        actions.iter().any(|action| matches!(action, Action::Promote { worker } if worker.slot == slot))
    };
    assert!(!promoted(&world.log, 2), "a standby worker waits");
    let actions = world.exit(0, KILLED);
    assert!(promoted(&actions, 2), "it serves in the same turn");
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Spawn { worker, standby: true } if worker.slot == 0))
    );
}

#[test]
fn a_spare_is_taken_first_when_the_cluster_grows() {
    let mut world = World::new(Policy { standby: 1, ..policy(1) });
    world.tell(Fact::Start);
    (0..2).for_each(|slot| world.up(slot));
    let actions = world.tell(scale(1, Scale::To(2)));
    assert!(
        actions.iter().any(|action| matches!(action, Action::Promote { worker, .. } if worker.slot == 1))
    );
    assert_eq!(done(&actions), [(1, true)], "it serves already");
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Spawn { worker, standby: true } if worker.slot == 2))
    );
}

#[test]
fn who_does_not_get_ready_when_the_cluster_grows_is_missed_as_soon_as_it_has_grown() {
    let mut world = World::started(Policy { max_restarts: 0, ..policy(1) });
    world.tell(scale(1, Scale::To(3)));
    world.up(1);
    world.spawned(2);
    assert!(world.slot(2).is_extra(), "it may still come");
    let actions = world.exit(2, CRASH);
    assert_eq!(done(&actions), [(1, true)]);
    assert!(!world.slot(2).is_extra() && !world.slot(1).is_extra());
}

#[test]
fn a_worker_that_leaves_by_itself_is_replaced_at_once() {
    let mut world = World::started(policy(1));
    let actions = world.tell(Fact::Leaving { worker: id(0, 1), signalled: false });
    assert_eq!(spawns(&actions), [0]);
    world.up(0);
    let leaving = world.slot(0).leaving.iter().any(|old| matches!(old.stage, Stage::Draining { .. }));
    assert!(leaving, "the old one still finishes");
    world.old_leaves(0, 1);
    assert!(world.slot(0).is_ready());
}

#[test]
fn a_replacement_that_does_not_serve_what_its_predecessor_serves_ends_the_roll() {
    let mut world = World::started(policy(1));
    world.tell(roll(1, None));
    world.spawned(0);
    let addresses = vec!["127.0.0.1:3001".to_owned()];
    world.tell(Fact::Lacks { worker: id(0, 2), addresses });
    assert!(world.slot(0).takes_over(id(0, 2)) && !world.slot(0).takes_over(id(0, 1)));
    world.pass(seconds(60));
    let actions = world.exit(0, KILLED);
    let ended = actions.iter().find_map(|action| match action {
        Action::Done { id: 1, result: Err(error) } => Some(error),
        _ => None,
    });
    let error = ended.expect("the roll has ended");
    assert_eq!(error.code, Code::WorkerStartupFailed);
    assert!(error.message.contains("127.0.0.1:3001"), "{error}");
    assert!(world.slot(0).is_ready() && world.slot(0).next.is_none(), "the old one serves on");
}

#[test]
fn what_a_worker_lacked_once_is_not_said_of_its_later_end() {
    let mut world = World::started(policy(1));
    world.tell(roll(1, None));
    world.spawned(0);
    world.tell(Fact::Lacks { worker: id(0, 2), addresses: vec!["127.0.0.1:3001".to_owned()] });
    world.tell(Fact::Lacks { worker: id(0, 2), addresses: Vec::new() });
    world.pass(seconds(60));
    let actions = world.exit(0, KILLED);
    assert!(!format!("{actions:?}").contains("3001"));
}

#[test]
fn a_worker_can_be_asked_for_in_a_slot_that_is_vacant() {
    let mut world = World::started(policy(2));
    let spawned = world.tell(scale(1, Scale::With { slot: 4 }));
    assert_eq!(spawns(&spawned), [4]);
    world.up(4);
    assert_eq!(done(&world.log), [(1, true)]);
    assert_eq!(world.supervisor.wanted(), 3);
    let refused = world.tell(scale(2, Scale::With { slot: 4 }));
    let error = refused.iter().find_map(|action| match action {
        Action::Done { id: 2, result: Err(error) } => Some(error.code),
        _ => None,
    });
    assert_eq!(error, Some(Code::InvalidArgument));
    // Workers without a given id get the free numbers in between.
    assert_eq!(spawns(&world.tell(scale(3, Scale::By(1)))), [2]);
}
