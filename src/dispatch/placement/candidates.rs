//! The workers that may take a connection now, found in one pass over those that serve its group.

use crate::balance::Candidate;

use super::super::settings::Settings;

/// A worker that serves the connection's group and does not drain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prospect {
    pub slot: u16,
    /// It makes progress, as far as known.
    pub is_well: bool,
    /// It has fd pressure.
    pub fd_pressure: bool,
    /// None: it has no room for another connection.
    pub load: Option<WorkerLoad>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerLoad {
    /// Open in the worker or in transit to it.
    pub connections: u32,
    /// 0 if nothing has been measured yet.
    pub latency_us: f64,
    /// Requests in progress.
    pub in_flight: u32,
    pub pace: Pace,
}

/// How fast a worker may get connections, while it warms up or is relieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It is warm.
    Full,
    /// It is warm and busy: it takes its turn every second time.
    Half,
    /// It is cold, and has given enough responses for another connection.
    Slow,
    /// It is cold, and has enough connections.
    Wait,
}

/// Scratch space that is reused for every connection.
#[derive(Default)]
pub struct Candidates {
    found: Vec<Candidate>,
    /// By index in `found`: it must wait while others are at full pace.
    waits: Vec<bool>,
}

impl Candidates {
    /// An unresponsive worker gets a connection only if all are unresponsive; one with fd pressure only if no other has
    /// room. `warms_up`: cold workers get connections slowly while others are warm. `spares`: busy workers do not take
    /// their turn; half of the time.
    pub fn find(
        &mut self,
        prospects: impl Iterator<Item = Prospect>,
        warms_up: bool,
        spares: bool,
        settings: &Settings,
    ) -> &mut Vec<Candidate> {
        self.clear();
        let (mut any_well, mut any_warm, mut fd_pressure) = (false, false, true);
        for prospect in prospects {
            if prospect.is_well && !any_well {
                // The previous ones were unresponsive.
                (any_well, any_warm, fd_pressure) = (true, false, true);
                self.clear();
            }
            let Some(load) = prospect.load else { continue };
            if prospect.is_well != any_well || (prospect.fd_pressure && !fd_pressure) {
                continue;
            }
            if fd_pressure && !prospect.fd_pressure {
                // The previous ones had fd pressure.
                (any_warm, fd_pressure) = (false, false);
                self.clear();
            }
            any_warm |= load.pace == Pace::Full;
            self.waits.push(match load.pace {
                Pace::Full | Pace::Slow => false,
                Pace::Half => spares,
                Pace::Wait => warms_up,
            });
            self.found.push(Candidate {
                slot: prospect.slot,
                connections: if settings.connection_tracking { load.connections } else { 0 },
                weight: settings.weight(prospect.slot),
                latency_us: load.latency_us,
                in_flight: load.in_flight,
            });
        }
        if any_warm {
            let mut waits = self.waits.iter();
            self.found.retain(|_| waits.next() == Some(&false));
        }
        &mut self.found
    }

    fn clear(&mut self) {
        self.found.clear();
        self.waits.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> Settings {
        Settings { weights: vec![3], ..Settings::example() }
    }

    const LOAD: WorkerLoad = WorkerLoad { connections: 7, latency_us: 1.0, in_flight: 2, pace: Pace::Full };
    const WELL: Prospect = Prospect { slot: 0, is_well: true, fd_pressure: false, load: Some(LOAD) };

    fn slots(prospects: &[Prospect], warms_up: bool) -> Vec<u16> {
        let mut candidates = Candidates::default();
        let numbered = prospects.iter().enumerate().map(|(slot, p)| Prospect { slot: slot as u16, ..*p });
        let found = candidates.find(numbered, warms_up, false, &settings());
        found.iter().map(|candidate| candidate.slot).collect()
    }

    #[test]
    fn the_unwell_get_something_when_all_are_and_the_short_when_no_other_has_room() {
        let unwell = Prospect { is_well: false, ..WELL };
        let short = Prospect { fd_pressure: true, ..WELL };
        let full = Prospect { load: None, ..WELL };
        for (prospects, expected) in [
            (&[unwell, WELL, unwell][..], &[1][..]),
            (&[unwell, unwell], &[0, 1]),
            (&[unwell, full], &[]),
            (&[short, WELL, short], &[1]),
            (&[short, full, short], &[0, 2]),
            (&[short, unwell], &[0]),
            (&[full, full], &[]),
            (&[], &[]),
        ] {
            assert_eq!(slots(prospects, false), expected, "{prospects:?}");
        }
    }

    #[test]
    fn cold_workers_are_fed_slowly_while_others_are_warm() {
        let at = |pace| Prospect { load: Some(WorkerLoad { pace, ..LOAD }), ..WELL };
        let (warm, slow, wait) = (WELL, at(Pace::Slow), at(Pace::Wait));
        assert_eq!(slots(&[wait, warm, slow], true), [1, 2]);
        assert_eq!(slots(&[wait, warm, slow], false), [0, 1, 2]);
        assert_eq!(slots(&[wait, slow], true), [0, 1], "with nobody warm there is nobody to spare them");
        let full = Prospect { load: None, ..WELL };
        assert_eq!(slots(&[wait, full], true), [0], "nor with one that has no room");
    }

    #[test]
    fn a_busy_worker_takes_every_second_turn_while_another_is_at_full_pace() {
        let at = |pace| Prospect { load: Some(WorkerLoad { pace, ..LOAD }), ..WELL };
        let (half, full) = (at(Pace::Half), WELL);
        for (prospects, spares, expected) in [
            (&[half, full][..], true, &[1][..]),
            (&[half, full], false, &[0, 1]),
            (&[half, half], true, &[0, 1]),
        ] {
            let mut candidates = Candidates::default();
            let numbered = prospects.iter().enumerate().map(|(slot, p)| Prospect { slot: slot as u16, ..*p });
            let found = candidates.find(numbered, true, spares, &settings());
            let slots: Vec<u16> = found.iter().map(|candidate| candidate.slot).collect();
            assert_eq!(slots, expected, "{prospects:?}");
        }
    }

    #[test]
    fn a_candidate_carries_what_the_strategies_ask_for() {
        let mut candidates = Candidates::default();
        let expected = Candidate { slot: 0, connections: 7, weight: 3, latency_us: 1.0, in_flight: 2 };
        assert_eq!(candidates.find([WELL].into_iter(), false, false, &settings()), &[expected]);
        let untracked = Settings { connection_tracking: false, ..settings() };
        let untracked = candidates.find([WELL].into_iter(), false, false, &untracked);
        assert_eq!(untracked, &[Candidate { connections: 0, ..expected }]);
    }

    /// The same rule in several simple passes.
    fn in_passes(prospects: &[Prospect], warms_up: bool) -> Vec<u16> {
        let any_well = prospects.iter().any(|prospect| prospect.is_well);
        for fd_pressure in [false, true] {
            let fits = |p: &&Prospect| p.fd_pressure == fd_pressure && (p.is_well || !any_well);
            let free: Vec<(u16, Pace)> = prospects
                .iter()
                .filter(fits)
                .filter_map(|p| p.load.map(|load| (p.slot, load.pace)))
                .collect();
            let slowly = warms_up && free.iter().any(|(_, pace)| *pace == Pace::Full);
            let found = free.iter().filter(|(_, pace)| !slowly || *pace != Pace::Wait);
            let found: Vec<u16> = found.map(|(slot, _)| *slot).collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    proptest! {
        #[test]
        fn one_pass_finds_what_several_find(
            kinds in proptest::collection::vec((any::<bool>(), any::<bool>(), 0..4u8), 0..7),
            warms_up: bool,
        ) {
            let prospects: Vec<Prospect> = (0..).zip(&kinds).map(|(slot, (is_well, fd_pressure, pace))| {
                let pace = [Some(Pace::Full), Some(Pace::Slow), Some(Pace::Wait), None][usize::from(*pace)];
                let load = pace.map(|pace| WorkerLoad { pace, ..LOAD });
                Prospect { slot, is_well: *is_well, fd_pressure: *fd_pressure, load }
            }).collect();
            prop_assert_eq!(slots(&prospects, warms_up), in_passes(&prospects, warms_up));
        }
    }
}
