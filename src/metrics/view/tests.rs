use super::*;
use crate::model::PublicState;

#[test]
fn what_a_leaving_worker_still_does_is_told_of_its_slot() {
    let (memory, _memfds) = SharedMemory::create(0).unwrap();
    memory.set(header::SLOTS, 1);
    memory.set_row(0, row::GENERATION, 2);
    memory.set_row(0, row::STATE, WorkerState::Ready as u64);
    memory.set_row(0, row::OTHERS_MEMORY, 300);
    memory.page(WorkerId::new(0, 1)).set(page::REQUESTS, 7f64.to_bits());
    memory.page(WorkerId::new(0, 1)).set(page::RESPONSES, 5f64.to_bits());
    memory.page(WorkerId::new(0, 1)).add(page::ACCEPTED, 2);
    memory.page(WorkerId::new(0, 2)).set(page::REQUESTS, 1f64.to_bits());
    memory.page(WorkerId::new(0, 2)).add(page::ACCEPTED, 1);
    let metrics = figures(&memory, 0);
    assert_eq!((metrics.active_requests, metrics.active_connections, metrics.memory_usage), (3, 3, 300));
    assert_eq!(metrics.workers[0].active_requests, 3);
}

#[test]
fn the_last_check_is_the_latest_of_the_present_workers() {
    let (memory, _memfds) = SharedMemory::create(0).unwrap();
    memory.set(header::SLOTS, 3);
    for slot in 0..3 {
        memory.set_row(slot, row::GENERATION, 2);
        memory.set_row(slot, row::STATE, WorkerState::Ready as u64);
    }
    let last = || health(&memory).last_health_check;
    assert_eq!(last(), None);
    for (slot, generation, at) in [(0, 2, 1_000), (1, 2, 3_000), (2, 1, 5_000)] {
        memory.set_row(slot, row::CHECKED_GENERATION, generation);
        memory.set_row(slot, row::CHECKED_AT, at);
    }
    assert_eq!(last(), Some(3_000), "one of an earlier worker does not count");
}

#[test]
fn whoever_is_wanted_and_does_not_serve_makes_the_cluster_worse_and_nobody_else() {
    let (memory, _memfds) = SharedMemory::create(0).unwrap();
    let of = |states: &[(WorkerState, u64)]| {
        memory.set(header::SLOTS, states.len() as u64);
        for (slot, (state, extra)) in states.iter().enumerate() {
            memory.set_row(slot as u16, row::GENERATION, 1);
            memory.set_row(slot as u16, row::STATE, *state as u64);
            memory.set_row(slot as u16, row::EXTRA, *extra);
        }
        let Condition { status, well, all, .. } = condition(&memory);
        (status.name(), well, all)
    };
    let ready = (WorkerState::Ready, 0);
    assert_eq!(of(&[ready, (WorkerState::Draining, 1), (WorkerState::Standby, 1)]), ("healthy", 1, 1));
    assert_eq!(of(&[ready, (WorkerState::Draining, 0)]), ("degraded", 1, 2));
    assert_eq!(of(&[(WorkerState::Draining, 0), (WorkerState::Draining, 0)]), ("critical", 0, 2));
    assert_eq!(of(&[(WorkerState::Draining, 1)]), ("critical", 0, 0));
}

#[test]
fn a_worker_is_listed_with_what_it_and_its_predecessors_answered() {
    let (memory, memfds) = SharedMemory::create(1_000).unwrap();
    let of = |generation| SharedMemory::open(&memfds, WorkerId::new(2, generation)).unwrap();
    let (old, worker) = (of(1), of(2));
    memory.set(header::SLOTS, 3);
    memory.set_row(2, row::GENERATION, 1);
    memory.set_row(2, row::STATE, WorkerState::Ready as u64);
    memory.set_row(2, row::STARTED, 1_500);
    memory.set_row(2, row::PID, 77);
    old.page(WorkerId::new(2, 1)).set(page::REQUESTS, 7f64.to_bits());
    memory.retire(WorkerId::new(2, 1));
    memory.set_row(2, row::GENERATION, 2);
    worker.page(WorkerId::new(2, 2)).set(page::REQUESTS, 3f64.to_bits());
    worker.page(WorkerId::new(2, 2)).add(page::PUSHED, 4);
    worker.page(WorkerId::new(2, 2)).set(page::CLOSED, 1f64.to_bits());

    let workers = workers(&memory, 2_000);
    assert_eq!(workers.len(), 1);
    assert_eq!(workers[0].id, "2");
    assert_eq!(workers[0].request_count, 10);
    assert_eq!(workers[0].active_connections, 3);
    assert_eq!(workers[0].uptime, 500);
    assert_eq!(workers[0].state, PublicState::Running);
    // Its predecessor had answered none of them when it ended.
    let figures = figures(&memory, 2_000);
    assert_eq!((figures.total_errors, figures.total_requests), (7, 10));
    memory.set_row(2, row::RESTARTS, 1);
    memory.set_row(2, row::REPLACEMENTS, 2);
    memory.set_row(2, row::STATE, WorkerState::Vacant as u64);
    assert_eq!(super::figures(&memory, 2_000).restart_count, 1);
    assert_eq!(super::figures(&memory, 2_000).replacement_count, 2);
}

#[test]
fn of_a_worker_that_is_waited_for_nothing_is_known() {
    let (memory, _memfds) = SharedMemory::create(1_000).unwrap();
    memory.set(header::SLOTS, 1);
    for (cell, value) in [
        (row::GENERATION, 1),
        (row::STATE, WorkerState::Waiting as u64),
        (row::STARTED, 1_500),
        (row::CHECKED_GENERATION, 1),
        (row::CHECKED_AT, 1_600),
        (row::HEALTH, CheckStatus::Healthy as u64),
    ] {
        memory.set_row(0, cell, value);
    }
    let [worker] = &workers(&memory, 9_000)[..] else { panic!("one worker") };
    assert_eq!((worker.pid, worker.uptime), (None, 0));
    assert_eq!((worker.health.status, worker.health.last_check), (CheckStatus::Unknown, None));
}
