//! Which addresses a worker's replacement must serve before it takes the slot over: those that its predecessor serves.
//! Otherwise a roll would lose an address that opens late, or that the new program no longer opens. Addresses that the
//! predecessor closes or opens meanwhile are not waited for: ports of single transfers are opened and closed all the
//! time.

use std::collections::BTreeSet;

use super::super::command::Report;
use super::super::listeners::AddressView;
use crate::ipc::control::{GroupId, SocketId};
use crate::model::WorkerId;

/// A replacement that has reported that it is ready.
pub struct Succession {
    worker: WorkerId,
    /// The groups that its predecessor served then.
    groups: BTreeSet<GroupId>,
    sockets: BTreeSet<SocketId>,
    /// The last report.
    lacks: Option<Vec<String>>,
}

impl Succession {
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The addresses that the predecessor still serves and the replacement does not serve yet. `is_prepared`: whether
    /// the replacement serves the group. `lacked`: the name of a datagram socket that only the predecessor has.
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

/// Replacements that wait until they serve their predecessors' addresses.
#[derive(Default)]
pub struct Successions(Vec<Succession>);

impl Successions {
    /// The worker is ready except for missing addresses. `sockets`: the datagram sockets that the predecessor has had
    /// since its start.
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

    /// The missing addresses of each replacement, if they have changed. `lacks` computes them; None: the worker is no
    /// longer starting.
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

/// Whether the slot's next worker will serve there too, if the program is the same.
fn is_expected_of(slot: u16, address: &AddressView<'_>) -> bool {
    address.is_open && !address.is_released && address.shares.is_open(slot) && !address.is_of_one_worker
}

#[cfg(test)]
mod tests {
    use super::super::super::listeners::{Share, Shares};
    use super::*;

    const WORKER: WorkerId = WorkerId::new(0, 2);

    fn shares(share: Share) -> Shares {
        let mut shares = Shares::default();
        shares.set(0, share);
        shares
    }

    fn view<'a>(group: GroupId, name: &'a str, shares: &'a Shares) -> AddressView<'a> {
        AddressView {
            group,
            name,
            shares,
            is_open: true,
            is_released: false,
            is_closing: false,
            is_late: false,
            is_of_one_worker: false,
        }
    }

    /// The result of each review, for the groups prepared by then.
    fn lacks(addresses: &[AddressView<'_>], prepared: &[&[GroupId]]) -> Vec<Vec<String>> {
        let mut successions = Successions::default();
        successions.begin(WORKER, addresses.iter().copied(), BTreeSet::from([7, 8]));
        let review = |prepared: &&[GroupId]| {
            let reports = successions.review(|succession| {
                let lacked = |socket| (socket == 7 && prepared.is_empty()).then(|| "udp".to_owned());
                Some(succession.lacks(addresses.iter().copied(), |group| prepared.contains(&group), lacked))
            });
            reports.into_iter().map(|report| match report {
                Report::Succession { worker: WORKER, lacks } => lacks,
                other => panic!("{other:?}"),
            })
        };
        prepared.iter().flat_map(review).collect()
    }

    #[test]
    fn what_is_lacking_is_reported_until_nothing_is() {
        let open = &shares(Share::Open);
        let (a, b) = (view(1, "a", open), view(2, "b", open));
        assert_eq!(
            lacks(&[a, b], &[&[], &[], &[1], &[1, 2], &[]]),
            [vec!["a", "b", "udp"], vec!["b"], vec![]],
            "each change once, and nothing after the end"
        );
        assert_eq!(lacks(&[], &[&[1]]), [Vec::<String>::new()]);
    }

    #[test]
    fn what_the_predecessor_does_not_serve_is_not_waited_for() {
        let (open, closed) = (&shares(Share::Open), &shares(Share::Closed));
        for address in [
            view(1, "a", closed),
            AddressView { is_open: false, ..view(1, "a", open) },
            AddressView { is_released: true, ..view(1, "a", open) },
            AddressView { is_of_one_worker: true, ..view(1, "a", open) },
        ] {
            assert_eq!(lacks(&[address], &[&[9]]), [Vec::<String>::new()]);
        }
    }

    #[test]
    fn a_worker_that_is_gone_waits_for_nothing() {
        let mut successions = Successions::default();
        successions.begin(WORKER, std::iter::empty(), BTreeSet::new());
        assert!(successions.review(|_| None).is_empty());
        assert!(successions.review(|_| Some(Vec::new())).is_empty());
    }
}
