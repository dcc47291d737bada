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

/// None of it has an effect while admission is off.
pub struct Admission {
    settings: Option<Settings>,
    memory: SharedMemory,
    intake: Intake<Connection>,
    /// How many overloads there have been.
    overloads: u64,
    began: Duration,
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
            refused_before: [0; 2],
        }
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

    /// Other settings apply from now on; None: nothing is refused. If that ends an overload: its report, and the
    /// connections that were held.
    pub fn configure(
        &mut self,
        settings: Option<Settings>,
        now: Duration,
    ) -> Option<(Report, Vec<Connection>)> {
        if let Some(settings) = &settings {
            self.intake.set_target(settings.target);
        }
        self.settings = settings;
        (self.settings.is_none() && self.is_on()).then(|| (self.ended(now), self.intake.end()))
    }

    /// Looks at the workers.
    pub fn look(&mut self, sights: &[Sight], now: Duration) -> Option<(AdmissionChange, Report)> {
        let change = self.intake.look(sights, now)?;
        let report = match change {
            AdmissionChange::Began => self.began(now),
            AdmissionChange::Ended => self.ended(now),
        };
        Some((change, report))
    }

    fn began(&mut self, now: Duration) -> Report {
        self.began = now;
        self.refused_before = self.refused();
        self.overloads += 1;
        self.memory.set(header::OVERLOAD, self.overloads);
        let text = "Every worker is saturated: requests that would wait longer than \
                    loadBalancing.admission.targetDelay are refused.";
        Report::named(Level::Warn, text, Subject::OverloadBegan)
    }

    fn ended(&mut self, now: Duration) -> Report {
        self.memory.set(header::OVERLOAD, 0);
        let counts = self.refused();
        let [connections, requests] =
            [0, 1].map(|at: usize| counts[at].saturating_sub(self.refused_before[at]));
        let after = now.saturating_sub(self.began);
        let text = format!(
            "Requests are no longer refused. In {:.1} s {connections} connections and {requests} requests were.",
            after.as_secs_f64()
        );
        let subject = Subject::OverloadEnded {
            after_ms: after.as_millis() as u64,
            refused_connections: connections,
            refused_requests: requests,
        };
        Report::named(Level::Info, text, subject)
    }

    /// Refused connections and requests, in total.
    fn refused(&self) -> [u64; 2] {
        [self.memory.get(header::REFUSED), self.memory.totals().refused()]
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
        self.intake.asks(slot, now);
    }

    /// Slots whose workers have to be told to ask anew.
    pub fn forgotten(&mut self, now: Duration) -> Vec<u16> {
        self.intake.forgotten(now)
    }

    pub fn may_take(&self, slot: u16) -> bool {
        self.intake.may_take(slot)
    }

    pub fn any_may_take(&self) -> bool {
        self.intake.any_may_take()
    }

    /// Publishes whether workers wait for connections.
    pub fn publish(&self) {
        let mut waiting = self.intake.waiting();
        let spare = match (waiting.next(), waiting.next()) {
            (None, _) => 0,
            (Some(slot), None) => u64::from(slot) + 1,
            (Some(_), Some(_)) => header::SEVERAL,
        };
        self.memory.set(header::SPARE, spare);
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
