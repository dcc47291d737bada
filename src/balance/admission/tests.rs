mod simulation;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn ms(ms: u32) -> Duration {
    MS * ms
}

mod load_shedder {
    use super::*;

    /// Iterations of this length, of which the loop waits for so long, until `end`.
    fn run(shedder: &mut LoadShedder, from: u32, end: u32, turn: u32, wait: u32) -> Duration {
        let mut idle = Duration::ZERO;
        let mut now = from;
        while now < end {
            now += turn;
            idle += ms(wait);
            shedder.turned(ms(now), idle);
        }
        idle
    }

    #[test]
    fn a_loop_that_is_busy_for_the_interval_is_saturated_and_one_that_rests_is_not() {
        let mut shedder = LoadShedder::new(ms(50), Duration::ZERO, Duration::ZERO);
        run(&mut shedder, 0, 195, 5, 0);
        assert!(!shedder.refuses(ms(1000), ms(195), Duration::ZERO));
        run(&mut shedder, 195, 205, 5, 0);
        assert!(shedder.refuses(ms(1000), ms(205), Duration::ZERO));
        let mut shedder = LoadShedder::new(ms(50), Duration::ZERO, Duration::ZERO);
        let idle = run(&mut shedder, 0, 1000, 10, 3);
        assert!(!shedder.refuses(ms(1000), ms(1000), idle));
    }

    #[test]
    fn an_iteration_counts_while_it_lasts() {
        let mut shedder = LoadShedder::new(ms(10), Duration::ZERO, Duration::ZERO);
        shedder.turned(ms(1), ms(1));
        assert_eq!(shedder.since_poll(ms(21), ms(11)), ms(10), "it slept first");
        assert!(!shedder.refuses(ms(1000), ms(60), ms(1)));
        assert!(shedder.refuses(ms(1000), ms(110), ms(1)));
    }

    #[test]
    fn a_loop_stays_saturated_until_it_clearly_rests() {
        let mut shedder = LoadShedder::new(ms(50), Duration::ZERO, Duration::ZERO);
        run(&mut shedder, 0, 1000, 20, 0);
        let idle = run(&mut shedder, 1000, 3000, 20, 3);
        assert!(shedder.refuses(ms(1000), ms(3000), idle));
        let mut shedder = LoadShedder::new(ms(50), Duration::ZERO, Duration::ZERO);
        run(&mut shedder, 0, 1000, 20, 0);
        let idle = run(&mut shedder, 1000, 3000, 20, 5);
        assert!(!shedder.refuses(ms(1000), ms(3000), idle));
    }

    #[test]
    fn what_the_iteration_before_has_polled_is_not_in_this_one() {
        let mut shedder = LoadShedder::new(ms(50), Duration::ZERO, Duration::ZERO);
        shedder.turned(ms(7), Duration::ZERO);
        shedder.turned(ms(9), Duration::ZERO);
        assert_eq!(shedder.arrived_after(), ms(7));
    }

    #[test]
    fn what_has_waited_longer_than_the_target_is_refused_in_a_saturated_loop() {
        let mut shedder = LoadShedder::new(ms(50), Duration::ZERO, Duration::ZERO);
        assert!(!shedder.refuses(ms(51), ms(100), Duration::ZERO), "it is not saturated yet");
        assert!(shedder.refuses(ms(51), ms(300), Duration::ZERO));
        assert!(!shedder.refuses(ms(50), ms(300), Duration::ZERO));
        shedder.set_target(ms(60));
        assert!(!shedder.refuses(ms(51), ms(300), Duration::ZERO));
    }

    #[test]
    fn a_worker_that_refuses_for_long_without_an_overload_is_alone() {
        let mut shedder = LoadShedder::new(ms(50), Duration::ZERO, Duration::ZERO);
        for (at, is_alone) in
            [(300, false), (400, false), (499, false), (500, true), (600, true), (800, false)]
        {
            assert!(shedder.refuses(ms(51), ms(at), Duration::ZERO));
            assert_eq!(shedder.is_alone(), is_alone, "{at} ms");
        }
    }
}

mod intake {
    use super::*;

    const WELL: Sight = Sight { slot: 0, is_out: false, late_at: None, unread_since: None };

    fn late(slot: u16, at: u32) -> Sight {
        Sight { slot, late_at: Some(ms(at)), ..WELL }
    }

    /// An intake that has begun at 1000 ms with two late workers.
    fn begun() -> Intake<u32> {
        let mut intake = Intake::new(ms(50));
        assert_eq!(intake.look(&[late(0, 990), late(1, 999)], ms(1000)), Some(Change::Began));
        intake
    }

    #[test]
    fn it_begins_only_when_every_worker_is_saturated() {
        let out = Sight { is_out: true, ..WELL };
        let stuck = |since| Sight { unread_since: Some(ms(since)), ..WELL };
        for (sights, begins) in [
            (&[late(0, 990), WELL][..], false),
            (&[late(0, 990), late(1, 800)], false),
            (&[late(0, 990), late(1, 801)], true),
            (&[late(0, 990), out], true),
            (&[stuck(800), stuck(799)], true),
            (&[stuck(800), stuck(801)], false),
            (&[out, out], false),
            (&[Sight { is_out: true, ..stuck(800) }, out], true),
            (&[], false),
        ] {
            let change = Intake::<u32>::new(ms(50)).look(sights, ms(1000));
            assert_eq!(change.is_some(), begins, "{sights:?}");
        }
    }

    #[test]
    fn the_newest_are_held_and_the_oldest_refused() {
        let mut intake = begun();
        for connection in 1..=4 {
            assert_eq!(intake.hold(connection, ms(1001)), [0u32; 0]);
        }
        assert_eq!(intake.hold(5, ms(1002)), [1]);
        assert_eq!((0..4).filter_map(|at| intake.get(at)).collect::<Vec<_>>(), [&2, &3, &4, &5]);
        intake.asks(1, ms(1010));
        assert!(intake.may_take(1) && !intake.may_take(0) && intake.any_may_take());
        assert_eq!(intake.take(3), Some(5));
        intake.given(1, ms(1010));
        assert!(!intake.may_take(1));
        assert_eq!(intake.expire(ms(1050)), [0u32; 0]);
        assert_eq!(intake.due_in(ms(1050)), Some(MS));
        assert_eq!(intake.expire(ms(1051)), [2, 3, 4]);
        assert_eq!((intake.held(), intake.due_in(ms(1051))), (0, None));
    }

    #[test]
    fn while_no_worker_is_expected_all_are_refused_at_once() {
        let mut intake = Intake::new(ms(50));
        let stuck = Sight { unread_since: Some(ms(0)), ..WELL };
        assert_eq!(intake.look(&[stuck], ms(1000)), Some(Change::Began));
        assert_eq!(intake.hold(1, ms(1000)), [1]);
        intake.asks(0, ms(1100));
        assert_eq!(intake.hold(2, ms(1100)), [0u32; 0]);
        intake.given(0, ms(1100));
        assert_eq!(intake.hold(3, ms(1149)), [0u32; 0]);
        assert_eq!(intake.expire(ms(1151)), [2, 3], "the worker was expected before");
    }

    #[test]
    fn a_worker_of_long_requests_is_waited_for() {
        let mut intake = begun();
        intake.asks(0, ms(1001));
        intake.given(0, ms(1001));
        intake.asks(0, ms(1201));
        intake.given(0, ms(1201));
        assert_eq!(intake.hold(1, ms(1590)), [0u32; 0], "it usually asks after 200 ms");
        assert_eq!(intake.hold(2, ms(1610)), [2]);
    }

    #[test]
    fn a_worker_gets_as_many_at_a_time_as_it_has_done_in_time() {
        let mut intake = begun();
        let mut at = 1000;
        for most in [1, 2, 4, 8, 16, 32, 64, 64] {
            intake.asks(0, ms(at));
            let given = (0..100).take_while(|_| {
                let may = intake.may_take(0);
                intake.given(0, ms(at));
                may
            });
            assert_eq!(given.count(), most);
            at += 20;
        }
        intake.asks(0, ms(at + 60));
        let few = (0..100).take_while(|_| {
            let may = intake.may_take(0);
            intake.given(0, ms(at + 60));
            may
        });
        assert_eq!(few.count(), 32);
    }

    #[test]
    fn it_ends_when_nothing_was_refused_for_a_second_and_a_worker_has_asked() {
        let mut intake = begun();
        assert_eq!(intake.look(&[WELL, WELL], ms(2500)), None, "all may be blocked");
        intake.asks(0, ms(2500));
        assert_eq!(intake.look(&[WELL, late(1, 1501)], ms(2500)), None);
        intake.hold(1, ms(2500));
        assert_eq!(intake.look(&[WELL, WELL], ms(2500)), None, "a connection is held");
        assert_eq!(intake.take_all(|connection| *connection == 1), [1]);
        assert_eq!(intake.look(&[WELL, WELL], ms(2501)), Some(Change::Ended));
        assert!(!intake.is_on() && intake.may_take(7));
    }

    #[test]
    fn a_worker_that_has_not_asked_for_long_is_told_to_ask_anew_twice_a_second_whatever_the_others_do() {
        let mut intake = begun();
        assert_eq!(intake.forgotten(ms(1499)), [0u16; 0]);
        intake.asks(1, ms(1450));
        intake.given(1, ms(1450));
        assert_eq!(intake.forgotten(ms(1500)), [0]);
        assert_eq!(intake.forgotten(ms(1949)), [0u16; 0], "it has just been told");
        assert_eq!(intake.forgotten(ms(1950)), [1]);
        assert_eq!(intake.forgotten(ms(2000)), [0]);
        intake.asks(0, ms(2001));
        intake.left(1);
        assert_eq!(intake.forgotten(ms(9000)), [0u16; 0], "it may get one");
    }

    #[test]
    fn another_target_applies_to_connections_that_are_held_already() {
        let mut intake = begun();
        intake.asks(0, ms(1000));
        intake.given(0, ms(1000));
        assert_eq!(intake.hold(1, ms(1000)), [0u32; 0]);
        intake.set_target(ms(20));
        assert_eq!(intake.hold(2, ms(1001)), [0u32; 0]);
        assert_eq!(intake.due_in(ms(1019)), Some(MS));
        assert_eq!(intake.expire(ms(1020)), [1]);
        intake.set_target(ms(200));
        assert_eq!(intake.due_in(ms(1020)), Some(ms(181)));
        assert_eq!(intake.expire(ms(1200)), [0u32; 0]);
        assert_eq!(intake.expire(ms(1201)), [2]);
    }

    #[test]
    fn a_new_worker_may_take_one_and_one_that_has_gone_none() {
        let mut intake = begun();
        intake.joined(1, ms(1001));
        assert!(intake.may_take(1));
        intake.left(1);
        assert!(!intake.may_take(1));
    }
}
