//! Which new connections the accept thread admits. Nothing is held up until every worker is saturated. From then on a
//! worker gets connections when it asks for some, which it does when it has none that waits; until then the newest are
//! held, for `targetDelay` at most, and the others refused. So a worker that is free finds a connection at once, and
//! none waits in a worker behind others. When no worker is expected to ask in time, as while all loops are blocked,
//! connections are refused at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::interval;

/// How long nothing must have been refused until the overload is over.
const QUIET: Duration = Duration::from_secs(1);
/// Connections that a worker with short iterations may get at a time.
const MOST_AT_A_TIME: u32 = 64;
/// How long a worker that may get no connection must not have asked until it is told to ask anew.
const REMINDER: Duration = Duration::from_millis(500);
/// Decay of a worker's usual round, per round.
const DECAY: f64 = 0.2;

/// A worker, as the accept thread sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    pub slot: u16,
    /// It takes no connections, or is unresponsive.
    pub is_out: bool,
    /// When a request was last late in its saturated loop; None: never.
    pub late_at: Option<Duration>,
    /// Since when it has read none of the connections that it has been sent; None: it has read all.
    pub unread_since: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Every worker is saturated.
    Began,
    Ended,
}

/// A worker while connections are refused.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// When it has last asked, or got the first of the connections that it is at.
    since: Duration,
    /// How many it may get now.
    left: u32,
    /// How many it may get at a time.
    at_a_time: u32,
    /// How long it usually takes until it asks again: a decaying peak.
    usual: Duration,
    has_given: bool,
    /// When it was last told to ask anew.
    reminded: Duration,
}

struct Held<C> {
    connection: C,
    since: Duration,
}

/// `C` is a connection.
pub struct Intake<C> {
    target: Duration,
    is_on: bool,
    refused_at: Duration,
    by_slot: BTreeMap<u16, Round>,
    /// The newest last.
    held: Vec<Held<C>>,
}

impl<C> Intake<C> {
    pub fn new(target: Duration) -> Self {
        Self { target, is_on: false, refused_at: Duration::ZERO, by_slot: BTreeMap::new(), held: Vec::new() }
    }

    /// Other settings apply from now on.
    pub fn set_target(&mut self, target: Duration) {
        self.target = target;
    }

    /// Whether connections wait until a worker asks for them.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Looks at the serving workers.
    pub fn look(&mut self, sights: &[Sight], now: Duration) -> Option<Change> {
        let is_saturated = |sight: &Sight| {
            let is_late = sight.late_at.is_some_and(|at| now.saturating_sub(at) < interval(self.target));
            sight.is_out || is_late || self.is_stuck(sight, now)
        };
        if !self.is_on {
            let is_any_there = sights.iter().any(|sight| !sight.is_out || self.is_stuck(sight, now));
            if !is_any_there || !sights.iter().all(is_saturated) {
                return None;
            }
            self.is_on = true;
            self.refused_at = now;
            let rounds = sights.iter().map(|sight| {
                let since = sight.unread_since.unwrap_or(now);
                (sight.slot, Round { left: 0, ..Round::new(since) })
            });
            self.by_slot = rounds.collect();
            return Some(Change::Began);
        }
        let some_late = sights.iter().filter_map(|sight| sight.late_at).max();
        let refused_at = some_late.map_or(self.refused_at, |at| at.max(self.refused_at));
        let is_quiet = now.saturating_sub(refused_at) >= QUIET;
        if is_quiet && self.held.is_empty() && self.any_may_take() {
            self.end();
            return Some(Change::Ended);
        }
        None
    }

    /// From now on nothing waits until a worker asks. Returns the connections that were held.
    pub fn end(&mut self) -> Vec<C> {
        self.is_on = false;
        self.by_slot.clear();
        self.take_all(|_| true)
    }

    /// Whether the worker has read nothing for too long.
    pub fn is_stuck(&self, sight: &Sight, now: Duration) -> bool {
        sight.unread_since.is_some_and(|since| now.saturating_sub(since) >= interval(self.target))
    }

    /// A worker takes over its slot.
    pub fn joined(&mut self, slot: u16, now: Duration) {
        if self.is_on {
            self.by_slot.insert(slot, Round::new(now));
        }
    }

    /// The slot's worker gets no more connections.
    pub fn left(&mut self, slot: u16) {
        self.by_slot.remove(&slot);
    }

    /// The worker asks for connections: it has none that waits.
    pub fn asks(&mut self, slot: u16, now: Duration) {
        let target = self.target;
        if let Some(round) = self.by_slot.get_mut(&slot) {
            round.asks(target, now);
        }
    }

    /// The workers that have not asked for so long that they may believe to have asked: a connection or a message to them
    /// was lost. They are told to ask anew.
    pub fn forgotten(&mut self, now: Duration) -> Vec<u16> {
        let forgotten = self.by_slot.iter_mut().filter(|(_, round)| round.is_forgotten(now));
        let reminded = forgotten.map(|(slot, round)| {
            round.reminded = now;
            *slot
        });
        reminded.collect()
    }

    /// Whether the slot's worker may get a connection.
    pub fn may_take(&self, slot: u16) -> bool {
        !self.is_on || self.by_slot.get(&slot).is_some_and(|round| round.left > 0)
    }

    /// Whether any worker may get one.
    pub fn any_may_take(&self) -> bool {
        !self.is_on || self.waiting().next().is_some()
    }

    /// While connections wait until a worker asks: the slots whose workers may get one.
    pub fn waiting(&self) -> impl Iterator<Item = u16> {
        self.by_slot.iter().filter(|(_, round)| round.left > 0).map(|(slot, _)| *slot)
    }

    /// The slot's worker got a connection.
    pub fn given(&mut self, slot: u16, now: Duration) {
        if let Some(round) = self.by_slot.get_mut(&slot) {
            round.left = round.left.saturating_sub(1);
            if !std::mem::replace(&mut round.has_given, true) {
                round.since = now;
            }
        }
    }

    /// Holds a connection that no worker may get now. Returns the connections to be refused.
    pub fn hold(&mut self, connection: C, now: Duration) -> Vec<C> {
        if !self.is_any_expected(now) {
            self.refused_at = now;
            return vec![connection];
        }
        self.held.push(Held { connection, since: now });
        let too_many = self.held.len().saturating_sub(self.most_held());
        if too_many > 0 {
            self.refused_at = now;
        }
        self.held.drain(..too_many).map(|held| held.connection).collect()
    }

    /// Twice what the workers take at a time is enough that each finds some when it asks.
    fn most_held(&self) -> usize {
        2 * self.by_slot.values().map(|round| round.at_a_time as usize).sum::<usize>().max(1)
    }

    /// A held connection; the newest is the last.
    pub fn get(&self, at: usize) -> Option<&C> {
        self.held.get(at).map(|held| &held.connection)
    }

    /// Takes a held connection.
    pub fn take(&mut self, at: usize) -> Option<C> {
        (at < self.held.len()).then(|| self.held.remove(at).connection)
    }

    /// Takes all held connections that `which` names, the oldest first.
    pub fn take_all(&mut self, which: impl Fn(&C) -> bool) -> Vec<C> {
        let (taken, held) =
            std::mem::take(&mut self.held).into_iter().partition(|held| which(&held.connection));
        self.held = held;
        taken.into_iter().map(|held: Held<C>| held.connection).collect()
    }

    /// The connections that have been held for too long, or for which no worker is expected any more.
    pub fn expire(&mut self, now: Duration) -> Vec<C> {
        let all = !self.held.is_empty() && !self.is_any_expected(now);
        let count = if all {
            self.held.len()
        } else {
            self.held.iter().take_while(|held| self.is_over(held, now)).count()
        };
        if count > 0 {
            self.refused_at = now;
        }
        self.held.drain(..count).map(|held| held.connection).collect()
    }

    /// When `expire` has something to do; None: nothing is held.
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        self.held.first().map(|first| (first.since + self.target).saturating_sub(now))
    }

    fn is_over(&self, held: &Held<C>, now: Duration) -> bool {
        held.since + self.target <= now
    }

    /// Whether some worker is likely to ask before a connection that comes now is late.
    fn is_any_expected(&self, now: Duration) -> bool {
        self.by_slot.values().any(|round| round.is_expected(self.target, now))
    }
}

impl Round {
    fn new(since: Duration) -> Self {
        Self { since, left: 1, at_a_time: 1, usual: Duration::ZERO, has_given: false, reminded: since }
    }

    fn asks(&mut self, target: Duration, now: Duration) {
        if self.has_given {
            let took = now.saturating_sub(self.since);
            let was_full = self.left == 0;
            self.usual = took.max(self.usual.mul_f64(1.0 - DECAY) + took.mul_f64(DECAY));
            if took > target {
                self.at_a_time = (self.at_a_time / 2).max(1);
            } else if was_full && took < target / 2 {
                self.at_a_time = (self.at_a_time * 2).min(MOST_AT_A_TIME);
            }
        }
        self.has_given = false;
        self.since = now;
        self.left = self.at_a_time;
    }

    fn is_forgotten(&self, now: Duration) -> bool {
        self.left == 0 && now.saturating_sub(self.since.max(self.reminded)) >= REMINDER
    }

    /// It may get a connection, or has been busy for no longer than is usual for it.
    fn is_expected(&self, target: Duration, now: Duration) -> bool {
        self.left > 0 || now.saturating_sub(self.since) <= target.max(self.usual * 2)
    }
}
