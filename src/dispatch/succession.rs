//! Which addresses a worker's replacement must serve before it takes the slot over: those that its predecessor serves.
//! Without this a roll takes away an address that opens late, or that the new program opens no more. What the
//! predecessor closes meanwhile is not waited for, nor what it opens: the ports of single transfers come and go.

use std::collections::BTreeSet;

use super::accept_loop::AcceptLoop;
use super::command::Report;
use super::group::{Group, Share};
use super::worker_table::Stage;
use crate::ipc::control::{GroupId, SocketId};
use crate::model::WorkerId;

/// A replacement that says that it is ready.
pub struct Succession {
    worker: WorkerId,
    /// What its predecessor served then.
    groups: BTreeSet<GroupId>,
    sockets: BTreeSet<SocketId>,
    /// What was reported last.
    lacks: Option<Vec<String>>,
}

impl AcceptLoop {
    /// The worker is ready but for what its predecessor serves and it does not: that is reported, and each change of it.
    pub fn succeed(&mut self, worker: WorkerId) {
        let groups = self.groups.values().filter(|group| self.is_expected_of(worker.slot, group));
        let groups = groups.map(|group| group.id).collect();
        let sockets =
            self.workers.in_slot(worker.slot).map(|old| old.first_sockets.clone()).unwrap_or_default();
        self.successions.retain(|other| other.worker.slot != worker.slot);
        self.successions.push(Succession { worker, groups, sockets, lacks: None });
        self.review_successions();
    }

    pub fn review_successions(&mut self) {
        for mut succession in std::mem::take(&mut self.successions) {
            let Succession { worker, .. } = succession;
            let Some((Stage::Starting, _)) = self.workers.find(worker) else { continue };
            let lacks = self.lacks(&succession);
            if succession.lacks.as_ref() != Some(&lacks) {
                (self.report)(Report::Succession { worker, lacks: lacks.clone() });
            }
            if !lacks.is_empty() {
                succession.lacks = Some(lacks);
                self.successions.push(succession);
            }
        }
    }

    /// Does the slot's next worker serve there too, if the program is the same?
    fn is_expected_of(&self, slot: u16, group: &Group) -> bool {
        let is_served =
            group.primary_listener.is_some() && group.released.is_none() && group.share(slot) == Share::Open;
        is_served && !group.is_of_one_worker(self.workers.slots())
    }

    /// The addresses that the predecessor still serves and the replacement does not serve yet.
    fn lacks(&self, Succession { worker, groups, sockets, .. }: &Succession) -> Vec<String> {
        let mut starting = self.workers.all().filter(|channel| channel.id == *worker);
        let prepared = starting.next().map(|channel| &channel.prepared);
        let is_prepared = |id: &GroupId| prepared.is_some_and(|prepared| prepared.contains_key(id));
        let groups = groups.iter().filter(|id| !is_prepared(id)).filter_map(|id| self.groups.get(id));
        let groups =
            groups.filter(|group| group.released.is_none() && group.share(worker.slot) == Share::Open);
        let old = self.workers.in_slot(worker.slot).map(|old| old.id);
        let sockets = sockets.iter().filter(|id| {
            old.is_some_and(|old| self.datagrams.is_held(**id, old)) && !self.datagrams.is_held(**id, *worker)
        });
        let sockets = sockets.filter_map(|id| self.datagrams.address(*id));
        groups.map(Group::name).chain(sockets.map(|address| format!("udp {address}"))).collect()
    }
}
