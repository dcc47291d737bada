//! Running but unhealthy workers: they are replaced, within the slot's budget.

use super::*;
use crate::model::Scale;
use crate::supervisor::OWN;

impl World {
    fn unhealthy(&mut self, slot: u16) -> Vec<Action> {
        let generation = self.slot(slot).active_worker().map_or(0, |worker| worker.id.generation);
        self.tell(Fact::Unhealthy { worker: id(slot, generation) })
    }

    /// Advances the clock until the supervisor is due.
    fn until_due(&mut self) -> Vec<Action> {
        self.now = self.supervisor.next_due().expect("something is due");
        self.tell(Fact::Tick)
    }
}

fn alerts(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Emit(Event::Alert { .. }))).count()
}

#[test]
fn another_takes_its_place_before_it_leaves() {
    let mut world = World::started(policy(2));
    let actions = world.unhealthy(1);
    assert_eq!(spawns(&actions), [1]);
    assert!(world.slot(1).is_ready(), "it serves what it has until then");
    world.up(1);
    let leaves = |action: &Action| matches!(action, Action::Drain { worker, .. } if *worker == id(1, 1));
    assert!(world.log.iter().any(leaves));
    let over = |action: &Action| matches!(action, Action::Done { id: OWN, result: Ok(_) });
    assert!(world.log.iter().any(over), "whether the old one is gone nobody waits for");
    assert_eq!((world.slot(1).restarts, world.slot(1).replacements), (0, 1), "nobody has died");
}

#[test]
fn it_is_said_as_often_as_checks_fail_and_replaced_once() {
    let mut world = World::started(policy(2));
    assert_eq!(spawns(&world.unhealthy(0)), [0]);
    assert_eq!(spawns(&world.unhealthy(0)), [0; 0]);
    let stale = Fact::Unhealthy { worker: id(0, 7) };
    assert_eq!(spawns(&world.tell(stale)), [0; 0]);
}

#[test]
fn two_at_once_are_replaced_one_after_the_other() {
    let mut world = World::started(policy(3));
    assert_eq!(spawns(&world.unhealthy(0)), [0]);
    assert_eq!(spawns(&world.unhealthy(2)), [0; 0]);
    let generation = world.generation(0);
    world.spawned(0);
    assert_eq!(spawns(&world.tell(Fact::Ready { worker: id(0, generation) })), [2]);
}

#[test]
fn a_slot_that_is_never_well_is_replaced_ever_later() {
    let mut world = World::started(policy(1));
    let mut waits = Vec::new();
    for _ in 0..6 {
        let before = world.now;
        let mut actions = world.unhealthy(0);
        if spawns(&actions).is_empty() {
            actions = world.until_due();
        }
        assert_eq!(spawns(&actions), [0]);
        waits.push((world.now - before).as_secs());
        world.up(0);
        let old = world.generation(0) - 1;
        world.tell(Fact::Exited { worker: id(0, old), exit: CLEAN });
    }
    assert_eq!(waits, [0, 2, 4, 30, 30, 30]);
    assert_eq!(alerts(&world.log), 1, "said once");
}

#[test]
fn nobody_is_replaced_without_respawn_or_in_a_stop() {
    let mut world = World::started(Policy { respawn: false, ..policy(2) });
    assert_eq!(spawns(&world.unhealthy(0)), [0; 0]);
    let mut world = World::started(policy(2));
    world.tell(Fact::Stop { graceful: true, limit: None });
    assert_eq!(spawns(&world.unhealthy(0)), [0; 0]);
}

#[test]
fn one_that_goes_meanwhile_needs_no_other() {
    let mut world = World::started(policy(2));
    world.unhealthy(1);
    world.up(1);
    world.tell(Fact::Exited { worker: id(1, 1), exit: CLEAN });
    world.unhealthy(1);
    assert!(world.slot(1).pending_replacement.is_some(), "it waits for its time");
    world.tell(Fact::Scale { id: 5, target: Scale::To(1), requester: None });
    assert_eq!(spawns(&world.until_due()), [0; 0]);
}

#[test]
fn a_new_worker_that_does_not_get_ready_leaves_the_old_one_serving() {
    let mut world = World::started(policy(2));
    world.unhealthy(0);
    world.spawned(0);
    let generation = world.generation(0);
    let actions = world.tell(Fact::Exited { worker: id(0, generation), exit: CRASH });
    assert!(actions.iter().any(|action| matches!(action, Action::Done { id: OWN, result: Err(_) })));
    assert!(world.slot(0).is_ready());
    world.unhealthy(0);
    assert_eq!(spawns(&world.until_due()), [0], "and is tried again");
}
