//! Judging the workers, and taking back what the stuck and the dead have not read.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::accept::Floor;
use super::command::Report;
use super::crew::{Member, Taken};
use super::datagrams::Successor;
use super::group::{Connection, Door, Group};
use super::roster::Place;
use crate::event::Level;
use crate::ipc::control::GroupId;
use crate::metrics::layout::{page, row};
use crate::model::WorkerId;

impl Floor {
    /// Judges every worker, and takes back what lies with those that are stuck.
    pub fn watch(&mut self, now: Duration) {
        if !self.settings.health_aware || self.settings.inspected {
            return;
        }
        let mut changed = false;
        let queued: Vec<bool> = (0..self.crew.slots()).map(|slot| self.has_own_queue(slot)).collect();
        for member in self.crew.serving_mut() {
            let has_work = member.under_way() > 0 || queued[usize::from(member.id.slot)];
            let outstanding = has_work && !member.inspected;
            let stuck = member.pulse.observe(member.page.get(page::BEAT), outstanding, now);
            if stuck != member.stuck {
                member.stuck = stuck;
                let generation = if stuck { u64::from(member.id.generation) } else { 0 };
                self.memory.set_row(member.id.slot, row::STUCK, generation);
                changed = true;
                let slot = member.id.slot;
                if stuck {
                    member.knock();
                }
                // One that is short of descriptors says so itself.
                if member.scarce {
                    continue;
                }
                (self.report)(if stuck { Report::Stuck { slot } } else { Report::Recovered { slot } });
            }
        }
        let takers = self.takers();
        let mut taken = Taken::default();
        for member in self.crew.serving_mut().filter(|member| member.stuck) {
            taken.append(member.rescue(&takers, now));
        }
        if changed {
            self.restate();
        }
        self.place_again(taken, now);
    }

    /// Groups that a worker serves which makes progress.
    fn takers(&self) -> BTreeSet<GroupId> {
        let well: Vec<u16> =
            self.crew.serving().filter(|member| member.is_well()).map(|m| m.id.slot).collect();
        let served = |group: &&Group| well.iter().any(|slot| group.door(*slot) == Door::Open);
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
    pub fn bury(&mut self, worker: WorkerId, now: Duration) {
        let Some((place, mut gone)) = self.crew.remove(worker) else { return };
        if place == Place::Serving {
            self.orphan_doors(worker.slot);
            self.restate();
        }
        let successor = match (place, self.crew.in_slot(worker.slot)) {
            (Place::Elder, Some(successor)) => Successor::Serves(successor.promoted),
            (Place::Elder, None) => Successor::Expected,
            // One that was told to leave without a successor is not replaced.
            (Place::Serving, _) if !gone.leaving => Successor::Expected,
            (Place::Serving | Place::Coming, _) => Successor::None,
        };
        self.datagrams.gone(worker, successor);
        self.join_groups();
        self.take_last_gifts(&mut gone, place, now);
        self.graves.push(gone);
        self.empty_graves(now);
    }

    /// Takes back what the dead have not read; as much as there are descriptors for.
    pub fn empty_graves(&mut self, now: Duration) {
        let mut taken = Taken::default();
        self.graves.retain_mut(|gone: &mut Member| {
            let back = gone.take_all(now);
            let whole = back.whole;
            taken.append(back);
            !whole
        });
        self.place_again(taken, now);
    }
}
