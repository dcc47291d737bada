//! New connections while all workers are saturated: those that wait until a worker asks for them, and the counts for
//! the log. Which are admitted is decided by [`crate::balance::Intake`].

use std::time::Duration;

use super::command::Report;
use super::connection::Connection;
use super::placement::PlacementRequest;
use super::settings::Admission as Settings;
use crate::balance::{AdmissionChange, Intake, Sight};
use crate::event::{Level, Subject};
use crate::ipc::control::GroupId;
use crate::metrics::layout::header;
use crate::metrics::memory::SharedMemory;

/// How long no worker must have asked until all are told to ask anew.
const RENEWAL: Duration = Duration::from_millis(500);

/// None of it has an effect while admission is off.
pub struct Admission {
    settings: Option<Settings>,
    memory: SharedMemory,
    intake: Intake<Connection>,
    /// How often workers were told to ask.
    overloads: u64,
    began: Duration,
    /// When a worker has last asked, or all were told to ask anew.
    renewed: Duration,
    /// The counts of refusals when it began.
    refused_before: [u64; 2],
}

impl Admission {
    pub fn new(settings: Option<Settings>, memory: SharedMemory) -> Self {
        let target = settings.as_ref().map_or(Duration::ZERO, |settings| settings.target);
        Self {
            settings,
            memory,
            intake: Intake::new(target),
            overloads: 0,
            began: Duration::ZERO,
            renewed: Duration::ZERO,
            refused_before: [0; 2],
        }
    }

    /// Workers ask anew: some connection was taken back from one that had asked for it, or no worker has asked for long.
    /// Whoever calls this wakes the workers.
    pub fn renew(&mut self, now: Duration) {
        self.renewed = now;
        self.overloads += 1;
        self.memory.set(header::OVERLOAD, self.overloads);
    }

    /// Whether no worker has asked for so long that all are asked again: a worker whose connection was taken back would
    /// otherwise wait for one forever.
    pub fn needs_renewal(&self, now: Duration) -> bool {
        self.is_on() && !self.any_may_take() && now.saturating_sub(self.renewed) >= RENEWAL
    }

    pub fn is_enabled(&self) -> bool {
        self.settings.is_some()
    }

    /// Whether all workers are saturated.
    pub fn is_on(&self) -> bool {
        self.intake.is_on()
    }

    pub fn is_exempt(&self, path: &str) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.exempt.iter().any(|exempt| exempt == path))
    }

    /// Whether there are such paths.
    pub fn has_exempt(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| !settings.exempt.is_empty())
    }

    /// Whether the connection has a request that may be refused. A connection that is idle between two requests has none.
    pub fn concerns(&self, connection: &Connection) -> bool {
        let has_request = connection.keep_alive.is_none() || connection.per_request;
        self.is_on() && has_request && !connection.hint.is_exempt
    }

    /// Looks at the workers.
    pub fn look(&mut self, sights: &[Sight], now: Duration) -> Option<(AdmissionChange, Report)> {
        let change = self.intake.look(sights, now)?;
        let counts = [self.memory.get(header::REFUSED), self.memory.totals().refused()];
        let report = match change {
            AdmissionChange::Began => {
                self.began = now;
                self.refused_before = counts;
                self.renew(now);
                let text = "Every worker is saturated: requests that would wait longer than \
                            loadBalancing.admission.targetDelay are refused.";
                Report::named(Level::Warn, text, Subject::OverloadBegan)
            }
            AdmissionChange::Ended => {
                self.memory.set(header::OVERLOAD, 0);
                let [connections, requests] =
                    [0, 1].map(|at: usize| counts[at].saturating_sub(self.refused_before[at]));
                let after = now.saturating_sub(self.began);
                let text = format!(
                    "The workers are no longer saturated. In {:.1} s {connections} connections and {requests} \
                     requests were refused.",
                    after.as_secs_f64()
                );
                let subject = Subject::OverloadEnded {
                    after_ms: after.as_millis() as u64,
                    refused_connections: connections,
                    refused_requests: requests,
                };
                Report::named(Level::Info, text, subject)
            }
        };
        Some((change, report))
    }

    /// Slots whose workers have read nothing for too long: what they were sent may be refused.
    pub fn stuck(&self, sights: &[Sight], now: Duration) -> Vec<u16> {
        if !self.is_on() {
            return Vec::new();
        }
        let stuck = sights.iter().filter(|sight| self.intake.is_stuck(sight, now));
        stuck.map(|sight| sight.slot).collect()
    }

    pub fn joined(&mut self, slot: u16, now: Duration) {
        self.intake.joined(slot, now);
    }

    pub fn left(&mut self, slot: u16) {
        self.intake.left(slot);
    }

    pub fn asks(&mut self, slot: u16, now: Duration) {
        self.renewed = now;
        self.intake.asks(slot, now);
    }

    pub fn may_take(&self, slot: u16) -> bool {
        self.intake.may_take(slot)
    }

    pub fn any_may_take(&self) -> bool {
        self.intake.any_may_take()
    }

    pub fn given(&mut self, slot: u16, now: Duration) {
        self.intake.given(slot, now);
    }

    /// Holds a connection that no worker may get now; returns those to be refused.
    pub fn hold(&mut self, connection: Connection, now: Duration) -> Vec<Connection> {
        self.intake.hold(connection, now)
    }

    pub fn held(&self) -> usize {
        self.intake.held()
    }

    /// A held connection; the newest is the last.
    pub fn request(&self, at: usize) -> Option<PlacementRequest> {
        self.intake.get(at).map(PlacementRequest::of)
    }

    pub fn take(&mut self, at: usize) -> Option<Connection> {
        self.intake.take(at)
    }

    /// Takes the held connections of a group that was removed.
    pub fn take_group(&mut self, group: GroupId) -> Vec<Connection> {
        self.intake.take_all(|connection| connection.group == group)
    }

    /// The connections that have been held for too long.
    pub fn expire(&mut self, now: Duration) -> Vec<Connection> {
        self.intake.expire(now)
    }

    /// When something is due; None: nothing.
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        self.intake.due_in(now)
    }
}
