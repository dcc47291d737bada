use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Phase {
    seconds: u64,
    busy: f64,
    in_flight: u64,
    queue_length: u64,
    p95: Option<f64>,
    memory: u64,
    cpu_pressure: Option<f64>,
    /// `minWorkers` from its beginning on.
    min_workers: Option<u16>,
}

impl Phase {
    fn load(&self) -> Load {
        Load {
            busy: self.busy,
            in_flight: self.in_flight,
            queue_length: self.queue_length,
            p95: self.p95,
            memory: self.memory,
            cpu_pressure: self.cpu_pressure,
            budget: Some(2000 * MB),
            ..IDLE
        }
    }
}

prop_compose! {
    fn phase()(
        seconds in 1..120u64,
        busy in prop_oneof![Just(0.0), 0.0..3.0f64, 0.0..30.0f64],
        in_flight in prop_oneof![Just(0), 0..500u64],
        queue_length in prop_oneof![3 => Just(0), 1 => 0..500u64],
        p95 in proptest::option::of(0.0..4000.0f64),
        memory in 10 * MB..300 * MB,
        cpu_pressure in proptest::option::of(0.0..100.0f64),
        min_workers in proptest::option::weighted(0.2, 1..24u16),
    ) -> Phase {
        Phase { seconds, busy, in_flight, queue_length, p95, memory, cpu_pressure, min_workers }
    }
}

prop_compose! {
    fn any_policy()(
        min_workers in 1..4u16,
        spread in 0..14u16,
        strategy in proptest::option::of(prop_oneof![Just(Trigger::Cpu), Just(Trigger::Memory), Just(Trigger::Requests)]),
        scale_up_increment in proptest::option::of(1..4u16),
        scale_down_increment in proptest::option::of(1..4u16),
        cooldowns in (0..90u64, 0..90u64),
        requests_per_worker in proptest::option::of(1..50u32),
        idle in 0..60u64,
        checks in (1..4u32, 1..4u32),
    ) -> AutoScaling {
        let mut policy = AutoScaling {
            min_workers,
            max_workers: min_workers + spread,
            strategy,
            scale_up_increment,
            scale_down_increment,
            scale_up_cooldown: s(cooldowns.0),
            scale_down_cooldown: s(cooldowns.1),
            requests_per_worker,
            ..policy()
        };
        policy.scale_down_threshold.idle_time = s(idle);
        policy.scale_up_threshold.consecutive_checks = checks.0;
        policy.scale_down_threshold.consecutive_checks = checks.1;
        policy
    }
}

/// How often the numbers turn from growing to falling or the reverse.
fn direction_changes(from: u32, sizes: &[u32]) -> usize {
    let all: Vec<u32> = std::iter::once(from).chain(sizes.iter().copied()).collect();
    let grows: Vec<bool> = all.windows(2).map(|pair| pair[1] > pair[0]).collect();
    grows.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_step_is_within_its_rules(
        policy in any_policy(),
        phases in prop::collection::vec(phase(), 1..12),
        workers in 1..20usize,
        start_up in 0..20u64,
    ) {
        let mut world = World::new(policy.clone(), workers);
        world.start_up = start_up;
        let mut policy = policy;
        let mut changed_at = None;
        for phase in phases {
            if let Some(min_workers) = phase.min_workers {
                policy.min_workers = min_workers;
                policy.max_workers = policy.max_workers.max(min_workers);
                world.autoscaler.configure(policy.clone());
            }
            let (min, max) = (u32::from(policy.min_workers), u32::from(policy.max_workers));
            let load = phase.load();
            for _ in 0..phase.seconds {
                let Some(one) = world.tick(&load) else { continue };
                let is_short_of_memory =
                    one.rule == ScalingRule::Bounds && one.hold == Some(ScalingHold::MemoryBudget);
                let least = if is_short_of_memory { one.from } else { min };
                prop_assert!((least..=max).contains(&one.to), "{one:?}");
                let room = one.inputs.memory_free.and_then(|free| free.checked_div(one.inputs.footprint));
                let grown = u64::from(one.to.saturating_sub(one.from));
                prop_assert!(room.is_none_or(|room| grown <= room), "beyond the memory budget: {one:?}");
                prop_assert!(!one.reason.is_empty());
                if one.rule == ScalingRule::Cpu {
                    let is_short = one.reason.contains("of the last 6 s");
                    let named = if is_short { &one.inputs.panic } else { &one.inputs.stable };
                    let busy = 100.0 * named.demand / f64::from(one.from);
                    prop_assert!(busy > policy.scale_up_threshold.cpu, "it names another window: {one:?}");
                }
                if one.rule == ScalingRule::Bounds || !one.is_change() {
                    continue;
                }
                let is_up = one.to > one.from;
                prop_assert!(is_up || !one.panic, "smaller in a panic: {one:?}");
                let most = match (is_up, policy.scale_up_increment, policy.scale_down_increment) {
                    (true, Some(given), _) | (false, _, Some(given)) => u32::from(given),
                    (true, None, _) => one.from,
                    (false, _, None) => 1,
                };
                let step = one.to.abs_diff(one.from);
                let is_exact = is_up && policy.scale_up_increment.is_some()
                    || !is_up && policy.scale_down_increment.is_some();
                let at_a_bound = one.hold.is_some() || one.to == min || one.to == max;
                prop_assert!(step <= most && (!is_exact || step == most || at_a_bound), "{one:?}");
                let cooldown = if is_up { policy.scale_up_cooldown } else { policy.scale_down_cooldown };
                let is_urgent = one.panic && one.rule != ScalingRule::Memory;
                let since = changed_at.map(|at| world.now - at);
                prop_assert!(is_urgent || since.is_none_or(|since| since >= cooldown), "{one:?}");
                changed_at = Some(world.now);
            }
        }
    }

    #[test]
    fn a_constant_load_is_no_reason_to_turn_around_twice(
        policy in any_policy(),
        busy in 0.0..12.0f64,
        in_flight in 0..200u64,
        workers in 1..16usize,
        start_up in 0..20u64,
    ) {
        let policy = AutoScaling {
            strategy: policy.strategy.filter(|strategy| *strategy != Trigger::Memory),
            scale_down_increment: None,
            min_workers: 1,
            max_workers: 32,
            ..policy
        };
        let mut world = World::new(policy, workers);
        world.start_up = start_up;
        let load = Load { busy, in_flight, usable_cpus: 32.0, ..IDLE };
        world.run(1200, &load);
        let turns = direction_changes(u32::try_from(workers).unwrap(), &world.sizes());
        prop_assert!(turns <= 1, "{:?}", world.sizes());
        let before = world.changes.len();
        world.run(600, &load);
        let later = &world.changes[before..];
        prop_assert!(later.iter().filter(|one| one.to > one.from).count() <= 1, "{:?}", world.sizes());
    }
}
