//! Which servers share an address. PURE. Workers run one program, so servers of several workers at one address are one
//! service, unless the program opens ports for purposes that differ between workers, as FTP's passive mode does. As in
//! node:cluster, the k-th server that a worker opens at an address shares it with the k-th of another worker. But a
//! worker that has just probed whether a port is free wants it alone: two workers that probe at the same moment must
//! not both get it, or one's clients would reach the other. So a server that another worker opened a moment ago is not
//! shared before it is clear that it stays open.

use std::time::Duration;

use crate::ipc::control::{Address, ListenOptions};

/// A worker that became ready within this time still runs the start code that every worker runs.
const START: Duration = Duration::from_secs(1);
/// A server that was open for less than this was a probe, milliseconds.
const TRY_MS: u32 = 100;
/// A probe is closed in the same event-loop iteration. It may take this long on a busy machine.
const TRIAL: Duration = Duration::from_millis(50);

/// Whether a server may share an open address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Shares,
    Taken,
    /// Unknown for a moment: if the other server closes, the address is taken, otherwise it is shared.
    Later,
}

/// The process that wants to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// The primary's own program, for all workers.
    Primary,
    /// A starting worker. `before`: how many servers it has opened there before.
    Starting { before: u32 },
    /// A serving worker. `was_here`: it, or the slot's previous worker, has served the open address.
    Ready { before: u32, was_here: bool },
    /// A serving worker that has just probed this port.
    Tried,
}

impl Requester {
    /// A worker that has finished its start.
    pub fn is_late(self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Tried)
    }

    /// A worker. `ready_for`: how long it has been ready; None: it is not.
    pub fn worker(ready_for: Option<Duration>, options: ListenOptions, was_here: bool) -> Self {
        let before = options.before;
        match ready_for {
            Some(time) if time >= START => {
                let tried = options.lived_ms.is_some_and(|lived| lived < TRY_MS);
                if tried { Self::Tried } else { Self::Ready { before, was_here } }
            }
            Some(_) | None => Self::Starting { before },
        }
    }
}

/// With whom the opener of an address shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Founder {
    All,
    /// A worker's n-th server there. `since`: when it was opened, if that worker had finished its start.
    Nth {
        nth: u32,
        since: Option<Duration>,
    },
    /// It probed the port and then opened it.
    SingleProcess,
}

/// A port that a worker has probed is reserved for it for a moment, so that it can open it.
pub struct Reservation {
    address: Address,
    slot: u16,
    until: Duration,
}

impl Reservation {
    /// `slot` has closed the last server at an address that was opened by `founder`.
    pub fn after(address: &Address, founder: Founder, slot: u16, now: Duration) -> Option<Self> {
        let Founder::Nth { since: Some(since), .. } = founder else { return None };
        let tried = now.saturating_sub(since) < Duration::from_millis(u64::from(TRY_MS));
        tried.then(|| Self { address: address.clone(), slot, until: now + TRIAL })
    }

    pub fn keeps_out(&self, address: &Address, requester: Option<u16>) -> bool {
        self.address == *address && requester != Some(self.slot)
    }

    pub fn is_over(&self, now: Duration) -> bool {
        now >= self.until
    }
}

impl Founder {
    pub fn of(address: &Address, requester: Requester, now: Duration) -> Self {
        match (address, requester) {
            // The number is part of the address.
            (Address::Tcp { port: 0, .. } | Address::Descriptor { .. }, _) => Self::All,
            (_, Requester::Primary) => Self::All,
            (_, Requester::Starting { before }) => Self::Nth { nth: before, since: None },
            (_, Requester::Ready { before, .. }) => Self::Nth { nth: before, since: Some(now) },
            (_, Requester::Tried) => Self::SingleProcess,
        }
    }

    /// A starting worker runs the same start code as the others, and a worker that served here before returns.
    pub fn decide(self, requester: Requester, now: Duration) -> Decision {
        match (self, requester) {
            (Self::All, _) | (_, Requester::Primary) => Decision::Shares,
            (Self::SingleProcess, _) | (_, Requester::Tried) => Decision::Taken,
            (Self::Nth { .. }, Requester::Starting { .. }) => Decision::Shares,
            (Self::Nth { .. }, Requester::Ready { was_here: true, .. }) => Decision::Shares,
            (Self::Nth { nth, since }, Requester::Ready { before, was_here: false }) => {
                let is_young = since.is_some_and(|since| now.saturating_sub(since) < TRIAL);
                match nth == before {
                    true if is_young => Decision::Later,
                    true => Decision::Shares,
                    false => Decision::Taken,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(port: u16) -> Address {
        Address::Tcp { host: None, port, ipv6_only: false, nth: 0 }
    }

    const NOW: Duration = Duration::from_secs(9);
    const LATER: Duration = Duration::from_millis(9050);

    #[test]
    fn the_kth_server_of_a_worker_shares_with_the_kth_of_another() {
        let ready = |before, was_here| Requester::Ready { before, was_here };
        let second = Founder::of(&tcp(80), ready(1, false), NOW);
        for (requester, decision) in [
            (ready(0, false), Decision::Taken),
            (ready(1, false), Decision::Shares),
            (ready(2, false), Decision::Taken),
            (ready(0, true), Decision::Shares),
            (Requester::Starting { before: 0 }, Decision::Shares),
            (Requester::Primary, Decision::Shares),
            (Requester::Tried, Decision::Taken),
        ] {
            assert_eq!(second.decide(requester, LATER), decision, "{requester:?}");
        }
    }

    #[test]
    fn a_server_that_was_opened_a_moment_ago_must_stay_first() {
        let first = Requester::Ready { before: 0, was_here: false };
        let just_before = LATER - Duration::from_millis(1);
        assert_eq!(Founder::of(&tcp(80), first, NOW).decide(first, just_before), Decision::Later);
        let at_the_start = Founder::of(&tcp(80), Requester::Starting { before: 0 }, NOW);
        assert_eq!(at_the_start.decide(first, NOW), Decision::Shares);
    }

    #[test]
    fn a_port_that_was_tried_is_kept_for_a_moment() {
        let ms = Duration::from_millis;
        let founder = Founder::Nth { nth: 0, since: Some(NOW) };
        let keep_alive = Reservation::after(&tcp(80), founder, 3, NOW + ms(99)).unwrap();
        assert!(keep_alive.keeps_out(&tcp(80), Some(2)) && keep_alive.keeps_out(&tcp(80), None));
        assert!(!keep_alive.keeps_out(&tcp(80), Some(3)) && !keep_alive.keeps_out(&tcp(81), Some(2)));
        assert!(!keep_alive.is_over(NOW + ms(148)) && keep_alive.is_over(NOW + ms(149)));
        assert!(Reservation::after(&tcp(80), founder, 3, NOW + ms(100)).is_none());
        assert!(Reservation::after(&tcp(80), Founder::SingleProcess, 3, NOW).is_none());
    }

    #[test]
    fn who_tried_a_port_before_has_it_alone() {
        let founder = Founder::of(&tcp(80), Requester::Tried, NOW);
        assert_eq!(founder.decide(Requester::Primary, LATER), Decision::Shares);
        let others = [
            Requester::Tried,
            Requester::Starting { before: 1 },
            Requester::Ready { before: 1, was_here: true },
        ];
        for requester in others {
            assert_eq!(founder.decide(requester, LATER), Decision::Taken, "{requester:?}");
        }
    }

    #[test]
    fn what_the_primary_opened_is_everybodys() {
        let founder = Founder::of(&tcp(80), Requester::Primary, NOW);
        for requester in [Requester::Tried, Requester::Ready { before: 7, was_here: false }] {
            assert_eq!(founder.decide(requester, NOW), Decision::Shares, "{requester:?}");
        }
    }

    #[test]
    fn an_address_that_counts_by_itself_is_not_counted_again() {
        let requester = Requester::Ready { before: 3, was_here: false };
        for address in [tcp(0), Address::Descriptor { fd: 3 }] {
            assert_eq!(Founder::of(&address, requester, NOW), Founder::All);
        }
        let unix = Address::Unix { path: "/run/app.sock".into() };
        assert_eq!(Founder::of(&unix, requester, NOW), Founder::Nth { nth: 3, since: Some(NOW) });
    }

    #[test]
    fn a_worker_starts_until_it_has_been_ready_for_a_second() {
        let ms = Duration::from_millis;
        let tried = ListenOptions { before: 1, lived_ms: Some(99), ..ListenOptions::default() };
        let served = ListenOptions { lived_ms: Some(100), ..tried };
        let first = ListenOptions::default();
        for (ready_for, options, requester) in [
            (None, tried, Requester::Starting { before: 1 }),
            (Some(ms(999)), tried, Requester::Starting { before: 1 }),
            (Some(ms(1000)), tried, Requester::Tried),
            (Some(ms(1000)), served, Requester::Ready { before: 1, was_here: true }),
            (Some(ms(1000)), first, Requester::Ready { before: 0, was_here: true }),
        ] {
            assert_eq!(Requester::worker(ready_for, options, true), requester);
        }
    }
}
