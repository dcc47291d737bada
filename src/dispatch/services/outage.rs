//! Addresses that have lost their last server: their clients wait or are refused, which is reported at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::command::Report;
use super::super::listeners::AddressView;
use crate::ipc::control::GroupId;

/// Whether a worker serves an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Service {
    /// No worker has served it yet.
    #[default]
    Expected,
    Served,
    /// No worker has served it since this time.
    Lost(Duration),
}

impl Service {
    /// The next state, with the report of the change.
    fn next(self, address: &str, is_served: bool, now: Duration) -> (Self, Option<Report>) {
        let address = || address.to_owned();
        match (self, is_served) {
            (Self::Served, false) => (Self::Lost(now), Some(Report::Lost { address: address() })),
            (Self::Lost(since), true) => {
                let after = now.saturating_sub(since);
                (Self::Served, Some(Report::Regained { address: address(), after }))
            }
            (Self::Expected, true) => (Self::Served, None),
            (Self::Expected | Self::Lost(_), false) | (Self::Served, true) => (self, None),
        }
    }
}

/// The addresses, and whether they are served.
#[derive(Default)]
pub struct Outages {
    services: BTreeMap<GroupId, Service>,
    /// Every worker has started, or has used up its budget: from then on a lost address is reported.
    is_started: bool,
}

impl Outages {
    /// Every worker has started.
    pub fn started(&mut self) {
        self.is_started = true;
    }

    /// Updates the addresses; returns reports of changes.
    pub fn look<'a>(
        &mut self,
        addresses: impl Iterator<Item = AddressView<'a>>,
        now: Duration,
    ) -> Vec<Report> {
        let mut reports = Vec::new();
        if !self.is_started {
            return reports;
        }
        for address in addresses {
            // An address that the cluster has released does not count.
            if !address.is_open || address.is_released || address.is_closing {
                continue;
            }
            let is_served = address.shares.any_open();
            let before = self.services.get(&address.group).copied().unwrap_or_default();
            if is_served == (before == Service::Served) || address.is_of_one_worker {
                continue;
            }
            let (service, report) = before.next(address.name, is_served, now);
            self.services.insert(address.group, service);
            reports.extend(report);
        }
        reports
    }

    /// Removes an address.
    pub fn forget(&mut self, group: GroupId) {
        self.services.remove(&group);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::listeners::{Share, Shares};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn change(service: Service, is_served: bool) -> (Service, Option<String>) {
        let (service, report) = service.next("127.0.0.1:80", is_served, 3 * SECOND);
        (service, report.map(|report| format!("{report:?}")))
    }

    #[test]
    fn a_loss_and_its_end_are_reported_once_each() {
        let lost = r#"Lost { address: "127.0.0.1:80" }"#.to_owned();
        let regained = r#"Regained { address: "127.0.0.1:80", after: 2s }"#.to_owned();
        for (before, is_served, after, event) in [
            (Service::Expected, false, Service::Expected, None),
            (Service::Expected, true, Service::Served, None),
            (Service::Served, true, Service::Served, None),
            (Service::Served, false, Service::Lost(3 * SECOND), Some(lost)),
            (Service::Lost(SECOND), false, Service::Lost(SECOND), None),
            (Service::Lost(SECOND), true, Service::Served, Some(regained)),
        ] {
            assert_eq!(change(before, is_served), (after, event), "{before:?} {is_served}");
        }
    }

    #[test]
    fn an_address_is_looked_at_while_it_is_the_clusters_and_everybodys() {
        let mut open = Shares::default();
        open.set(0, Share::Open);
        let mut closed = Shares::default();
        closed.set(0, Share::Closed);
        let view = |shares| AddressView {
            group: 1,
            name: "127.0.0.1:80",
            shares,
            is_open: true,
            is_released: false,
            is_closing: false,
            is_late: false,
            is_of_one_worker: false,
        };
        for (lost, events) in [
            (view(&closed), 1),
            (view(&open), 0),
            (AddressView { is_open: false, ..view(&closed) }, 0),
            (AddressView { is_released: true, ..view(&closed) }, 0),
            (AddressView { is_closing: true, ..view(&closed) }, 0),
            (AddressView { is_of_one_worker: true, ..view(&closed) }, 0),
        ] {
            let mut outages = Outages::default();
            assert_eq!(outages.look([view(&open), lost].into_iter(), SECOND).len(), 0, "it starts");
            outages.started();
            assert_eq!(outages.look([view(&open)].into_iter(), SECOND).len(), 0);
            assert_eq!(outages.look([lost].into_iter(), SECOND).len(), events);
            assert_eq!(outages.look([lost].into_iter(), SECOND).len(), 0, "it is reported once");
        }
    }
}
