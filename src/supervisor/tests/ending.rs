//! Intended ends of workers.

use super::{CLEAN, CRASH, KILLED, World, id, policy, seconds, spawns, started};
use crate::error::Code;
use crate::event::{Event, Exit, ExitReason};
use crate::supervisor::reconcile::SIGNAL_LAG;
use crate::supervisor::{Action, Fact, Policy};

#[test]
fn a_stop_drains_then_terminates_then_kills() {
    let mut world = World::started(policy(1));
    let actions = world.tell(Fact::Stop { graceful: true, limit: None });
    assert!(actions.contains(&Action::Drain { worker: id(0, 1), deadline: seconds(30) }));
    assert_eq!(world.wait(), seconds(25));
    assert!(world.log.contains(&Action::Terminate { worker: id(0, 1) }));
    assert_eq!(world.wait(), seconds(5));
    assert!(world.log.contains(&Action::Kill { worker: id(0, 1) }));
    let actions = world.exit(0, KILLED);
    assert_eq!(actions.last(), Some(&Action::Stopped));
    let deadline = |action: &Action| {
        matches!(action, Action::Emit(Event::WorkerExit { reason: ExitReason::Deadline, .. }))
    };
    assert!(actions.iter().any(deadline));
}

#[test]
fn a_stop_in_a_hurry_keeps_its_limit_and_leaves_half_of_it_to_the_drain() {
    let mut world = World::started(Policy { shutdown_delay: seconds(10), ..policy(1) });
    let actions = world.tell(Fact::Stop { graceful: true, limit: Some(seconds(1)) });
    assert!(actions.contains(&Action::Drain { worker: id(0, 1), deadline: seconds(1) }), "{actions:?}");
    assert_eq!(world.wait(), seconds(1) / 2);
    assert!(world.log.contains(&Action::Terminate { worker: id(0, 1) }));
    assert_eq!(world.wait(), seconds(1) / 2);
    assert!(world.log.contains(&Action::Kill { worker: id(0, 1) }));
}

#[test]
fn a_limit_makes_no_stop_longer() {
    let mut world = World::started(policy(1));
    let actions = world.tell(Fact::Stop { graceful: true, limit: Some(seconds(600)) });
    assert!(actions.contains(&Action::Drain { worker: id(0, 1), deadline: seconds(30) }));
}

#[test]
fn whatever_way_a_worker_leaves_that_was_asked_to_it_is_no_death() {
    let reason = |actions: &[Action]| {
        actions.iter().find_map(|action| match action {
            Action::Emit(Event::WorkerExit { reason, .. }) => Some(*reason),
            _ => None,
        })
    };
    let code = |code| Exit { exit_code: Some(code), signal: None };
    for exit in [CLEAN, CRASH, code(143), KILLED] {
        let mut world = World::started(policy(1));
        world.tell(Fact::Roll { id: 1, slot: None, requester: None });
        world.up(0);
        let actions = world.tell(Fact::Exited { worker: id(0, 1), exit });
        assert_eq!(reason(&actions), Some(ExitReason::Stopped), "{exit}");
    }
    // A worker that was not told to stop reports its own end.
    let mut world = World::started(policy(1));
    world.tell(Fact::Leaving { worker: id(0, 1), signalled: false });
    let actions = world.tell(Fact::Exited { worker: id(0, 1), exit: CRASH });
    assert_eq!(reason(&actions), Some(ExitReason::Failed));
}

#[test]
fn a_stop_with_a_delay_serves_on_for_so_long_and_the_deadline_stays() {
    let mut world = World::started(Policy { shutdown_delay: seconds(10), ..policy(2) });
    let actions = world.tell(Fact::Stop { graceful: true, limit: None });
    let unready = |slot| Action::Unready { worker: id(slot, 1) };
    assert_eq!(actions, [unready(0), unready(1)]);
    assert!(world.tell(Fact::Stop { graceful: true, limit: None }).is_empty(), "asked twice");
    assert_eq!(world.wait(), seconds(10));
    let position = |wanted: &Action| world.log.iter().position(|action| action == wanted);
    let drain = Action::Drain { worker: id(0, 1), deadline: seconds(20) };
    assert!(position(&Action::Retire) < position(&drain));
    assert!(position(&drain).is_some());
    assert_eq!(world.wait(), seconds(15), "SIGTERM for the last killTimeout");
}

#[test]
fn a_forced_stop_does_not_wait_for_the_delay() {
    let mut world = World::started(Policy { shutdown_delay: seconds(10), ..policy(1) });
    world.tell(Fact::Stop { graceful: true, limit: None });
    let actions = world.tell(Fact::Stop { graceful: false, limit: None });
    assert!(actions.contains(&Action::Retire) && actions.contains(&Action::Kill { worker: id(0, 1) }));
}

#[test]
fn a_second_stop_kills_at_once() {
    let mut world = World::started(policy(2));
    world.tell(Fact::Stop { graceful: true, limit: None });
    let actions = world.tell(Fact::Stop { graceful: false, limit: None });
    assert!(actions.contains(&Action::Kill { worker: id(0, 1) }));
    assert!(actions.contains(&Action::Kill { worker: id(1, 1) }));
}

#[test]
fn a_stop_while_starting_rejects_start_and_leaves_no_process() {
    let mut world = World::new(policy(2));
    world.tell(Fact::Start);
    world.spawned(0);
    let actions = world.tell(Fact::Stop { graceful: true, limit: None });
    assert_eq!(started(&actions).unwrap().unwrap_err().code, Code::Stopped);
    assert!(world.spawned(1).contains(&Action::Kill { worker: id(1, 1) }), "made after the stop");
    world.exit(1, KILLED);
    assert_eq!(world.exit(0, CLEAN).last(), Some(&Action::Stopped));
}

#[test]
fn a_worker_that_ends_with_the_primarys_signal_is_not_replaced() {
    let mut world = World::started(policy(1));
    world.tell(Fact::StopSignal);
    assert!(spawns(&world.exit(0, KILLED)).is_empty());
    assert_eq!(world.tell(Fact::Stop { graceful: true, limit: None }).last(), Some(&Action::Stopped));
}

#[test]
fn without_respawn_the_last_workers_end_is_the_clusters() {
    let mut world = World::started(Policy { respawn: false, ..policy(2) });
    assert!(spawns(&world.exit(0, CRASH)).is_empty());
    assert_eq!(world.exit(1, CRASH).last(), Some(&Action::Stopped));
}

#[test]
fn while_a_stop_is_announced_nobody_is_succeeded_and_whoever_gets_ready_says_no_too() {
    let mut world = World::started(Policy { shutdown_delay: seconds(10), ..policy(2) });
    world.exit(1, KILLED);
    world.spawned(1);
    world.tell(Fact::Roll { id: 1, slot: Some(0), requester: None });
    world.spawned(0);
    let actions = world.tell(Fact::Stop { graceful: true, limit: None });
    assert!(actions.contains(&Action::Kill { worker: id(0, 2) }), "the successor");
    let actions = world.tell(Fact::Ready { worker: id(1, 2) });
    assert!(actions.contains(&Action::Unready { worker: id(1, 2) }));
}

#[test]
fn a_worker_that_leaves_while_a_stop_is_announced_has_the_stops_deadline() {
    let mut world = World::started(Policy { shutdown_delay: seconds(10), ..policy(1) });
    world.tell(Fact::Stop { graceful: true, limit: None });
    world.pass(seconds(6));
    world.tell(Fact::Leaving { worker: id(0, 1), signalled: false });
    world.pass(seconds(19));
    assert!(world.log.contains(&Action::Terminate { worker: id(0, 1) }));
    world.pass(seconds(5));
    assert!(world.log.contains(&Action::Kill { worker: id(0, 1) }));
}

#[test]
fn a_worker_that_leaves_has_a_stops_time_and_is_replaced() {
    let mut world = World::started(policy(2));
    let generation = world.generation(1);
    assert_eq!(
        spawns(&world.tell(Fact::Leaving { worker: id(1, generation), signalled: false })),
        [1],
        "replaced at once"
    );
    world.up(1);
    assert_eq!(world.wait(), seconds(25));
    assert!(world.log.contains(&Action::Terminate { worker: id(1, generation) }));
    assert_eq!(world.wait(), seconds(5));
    assert!(world.log.contains(&Action::Kill { worker: id(1, generation) }));
    world.tell(Fact::Exited { worker: id(1, generation), exit: KILLED });
    assert_eq!(world.generation(1), generation + 1, "the end of the old one calls for nobody");
    assert!(world.slot(0).is_ready() && world.slot(1).is_ready());
}

#[test]
fn a_worker_that_leaves_for_a_signal_is_replaced_when_it_was_its_alone() {
    let mut world = World::started(policy(2));
    let generation = world.generation(1);
    let leaves = Fact::Leaving { worker: id(1, generation), signalled: true };
    assert!(spawns(&world.tell(leaves.clone())).is_empty());
    assert_eq!(spawns(&world.pass(SIGNAL_LAG)), [1]);

    // The same signal reaches the primary a moment later.
    let mut world = World::started(policy(2));
    world.tell(leaves);
    world.tell(Fact::StopSignal);
    let actions = world.tell(Fact::Stop { graceful: true, limit: None });
    assert!(spawns(&actions).is_empty() && spawns(&world.pass(seconds(10))).is_empty());
}

#[test]
fn a_start_that_fails_leaves_no_trial_behind() {
    let mut world = World::new(Policy { max_restarts: 0, reset_timeout: seconds(1), ..policy(2) });
    world.tell(Fact::Start);
    world.spawned(0);
    world.spawned(1);
    world.exit(0, CRASH);
    world.pass(seconds(1));
    world.spawned(0);
    let generation = world.generation(0);
    let actions = world.exit(1, CRASH);
    assert!(matches!(started(&actions), Some(Err(_))));
    assert!(actions.contains(&Action::Kill { worker: id(0, generation) }));
    assert!(world.exit(0, KILLED).contains(&Action::Stopped));
}
