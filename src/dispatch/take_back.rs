//! Judging the workers, and taking back what the stuck and the dead have not read.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::accept_loop::AcceptLoop;
use super::command::Report;
use super::datagrams::Successor;
use super::group::{Connection, Group, Share};
use super::worker_channel::{Taken, WorkerChannel};
use super::worker_table::Stage;
use crate::event::Level;
use crate::ipc::control::GroupId;
use crate::metrics::layout::{page, row};
use crate::model::WorkerId;

impl AcceptLoop {
    /// Judges every worker, and takes back what lies with those that are stuck.
    pub fn watch(&mut self, now: Duration) {
        if !self.settings.health_aware || self.settings.inspected {
            return;
        }
        let mut changed = false;
        let queued: Vec<bool> = (0..self.workers.slots()).map(|slot| self.has_own_queue(slot)).collect();
        for channel in self.workers.serving_mut() {
            let has_work = channel.under_way() > 0 || queued[usize::from(channel.id.slot)];
            let outstanding = has_work && !channel.inspected;
            let unresponsive = channel.heartbeat.observe(channel.page.get(page::HEARTBEAT), outstanding, now);
            if unresponsive != channel.unresponsive {
                channel.unresponsive = unresponsive;
                let generation = if unresponsive { u64::from(channel.id.generation) } else { 0 };
                self.memory.set_row(channel.id.slot, row::UNRESPONSIVE, generation);
                changed = true;
                let slot = channel.id.slot;
                if unresponsive {
                    channel.wake_up();
                }
                // One that is short of descriptors says so itself.
                if channel.fd_pressure {
                    continue;
                }
                (self.report)(if unresponsive {
                    Report::Unresponsive { slot }
                } else {
                    Report::Recovered { slot }
                });
            }
        }
        let takers = self.takers();
        let mut taken = Taken::default();
        for channel in self.workers.serving_mut().filter(|channel| channel.unresponsive) {
            taken.append(channel.take_back(&takers, now));
        }
        if changed {
            self.sync_routing();
        }
        self.place_again(taken, now);
    }

    /// Groups that a worker serves which makes progress.
    fn takers(&self) -> BTreeSet<GroupId> {
        let well: Vec<u16> =
            self.workers.serving().filter(|channel| channel.is_well()).map(|m| m.id.slot).collect();
        let served = |group: &&Group| well.iter().any(|slot| group.share(*slot) == Share::Open);
        self.groups.values().filter(served).map(|group| group.id).collect()
    }

    /// Do connections wait in a listener that the slot's worker polls itself?
    fn has_own_queue(&self, slot: usize) -> bool {
        let polls = |group: &&Group| group.owned.get(slot) == Some(&false);
        self.groups.values().filter(polls).any(|group| {
            let mut polled = [PollFd::new(&group.members[slot], PollFlags::IN)];
            poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
        })
    }

    /// What came back finds another worker. Its first bytes are still unread and may be looked at again.
    pub fn place_again(&mut self, taken: Taken, now: Duration) {
        if taken.lost > 0 {
            self.count_refused(taken.lost as u64);
            let text =
                format!("{} connections were lost: the primary has no file descriptor left", taken.lost);
            (self.report)(Report::Notice(Level::Error, text));
        }
        taken.connections.into_iter().for_each(|connection: Connection| self.place(connection, now));
    }

    /// Order matters: no more sends, then what was never read comes back, then its queues are ours.
    pub fn on_exit(&mut self, worker: WorkerId, now: Duration) {
        let Some((place, mut gone)) = self.workers.remove(worker) else { return };
        if place == Stage::Serving {
            self.orphan_shares(worker.slot);
            self.sync_routing();
        }
        let successor = match (place, self.workers.in_slot(worker.slot)) {
            (Stage::Draining, Some(successor)) => Successor::Serves(successor.promoted),
            (Stage::Draining, None) => Successor::Expected,
            // One that was told to leave without a successor is not replaced.
            (Stage::Serving, _) if !gone.leaving => Successor::Expected,
            (Stage::Serving | Stage::Starting, _) => Successor::None,
        };
        self.datagrams.gone(worker, successor);
        self.join_groups();
        self.take_last_handoffs(&mut gone, place, now);
        self.dead.push(gone);
        self.take_back_from_dead(now);
    }

    /// Takes back what the dead have not read; as much as there are descriptors for.
    pub fn take_back_from_dead(&mut self, now: Duration) {
        let mut taken = Taken::default();
        self.dead.retain_mut(|gone: &mut WorkerChannel| {
            let back = gone.take_all(now);
            let whole = back.whole;
            taken.append(back);
            !whole
        });
        self.place_again(taken, now);
    }
}
