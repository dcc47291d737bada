//! Who is there: for each slot the worker that gets its connections, the next one that gets ready beside it, and
//! old ones that finish what they have. Only the first kind is ever chosen.

use super::worker_channel::WorkerChannel;
use crate::model::WorkerId;

#[derive(Default)]
pub struct WorkerTable {
    /// By slot.
    serving: Vec<Option<WorkerChannel>>,
    /// Joined, and not yet promoted.
    starting: Vec<WorkerChannel>,
    /// Replaced by a successor, and not gone yet.
    draining: Vec<WorkerChannel>,
}

/// What a member was when it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Serving,
    Starting,
    Draining,
}

impl WorkerTable {
    pub fn join(&mut self, channel: WorkerChannel) {
        self.starting.push(channel);
    }

    /// The worker takes its slot over; None when it is not coming (it died meanwhile). The one that had the slot
    /// becomes an elder.
    pub fn promote(&mut self, worker: WorkerId) -> Option<&mut WorkerChannel> {
        let at = self.starting.iter().position(|channel| channel.id == worker)?;
        let channel = self.starting.remove(at);
        let index = usize::from(worker.slot);
        if self.serving.len() <= index {
            self.serving.resize_with(index + 1, || None);
        }
        if let Some(mut old) = self.serving[index].replace(channel) {
            old.leaving = true;
            self.draining.push(old);
        }
        self.serving[index].as_mut()
    }

    pub fn serving(&self) -> impl Iterator<Item = &WorkerChannel> {
        self.serving.iter().flatten()
    }

    pub fn serving_mut(&mut self) -> impl Iterator<Item = &mut WorkerChannel> {
        self.serving.iter_mut().flatten()
    }

    /// Those that get no new connections.
    pub fn others_mut(&mut self) -> impl Iterator<Item = &mut WorkerChannel> {
        self.starting.iter_mut().chain(&mut self.draining)
    }

    pub fn all(&self) -> impl Iterator<Item = &WorkerChannel> {
        self.serving().chain(&self.starting).chain(&self.draining)
    }

    pub fn in_slot(&self, slot: u16) -> Option<&WorkerChannel> {
        self.serving.get(usize::from(slot)).and_then(Option::as_ref)
    }

    pub fn in_slot_mut(&mut self, slot: u16) -> Option<&mut WorkerChannel> {
        self.serving.get_mut(usize::from(slot)).and_then(Option::as_mut)
    }

    /// Slots up to the highest that has ever had a worker.
    pub fn slots(&self) -> usize {
        self.serving.len()
    }

    /// Whatever it is.
    pub fn find(&mut self, worker: WorkerId) -> Option<(Stage, &mut WorkerChannel)> {
        let serving = self.serving.iter_mut().flatten().map(|channel| (Stage::Serving, channel));
        let starting = self.starting.iter_mut().map(|channel| (Stage::Starting, channel));
        let draining = self.draining.iter_mut().map(|channel| (Stage::Draining, channel));
        serving.chain(starting).chain(draining).find(|(_, channel)| channel.id == worker)
    }

    pub fn remove(&mut self, worker: WorkerId) -> Option<(Stage, WorkerChannel)> {
        let is = |channel: &WorkerChannel| channel.id == worker;
        if let Some(manual) = self.serving.iter_mut().find(|manual| manual.as_ref().is_some_and(is)) {
            return manual.take().map(|channel| (Stage::Serving, channel));
        }
        if let Some(at) = self.starting.iter().position(is) {
            return Some((Stage::Starting, self.starting.remove(at)));
        }
        let at = self.draining.iter().position(is)?;
        Some((Stage::Draining, self.draining.remove(at)))
    }
}
