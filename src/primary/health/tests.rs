use super::*;

#[test]
fn one_that_is_out_is_looked_at_though_it_is_the_only_one_left() {
    let policy = Policy { threshold: 2, reset: Duration::from_secs(1) };
    let (memory, _memfds) = SharedMemory::create(0).unwrap();
    let mut health = Health::new(None, Some(policy), true, memory);
    assert_eq!(health.due(), None);
    let sample =
        |slot, streak| Sample { worker: WorkerId::new(slot, 1), responses: 9.0, failed: streak, streak };
    let breaker = health.breaker.as_mut().unwrap();
    assert_eq!(breaker.look(&[sample(0, 9.0), sample(1, 0.0)], Duration::ZERO).len(), 1);
    assert_eq!(health.due(), Some(LOOK));
}
