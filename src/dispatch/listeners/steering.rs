//! Which process accepts from which listener of an address, and the steering program: functions of the workers' shares
//! and states. PURE; the group attaches the program.

use super::super::settings::Settings;
use super::super::workers::WorkerState;
use super::shares::Shares;
use crate::balance::{Family, Instruction, Steering, Strategy, live_weights, program};
use crate::ipc::control::GroupId;

/// An address, as far as steering depends on it.
#[derive(Clone, Copy)]
pub struct Steered<'a> {
    pub group: GroupId,
    pub shares: &'a Shares,
    /// How many slots have a listener.
    pub members: usize,
    pub plain_http: bool,
    pub family: Family,
}

impl<'a> Steered<'a> {
    /// Workers that serve here.
    fn serving(self, workers: &'a [WorkerState]) -> impl Iterator<Item = &'a WorkerState> {
        workers.iter().filter(move |worker| self.shares.is_open(worker.slot))
    }

    /// Workers to whose own listener the kernel may assign connections.
    fn direct(self, workers: &'a [WorkerState]) -> impl Iterator<Item = &'a WorkerState> {
        let fits = move |worker: &&WorkerState| {
            worker.is_well() && !worker.fd_pressure && usize::from(worker.slot) < self.members
        };
        self.serving(workers).filter(fits)
    }

    /// By slot: whether the primary accepts from the slot's listener, because its worker must not. Handshakes begun
    /// before the program changed still complete there.
    pub fn owned(self, workers: &[WorkerState]) -> Vec<bool> {
        // Without another worker an unresponsive worker keeps its queue.
        let somebody = self.direct(workers).next().is_some();
        let mut owned = vec![true; self.members];
        for worker in self.serving(workers) {
            // Only the primary can enforce a server's own limit exactly.
            let accepts = !worker.leaving && !worker.fd_pressure && !worker.is_limited(self.group);
            if accepts
                && !(worker.excluded && somebody)
                && let Some(owned) = owned.get_mut(usize::from(worker.slot))
            {
                *owned = false;
            }
        }
        owned
    }

    /// Whether a worker here needs the primary to accept: its server has its own connection limit, which the kernel
    /// does not know, or its slot has no listener.
    pub fn needs_push(self, workers: &[WorkerState]) -> bool {
        self.serving(workers)
            .any(|worker| worker.is_limited(self.group) || usize::from(worker.slot) >= self.members)
    }

    /// The steering program; `direct`: the address is in direct mode.
    ///
    /// # Errors
    /// Too many workers for one program.
    pub fn program(
        self,
        workers: &[WorkerState],
        direct: bool,
        settings: &Settings,
    ) -> Result<Vec<Instruction>, usize> {
        let strategy = settings.effective_strategy();
        let steers = direct && !self.warms_up(workers, strategy);
        let fit: Vec<&WorkerState> = self.direct(workers).filter(|_| steers).collect();
        let slots: Vec<u16> = fit.iter().map(|worker| worker.slot).collect();
        let odds;
        let steering = match strategy {
            _ if slots.is_empty() => Steering::Primary,
            Strategy::RoundRobin => Steering::Uniform(&slots),
            Strategy::IpHash => Steering::IpHash(&slots),
            Strategy::Os => Steering::Flow(&slots),
            Strategy::WeightedRoundRobin | Strategy::LeastConnections | Strategy::LeastResponseTime => {
                odds = self::odds(strategy, &fit, settings);
                Steering::Weighted(&odds)
            }
        };
        program(steering, self.family).ok_or(slots.len())
    }

    /// Whether some worker here is cold while others are warm: it must get connections slowly, which only the primary
    /// can do. (Clients that are bound to a slot go there anyway.)
    fn warms_up(self, workers: &[WorkerState], strategy: Strategy) -> bool {
        let is =
            |is_warm: bool| self.serving(workers).any(|worker| worker.is_well() && worker.is_warm == is_warm);
        strategy != Strategy::IpHash && self.plain_http && is(true) && is(false)
    }
}

/// The weights of direct mode: configured weights, connection counts or measured latency.
fn odds(strategy: Strategy, workers: &[&WorkerState], settings: &Settings) -> Vec<(u16, u32)> {
    let weight = |worker: &WorkerState| settings.weight(worker.slot).max(1);
    match strategy {
        Strategy::WeightedRoundRobin => workers.iter().map(|worker| (worker.slot, weight(worker))).collect(),
        Strategy::LeastResponseTime => {
            let measured: Vec<f64> =
                workers.iter().map(|worker| worker.latency_us).filter(|latency| *latency > 0.0).collect();
            // A worker without a measurement counts as average, otherwise it would attract all connections at once.
            let average = measured.iter().sum::<f64>() / measured.len().max(1) as f64;
            let load = |worker: &WorkerState| {
                Some(worker.latency_us).filter(|latency| *latency > 0.0).unwrap_or(average) as u32
            };
            let loads: Vec<(u16, u32, u32)> =
                workers.iter().map(|worker| (worker.slot, load(worker), weight(worker))).collect();
            live_weights(&loads)
        }
        _ => {
            let loads: Vec<(u16, u32, u32)> =
                workers.iter().map(|worker| (worker.slot, worker.connections, weight(worker))).collect();
            live_weights(&loads)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shares::Share;
    use super::*;

    const GROUP: GroupId = 7;

    fn workers(count: u16) -> Vec<WorkerState> {
        (0..count).map(|slot| WorkerState { slot, is_warm: true, ..WorkerState::default() }).collect()
    }

    fn open(slots: &[u16]) -> Shares {
        let mut shares = Shares::default();
        slots.iter().for_each(|slot| shares.set(*slot, Share::Open));
        shares
    }

    fn steered(shares: &Shares, members: usize) -> Steered<'_> {
        Steered { group: GROUP, shares, members, plain_http: true, family: Family::V4 }
    }

    #[test]
    fn the_primary_accepts_from_listeners_whose_workers_must_not() {
        let shares = open(&[0, 1]);
        let owned = |change: fn(&mut WorkerState)| {
            let mut workers = workers(2);
            change(&mut workers[0]);
            steered(&shares, 3).owned(&workers)
        };
        assert_eq!(owned(|_| {}), [false, false, true], "slot 2 has no worker");
        for change in [
            (|worker| worker.leaving = true) as fn(&mut WorkerState),
            |worker| worker.excluded = true,
            |worker| worker.fd_pressure = true,
            |worker| worker.limited = vec![GROUP],
        ] {
            assert_eq!(owned(change), [true, false, true]);
        }
        assert_eq!(owned(|worker| worker.limited = vec![GROUP + 1]), [false, false, true]);
        let all = workers(2).into_iter().map(|worker| WorkerState { excluded: true, ..worker });
        let all: Vec<WorkerState> = all.collect();
        assert_eq!(steered(&shares, 3).owned(&all), [false, false, true], "there is nobody to give them to");
    }

    #[test]
    fn a_worker_with_a_limit_or_without_a_listener_needs_the_primary_to_accept() {
        let shares = open(&[0, 1]);
        let mut workers = workers(2);
        assert!(!steered(&shares, 2).needs_push(&workers));
        assert!(steered(&shares, 1).needs_push(&workers));
        assert!(!steered(&open(&[0]), 1).needs_push(&workers), "it does not serve here");
        workers[1].limited = vec![GROUP];
        assert!(steered(&shares, 2).needs_push(&workers));
    }

    #[test]
    fn a_cold_worker_among_warm_ones_is_fed_by_the_primary() {
        let shares = open(&[0, 1]);
        let mut workers = workers(2);
        let warms_up = |workers: &[WorkerState], strategy| steered(&shares, 2).warms_up(workers, strategy);
        assert!(!warms_up(&workers, Strategy::RoundRobin));
        workers[1].is_warm = false;
        assert!(warms_up(&workers, Strategy::RoundRobin));
        assert!(!warms_up(&workers, Strategy::IpHash));
        workers[0].is_warm = false;
        assert!(!warms_up(&workers, Strategy::RoundRobin));
    }
}
