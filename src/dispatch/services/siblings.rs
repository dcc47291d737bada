//! Workers of one cluster run one program, but a worker may serve other addresses, for example because it found a port
//! taken by another worker and chose the next one. Clients do not notice, because the other workers respond. So
//! differences are logged once, after the start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::command::Report;
use super::super::listeners::AddressView;
use crate::event::{Level, Subject};

/// Time from the cluster's start until the addresses are compared, because a program opens them one after the other.
pub const OPENING: Duration = Duration::from_secs(5);
/// Maximum number of reported differences; a program that opens a port for each worker has as many as workers.
const MAX_DIFFERENCES: usize = 4;

type Served = BTreeMap<u16, BTreeSet<String>>;

/// The comparison, which is done once after the start.
#[derive(Default)]
pub struct Siblings {
    compare_at: Option<Duration>,
}

impl Siblings {
    /// Every worker has started.
    pub fn started(&mut self, now: Duration) {
        self.compare_at = Some(now + OPENING);
    }

    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        self.compare_at.map(|at| at.saturating_sub(now))
    }

    /// Compares the workers' addresses, if it is due. `workers`: serving workers, and since when.
    pub fn compare<'a>(
        &mut self,
        workers: impl Iterator<Item = (u16, Duration)>,
        addresses: impl Iterator<Item = AddressView<'a>>,
        now: Duration,
    ) -> Vec<Report> {
        if self.compare_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.compare_at = None;
        let settled = workers.filter(|(_, promoted)| now.saturating_sub(*promoted) >= OPENING / 2);
        let mut served: Served = settled.map(|(slot, _)| (slot, BTreeSet::new())).collect();
        for address in addresses.filter(|address| address.is_open && !address.is_late) {
            for (slot, addresses) in &mut served {
                if address.shares.is_open(*slot) {
                    addresses.insert(address.name.to_owned());
                }
            }
        }
        let differences = differences(&served).into_iter();
        differences.map(|(level, text, subject)| Report::named(level, text, subject)).collect()
    }
}

/// A line for each address that some workers serve and others do not. A warning if a worker has no address in common
/// with the others, because it then gets none of their load.
fn differences(served: &Served) -> Vec<(Level, String, Subject)> {
    let all: BTreeSet<&String> = served.values().flatten().collect();
    let is_apart = |addresses: &BTreeSet<String>| {
        let is_elsewhere = |address| served.values().filter(|other| other.contains(address)).count() > 1;
        !addresses.is_empty() && !addresses.iter().any(is_elsewhere)
    };
    let level = if served.len() > 1 && served.values().any(is_apart) { Level::Warn } else { Level::Info };
    let differing = all.into_iter().filter_map(|address| {
        let (with, without): (Vec<_>, Vec<_>) =
            served.iter().partition(|(_, addresses)| addresses.contains(address));
        let names =
            |slots: Vec<(&u16, _)>| slots.iter().map(|(slot, _)| slot.to_string()).collect::<Vec<_>>();
        let (with, without) = (names(with), names(without));
        let text = format!("{address} is served by {}, and not by {}", named(&with), named(&without));
        (!without.is_empty()).then(|| {
            let address = address.clone();
            (level, text, Subject::AddressUneven { address, served_by: with, missing_from: without })
        })
    });
    differing.take(MAX_DIFFERENCES).collect()
}

fn named(slots: &[String]) -> String {
    match slots {
        [one] => format!("worker {one}"),
        more => format!("workers {}", more.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(served: &[&[&str]]) -> Vec<(Level, String)> {
        let slots = served.iter().enumerate();
        let addresses = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let served = slots.map(|(slot, names)| (slot as u16, addresses(names))).collect();
        differences(&served).into_iter().map(|(level, text, _)| (level, text)).collect()
    }

    #[test]
    fn workers_that_serve_the_same_are_nothing_to_tell_of() {
        for served in [&[&["a", "b"][..], &["a", "b"]][..], &[&["a"]], &[&[], &[]], &[]] {
            assert_eq!(reports(served), [], "{served:?}");
        }
    }

    #[test]
    fn a_worker_that_moved_to_another_port_is_reported_with_both_addresses() {
        assert_eq!(
            reports(&[&["a"], &["b"], &["a"]]),
            [
                (Level::Warn, "a is served by workers 0, 2, and not by worker 1".to_owned()),
                (Level::Warn, "b is served by worker 1, and not by workers 0, 2".to_owned())
            ]
        );
    }

    #[test]
    fn an_address_more_in_one_worker_is_information() {
        let text = "admin is served by worker 0, and not by worker 1".to_owned();
        assert_eq!(reports(&[&["a", "admin"], &["a"]]), [(Level::Info, text)]);
        assert_eq!(reports(&[&["a"], &[]]).len(), 1, "one that serves nothing");
    }

    #[test]
    fn a_port_for_each_worker_is_not_reported_without_end() {
        let own: Vec<Vec<String>> = (0..64).map(|slot| vec!["a".to_owned(), slot.to_string()]).collect();
        let own: Vec<Vec<&str>> =
            own.iter().map(|names| names.iter().map(String::as_str).collect()).collect();
        let own: Vec<&[&str]> = own.iter().map(Vec::as_slice).collect();
        assert_eq!(reports(&own).len(), MAX_DIFFERENCES);
    }
}
