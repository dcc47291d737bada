//! The lease of the fleet's leader in this machine. PURE. Redis grants it, with a token that is higher than every one
//! before. The machine holds it for less time than Redis does, counted from before it asked: clocks run at different
//! speeds, but not by a tenth.

use std::time::Duration;

/// For how long Redis grants it.
pub const LEASE: Duration = Duration::from_secs(5);
/// For how long a machine relies on it.
const RELIED_ON: Duration = Duration::from_millis(4500);

/// A held lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The fencing token.
    pub token: u64,
    /// When it ends, on the clock of the machine since its boot.
    pub until: Duration,
}

#[derive(Default)]
pub struct Lease {
    held: Option<Held>,
    /// When the connection to Redis was lost last.
    lost: Option<Duration>,
}

impl Lease {
    /// The connection to Redis was lost at `now`.
    pub fn disconnected(&mut self, now: Duration) {
        self.lost = Some(now);
    }

    /// Whether this machine may take a lease that nobody has. A server that was started again without its data, or a
    /// replica that was promoted, may have forgotten who has it: whoever has lost the connection waits until such a lease
    /// has ended.
    pub fn may_take(&self, now: Duration) -> bool {
        let leads = self.held.is_some_and(|held| held.until > now);
        leads || self.lost.is_none_or(|lost| now >= lost + LEASE)
    }

    /// Redis has answered a heartbeat that was sent at `sent`: `granted` is the token if this machine is the leader.
    /// Returns whether it became the leader or another one's leadership was noticed.
    pub fn replied(&mut self, granted: Option<u64>, sent: Duration) -> bool {
        let before = self.held.map(|held| held.token);
        self.held = granted.map(|token| Held { token, until: sent + RELIED_ON });
        before != granted
    }

    /// Whether the lease has ended without a renewal.
    pub fn look(&mut self, now: Duration) -> bool {
        let has_ended = self.held.is_some_and(|held| held.until <= now);
        if has_ended {
            self.held = None;
        }
        has_ended
    }

    pub fn held(&self) -> Option<Held> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn it_counts_from_before_the_question_and_ends_without_a_renewal() {
        let mut lease = Lease::default();
        assert!(!lease.look(ms(0)));
        assert!(lease.replied(Some(7), ms(1000)));
        assert_eq!(lease.held(), Some(Held { token: 7, until: ms(5500) }));
        assert!(!lease.replied(Some(7), ms(2000)), "renewed");
        assert!(!lease.look(ms(6499)));
        assert!(lease.look(ms(6500)));
        assert!(!lease.look(ms(6600)), "told once");
        assert_eq!(lease.held(), None);
    }

    #[test]
    fn another_leader_ends_it_at_once() {
        let mut lease = Lease::default();
        lease.replied(Some(7), ms(0));
        assert!(lease.replied(None, ms(1)));
        assert_eq!(lease.held(), None);
    }

    #[test]
    fn what_a_server_may_have_forgotten_has_ended_before_another_machine_leads() {
        let (mut leader, mut other) = (Lease::default(), Lease::default());
        assert!(other.may_take(ms(0)), "the first of all");
        leader.replied(Some(7), ms(900));
        leader.disconnected(ms(1000));
        other.disconnected(ms(1000));
        assert!(leader.may_take(ms(1100)) && !other.may_take(ms(1100)));
        assert!(!leader.may_take(ms(5400)) && !other.may_take(ms(5999)));
        assert!(leader.may_take(ms(6000)) && other.may_take(ms(6000)));
    }

    /// What Redis does, on a clock of its own speed.
    #[derive(Default)]
    struct Server {
        leader: Option<(usize, u64, f64)>,
        token: u64,
    }

    impl Server {
        fn beat(&mut self, machine: usize, now: f64) -> Option<u64> {
            if self.leader.is_some_and(|(.., until)| until <= now) {
                self.leader = None;
            }
            match &mut self.leader {
                Some((leader, token, until)) if *leader == machine => {
                    *until = now + LEASE.as_millis() as f64;
                    Some(*token)
                }
                Some(_) => None,
                none => {
                    self.token += 1;
                    *none = Some((machine, self.token, now + LEASE.as_millis() as f64));
                    Some(self.token)
                }
            }
        }
    }

    proptest! {
        /// Machines that are late, answers that are late, and a server's clock that is up to 9 % fast.
        #[test]
        fn there_are_never_two_leaders(
            speed in 1.0..1.09f64,
            steps in proptest::collection::vec((0..3usize, 0..3000u64, 0..2000u64), 1..200),
        ) {
            let mut server = Server::default();
            let mut machines = [Lease::default(), Lease::default(), Lease::default()];
            let mut now = 0;
            for (machine, pause, delay) in steps {
                now += pause;
                let sent = ms(now);
                now += delay;
                let granted = server.beat(machine, now as f64 * speed);
                machines[machine].replied(granted, sent);
                for lease in &mut machines {
                    lease.look(ms(now));
                }
                let leaders = machines.iter().filter(|lease| lease.held().is_some()).count();
                prop_assert!(leaders <= 1);
            }
        }
    }
}
