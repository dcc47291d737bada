//! Readiness. A worker that takes long is notified, so that it logs what is missing before `startupTimeout` ends it. A
//! replacement takes over its slot when it serves every address that its predecessor serves, or when the missing ones
//! were given up on purpose. PURE.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::WorkerId;

/// A start is late after this part of `startupTimeout`, but not before the minimum.
const LATE_PART: u32 = 6;
const MIN_LATE: Duration = Duration::from_secs(1);

/// Starts that may become late.
pub(super) struct LateStarts {
    /// When a start is late; None: `startupTimeout` comes first.
    after: Option<Duration>,
    /// In the order in which they become late.
    starts: VecDeque<(Duration, WorkerId)>,
}

impl LateStarts {
    pub fn new(startup_timeout: Duration) -> Self {
        let after = (startup_timeout / LATE_PART).max(MIN_LATE);
        Self { after: Some(after).filter(|after| *after < startup_timeout), starts: VecDeque::new() }
    }

    /// When a start is late.
    pub fn after(&self) -> Duration {
        self.after.unwrap_or_default()
    }

    /// The worker's process was spawned.
    pub fn begin(&mut self, worker: WorkerId, now: Duration) {
        if let Some(after) = self.after {
            self.starts.push_back((now + after, worker));
        }
    }

    pub fn forget(&mut self, worker: WorkerId) {
        self.starts.retain(|(_, started)| *started != worker);
    }

    pub fn due(&self) -> Option<Duration> {
        self.starts.front().map(|(due, _)| *due)
    }

    /// The workers that are late now.
    pub fn look(&mut self, now: Duration) -> Vec<WorkerId> {
        let late = self.starts.iter().take_while(|(due, _)| *due <= now).count();
        self.starts.drain(..late).map(|(_, worker)| worker).collect()
    }
}

/// The environments of a predecessor and of its replacement.
type Environments<'a> = (&'a BTreeMap<String, String>, &'a BTreeMap<String, String>);

/// Addresses that a replacement does not serve although its predecessor does.
pub(super) struct Lacking {
    /// Given up on purpose.
    pub given_up: Vec<String>,
    /// Required before it takes over the slot.
    pub missing: Vec<String>,
}

impl Lacking {
    /// `reports_ready`: the program itself reports when it is ready.
    pub fn of(addresses: Vec<String>, reports_ready: bool, environments: Option<Environments<'_>>) -> Self {
        let is_moved =
            |address: &str| environments.is_some_and(|(old, new)| names_another(address, old, new));
        let (given_up, missing) =
            addresses.into_iter().partition(|address| reports_ready || is_moved(address));
        Self { given_up, missing }
    }
}

/// Whether a variable contained the address's port or path and has another value now.
fn names_another(address: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> bool {
    let port = address.rsplit(':').next().filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let names_it = |value: &str| match port {
        Some(port) => value.split(|c: char| !c.is_ascii_digit()).any(|number| number == port),
        None => value.contains(address),
    };
    old.iter().any(|(name, value)| names_it(value) && new.get(name) != Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_late_once_and_only_where_it_may_take_so_long() {
        let id = |slot| WorkerId::new(slot, 1);
        let mut starts = LateStarts::new(Duration::from_secs(60));
        starts.begin(id(0), Duration::ZERO);
        starts.begin(id(1), Duration::from_secs(1));
        starts.begin(id(2), Duration::from_secs(2));
        starts.forget(id(1));
        assert_eq!((starts.after(), starts.due()), (Duration::from_secs(10), Some(Duration::from_secs(10))));
        assert_eq!(starts.look(Duration::from_secs(9)), []);
        assert_eq!(starts.look(Duration::from_secs(12)), [id(0), id(2)]);
        assert_eq!((starts.look(Duration::from_secs(99)), starts.due()), (vec![], None));
        let mut short = LateStarts::new(Duration::from_secs(1));
        short.begin(id(0), Duration::ZERO);
        assert_eq!(short.due(), None);
    }

    #[test]
    fn what_a_replacement_lacks_is_given_up_on_purpose_or_missing() {
        let (old, new) = (environment(&[("PORT", "3000")]), environment(&[("PORT", "4000")]));
        let lacking = |reports_ready, environments| {
            let addresses = ["127.0.0.1:3000", "127.0.0.1:5000"].map(str::to_owned).into();
            let Lacking { given_up, missing } = Lacking::of(addresses, reports_ready, environments);
            (given_up.len(), missing.len())
        };
        assert_eq!(lacking(false, Some((&old, &new))), (1, 1));
        assert_eq!(lacking(false, None), (0, 2));
        assert_eq!(lacking(true, None), (2, 0));
    }

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_address_is_given_up_on_purpose_when_the_variable_that_names_it_has_changed() {
        let old = [("PORT", "3000"), ("ADMIN", "http://localhost:3001/"), ("SOCKET", "/run/app.sock")];
        let old = environment(&old);
        for (address, changed, is_moved) in [
            ("127.0.0.1:3000", ("PORT", "4000"), true),
            ("[::]:3001", ("ADMIN", "http://localhost:4001/"), true),
            ("/run/app.sock", ("SOCKET", "/run/other.sock"), true),
            ("udp 127.0.0.1:3000", ("PORT", "4000"), true),
            ("127.0.0.1:3000", ("ADMIN", "none"), false),
            ("127.0.0.1:300", ("PORT", "4000"), false),
            ("127.0.0.1:3000", ("SECRET", "rotated"), false),
        ] {
            let mut new = old.clone();
            new.insert(changed.0.to_owned(), changed.1.to_owned());
            assert_eq!(names_another(address, &old, &new), is_moved, "{address} {changed:?}");
        }
        let gone = environment(&[("SOCKET", "/run/app.sock")]);
        assert!(names_another("127.0.0.1:3000", &old, &gone), "a variable that is unset");
    }
}
