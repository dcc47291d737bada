//! Which addresses a worker's replacement must serve before it takes the slot over: those that its predecessor serves.
//! Without this a roll takes away an address that opens late, or that the new program opens no more. What the
//! predecessor closes meanwhile is not waited for, nor what it opens: the ports of single transfers come and go.

use std::collections::BTreeSet;

use super::super::command::Report;
use super::super::listeners::AddressView;
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

impl Succession {
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The addresses that the predecessor still serves and the replacement does not serve yet. `is_prepared`: it serves
    /// the group. `lacked`: the name of a datagram socket that the predecessor has and it has not.
    pub fn lacks<'a>(
        &self,
        addresses: impl Iterator<Item = AddressView<'a>>,
        is_prepared: impl Fn(GroupId) -> bool,
        lacked: impl Fn(SocketId) -> Option<String>,
    ) -> Vec<String> {
        let is_lacked = |address: &AddressView<'_>| {
            let is_expected = self.groups.contains(&address.group) && !is_prepared(address.group);
            is_expected && !address.is_released && address.shares.is_open(self.worker.slot)
        };
        let groups = addresses.filter(is_lacked).map(|address| address.name.to_owned());
        groups.chain(self.sockets.iter().filter_map(|id| lacked(*id))).collect()
    }
}

/// Replacements that wait until they serve what their predecessors do.
#[derive(Default)]
pub struct Successions(Vec<Succession>);

impl Successions {
    /// The worker is ready but for what its predecessor serves and it does not. `sockets`: the datagram sockets that
    /// the predecessor has had since its start.
    pub fn begin<'a>(
        &mut self,
        worker: WorkerId,
        addresses: impl Iterator<Item = AddressView<'a>>,
        sockets: BTreeSet<SocketId>,
    ) {
        let expected = addresses.filter(|address| is_expected_of(worker.slot, address));
        let groups = expected.map(|address| address.group).collect();
        self.0.retain(|other| other.worker.slot != worker.slot);
        self.0.push(Succession { worker, groups, sockets, lacks: None });
    }

    /// What each lacks now, as far as it has changed. `lacks` tells it; None: the worker does not start any more.
    pub fn review(&mut self, lacks: impl Fn(&Succession) -> Option<Vec<String>>) -> Vec<Report> {
        let mut reports = Vec::new();
        self.0.retain_mut(|succession| {
            let Some(lacks) = lacks(succession) else { return false };
            let waits = !lacks.is_empty();
            if succession.lacks.as_ref() != Some(&lacks) {
                reports.push(Report::Succession { worker: succession.worker, lacks: lacks.clone() });
                succession.lacks = Some(lacks);
            }
            waits
        });
        reports
    }
}

/// Does the slot's next worker serve there too, if the program is the same?
fn is_expected_of(slot: u16, address: &AddressView<'_>) -> bool {
    address.is_open && !address.is_released && address.shares.is_open(slot) && !address.is_of_one_worker
}
