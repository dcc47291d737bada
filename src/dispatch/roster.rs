//! Who is there: for each slot the worker that gets its connections, the next one that gets ready beside it, and
//! old ones that finish what they have. Only the first kind is ever chosen.

use super::crew::Member;
use crate::model::WorkerId;

#[derive(Default)]
pub struct Roster {
    /// By slot.
    serving: Vec<Option<Member>>,
    /// Joined, and not yet promoted.
    coming: Vec<Member>,
    /// Replaced by a successor, and not gone yet.
    elders: Vec<Member>,
}

/// What a member was when it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Serving,
    Coming,
    Elder,
}

impl Roster {
    pub fn join(&mut self, member: Member) {
        self.coming.push(member);
    }

    /// The worker takes its slot over; None when it is not coming (it died meanwhile). The one that had the slot
    /// becomes an elder.
    pub fn promote(&mut self, worker: WorkerId) -> Option<&mut Member> {
        let at = self.coming.iter().position(|member| member.id == worker)?;
        let member = self.coming.remove(at);
        let index = usize::from(worker.slot);
        if self.serving.len() <= index {
            self.serving.resize_with(index + 1, || None);
        }
        if let Some(mut old) = self.serving[index].replace(member) {
            old.leaving = true;
            self.elders.push(old);
        }
        self.serving[index].as_mut()
    }

    pub fn serving(&self) -> impl Iterator<Item = &Member> {
        self.serving.iter().flatten()
    }

    pub fn serving_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.serving.iter_mut().flatten()
    }

    /// Those that get no new connections.
    pub fn others_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.coming.iter_mut().chain(&mut self.elders)
    }

    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.serving().chain(&self.coming).chain(&self.elders)
    }

    pub fn in_slot(&self, slot: u16) -> Option<&Member> {
        self.serving.get(usize::from(slot)).and_then(Option::as_ref)
    }

    pub fn in_slot_mut(&mut self, slot: u16) -> Option<&mut Member> {
        self.serving.get_mut(usize::from(slot)).and_then(Option::as_mut)
    }

    /// Slots up to the highest that has ever had a worker.
    pub fn slots(&self) -> usize {
        self.serving.len()
    }

    /// Whatever it is.
    pub fn find(&mut self, worker: WorkerId) -> Option<(Place, &mut Member)> {
        let serving = self.serving.iter_mut().flatten().map(|member| (Place::Serving, member));
        let coming = self.coming.iter_mut().map(|member| (Place::Coming, member));
        let elders = self.elders.iter_mut().map(|member| (Place::Elder, member));
        serving.chain(coming).chain(elders).find(|(_, member)| member.id == worker)
    }

    pub fn remove(&mut self, worker: WorkerId) -> Option<(Place, Member)> {
        let is = |member: &Member| member.id == worker;
        if let Some(seat) = self.serving.iter_mut().find(|seat| seat.as_ref().is_some_and(is)) {
            return seat.take().map(|member| (Place::Serving, member));
        }
        if let Some(at) = self.coming.iter().position(is) {
            return Some((Place::Coming, self.coming.remove(at)));
        }
        let at = self.elders.iter().position(is)?;
        Some((Place::Elder, self.elders.remove(at)))
    }
}
