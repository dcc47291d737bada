//! The checker on a simulated clock: single promises, then any worker.

use super::*;
use proptest::prelude::*;

const TIMEOUT: Duration = Duration::from_secs(10);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The behaviour of a worker's event loop.
#[derive(Clone, Copy, Debug)]
enum Loop {
    Turns,
    Sleeps,
    /// Sleeps while a request waits for something external.
    Awaits,
    Blocked,
}

/// A worker that responds when its loop runs, and a checker that checks when it is due.
struct World {
    checker: Checker,
    now: Duration,
    heartbeat: u64,
    pinged: bool,
    actions: Vec<(Duration, HangAction)>,
}

impl World {
    fn new(timeout: Duration) -> Self {
        let now = ms(5_000);
        Self { checker: Checker::new(timeout, 0, now), now, heartbeat: 0, pinged: false, actions: Vec::new() }
    }

    /// Lets `time` pass with such a loop; a running one answers a ping within a millisecond.
    fn pass(&mut self, time: Duration, like: Loop) -> &mut Self {
        let end = self.now + time;
        let turns = u64::from(matches!(like, Loop::Turns));
        self.answer_if(!matches!(like, Loop::Blocked) && time >= ms(1));
        self.heartbeat += turns;
        while let Some(due) = self.checker.due().filter(|due| *due <= end) {
            self.now = due;
            self.heartbeat += turns;
            let action =
                self.checker.look(self.heartbeat, self.now, || matches!(like, Loop::Awaits | Loop::Blocked));
            self.pinged |= action == Some(HangAction::Ping);
            self.actions.extend(action.map(|action| (self.now, action)));
            self.answer_if(!matches!(like, Loop::Blocked) && self.now < end);
            assert!(self.checker.due().is_none_or(|due| due > self.now), "the next look lies ahead");
        }
        self.now = end;
        self
    }

    fn answer_if(&mut self, can: bool) {
        if self.pinged && can {
            self.pinged = false;
            self.heartbeat += 1;
            self.checker.answered();
        }
    }

    fn count(&self, wanted: HangAction) -> usize {
        self.actions.iter().filter(|(_, action)| *action == wanted).count()
    }

    fn ended(&self) -> Option<Duration> {
        self.actions.iter().find(|(_, action)| *action == HangAction::End).map(|(at, _)| *at)
    }
}

#[test]
fn a_blocked_loop_is_pinged_once_and_is_hung_when_the_answer_stays_out() {
    let mut world = World::new(TIMEOUT);
    world.pass(ms(60_000), Loop::Blocked);
    let since = |at: u64| ms(5_000 + at);
    assert_eq!(
        world.actions,
        [
            (since(500), HangAction::Ping),
            (since(10_500), HangAction::Capture(TIMEOUT)),
            (since(11_500), HangAction::End),
        ]
    );
}

#[test]
fn an_idle_worker_is_never_pinged() {
    let mut world = World::new(TIMEOUT);
    world.pass(ms(3_600_000), Loop::Sleeps);
    assert_eq!(world.actions, []);
}

#[test]
fn a_loop_that_turns_is_never_asked_however_slowly_it_does() {
    let mut world = World::new(TIMEOUT);
    world.pass(ms(600_000), Loop::Turns);
    assert_eq!(world.actions, []);
    for _ in 0..50 {
        world.pass(ms(9_000), Loop::Blocked).pass(ms(501), Loop::Turns);
    }
    assert_eq!((world.count(HangAction::Capture(TIMEOUT)), world.count(HangAction::End)), (0, 0));
}

#[test]
fn a_worker_that_waits_for_its_database_answers_and_lives() {
    let mut world = World::new(TIMEOUT);
    world.pass(ms(60_000), Loop::Awaits);
    assert!(world.count(HangAction::Ping) > 0);
    assert_eq!(world.count(HangAction::Ping), world.actions.len());
    assert!(world.actions.len() <= 61, "woken {} times in a minute", world.actions.len());
}

#[test]
fn an_answer_is_a_sign_of_life_until_the_worker_is_ended() {
    let mut world = World::new(TIMEOUT);
    world.pass(ms(11_000), Loop::Blocked);
    assert_eq!(world.actions.len(), 2, "pinged, and its stack asked for");
    world.pass(ms(60_000), Loop::Turns);
    assert_eq!(world.ended(), None);
    assert_eq!(world.checker.stack_received(), None, "a stack that comes late changes nothing");
}

#[test]
fn the_stack_ends_the_wait_for_it() {
    let mut world = World::new(TIMEOUT);
    world.pass(ms(10_600), Loop::Blocked);
    assert_eq!(world.checker.stack_received(), Some(HangAction::End));
    assert_eq!(world.checker.stack_received(), None, "it is ended once");
    world.checker.answered();
    world.pass(ms(60_000), Loop::Blocked);
    assert_eq!((world.checker.due(), world.actions.len()), (None, 2));
}

#[test]
fn looks_at_several_workers_fall_together() {
    let mut judges = [Checker::new(TIMEOUT, 0, ms(0)), Checker::new(TIMEOUT, 0, ms(180))];
    let mut wakes = 0;
    while let Some(now) = judges.iter().filter_map(Checker::due).min().filter(|due| *due <= ms(10_000)) {
        wakes += 1;
        judges.iter_mut().filter(|checker| checker.is_near(now)).for_each(|checker| {
            checker.look(0, now, || false);
        });
    }
    assert_eq!(wakes, 20, "one for both, twice a second");
}

#[test]
fn a_stack_that_nobody_asked_for_ends_nobody() {
    let mut checker = Checker::new(TIMEOUT, 0, ms(0));
    assert_eq!(checker.stack_received(), None);
    assert_eq!(checker.look(0, ms(500), || true), Some(HangAction::Ping));
    assert_eq!(checker.stack_received(), None);
}

#[test]
fn time_in_which_nobody_looked_is_held_against_no_worker() {
    let mut world = World::new(TIMEOUT);
    world.pass(ms(9_000), Loop::Blocked);
    // Everything was stopped for an hour.
    world.now += ms(3_600_000);
    assert_eq!(world.checker.look(world.heartbeat, world.now, || true), None);
    world.pass(ms(900), Loop::Blocked);
    assert_eq!(world.count(HangAction::Ping), world.actions.len());
    world.pass(ms(2_000), Loop::Blocked);
    assert_eq!(world.actions.len(), 3, "and it is hung all the same");
}

fn loops() -> impl Strategy<Value = Loop> {
    prop_oneof![Just(Loop::Turns), Just(Loop::Sleeps), Just(Loop::Awaits), Just(Loop::Blocked)]
}

proptest! {
    #[test]
    fn only_a_loop_that_was_blocked_for_the_whole_timeout_is_ended_and_every_such_one_is(
        timeout in 200u64..30_000,
        stretches in proptest::collection::vec((loops(), 1u64..60_000), 1..40),
    ) {
        let timeout = ms(timeout);
        let mut world = World::new(timeout);
        let period = world.checker.period();
        let mut blocked_since: Option<Duration> = None;
        for (like, time) in stretches {
            match like {
                Loop::Blocked => { blocked_since.get_or_insert(world.now); }
                _ => blocked_since = None,
            }
            world.pass(ms(time), like);
            let blocked = blocked_since.map_or(Duration::ZERO, |since| world.now - since);
            if let Some(at) = world.ended() {
                let since = blocked_since.expect("only a blocked loop is ended");
                // The ping may have been sent just before the loop was blocked, while it was still asleep.
                prop_assert!(at + period >= since + timeout, "blocked at {since:?}, ended at {at:?}");
                let captured = world.actions.iter().rev().nth(1);
                prop_assert!(matches!(captured, Some((_, HangAction::Capture(hung))) if *hung >= timeout));
                return Ok(());
            }
            prop_assert!(blocked < timeout + CAPTURE + 2 * period, "blocked for {blocked:?} and alive");
        }
    }
}
