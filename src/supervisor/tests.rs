//! The supervisor on a simulated clock: single promises, then any order of facts.

mod any_order;
mod ending;
mod operations;
mod unhealthy;

use std::time::Duration;

use super::{Action, ActiveWorker, Fact, Policy, Slot, Stage, Supervisor};
use crate::config::sections::process::Ready;
use crate::error::{Code, Error};
use crate::event::{Event, Exit};
use crate::model::WorkerId;

fn id(slot: u16, generation: u32) -> WorkerId {
    WorkerId { slot, generation }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy(workers: u16) -> Policy {
    Policy {
        workers,
        standby: 0,
        respawn: true,
        max_restarts: 3,
        restart_window: seconds(300),
        restart_delay: seconds(2),
        max_restart_delay: seconds(30),
        reset_timeout: seconds(30),
        startup_timeout: seconds(60),
        ready: Ready::Listen,
        graceful: true,
        graceful_timeout: seconds(30),
        shutdown_delay: Duration::ZERO,
        kill_timeout: seconds(5),
        script: "server.js".into(),
    }
}

const CRASH: Exit = Exit { exit_code: Some(1), signal: None };
const KILLED: Exit = Exit { exit_code: None, signal: Some(9) };
const CLEAN: Exit = Exit { exit_code: Some(0), signal: None };

/// A cluster with a clock, whose processes start and end under control of the test.
struct World {
    supervisor: Supervisor,
    now: Duration,
    log: Vec<Action>,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self { supervisor: Supervisor::new(policy), now: seconds(1000), log: Vec::new() }
    }

    fn started(policy: Policy) -> Self {
        let workers = policy.workers;
        let mut world = Self::new(policy);
        world.tell(Fact::Start);
        (0..workers).for_each(|slot| world.up(slot));
        world
    }

    fn tell(&mut self, fact: Fact) -> Vec<Action> {
        let actions = self.supervisor.handle(fact, self.now);
        self.log.extend(actions.clone());
        actions
    }

    fn generation(&self, slot: u16) -> u32 {
        self.supervisor.slots()[usize::from(slot)].generation
    }

    fn slot(&self, slot: u16) -> &Slot {
        &self.supervisor.slots()[usize::from(slot)]
    }

    fn is_open(&self, slot: u16) -> bool {
        matches!(self.slot(slot).active, ActiveWorker::CircuitOpen { .. })
    }

    fn is_waiting(&self, slot: u16) -> bool {
        matches!(self.slot(slot).active, ActiveWorker::Waiting { .. })
    }

    fn spawned(&mut self, slot: u16) -> Vec<Action> {
        let generation = self.generation(slot);
        self.tell(Fact::Spawned { worker: id(slot, generation), pid: 100 + u32::from(slot) })
    }

    fn up(&mut self, slot: u16) {
        self.spawned(slot);
        let generation = self.generation(slot);
        self.tell(Fact::Ready { worker: id(slot, generation) });
        self.tell(Fact::Warm { worker: id(slot, generation) });
    }

    fn exit(&mut self, slot: u16, exit: Exit) -> Vec<Action> {
        let generation = self.generation(slot);
        self.tell(Fact::Exited { worker: id(slot, generation), exit })
    }

    fn pass(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.tell(Fact::Tick)
    }

    /// Advances the clock to the next due time; returns how long that took.
    fn wait(&mut self) -> Duration {
        let due = self.supervisor.next_due().expect("something is due");
        let waited = due.saturating_sub(self.now);
        self.now = self.now.max(due);
        self.tell(Fact::Tick);
        waited
    }
}

fn spawns(actions: &[Action]) -> Vec<u16> {
    let slots = actions.iter().map(|action| match action {
        Action::Spawn { worker, .. } => Some(worker.slot),
        _ => None,
    });
    slots.flatten().collect()
}

fn started(actions: &[Action]) -> Option<Result<(), Error>> {
    actions.iter().find_map(|action| match action {
        Action::Started(result) => Some(result.clone()),
        _ => None,
    })
}

#[test]
fn workers_start_from_the_lowest_slot_and_stop_from_the_highest() {
    let mut world = World::new(policy(3));
    assert_eq!(spawns(&world.tell(Fact::Start)), [0, 1, 2]);
    (0..3).for_each(|slot| world.up(slot));
    let drained: Vec<u16> = world
        .tell(Fact::Stop { graceful: true, limit: None })
        .iter()
        .filter_map(|action| match action {
            Action::Drain { worker, .. } => Some(worker.slot),
            _ => None,
        })
        .collect();
    assert_eq!(drained, [2, 1, 0]);
}

#[test]
fn start_settles_when_the_last_worker_is_ready() {
    let mut world = World::new(policy(2));
    world.tell(Fact::Start);
    world.up(0);
    assert_eq!(started(&world.log), None);
    world.up(1);
    assert_eq!(started(&world.log), Some(Ok(())));
}

#[test]
fn a_killed_worker_that_had_been_ready_is_replaced_at_once() {
    let mut world = World::started(policy(2));
    let actions = world.exit(1, KILLED);
    assert_eq!(spawns(&actions), [1]);
    assert_eq!(world.generation(1), 2);
}

#[test]
fn a_worker_that_exits_with_0_unasked_is_replaced_too() {
    let mut world = World::started(policy(1));
    assert_eq!(spawns(&world.exit(0, CLEAN)), [0]);
}

#[test]
fn each_further_death_waits_longer_and_then_the_circuit_opens_for_trials() {
    let mut world = World::started(policy(1));
    world.exit(0, CRASH);
    world.up(0);
    world.exit(0, CRASH);
    let first = world.wait();
    assert!(first >= seconds(2) && first <= Duration::from_millis(2200), "{first:?}");
    world.up(0);
    world.exit(0, CRASH);
    let second = world.wait();
    assert!(second >= seconds(4) && second <= Duration::from_millis(4400), "{second:?}");
    world.up(0);
    let actions = world.exit(0, CRASH);
    assert!(world.is_open(0));
    assert!(actions.iter().any(|action| matches!(action, Action::Emit(Event::Alert { .. }))));
    assert!(actions.iter().any(|action| matches!(action, Action::Emit(Event::ClusterDegraded { .. }))));
    assert_eq!(world.wait(), seconds(30));
    world.spawned(0);
    world.exit(0, CRASH);
    assert!(world.is_open(0), "a failed trial opens the circuit at once");
    world.wait();
    world.up(0);
    assert!(world.slot(0).is_ready(), "a trial that works closes it");
}

#[test]
fn deaths_outside_the_window_are_forgotten() {
    let mut world = World::started(policy(1));
    for _ in 0..20 {
        world.pass(seconds(301));
        assert_eq!(spawns(&world.exit(0, CRASH)), [0]);
        world.up(0);
    }
}

#[test]
fn the_delay_never_exceeds_its_limit() {
    let mut world = World::started(Policy { max_restarts: 30, ..policy(1) });
    world.exit(0, CRASH);
    world.up(0);
    for _ in 0..12 {
        world.exit(0, CRASH);
        assert!(world.wait() <= seconds(30));
        world.up(0);
    }
}

#[test]
fn start_rejects_with_the_first_workers_own_error_when_none_ever_got_ready() {
    let mut world = World::new(policy(2));
    world.tell(Fact::Start);
    let own = Error::new(Code::WorkerStartupFailed, "Cannot find module 'x'");
    for round in 0..4 {
        for slot in 0..2 {
            world.spawned(slot);
            let generation = world.generation(slot);
            if round == 0 && slot == 0 {
                world.tell(Fact::Failed {
                    worker: id(slot, generation),
                    error: own.clone(),
                    reported: false,
                });
            }
            world.exit(slot, CRASH);
        }
        while (0..2).any(|slot| world.is_waiting(slot)) {
            world.wait();
        }
    }
    assert_eq!(started(&world.log), Some(Err(own)));
    assert_eq!(world.log.last(), Some(&Action::Stopped));
    assert_eq!(spawns(&world.log).len(), 8, "the budget: one start and three restarts a slot");
}

#[test]
fn start_resolves_degraded_when_the_failing_slots_have_used_up_their_budget() {
    let mut world = World::new(policy(2));
    world.tell(Fact::Start);
    world.up(0);
    for _ in 0..4 {
        assert_eq!(started(&world.log), None);
        world.spawned(1);
        world.exit(1, CRASH);
        if world.is_waiting(1) {
            world.wait();
        }
    }
    assert_eq!(started(&world.log), Some(Ok(())));
    let degraded = |action: &&Action| matches!(action, Action::Emit(Event::ClusterDegraded { .. }));
    assert_eq!(world.log.iter().filter(degraded).count(), 1, "said once");
    assert!(!world.supervisor.slots()[1].is_extra(), "it is missed");
}

#[test]
fn a_worker_that_is_never_ready_is_killed_and_said_to_be() {
    let mut world = World::new(Policy { max_restarts: 0, ..policy(1) });
    world.tell(Fact::Start);
    world.spawned(0);
    assert_eq!(world.wait(), seconds(60));
    assert!(world.log.contains(&Action::Kill { worker: id(0, 1) }));
    let actions = world.exit(0, KILLED);
    let Some(Err(error)) = started(&actions) else { panic!("start must reject: {actions:?}") };
    assert!(error.message.contains("server.js") && error.message.contains("startupTimeout"), "{error}");
}

#[test]
fn a_script_that_exits_0_without_listening_is_named() {
    let mut world = World::new(Policy { max_restarts: 0, ..policy(1) });
    world.tell(Fact::Start);
    world.spawned(0);
    let Some(Err(error)) = started(&world.exit(0, CLEAN)) else { panic!("start must reject") };
    assert!(error.message.contains("server.js exited with code 0"), "{error}");
}

#[test]
fn news_of_an_earlier_worker_is_ignored() {
    let mut world = World::started(policy(1));
    world.exit(0, KILLED);
    world.up(0);
    let stale = world.tell(Fact::Exited { worker: id(0, 1), exit: KILLED });
    assert!(stale.is_empty());
    assert!(world.slot(0).is_ready());
}
