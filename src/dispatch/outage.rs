//! Addresses that have lost their last server: their clients wait or are refused, and somebody should know at once.

use std::time::Duration;

use super::accept_loop::AcceptLoop;
use super::command::Report;
use super::group::Share;

/// Whether somebody serves an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// Nobody has yet.
    #[default]
    Expected,
    Served,
    /// Nobody does any more, since then.
    Lost(Duration),
}

impl Service {
    /// What it is now, with what is to be said of the change.
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

impl AcceptLoop {
    pub fn look_for_outages(&mut self, now: Duration) {
        if !self.is_started {
            return;
        }
        let mut news = Vec::new();
        let slots = self.workers.slots();
        for group in self.groups.values_mut() {
            // One that the cluster has let go of is nobody's any more.
            if group.primary_listener.is_none() || group.released.is_some() || group.closing.is_some() {
                continue;
            }
            let is_served = group.shares.contains(&Share::Open);
            if is_served == (group.service == Service::Served) || group.is_of_one_worker(slots) {
                continue;
            }
            let (service, report) = group.service.next(&group.name(), is_served, now);
            group.service = service;
            news.extend(report);
        }
        news.into_iter().for_each(|report| (self.report)(report));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn change(service: Service, is_served: bool) -> (Service, Option<String>) {
        let (service, report) = service.next("127.0.0.1:80", is_served, 3 * SECOND);
        (service, report.map(|report| format!("{report:?}")))
    }

    #[test]
    fn a_loss_and_its_end_are_told_once_each() {
        let lost = r#"Lost { address: "127.0.0.1:80" }"#.to_owned();
        let regained = r#"Regained { address: "127.0.0.1:80", after: 2s }"#.to_owned();
        for (before, is_served, after, told) in [
            (Service::Expected, false, Service::Expected, None),
            (Service::Expected, true, Service::Served, None),
            (Service::Served, true, Service::Served, None),
            (Service::Served, false, Service::Lost(3 * SECOND), Some(lost)),
            (Service::Lost(SECOND), false, Service::Lost(SECOND), None),
            (Service::Lost(SECOND), true, Service::Served, Some(regained)),
        ] {
            assert_eq!(change(before, is_served), (after, told), "{before:?} {is_served}");
        }
    }
}
