use super::*;

fn busy(workers: f64) -> Load {
    Load { busy: workers, ..IDLE }
}

#[test]
fn evaluations_come_in_the_interval_however_the_samples_jitter() {
    let mut autoscaler = Autoscaler::new(policy());
    let mut evaluated = 0;
    for second in 0..60u64 {
        let at = s(1000 + second) + Duration::from_millis(second % 3);
        if autoscaler.is_due(at) {
            autoscaler.evaluate(at, 1);
            evaluated += 1;
        }
    }
    assert_eq!(evaluated, 30);
}

#[test]
fn a_cluster_that_scales_by_nobody_is_not_evaluated() {
    let autoscaler = Autoscaler::new(AutoScaling { enabled: false, ..policy() });
    assert!(!autoscaler.is_due(s(1000)));
}

#[test]
fn without_a_figure_nothing_changes() {
    let mut autoscaler = Autoscaler::new(policy());
    let evaluation = autoscaler.evaluate(s(1000), 4);
    assert_eq!((evaluation.to, evaluation.rule), (4, ScalingRule::None));
    assert_eq!(evaluation.reason, "4 workers stay: there are no figures yet");
}

#[test]
fn the_size_is_brought_into_its_bounds_at_once() {
    let bounded = AutoScaling { min_workers: 3, max_workers: 5, ..policy() };
    for (size, to) in [(1, 3), (3, 3), (5, 5), (9, 5)] {
        assert_eq!(Autoscaler::new(bounded.clone()).evaluate(s(1000), size).to, to, "{size}");
    }
}

#[test]
fn bounds_that_are_raised_start_no_more_workers_than_fit_into_the_memory_budget() {
    let raised = AutoScaling { min_workers: 8, ..policy() };
    let free_below = "not more because a worker takes 100 MB, and";
    for (workers, start_up, budget, sizes, reason) in [
        (4, 2, Some(5000), vec![8], "4 to 8 workers: minWorkers is 8 and maxWorkers 16"),
        (4, 2, None, vec![8], "4 to 8 workers: minWorkers is 8 and maxWorkers 16"),
        (4, 2, Some(800), vec![8], "4 to 8 workers: minWorkers is 8 and maxWorkers 16"),
        (4, 2, Some(650), vec![6], free_below),
        (4, 600, Some(650), vec![6], free_below),
        (4, 2, Some(450), vec![], "4 workers stay"),
        (4, 2, Some(300), vec![], "4 workers stay"),
        (20, 2, Some(300), vec![16], "20 to 16 workers: minWorkers is 8 and maxWorkers 16"),
    ] {
        let strategy = Some(Trigger::Cpu);
        let mut world = World::new(AutoScaling { strategy, ..policy() }, workers);
        world.start_up = start_up;
        let load = Load { memory: 100 * MB, budget: budget.map(|budget| budget * MB), ..busy(2.0) };
        let sample = world.sample(&load);
        world.autoscaler.sample(sample);
        world.autoscaler.configure(AutoScaling { strategy, ..raised.clone() });
        let evaluations = world.run(20, &load);
        assert_eq!(world.sizes(), sizes, "{budget:?}: {:?}", evaluations.last());
        assert!(evaluations[0].reason.contains(reason), "{budget:?}: {}", evaluations[0].reason);
        let last = evaluations.last().unwrap();
        if world.size() < 8 {
            assert_eq!((last.rule, last.hold), (ScalingRule::Bounds, Some(ScalingHold::MemoryBudget)));
        }
    }
    let mut world = World::new(raised, 4);
    let evaluations = world.run(4, &Load { memory: 100 * MB, budget: Some(450 * MB), ..busy(2.0) });
    assert_eq!(
        evaluations[0].reason,
        "4 workers stay: minWorkers is 8 and maxWorkers 16, \
         but a worker takes 100 MB, and 50 MB of the memory budget of 450 MB are free"
    );
}

#[test]
fn each_threshold_calls_for_more_workers_by_its_own_rule() {
    let slow = Load { p95: Some(1600.0), ..IDLE };
    let full = Load { memory: 90 * MB, budget: Some(430 * MB), ..IDLE };
    let requests = AutoScaling { requests_per_worker: Some(10), ..policy() };
    let sooner = AutoScaling { response_time_threshold: Some(Duration::from_millis(500)), ..policy() };
    for (policy, load, rule, to) in [
        (policy(), busy(3.4), ScalingRule::Cpu, 5),
        (policy(), Load { cpu: 0.1, ..busy(3.4) }, ScalingRule::Cpu, 5),
        (policy(), slow, ScalingRule::ResponseTime, 5),
        (sooner, Load { p95: Some(501.0), ..IDLE }, ScalingRule::ResponseTime, 5),
        (policy(), Load { queue_length: 101, ..IDLE }, ScalingRule::QueueLength, 5),
        (requests, Load { in_flight: 55, ..IDLE }, ScalingRule::Requests, 6),
        (policy(), Load { memory: 81 * MB, budget: Some(400 * MB), ..IDLE }, ScalingRule::Memory, 4),
        (AutoScaling { memory_threshold: Some(70.0), ..policy() }, full, ScalingRule::Memory, 4),
    ] {
        let mut world = World::new(policy, 4);
        let evaluations = world.run(4, &load);
        let last = evaluations.last().unwrap();
        assert_eq!((last.rule, last.to), (rule, to), "{}", last.reason);
    }
}

#[test]
fn what_equals_its_threshold_changes_nothing() {
    let requests = AutoScaling { requests_per_worker: Some(10), ..policy() };
    for (policy, load) in [
        (policy(), busy(3.0)),
        (policy(), Load { p95: Some(1500.0), ..busy(2.0) }),
        (policy(), Load { queue_length: 100, ..busy(2.0) }),
        (requests, Load { in_flight: 40, ..busy(2.0) }),
    ] {
        let (size, last) = after(policy, 4, 120, load);
        assert_eq!((size, last.rule), (4, ScalingRule::None), "{}", last.reason);
    }
}

#[test]
fn a_strategy_looks_at_its_own_figures_alone() {
    let by = |strategy| AutoScaling { strategy: Some(strategy), requests_per_worker: Some(10), ..policy() };
    let all =
        Load { p95: Some(9000.0), in_flight: 70, memory: 85 * MB, budget: Some(1100 * MB), ..busy(3.9) };
    let cases = [
        (Trigger::Cpu, Load { busy: 2.0, ..all }),
        (Trigger::Memory, Load { memory: 150 * MB, ..all }),
        (Trigger::Requests, Load { in_flight: 30, p95: Some(100.0), ..all }),
    ];
    for (strategy, load) in cases {
        let (size, last) = after(by(strategy), 4, 60, load);
        assert_eq!((size, last.rule), (4, ScalingRule::None), "{strategy:?}: {}", last.reason);
    }
    for (strategy, rule) in [(Trigger::Cpu, ScalingRule::Cpu), (Trigger::Requests, ScalingRule::Requests)] {
        let mut world = World::new(by(strategy), 4);
        assert_eq!(world.run(4, &all)[0].rule, rule);
    }
}

#[test]
fn a_step_is_proportional_to_the_load_and_doubles_at_most() {
    for (workers, demand, to) in [(4, 3.4, 5), (10, 9.0, 12), (8, 40.0, 16), (3, 2.9, 4)] {
        let mut world = World::new(policy(), workers);
        world.run(4, &busy(demand));
        assert_eq!(world.sizes().first(), Some(&to), "{workers} workers, {demand}");
    }
}

#[test]
fn the_tolerance_is_that_of_the_configuration() {
    for (tolerance, size) in [(0.1, 4), (0.0, 5), (0.05, 5)] {
        let policy = AutoScaling { tolerance, ..policy() };
        assert_eq!(after(policy, 4, 10, busy(3.2)).0, size, "{tolerance}");
    }
}

#[test]
fn given_increments_are_exact() {
    let stepping = AutoScaling {
        scale_up_increment: Some(3),
        scale_down_increment: Some(2),
        scale_up_cooldown: s(30),
        scale_down_cooldown: s(60),
        ..policy()
    };
    let mut world = World::new(stepping, 2);
    world.run(60, &busy(1.6));
    world.run(200, &busy(3.9));
    assert_eq!(world.sizes(), [5, 8]);
    world.run(2000, &IDLE);
    assert_eq!(world.sizes()[2..], [6, 4, 2, 1]);
}

#[test]
fn a_threshold_with_increments_has_no_tolerance() {
    let stepping = AutoScaling { scale_up_increment: Some(2), ..policy() };
    let mut world = World::new(stepping, 4);
    world.run(4, &busy(3.04));
    assert_eq!(world.sizes(), [6]);
}

#[test]
fn evaluations_in_a_row_must_agree() {
    let mut patient = policy();
    patient.scale_up_threshold.consecutive_checks = 3;
    let mut world = World::new(patient, 4);
    let evaluations = world.run(6, &busy(3.5));
    let holds: Vec<_> = evaluations.iter().map(|one| (one.hold, one.to)).collect();
    assert_eq!(holds, [(Some(ScalingHold::Checks), 4), (Some(ScalingHold::Checks), 4), (None, 5)]);
    assert_eq!(
        evaluations[0].reason,
        "4 workers stay: the load of the last 60 s is 88 % of the workers' time (threshold 75 %), \
         but 1 of 3 evaluations in a row agree so far"
    );
}

#[test]
fn an_evaluation_by_hand_before_it_is_time_is_no_further_check() {
    let (checks, idle) = (ScalingHold::Checks, ScalingHold::IdleTime);
    for (up_checks, load, holds) in [
        (1, busy(3.5), vec![]),
        (2, busy(3.5), vec![Some(checks), Some(checks)]),
        (3, busy(3.5), vec![Some(checks), Some(checks), Some(checks)]),
        (2, IDLE, vec![Some(checks), Some(checks), Some(idle)]),
    ] {
        let mut patient = policy();
        patient.scale_up_threshold.consecutive_checks = up_checks;
        patient.scale_down_threshold.consecutive_checks = 2;
        let mut world = World::new(patient, 4);
        for _ in 0..2 {
            let sample = world.sample(&load);
            world.autoscaler.sample(sample);
            world.now += s(1);
        }
        // The second comes at once, the third when it is time for one.
        let held: Vec<_> = [0, 10, 1999]
            .into_iter()
            .map(|after| world.autoscaler.evaluate(world.now + Duration::from_millis(after), 4))
            .take_while(|evaluation| !evaluation.is_change())
            .map(|evaluation| evaluation.hold)
            .collect();
        assert_eq!(held, holds, "{up_checks} checks, {} busy", load.busy);
    }
}

#[test]
fn evaluations_by_hand_neither_delay_the_regular_ones_nor_reset_what_they_agreed_on() {
    let mut patient = policy();
    patient.scale_up_threshold.consecutive_checks = 3;
    let mut world = World::new(patient, 4);
    let mut holds = Vec::new();
    for _ in 0..6 {
        holds.extend(world.tick(&busy(3.5)).map(|one| one.hold));
        for millis in [1, 200] {
            // For this size the load is no reason for a step up.
            let now = world.now + Duration::from_millis(millis);
            assert!(!world.autoscaler.evaluate(now, 8).is_change());
        }
    }
    assert_eq!(holds, [Some(ScalingHold::Checks), Some(ScalingHold::Checks), None]);
}

#[test]
fn the_cooldown_after_any_change_holds_a_step_up() {
    let mut world = World::new(policy(), 4);
    world.autoscaler.changed_by_hand(world.now);
    let evaluations = world.run(61, &busy(3.5));
    let held = evaluations.iter().filter(|one| one.hold == Some(ScalingHold::Cooldown)).count();
    assert!(held > 20, "{held}");
    assert_eq!(world.sizes(), [5]);
    assert!(!world.changes[0].panic && world.now >= s(1060));
}

#[test]
fn a_panic_needs_one_evaluation_and_no_cooldown() {
    let mut world = World::new(policy(), 2);
    world.run(60, &busy(1.0));
    world.autoscaler.changed_by_hand(world.now);
    world.run(12, &busy(20.0));
    assert_eq!(world.sizes(), [4, 8, 16]);
    assert!(world.changes.iter().all(|change| change.panic), "{:?}", world.changes);
}

#[test]
fn forty_requests_in_flight_make_two_workers_four_within_two_evaluations() {
    let requests = || {
        let mut requests = AutoScaling {
            strategy: Some(Trigger::Requests),
            requests_per_worker: Some(10),
            min_workers: 2,
            ..policy()
        };
        requests.scale_up_threshold.consecutive_checks = 1;
        requests.scale_down_threshold.idle_time = Duration::ZERO;
        requests.scale_down_cooldown = s(5);
        requests
    };
    let load = Load { in_flight: 40, busy: 0.2, p95: Some(52.0), ..IDLE };
    for idle in [0, 1, 3, 7, 60, 200] {
        let mut world = World::new(requests(), 2);
        world.run(idle, &Load { p95: Some(1.0), ..IDLE });
        let evaluations: Vec<_> = std::iter::repeat_with(|| world.tick(&load)).flatten().take(2).collect();
        assert_eq!(world.size(), 4, "idle for {idle} s before: {evaluations:?}");
        world.run(60, &load);
        assert_eq!(world.size(), 4);
        world.run(15, &IDLE);
        assert_eq!(world.size(), 4, "not before the window is over");
        world.run(80, &IDLE);
        assert_eq!(world.size(), 2);
    }
}

#[test]
fn no_worker_is_removed_in_a_panic() {
    let mut eager = policy();
    eager.scale_down_threshold.idle_time = Duration::ZERO;
    eager.scale_down_cooldown = Duration::ZERO;
    eager.scale_down_threshold.consecutive_checks = 1;
    let mut world = World::new(eager, 2);
    world.run(3, &busy(8.0));
    let grown = world.size();
    assert!(grown > 2);
    world.backlog = 0.0;
    let evaluations = world.run(200, &IDLE);
    let held = evaluations.iter().filter(|one| one.hold == Some(ScalingHold::Panic)).count();
    assert!((20..=31).contains(&held), "{held}");
    assert!(world.size() < grown);
}

#[test]
fn workers_that_start_are_capacity_to_come_and_their_cpu_is_no_load() {
    let mut world = World::new(policy(), 4);
    world.start_up = 30;
    world.run(4, &busy(3.5));
    assert_eq!(world.sizes(), [5]);
    let evaluations = world.run(25, &busy(3.5));
    assert_eq!(world.sizes(), [5], "{:?}", evaluations.last());
    let last = evaluations.last().unwrap();
    assert_eq!((last.inputs.ready, last.inputs.starting), (4, 1));
    assert!((3.4..3.6).contains(&last.inputs.stable.demand), "{:?}", last.inputs);
}

#[test]
fn a_load_bound_by_cpu_gets_no_more_workers_than_usable_cpus() {
    let four = Load { usable_cpus: 4.5, ..busy(20.0) };
    let (size, last) = after(policy(), 2, 60, four);
    assert_eq!((size, last.hold), (4, Some(ScalingHold::UsableCpus)), "{}", last.reason);
    let waiting = Load { usable_cpus: 2.0, cpu: 0.2, ..busy(5.0) };
    assert!(after(policy(), 2, 60, waiting).0 > 2, "a blocked loop does not use the CPU");
}

#[test]
fn cpu_pressure_is_a_veto_for_a_load_bound_by_cpu_alone() {
    let pressed = Load { cpu_pressure: Some(75.0), ..busy(3.5) };
    let (size, last) = after(policy(), 4, 20, pressed);
    assert_eq!((size, last.hold), (4, Some(ScalingHold::CpuPressure)), "{}", last.reason);
    assert_eq!(
        last.reason,
        "4 workers stay: the load of the last 60 s is 87 % of the workers' time (threshold 75 %), \
         but the load is bound by CPU, and tasks waited for a CPU 75 % of the time"
    );
    let requests = AutoScaling { requests_per_worker: Some(10), ..policy() };
    let waiting = Load { cpu_pressure: Some(75.0), in_flight: 60, ..IDLE };
    assert!(after(requests, 4, 20, waiting).0 > 4);
}

#[test]
fn a_step_up_that_breaks_the_memory_budget_is_made_in_part_or_refused() {
    let tight = |budget| Load { memory: 100 * MB, budget: Some(budget * MB), ..busy(9.0) };
    for (budget, size) in [(450, 4), (650, 6), (5000, 8)] {
        let mut world = World::new(AutoScaling { strategy: Some(Trigger::Cpu), ..policy() }, 4);
        let evaluations = world.run(4, &tight(budget));
        assert_eq!(world.size(), size, "{:?}", evaluations.last());
    }
    let (_, last) = after(AutoScaling { strategy: Some(Trigger::Cpu), ..policy() }, 4, 4, tight(450));
    assert_eq!(last.hold, Some(ScalingHold::MemoryBudget));
    assert!(
        last.reason.ends_with("a worker takes 100 MB, and 50 MB of the memory budget of 450 MB are free")
    );
}

#[test]
fn workers_that_start_will_take_their_part_of_the_budget() {
    let mut world = World::new(AutoScaling { strategy: Some(Trigger::Cpu), ..policy() }, 4);
    world.start_up = 60;
    let load = Load { memory: 100 * MB, budget: Some(620 * MB), ..busy(30.0) };
    world.run(40, &load);
    assert_eq!(world.size(), 6, "two of half the size still grow");
}

#[test]
fn memory_does_not_add_workers_for_ever() {
    let by_memory = AutoScaling {
        strategy: Some(Trigger::Memory),
        memory_threshold: Some(50.0),
        memory_target: Some(40.0),
        ..policy()
    };
    let own = Load { memory: 100 * MB, budget: Some(700 * MB), ..IDLE };
    let mut world = World::new(by_memory.clone(), 4);
    let evaluations = world.run(600, &own);
    assert_eq!(world.sizes(), [6], "it took more memory, so no further step is made");
    let last = evaluations.last().unwrap();
    assert_eq!(last.hold, Some(ScalingHold::MemoryStep));
    assert!(
        last.reason.ends_with("the last step for memory did not help (57 % before it, 86 % now)"),
        "{}",
        last.reason
    );

    let mut world = World::new(by_memory, 4);
    for second in 0..600 {
        // The load's memory is shared by the workers, and each needs little of its own.
        let each = 380 * MB / u64::from(world.size()) - second / 100 * MB;
        world.tick(&Load { memory: each, ..own });
    }
    assert!(world.size() > 6, "each step helped: {:?}", world.sizes());
}

#[test]
fn the_load_must_have_been_low_for_the_idle_time() {
    let mut world = World::new(AutoScaling { scale_down_cooldown: s(10), ..policy() }, 3);
    world.run(298, &IDLE);
    assert_eq!(world.sizes(), [0; 0]);
    world.run(6, &IDLE);
    assert_eq!(world.sizes(), [2]);
    world.run(20, &IDLE);
    assert_eq!(world.sizes(), [2, 1]);
    assert_eq!(world.changes[0].reason, "3 to 2 workers: the load is below the thresholds (0 % busy)");
}

#[test]
fn a_load_that_returns_begins_the_idle_time_anew() {
    let mut world = World::new(policy(), 3);
    for _ in 0..5 {
        world.run(250, &IDLE);
        world.run(30, &busy(1.2));
    }
    assert_eq!(world.sizes(), [0; 0]);
}

#[test]
fn a_step_down_waits_for_its_own_cooldown() {
    let mut quick = policy();
    quick.scale_down_threshold.idle_time = Duration::ZERO;
    quick.scale_down_cooldown = s(100);
    let mut world = World::new(quick, 4);
    world.autoscaler.changed_by_hand(world.now);
    let mut at = Vec::new();
    for second in 0..320 {
        if world.tick(&IDLE).is_some_and(|evaluation| evaluation.is_change()) {
            at.push(second);
        }
    }
    assert_eq!(world.sizes(), [3, 2, 1]);
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= 100), "{at:?}");
}

#[test]
fn the_rest_must_be_able_to_carry_the_load() {
    let mut narrow = policy();
    narrow.scale_down_threshold.cpu = 70.0;
    narrow.scale_down_threshold.idle_time = Duration::ZERO;
    narrow.scale_down_cooldown = Duration::ZERO;
    let (size, last) = after(narrow, 2, 120, busy(1.2));
    assert_eq!((size, last.hold), (2, Some(ScalingHold::Rest)), "{}", last.reason);
}

#[test]
fn each_flap_doubles_the_idle_time() {
    let mut flapping = policy();
    flapping.scale_down_threshold.idle_time = s(20);
    flapping.scale_down_cooldown = s(100);
    flapping.scale_up_cooldown = Duration::ZERO;
    let mut world = World::new(flapping, 1);
    let mut low_for = Vec::new();
    for _ in 0..4 {
        let grown = world.changes.len();
        world.run(30, &busy(1.3));
        assert!(world.changes.len() > grown);
        world.backlog = 0.0;
        while world.size() > 1 {
            world.run(1, &IDLE);
        }
        low_for.push(world.changes.last().unwrap().inputs.idle_time.unwrap() / 1000);
    }
    assert!(low_for[0] < 100 && low_for.windows(2).any(|pair| pair[1] > pair[0]), "{low_for:?}");
}

#[test]
fn a_slow_answer_from_before_the_last_step_calls_for_no_further_one() {
    let mut world = World::new(AutoScaling { scale_up_cooldown: Duration::ZERO, ..policy() }, 2);
    let slow = Load { p95: Some(2000.0), ..busy(0.5) };
    world.run(5, &slow);
    assert_eq!(world.sizes(), [3]);
    world.start_up = 2;
    world.run(6, &slow);
    assert_eq!(world.sizes(), [3], "the answers of six seconds with the new worker are awaited");
    world.run(6, &slow);
    assert_eq!(world.sizes(), [3, 4]);
}

#[test]
fn a_reconfiguration_applies_to_the_next_evaluation() {
    let mut world = World::new(policy(), 4);
    world.run(4, &busy(2.0));
    world.autoscaler.configure(AutoScaling { min_workers: 6, ..policy() });
    world.run(2, &busy(2.0));
    assert_eq!(world.sizes(), [6]);
}

#[test]
fn idle_time_checks_and_a_panic_from_before_auto_scaling_was_off_do_not_count() {
    let on = || {
        let mut on = policy();
        on.scale_up_threshold.consecutive_checks = 3;
        on.scale_down_threshold.idle_time = s(100);
        on.scale_down_cooldown = Duration::ZERO;
        on
    };
    let off = || AutoScaling { enabled: false, ..on() };
    for (is_switched, load, seconds, held) in [
        (true, IDLE, 98, Some(ScalingHold::Checks)),
        (false, IDLE, 98, Some(ScalingHold::IdleTime)),
        (true, busy(3.5), 4, Some(ScalingHold::Checks)),
        (false, busy(3.5), 4, None),
    ] {
        let mut world = World::new(on(), 4);
        world.run(seconds, &load);
        assert_eq!(world.sizes(), [0; 0]);
        if is_switched {
            world.autoscaler.configure(off());
            assert!(world.run(200, &load).is_empty());
        }
        world.autoscaler.configure(on());
        let first = world.run(2, &load).pop().unwrap();
        assert_eq!(first.hold, held, "{is_switched}, {} busy: {}", load.busy, first.reason);
        let before = if is_switched { 0 } else { (seconds + 2) * 1000 };
        if load.busy == 0.0 {
            assert!(first.inputs.idle_time.unwrap().abs_diff(before) <= 2000, "{first:?}");
            world.run(if is_switched { 94 } else { 0 }, &load);
            assert_eq!(world.sizes(), [0; 0], "its idle time begins anew");
            world.run(8, &load);
            assert_eq!(world.sizes().first(), Some(&3));
        }
    }

    let mut world = World::new(on(), 2);
    world.run(4, &busy(8.0));
    assert!(world.changes.iter().all(|change| change.panic));
    world.backlog = 0.0;
    world.autoscaler.configure(off());
    world.run(20, &IDLE);
    world.autoscaler.configure(on());
    assert!(world.run(2, &IDLE).iter().all(|one| !one.panic));
}

#[test]
fn the_sentence_names_the_ratio_at_which_a_panic_begins() {
    for (tolerance, ratio) in [(0.1, "1.8"), (0.0, "2"), (0.05, "1.9"), (0.125, "1.75")] {
        let mut world = World::new(AutoScaling { tolerance, ..policy() }, 4);
        world.run(30, &busy(1.0));
        world.run(10, &busy(30.0));
        let reason = &world.changes[0].reason;
        let named = format!("at once because the load reached {ratio} times what they are for");
        assert!(reason.ends_with(&named), "{reason}");
        world.backlog = 0.0;
        let held = world.run(60, &IDLE).into_iter().find(|one| one.hold == Some(ScalingHold::Panic));
        let named =
            format!("but the load reached {ratio} times what the workers are for within the last minute");
        assert!(held.is_some_and(|held| held.reason.ends_with(&named)), "{tolerance}");
    }
}

#[test]
fn a_panic_begins_at_twice_the_target_less_the_tolerance() {
    for (tolerance, in_flight, begins) in [
        (0.1, 35, false),
        (0.1, 36, true),
        (0.0, 39, false),
        (0.0, 40, true),
        (0.05, 37, false),
        (0.05, 38, true),
    ] {
        let requests = AutoScaling { requests_per_worker: Some(10), tolerance, ..policy() };
        let mut world = World::new(requests, 2);
        let evaluations = world.run(2, &Load { in_flight, ..IDLE });
        assert_eq!(evaluations[0].panic, begins, "{in_flight} in flight, tolerance {tolerance}");
    }
}

#[test]
fn the_optimal_number_follows_the_load_within_what_there_is() {
    let fixed = AutoScaling { enabled: false, ..policy() };
    let requests = AutoScaling { requests_per_worker: Some(10), ..fixed.clone() };
    for (policy, load, workers, why) in [
        (fixed.clone(), IDLE, 1, "keeps 0.0 workers busy"),
        (fixed.clone(), busy(3.1), 5, "keeps 3.1 workers busy"),
        (policy(), IDLE, 1, "keeps 0.0 workers busy"),
        (AutoScaling { min_workers: 3, ..policy() }, IDLE, 3, "minWorkers is 3"),
        (fixed.clone(), Load { usable_cpus: 4.0, ..busy(3.9) }, 4, "bound by CPU, and 4.0 CPUs are usable"),
        (fixed, Load { budget: Some(310 * MB), ..busy(5.9) }, 6, "6 workers fit into the memory budget"),
        (requests, Load { in_flight: 65, ..IDLE }, 7, "keeps"),
    ] {
        let mut world = World::new(policy, 6);
        world.run(30, &load);
        let optimal = world.autoscaler.optimal(world.now);
        assert_eq!(optimal.workers, workers, "{}", optimal.reason);
        assert!(optimal.reason.contains(why), "{}", optimal.reason);
    }
}
