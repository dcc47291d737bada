//! The workers of each slot: the active one, which gets the connections, the starting next one, draining ones, and dead
//! ones whose channels still have connections. Only active ones are ever chosen.

mod channel;
mod connection_limit;
mod heartbeat;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::connection::Connection;
use super::fd_budget::FdBudget;
use super::placement::Prospect;
use super::transfer::Taken;
use crate::balance::Sight;
use crate::ipc::control::GroupId;
use crate::model::WorkerId;

pub use channel::WorkerChannel;
pub use state::WorkerState;

pub struct WorkerTable {
    fd_budget: FdBudget,
    max_connections: Option<u32>,
    /// By slot.
    serving: Vec<Option<WorkerChannel>>,
    /// Registered and not yet promoted.
    starting: Vec<WorkerChannel>,
    /// Replaced by a successor and still running.
    draining: Vec<WorkerChannel>,
    /// Ended, with unread connections that could not be taken back yet for lack of file descriptors.
    dead: Vec<WorkerChannel>,
}

/// The stage of a worker, or its stage when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Serving,
    Starting,
    Draining,
}

/// A worker has become unresponsive or has recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthChange {
    pub worker: WorkerId,
    pub unresponsive: bool,
    /// It has fd pressure, which it reports itself.
    pub fd_pressure: bool,
}

impl WorkerTable {
    /// The maximum number of connections of one worker from now on.
    pub fn limit_connections(&mut self, most: Option<u32>) {
        self.max_connections = most;
    }

    /// `max_connections`: of one worker.
    pub fn new(fd_budget: FdBudget, max_connections: Option<u32>) -> Self {
        Self {
            fd_budget,
            max_connections,
            serving: Vec::new(),
            starting: Vec::new(),
            draining: Vec::new(),
            dead: Vec::new(),
        }
    }

    pub fn join(&mut self, channel: WorkerChannel) {
        self.starting.push(channel);
    }

    /// The worker takes over its slot; returns the groups that it serves, and whether its servers are plain HTTP. None
    /// if it died meanwhile. The slot's previous worker drains.
    pub fn promote(&mut self, worker: WorkerId, now: Duration) -> Option<BTreeMap<GroupId, bool>> {
        let at = self.starting.iter().position(|channel| channel.id() == worker)?;
        let mut channel = self.starting.remove(at);
        let prepared = channel.promote(now);
        let index = usize::from(worker.slot);
        if self.serving.len() <= index {
            self.serving.resize_with(index + 1, || None);
        }
        if let Some(mut old) = self.serving[index].replace(channel) {
            old.leave();
            self.draining.push(old);
        }
        Some(prepared)
    }

    pub fn serving(&self) -> impl Iterator<Item = &WorkerChannel> {
        self.serving.iter().flatten()
    }

    fn serving_mut(&mut self) -> impl Iterator<Item = &mut WorkerChannel> {
        self.serving.iter_mut().flatten()
    }

    fn all(&self) -> impl Iterator<Item = &WorkerChannel> {
        self.serving().chain(&self.starting).chain(&self.draining)
    }

    pub fn in_slot(&self, slot: u16) -> Option<&WorkerChannel> {
        self.serving.get(usize::from(slot)).and_then(Option::as_ref)
    }

    pub fn in_slot_mut(&mut self, slot: u16) -> Option<&mut WorkerChannel> {
        self.serving.get_mut(usize::from(slot)).and_then(Option::as_mut)
    }

    /// The worker, if it has its slot.
    pub fn current_mut(&mut self, worker: WorkerId) -> Option<&mut WorkerChannel> {
        self.in_slot_mut(worker.slot).filter(|channel| channel.id() == worker)
    }

    /// Slots up to the highest that has ever had a worker.
    pub fn slots(&self) -> usize {
        self.serving.len()
    }

    pub fn starting(&self, worker: WorkerId) -> Option<&WorkerChannel> {
        self.starting.iter().find(|channel| channel.id() == worker)
    }

    /// The worker in any stage.
    pub fn find(&self, worker: WorkerId) -> Option<(Stage, &WorkerChannel)> {
        let serving = self.serving().map(|channel| (Stage::Serving, channel));
        let starting = self.starting.iter().map(|channel| (Stage::Starting, channel));
        let draining = self.draining.iter().map(|channel| (Stage::Draining, channel));
        serving.chain(starting).chain(draining).find(|(_, channel)| channel.id() == worker)
    }

    /// The worker that was chosen for a connection: usually an active one.
    pub fn chosen_mut(&mut self, worker: WorkerId) -> Option<&mut WorkerChannel> {
        let has_its_slot = self.in_slot(worker.slot).is_some_and(|channel| channel.id() == worker);
        if has_its_slot {
            return self.in_slot_mut(worker.slot);
        }
        self.find_mut(worker).map(|(_, channel)| channel)
    }

    /// The worker in any stage.
    pub fn find_mut(&mut self, worker: WorkerId) -> Option<(Stage, &mut WorkerChannel)> {
        let serving = self.serving.iter_mut().flatten().map(|channel| (Stage::Serving, channel));
        let starting = self.starting.iter_mut().map(|channel| (Stage::Starting, channel));
        let draining = self.draining.iter_mut().map(|channel| (Stage::Draining, channel));
        serving.chain(starting).chain(draining).find(|(_, channel)| channel.id() == worker)
    }

    pub fn remove(&mut self, worker: WorkerId) -> Option<(Stage, WorkerChannel)> {
        let is = |channel: &WorkerChannel| channel.id() == worker;
        if let Some(slot) = self.serving.iter_mut().find(|slot| slot.as_ref().is_some_and(is)) {
            return slot.take().map(|channel| (Stage::Serving, channel));
        }
        if let Some(at) = self.starting.iter().position(is) {
            return Some((Stage::Starting, self.starting.remove(at)));
        }
        let at = self.draining.iter().position(is)?;
        Some((Stage::Draining, self.draining.remove(at)))
    }

    /// Keeps a dead worker's channel until everything is read back from it.
    pub fn keep_dead(&mut self, channel: WorkerChannel) {
        self.dead.push(channel);
    }

    pub fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// Takes back unread connections of dead workers, as far as there are file descriptors.
    pub fn take_back_from_dead(&mut self, now: Duration) -> Taken {
        let mut taken = Taken::default();
        self.dead.retain_mut(|gone| {
            let back = gone.take_all(now);
            let whole = back.whole;
            taken.append(back);
            !whole
        });
        taken
    }

    /// Takes back connections from unresponsive workers that one of the `takers` may get.
    pub fn take_back_from_unresponsive(&mut self, takers: &BTreeSet<GroupId>, now: Duration) -> Taken {
        let mut taken = Taken::default();
        for channel in self.serving_mut().filter(|channel| channel.is_unresponsive()) {
            taken.append(channel.take_back(takers, now));
        }
        taken
    }

    /// Takes back unread connections of the slot's previous workers.
    pub fn take_back_from_draining(&mut self, slot: u16, now: Duration) -> Taken {
        let mut taken = Taken::default();
        let former = self.starting.iter_mut().chain(&mut self.draining);
        for channel in former.filter(|channel| channel.id().slot == slot && channel.is_leaving()) {
            taken.append(channel.take_all(now));
        }
        taken
    }

    /// Observes every serving worker. `queued`: by slot, whether connections are queued at a listener that its worker
    /// polls.
    pub fn observe(&mut self, queued: &[bool], now: Duration) -> Vec<HealthChange> {
        let mut changes = Vec::new();
        for channel in self.serving_mut() {
            let worker = channel.id();
            let has_own_queue = queued.get(usize::from(worker.slot)).is_some_and(|queued| *queued);
            if let Some(unresponsive) = channel.observe(has_own_queue, now) {
                changes.push(HealthChange { worker, unresponsive, fd_pressure: channel.has_fd_pressure() });
            }
        }
        changes
    }

    /// The workers that serve, as admission sees them.
    pub fn sights(&mut self, now: Duration, clock: Duration) -> Vec<Sight> {
        let serving = self.serving_mut().filter(|channel| !channel.is_leaving());
        serving.map(|channel| channel.sight(now, clock)).collect()
    }

    /// Wakes the loops of the workers that serve.
    pub fn wake_all(&self) {
        self.serving().for_each(WorkerChannel::wake_up);
    }

    /// Lets the workers of these slots ask for connections anew, while all are saturated.
    pub fn remind(&self, slots: &[u16]) {
        self.serving().filter(|channel| slots.contains(&channel.id().slot)).for_each(WorkerChannel::remind);
    }

    /// Takes back what the workers of these slots have not read, if they were sent something since `leave_rest_to`.
    pub fn take_back_from(&mut self, slots: &[u16], now: Duration) -> Taken {
        let mut taken = Taken::default();
        for channel in self.of_slots(slots).filter(|channel| channel.has_news()) {
            taken.append(channel.take_all(now));
        }
        taken
    }

    /// What these workers have been sent so far waits for them.
    pub fn leave_rest_to(&mut self, slots: &[u16]) {
        self.of_slots(slots).for_each(WorkerChannel::leave_rest);
    }

    fn of_slots(&mut self, slots: &[u16]) -> impl Iterator<Item = &mut WorkerChannel> {
        self.serving_mut().filter(|channel| slots.contains(&channel.id().slot))
    }

    /// The states of the workers that serve.
    pub fn states(&self, now: Duration) -> Vec<WorkerState> {
        self.serving().map(|channel| channel.state(now)).collect()
    }

    /// The workers of slots for which `is_open` is true.
    pub fn prospects(
        &self,
        group: GroupId,
        is_open: impl Fn(u16) -> bool,
        now: Duration,
    ) -> impl Iterator<Item = Prospect> {
        let serves = move |channel: &&WorkerChannel| is_open(channel.id().slot) && !channel.is_leaving();
        let serving = self.serving().filter(serves);
        serving.map(move |channel| channel.prospect(group, now, self.fd_budget, self.max_connections))
    }

    /// Whether the draining worker may get a connection of an address that only it serves.
    pub fn may_have_its_own(&self, worker: WorkerId, group: GroupId, now: Duration) -> bool {
        let found = self.find(worker);
        found.is_some_and(|(_, channel)| channel.has_room(group, now, self.fd_budget, self.max_connections))
    }

    /// Whether a worker of another slot makes progress.
    pub fn has_well_beside(&self, slot: u16) -> bool {
        self.serving().any(|channel| channel.id().slot != slot && channel.is_well())
    }

    /// Whether a starting worker has a server there, or a worker has just got a share.
    pub fn is_awaited(&self, group: GroupId) -> bool {
        self.all().any(|channel| channel.awaits(group))
    }

    /// Whether workers may change without waking the thread: they have unread connections or are unresponsive.
    pub fn is_busy(&self) -> bool {
        self.serving().any(|channel| channel.under_way() > 0 || channel.is_unresponsive())
    }

    /// Connections that the workers accepted themselves since the last count.
    pub fn count_accepted(&mut self) -> u64 {
        self.serving_mut().map(WorkerChannel::count_accepted).sum()
    }

    /// Workers whose handoffs could not be read for lack of file descriptors.
    pub fn with_unread_handoffs(&self) -> impl Iterator<Item = WorkerId> {
        self.all().filter(|channel| channel.has_unread_handoffs()).map(WorkerChannel::id)
    }

    /// Sends all assigned connections; returns those that did not fit into full channels.
    pub fn flush(&mut self, now: Duration) -> Vec<Connection> {
        let fd_budget = self.fd_budget;
        let mut back = Vec::new();
        let present = self.serving.iter_mut().flatten().chain(&mut self.draining);
        for channel in present.filter(|channel| channel.has_pending()) {
            back.append(&mut channel.flush(now, fd_budget));
        }
        back
    }
}
