//! Any order of facts: workers that start, fail, die and drain while the cluster rolls, scales and stops.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::Code;
use crate::model::Scale;
use crate::supervisor::{Leader, LeaderAction, OWN, Role};

#[derive(Clone, Debug)]
enum Step {
    Spawned(usize),
    SpawnFailed(usize),
    Ready(usize),
    Exit(usize, bool),
    Leaves(usize),
    Hangs(usize),
    Ails(usize),
    Signal,
    Warm(usize),
    /// A worker that was told to resign does.
    Resigns,
    Scale(u16),
    Roll(Option<u16>),
    Stop(bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..6usize).prop_map(Step::Spawned),
        1 => (0..6usize).prop_map(Step::SpawnFailed),
        5 => (0..6usize).prop_map(Step::Ready),
        3 => (0..6usize, any::<bool>()).prop_map(|(which, clean)| Step::Exit(which, clean)),
        1 => (0..6usize).prop_map(Step::Leaves),
        1 => (0..6usize).prop_map(Step::Hangs),
        1 => (0..6usize).prop_map(Step::Ails),
        1 => Just(Step::Signal),
        4 => (0..8usize).prop_map(Step::Warm),
        3 => Just(Step::Resigns),
        2 => (1..6u16).prop_map(Step::Scale),
        2 => proptest::option::of(0..4u16).prop_map(Step::Roll),
        1 => any::<bool>().prop_map(Step::Stop),
        3 => (0..40_000u64).prop_map(Step::Pass),
    ]
}

/// The state of a process: spawned or not, told to stop or not.
#[derive(Clone, Copy, Default)]
struct Process {
    made: bool,
    ready: bool,
    asked: bool,
}

/// A command to the cluster.
enum Question {
    Scale,
    /// The workers at the time of the command.
    Roll(Vec<WorkerId>),
}

/// The processes of a world, by slot and generation.
#[derive(Default)]
struct Machine {
    alive: BTreeMap<WorkerId, Process>,
    /// The worker of each slot that gets connections.
    serving: BTreeMap<u16, WorkerId>,
    leader: Leader,
    /// The worker that acts as leader: it was told so, runs, and has not resigned.
    leads: Option<WorkerId>,
    resigns: bool,
    asked: Vec<Question>,
    answered: Vec<u32>,
    stopping: bool,
}

impl Machine {
    fn pick(&self, which: usize, fits: impl Fn(&Process) -> bool) -> Option<WorkerId> {
        let fitting: Vec<_> =
            self.alive.iter().filter(|(_, process)| fits(process)).map(|(name, _)| *name).collect();
        (!fitting.is_empty()).then(|| fitting[which % fitting.len()])
    }

    /// Carries out actions, and checks the invariants after each.
    fn carry_out(&mut self, actions: &[Action]) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                Action::Spawn { worker, .. } => {
                    prop_assert!(!self.stopping, "a start after the stop");
                    let stays =
                        |other: &WorkerId, process: &Process| other.slot == worker.slot && !process.asked;
                    let staying = self.alive.iter().filter(|(other, process)| stays(other, process)).count();
                    prop_assert!(staying <= 1, "a third worker in slot {worker}");
                    self.alive.insert(*worker, Process::default());
                }
                Action::Promote { worker } => {
                    let process = self.alive.get(worker);
                    prop_assert!(
                        process.is_some_and(|process| process.ready),
                        "one that is not ready serves"
                    );
                    self.serving.insert(worker.slot, *worker);
                }
                Action::Drain { worker, .. } => {
                    let succeeded = self.serving.get(&worker.slot).is_some_and(|serving| serving > worker);
                    let replaced = succeeded || self.stopping || !self.serving.contains_key(&worker.slot);
                    prop_assert!(
                        replaced || self.shrinks(),
                        "slot {worker} loses its worker before its successor serves"
                    );
                    self.ask_to_go(*worker);
                }
                Action::Kill { worker } | Action::Terminate { worker } => {
                    self.ask_to_go(*worker);
                }
                // The supervisor's own operations have no waiting command.
                Action::Done { id: OWN, .. } => {}
                Action::Done { id, result } => {
                    self.answered.push(*id);
                    if let (Question::Roll(old), Ok(_)) = (&self.asked[*id as usize - 1], result) {
                        for worker in old {
                            let serves = self.serving.get(&worker.slot) == Some(worker);
                            prop_assert!(!serves, "worker {worker} is what it was before the roll");
                        }
                    }
                }
                Action::Emit(_)
                | Action::Started(_)
                | Action::Stopped
                | Action::Retire
                | Action::Unready { .. } => {}
            }
        }
        Ok(())
    }

    /// At most one worker is the leader, and there is one as long as a worker can be.
    fn follow(&mut self, world: &World) -> Result<(), TestCaseError> {
        let gone = |name: &WorkerId| !self.alive.contains_key(name);
        if self.leads.as_ref().is_some_and(gone) {
            (self.leads, self.resigns) = (None, false);
        }
        for action in self.leader.follow(&world.supervisor) {
            match action {
                LeaderAction::Lead(name) => {
                    prop_assert_eq!(self.leads, None, "two lead");
                    prop_assert!(self.alive.contains_key(&name), "a worker that is not there leads");
                    self.leads = Some(name);
                }
                LeaderAction::Resign(name) => {
                    prop_assert_eq!(self.leads, Some(name));
                    self.resigns = true;
                }
                LeaderAction::Changed { from, to } => prop_assert!(from.is_some() || to.is_some()),
            }
        }
        let serves =
            world.supervisor.slots().iter().any(|slot| slot.role == Role::Serving && slot.is_ready());
        prop_assert!(self.leads.is_some() || !serves || self.stopping, "nobody leads");
        Ok(())
    }

    /// The current command changes the number of workers.
    fn shrinks(&self) -> bool {
        self.asked.get(self.answered.len()).is_some_and(|question| matches!(question, Question::Scale))
    }

    fn ask_to_go(&mut self, worker: WorkerId) {
        if let Some(process) = self.alive.get_mut(&worker) {
            process.asked = true;
        }
    }

    fn on_exit(&mut self, worker: WorkerId) {
        self.alive.remove(&worker);
        if self.serving.get(&worker.slot) == Some(&worker) {
            self.serving.remove(&worker.slot);
        }
    }

    fn apply(&mut self, step: Step, world: &mut World) -> Vec<Action> {
        match step {
            Step::Spawned(which) => match self.pick(which, |process| !process.made) {
                Some(worker) => {
                    self.alive.insert(worker, Process { made: true, ..self.alive[&worker] });
                    world.tell(Fact::Spawned { worker, pid: 100 + worker.generation })
                }
                None => Vec::new(),
            },
            Step::SpawnFailed(which) => match self.pick(which, |process| !process.made) {
                Some(worker) => {
                    self.on_exit(worker);
                    let error = Error::new(Code::System, "fork: EAGAIN");
                    world.tell(Fact::SpawnFailed { worker, error })
                }
                None => Vec::new(),
            },
            Step::Ready(which) => {
                match self.pick(which, |process| process.made && !process.ready && !process.asked) {
                    Some(worker) => {
                        self.alive.entry(worker).and_modify(|process| process.ready = true);
                        world.tell(Fact::Ready { worker })
                    }
                    None => Vec::new(),
                }
            }
            Step::Exit(which, clean) => match self.pick(which, |process| process.made) {
                Some(worker) => {
                    self.on_exit(worker);
                    world.tell(Fact::Exited { worker, exit: if clean { CLEAN } else { KILLED } })
                }
                None => Vec::new(),
            },
            Step::Leaves(which) => match self.pick(which, |process| process.ready && !process.asked) {
                Some(worker) => {
                    self.ask_to_go(worker);
                    if self.serving.get(&worker.slot) == Some(&worker) {
                        self.serving.remove(&worker.slot);
                    }
                    world.tell(Fact::Leaving { worker, signalled: which.is_multiple_of(2) })
                }
                None => Vec::new(),
            },
            Step::Hangs(which) => match self.pick(which, |process| process.ready) {
                Some(worker) => world.tell(Fact::Hung { worker }),
                None => Vec::new(),
            },
            Step::Ails(which) => match self.pick(which, |process| process.ready) {
                Some(worker) => world.tell(Fact::Unhealthy { worker }),
                None => Vec::new(),
            },
            Step::Warm(which) => match self.pick(which, |process| process.ready) {
                Some(worker) => world.tell(Fact::Warm { worker }),
                None => Vec::new(),
            },
            Step::Resigns => {
                if self.resigns {
                    self.resigns = false;
                    self.leads.take().into_iter().for_each(|name| self.leader.resigned(name));
                }
                world.tell(Fact::Tick)
            }
            Step::Signal => world.tell(Fact::StopSignal),
            Step::Scale(target) => {
                let id = self.ask(Question::Scale);
                world.tell(Fact::Scale { id, target: Scale::To(target), requester: None })
            }
            Step::Roll(slot) => {
                let meant = |name: &WorkerId| slot.is_none_or(|slot| slot == name.slot);
                let old = self.alive.keys().copied().filter(meant).collect();
                let id = self.ask(Question::Roll(old));
                world.tell(Fact::Roll { id, slot, requester: None })
            }
            Step::Stop(graceful) => {
                self.stopping = true;
                world.tell(Fact::Stop { graceful, limit: None })
            }
            Step::Pass(time) => world.pass(Duration::from_millis(time)),
        }
    }

    fn ask(&mut self, question: Question) -> u32 {
        self.asked.push(question);
        self.asked.len() as u32
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// For any order of events: a slot has at most one worker and its successor; a serving worker is not drained before
    /// its successor serves (except to scale down or stop); every command is answered once and in order; no two workers
    /// act as leader; start is settled once; nothing starts after a stop; and a stop always ends.
    #[test]
    fn any_order_of_facts_keeps_the_promises(
        steps in proptest::collection::vec(step(), 1..80),
        standby in 0..2u16,
        delay in prop_oneof![Just(0), Just(4)],
    ) {
        let mut world = World::new(Policy { standby, shutdown_delay: Duration::from_secs(delay), ..policy(3) });
        let mut machine = Machine::default();
        let actions = world.tell(Fact::Start);
        machine.carry_out(&actions)?;
        for step in steps.into_iter().chain([Step::Stop(true), Step::Pass(31_000), Step::Pass(6_000)]) {
            let actions = machine.apply(step, &mut world);
            machine.carry_out(&actions)?;
            machine.follow(&world)?;
        }
        // Remaining workers are spawned, and die of the SIGKILL that is due by now.
        for (worker, process) in std::mem::take(&mut machine.alive) {
            if !process.made {
                world.tell(Fact::Spawned { worker, pid: 1 });
            }
            world.tell(Fact::Exited { worker, exit: KILLED });
        }
        let settled = world.log.iter().filter(|action| matches!(action, Action::Started(_))).count();
        let stopped = world.log.iter().filter(|action| matches!(action, Action::Stopped)).count();
        prop_assert_eq!(settled, 1, "start is settled once");
        prop_assert_eq!(stopped, 1, "a stop ends once");
        let asked: Vec<u32> = (1..=machine.asked.len() as u32).collect();
        prop_assert_eq!(&machine.answered, &asked, "every question is answered once, in order");
    }
}
