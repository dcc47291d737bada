//! Getting ready. A worker that takes long is told. A replacement that says that it is ready takes its slot over when it serves every address that its predecessor
//! serves, or when it is clear that it does not want to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::inputs::Input;
use super::run::Cluster;
use crate::component::Component;
use crate::config::sections::process::Ready;
use crate::event::{Event, Level};
use crate::ipc::control::ToWorker;
use crate::model::WorkerId;
use crate::supervisor::{Fact, Slot, Stage, Worker};

/// The part of `startupTimeout` after which a start is late, and not sooner than the other.
const LATE_PART: u32 = 6;
const MIN_LATE: Duration = Duration::from_secs(1);

impl Cluster {
    /// A worker that is not ready after a while is told, so that it says what it waits for before `startupTimeout` ends it.
    pub(super) fn look_later(&self, worker: WorkerId) {
        let limit = self.setup.policy.startup_timeout;
        let after = (limit / LATE_PART).max(MIN_LATE);
        if after < limit {
            let inputs = self.inputs.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                // A loop that has ended has no workers.
                let _ = inputs.send(Input::Late { worker, after });
            });
        }
    }

    pub(super) fn late(&self, worker: WorkerId, after: Duration) {
        let slot = self.supervisor.slots().get(usize::from(worker.slot));
        let mut workers = slot.into_iter().flat_map(Slot::workers);
        let starts = |one: &Worker| one.id == worker && matches!(one.stage, Stage::Starting { .. });
        if workers.any(starts)
            && let Some(control) = self.workers.control(worker)
        {
            control.send(ToWorker::Late { after_ms: after.as_millis() as u64 });
        }
    }

    /// The worker says that it is ready.
    pub(super) fn on_ready(&mut self, worker: WorkerId) {
        self.hung.begin(worker, self.elapsed());
        let found = self.supervisor.slots().get(usize::from(worker.slot));
        if found.is_some_and(|slot| slot.takes_over(worker)) {
            self.dispatcher.succeed(worker);
        } else {
            self.advance(Fact::Ready { worker });
        }
    }

    /// What the worker does not serve that its predecessor serves.
    pub(super) fn lacks(&mut self, worker: WorkerId, lacks: Vec<String>) {
        let found = self.supervisor.slots().get(usize::from(worker.slot));
        if !found.is_some_and(|slot| slot.takes_over(worker)) {
            // It has the slot already, or there is nobody to succeed any more.
            return self.advance(Fact::Ready { worker });
        }
        let says_so = self.setup.worker_config.ready == Ready::Message;
        let (moved, missed): (Vec<_>, Vec<_>) =
            lacks.into_iter().partition(|address| says_so || self.is_moved(worker, address));
        if !missed.is_empty() {
            return self.advance(Fact::Lacks { worker, addresses: missed });
        }
        if !moved.is_empty() {
            let text = format!("Worker {worker} does not serve {} any more", moved.join(", "));
            self.emit(Event::about(Component::Workers, Level::Info, text));
        }
        self.advance(Fact::Ready { worker });
    }

    /// Did the program's environment change so that the address is another?
    fn is_moved(&self, worker: WorkerId, address: &str) -> bool {
        let slot = self.supervisor.slots().get(usize::from(worker.slot));
        let old = slot.and_then(|slot| slot.active_worker());
        let old = old.and_then(|old| self.workers.environment(old.id));
        match (old, self.workers.environment(worker)) {
            (Some(old), Some(new)) => names_another(address, old, new),
            (None, _) | (_, None) => false,
        }
    }
}

/// A variable named the address's port, or its path, and has another value now.
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
