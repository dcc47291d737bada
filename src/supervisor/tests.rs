//! The supervisor on a simulated clock: the promises one by one, then any order of facts.

mod ending;

use std::time::Duration;

use proptest::prelude::*;

use super::{Action, Fact, Policy, State, Supervisor};
use crate::error::{Code, Error};
use crate::event::{Event, Exit};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy(workers: u16) -> Policy {
    Policy {
        workers,
        respawn: true,
        max_restarts: 3,
        restart_window: seconds(300),
        restart_delay: seconds(2),
        max_restart_delay: seconds(30),
        reset_timeout: seconds(30),
        startup_timeout: seconds(60),
        graceful: true,
        graceful_timeout: seconds(30),
        kill_timeout: seconds(5),
        script: "server.js".into(),
    }
}

const CRASH: Exit = Exit { exit_code: Some(1), signal: None };
const KILLED: Exit = Exit { exit_code: None, signal: Some(9) };
const CLEAN: Exit = Exit { exit_code: Some(0), signal: None };

/// A cluster with a clock, whose processes start and end as the test says.
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

    fn state(&self, slot: u16) -> &State {
        &self.supervisor.slots()[usize::from(slot)].state
    }

    fn spawned(&mut self, slot: u16) -> Vec<Action> {
        let generation = self.generation(slot);
        self.tell(Fact::Spawned { slot, generation, pid: 100 + u32::from(slot) })
    }

    fn up(&mut self, slot: u16) {
        self.spawned(slot);
        let generation = self.generation(slot);
        self.tell(Fact::Ready { slot, generation });
    }

    fn exit(&mut self, slot: u16, exit: Exit) -> Vec<Action> {
        let generation = self.generation(slot);
        self.tell(Fact::Exited { slot, generation, exit })
    }

    fn pass(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.tell(Fact::Tick)
    }

    /// Lets time run to the next due moment; how long that was.
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
        Action::Spawn { slot, .. } => Some(*slot),
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
        .tell(Fact::Stop { graceful: true })
        .iter()
        .filter_map(|action| match action {
            Action::Drain { slot, .. } => Some(*slot),
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
    assert!(matches!(world.state(0), State::CircuitOpen { .. }));
    assert!(actions.iter().any(|action| matches!(action, Action::Emit(Event::Alert { .. }))));
    assert!(actions.iter().any(|action| matches!(action, Action::Emit(Event::ClusterDegraded { .. }))));
    assert_eq!(world.wait(), seconds(30));
    world.spawned(0);
    world.exit(0, CRASH);
    assert!(matches!(world.state(0), State::CircuitOpen { .. }), "a failed trial opens the circuit at once");
    world.wait();
    world.up(0);
    assert!(matches!(world.state(0), State::Ready { .. }), "a trial that works closes it");
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
                world.tell(Fact::Failed { slot, generation, error: own.clone() });
            }
            world.exit(slot, CRASH);
        }
        while world.supervisor.slots().iter().any(|slot| matches!(slot.state, State::Waiting { .. })) {
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
        if matches!(world.state(1), State::Waiting { .. }) {
            world.wait();
        }
    }
    assert_eq!(started(&world.log), Some(Ok(())));
    let degraded =
        world.log.iter().any(|action| matches!(action, Action::Emit(Event::ClusterDegraded { .. })));
    assert!(degraded);
}

#[test]
fn a_worker_that_is_never_ready_is_killed_and_said_to_be() {
    let mut world = World::new(Policy { max_restarts: 0, ..policy(1) });
    world.tell(Fact::Start);
    world.spawned(0);
    assert_eq!(world.wait(), seconds(60));
    assert!(world.log.contains(&Action::Kill { slot: 0, generation: 1 }));
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
    let stale = world.tell(Fact::Exited { slot: 0, generation: 1, exit: KILLED });
    assert!(stale.is_empty());
    assert!(matches!(world.state(0), State::Ready { .. }));
}

#[derive(Clone, Debug)]
enum Step {
    Spawned(u16),
    Leaving(u16),
    SpawnFailed(u16),
    Ready(u16),
    Exit(u16, bool),
    Signal,
    Stop(bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u16).prop_map(Step::Spawned),
        1 => (0..3u16).prop_map(Step::SpawnFailed),
        1 => (0..3u16).prop_map(Step::Leaving),
        4 => (0..3u16).prop_map(Step::Ready),
        3 => (0..3u16, any::<bool>()).prop_map(|(slot, clean)| Step::Exit(slot, clean)),
        1 => Just(Step::Signal),
        1 => any::<bool>().prop_map(Step::Stop),
        3 => (0..40_000u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever happens in whatever order: a slot never has two workers, every start is settled once, nothing
    /// starts after a stop, and a stop always ends.
    #[test]
    fn any_order_of_facts_keeps_the_promises(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(policy(3));
        let mut alive = [false; 3];
        let mut made = [false; 3];
        let mut stopping = false;
        let mut actions = world.tell(Fact::Start);
        let finish = [Step::Stop(true), Step::Pass(31_000), Step::Pass(6_000)];
        for step in steps.into_iter().chain(finish) {
            for slot in spawns(&actions) {
                prop_assert!(!alive[usize::from(slot)], "two workers in slot {slot}");
                prop_assert!(!stopping, "a start after the stop");
                alive[usize::from(slot)] = true;
                made[usize::from(slot)] = false;
            }
            actions = match step {
                Step::Spawned(slot) if alive[usize::from(slot)] && !made[usize::from(slot)] => {
                    made[usize::from(slot)] = true;
                    world.spawned(slot)
                }
                Step::SpawnFailed(slot) if alive[usize::from(slot)] && !made[usize::from(slot)] => {
                    alive[usize::from(slot)] = false;
                    let generation = world.generation(slot);
                    let error = Error::new(Code::System, "fork: EAGAIN");
                    world.tell(Fact::SpawnFailed { slot, generation, error })
                }
                Step::Ready(slot) if made[usize::from(slot)] && alive[usize::from(slot)] => {
                    let generation = world.generation(slot);
                    world.tell(Fact::Ready { slot, generation })
                }
                Step::Leaving(slot) if made[usize::from(slot)] && alive[usize::from(slot)] => {
                    let generation = world.generation(slot);
                    world.tell(Fact::Leaving { slot, generation })
                }
                Step::Exit(slot, clean) if made[usize::from(slot)] && alive[usize::from(slot)] => {
                    alive[usize::from(slot)] = false;
                    world.exit(slot, if clean { CLEAN } else { KILLED })
                }
                Step::Signal => world.tell(Fact::StopSignal),
                Step::Stop(graceful) => {
                    stopping = true;
                    world.tell(Fact::Stop { graceful })
                }
                Step::Pass(time) => world.pass(Duration::from_millis(time)),
                _ => Vec::new(),
            };
        }
        // Whoever is left is spawned and dies of the SIGKILL that is due by now.
        for slot in 0..3u16 {
            if alive[usize::from(slot)] {
                if !made[usize::from(slot)] {
                    world.spawned(slot);
                }
                world.exit(slot, KILLED);
            }
        }
        let settled = world.log.iter().filter(|action| matches!(action, Action::Started(_))).count();
        let stopped = world.log.iter().filter(|action| matches!(action, Action::Stopped)).count();
        prop_assert_eq!(settled, 1, "start is settled once");
        prop_assert_eq!(stopped, 1, "a stop ends once");
    }
}
