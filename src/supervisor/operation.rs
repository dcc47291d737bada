//! What somebody asked the cluster to become: another size, or other workers. One at a time, in the order of
//! the asking; a stop ends them all. An operation is done when what it wanted is true.

use std::collections::VecDeque;
use std::time::Duration;

use super::Action;
use super::reconcile::{Phase, Supervisor};
use super::slot::{ActiveWorker, Role, Slot};
use super::unhealthy::OWN;
use super::worker::Stage;
use serde_json::json;

use crate::error::{Code, Error};
use crate::event::Event;
use crate::model::{MAX_WORKERS, Scale, WorkerId};

#[derive(Clone, Debug)]
pub struct Operation {
    id: u32,
    asker: Option<WorkerId>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Scale {
        target: Scale,
    },
    /// `only`: one slot; None: all that there are when its turn comes.
    Roll {
        only: Option<u16>,
    },
}

/// An operation under way.
#[derive(Clone, Debug)]
pub struct Running {
    id: u32,
    /// Its end is not waited for.
    asker: Option<WorkerId>,
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    /// These slots are to become ready; `error`: why the first of them did not.
    Growing {
        slots: Vec<u16>,
        from: u32,
        error: Option<Error>,
    },
    /// These slots are to become empty.
    Shrinking {
        slots: Vec<u16>,
        from: u32,
    },
    Rolling(Roll),
}

/// One slot after the other gets a new worker.
#[derive(Clone, Debug)]
struct Roll {
    /// The new worker that is waited for, and why it did not get ready.
    at: Option<WorkerId>,
    error: Option<Error>,
    rest: VecDeque<u16>,
    /// Slots that have a new worker.
    new: Vec<u16>,
    /// Those that were replaced and leave.
    old: Vec<WorkerId>,
}

impl Roll {
    fn of(rest: VecDeque<u16>) -> Self {
        Self { at: None, error: None, rest, new: Vec::new(), old: Vec::new() }
    }
}

impl Supervisor {
    pub(super) fn ask_scale(&mut self, id: u32, target: Scale, asker: Option<WorkerId>) {
        self.ask(Operation { id, asker, kind: Kind::Scale { target } });
    }

    /// `only`: one slot; None: all.
    pub(super) fn ask_roll(&mut self, id: u32, only: Option<u16>, asker: Option<WorkerId>) {
        self.ask(Operation { id, asker, kind: Kind::Roll { only } });
    }

    /// Is the slot's worker being replaced, or about to be?
    pub(super) fn is_rolling(&self, number: u16) -> bool {
        let is_waiting = |operation: &Operation| matches!(operation.kind, Kind::Roll { only } if only.is_none_or(|one| one == number));
        let is_running = match self.running.as_ref().map(|running| &running.work) {
            Some(Work::Rolling(roll)) => {
                roll.at.is_some_and(|id| id.slot == number) || roll.rest.contains(&number)
            }
            Some(Work::Growing { .. } | Work::Shrinking { .. }) | None => false,
        };
        is_running || self.queue.iter().any(is_waiting)
    }

    /// A worker ended before it was ready: does an operation wait for it?
    pub(super) fn not_ready(&mut self, id: WorkerId, why: &Error) {
        let error = match self.running.as_mut().map(|running| &mut running.work) {
            Some(Work::Rolling(roll)) if roll.at == Some(id) => &mut roll.error,
            Some(Work::Growing { slots, error, .. }) if slots.contains(&id.slot) => error,
            Some(Work::Rolling(_) | Work::Growing { .. } | Work::Shrinking { .. }) | None => return,
        };
        error.get_or_insert_with(|| why.clone());
    }

    fn ask(&mut self, operation: Operation) {
        match self.phase {
            Phase::Idle | Phase::Starting | Phase::Running => self.queue.push_back(operation),
            Phase::Stopping | Phase::Stopped => self.done(operation.id, Err(stopping())),
        }
    }

    /// Moves on with what is under way and begins what is next, as far as the facts allow.
    pub(super) fn operate(&mut self, now: Duration) {
        while self.phase == Phase::Running {
            match self.running.take() {
                Some(running) => {
                    if let Some(unfinished) = self.continue_work(running, now) {
                        self.running = Some(unfinished);
                        return;
                    }
                }
                None => match self.queue.pop_front() {
                    Some(operation) => self.begin(operation, now),
                    None => return,
                },
            }
        }
    }

    /// A stop ends every operation.
    pub(super) fn abandon_operations(&mut self) {
        let ids = self.running.take().map(|running| running.id);
        let queued: Vec<u32> = self.queue.drain(..).map(|operation| operation.id).collect();
        for id in ids.into_iter().chain(queued) {
            self.done(id, Err(stopping()));
        }
    }

    fn done(&mut self, id: u32, result: Result<Vec<u16>, Error>) {
        self.actions.push(Action::Done { id, result });
    }

    fn begin(&mut self, Operation { id, asker, kind }: Operation, now: Duration) {
        let begun = match kind {
            Kind::Scale { target } => self.begin_scale(target, now),
            Kind::Roll { only } => self.begin_roll(only),
        };
        match begun {
            Ok(work) => self.running = Some(Running { id, asker, work }),
            Err(error) => self.done(id, Err(error)),
        }
    }

    /// # Errors
    /// No such worker.
    fn begin_roll(&self, only: Option<u16>) -> Result<Work, Error> {
        let lives = |slot: &&Slot| slot.role != Role::Retired && only.is_none_or(|only| only == slot.number);
        let rest: VecDeque<u16> = self.slots.iter().filter(lives).map(|slot| slot.number).collect();
        match only {
            Some(only) if rest.is_empty() => Err(no_such_worker(only)),
            Some(_) | None => Ok(Work::Rolling(Roll::of(rest))),
        }
    }

    /// # Errors
    /// Nothing at all can be done: the cluster has its least or most workers, or no worker of that number.
    fn begin_scale(&mut self, target: Scale, now: Duration) -> Result<Work, Error> {
        let is_serving = |slot: &&Slot| slot.role == Role::Serving;
        let serving: Vec<u16> = self.slots.iter().filter(is_serving).map(|slot| slot.number).collect();
        let count = serving.len();
        let most = MAX_WORKERS - self.policy.standby;
        let within = |wanted: i64| wanted.clamp(1, i64::from(most)) as usize;
        let wanted = match target {
            Scale::To(wanted) => within(i64::from(wanted)),
            Scale::By(more) => within(count as i64 + i64::from(more)),
            Scale::With { slot }
                if self.slots.get(usize::from(slot)).is_some_and(|slot| !slot.is_vacant()) =>
            {
                return Err(not_vacant(slot));
            }
            Scale::With { .. } => within(count as i64 + 1),
            Scale::Without { slot, .. } if !serving.contains(&slot) => return Err(no_such_worker(slot)),
            Scale::Without { .. } => within(count as i64 - 1),
        };
        if wanted == count && !matches!(target, Scale::To(_)) {
            let message = format!("The cluster has {count} workers, and 1 to {most} are possible");
            return Err(Error::new(Code::ResourceExhausted, message));
        }
        self.policy.workers = wanted as u16;
        let from = count as u32;
        if let Scale::With { slot } = target {
            self.open_slot(slot, Role::Serving);
            self.start_worker(slot, now);
            return Ok(Work::Growing { slots: vec![slot], from, error: None });
        }
        if wanted >= count {
            let slots = (count..wanted).filter_map(|_| self.grow(now)).collect();
            return Ok(Work::Growing { slots, from, error: None });
        }
        let slots = match target {
            Scale::Without { slot, .. } => vec![slot],
            Scale::To(_) | Scale::By(_) | Scale::With { .. } => serving[wanted..].to_vec(),
        };
        let graceful = self.policy.graceful && !matches!(target, Scale::Without { graceful: false, .. });
        for slot in slots.iter().rev() {
            self.retire(*slot, graceful, now);
        }
        Ok(Work::Shrinking { slots, from })
    }

    /// One serving slot more: a standby worker that is ready, or the lowest number that is free.
    fn grow(&mut self, now: Duration) -> Option<u16> {
        if let Some(standby) = self.take_standby() {
            // Another standby worker takes the place of this one.
            if let Some(fresh) = self.free_slot(Role::Standby) {
                self.start_worker(fresh, now);
            }
            return Some(standby);
        }
        let fresh = self.free_slot(Role::Serving)?;
        self.start_worker(fresh, now);
        Some(fresh)
    }

    /// Nobody comes after the slot's present worker, which leaves.
    fn retire(&mut self, slot: u16, graceful: bool, now: Duration) {
        self.slots[usize::from(slot)].role = Role::Retired;
        self.stop_slot(usize::from(slot), graceful, now);
    }

    /// None when the work is done and has been answered.
    fn continue_work(&mut self, Running { id, asker, work }: Running, now: Duration) -> Option<Running> {
        let work = match work {
            Work::Growing { slots, from, error } => {
                if slots.iter().all(|slot| self.slots[usize::from(*slot)].is_settled()) {
                    self.finish_growing(id, slots, from, error, now);
                    return None;
                }
                Work::Growing { slots, from, error }
            }
            Work::Shrinking { slots, from } => {
                if !slots.iter().any(|slot| self.is_waited_for(*slot, asker)) {
                    self.scaled(from);
                    self.done(id, Ok(Vec::new()));
                    return None;
                }
                Work::Shrinking { slots, from }
            }
            Work::Rolling(roll) => Work::Rolling(self.roll_on(id, roll, asker, now)?),
        };
        Some(Running { id, asker, work })
    }

    /// Somebody but the asker is in the slot.
    fn is_waited_for(&self, number: u16, asker: Option<WorkerId>) -> bool {
        self.slots[usize::from(number)].workers().any(|worker| Some(worker.id) != asker)
    }

    fn scaled(&mut self, from: u32) {
        let new_count = u32::from(self.policy.workers);
        if from != new_count {
            self.emit(Event::ClusterScaled { old_count: from, new_count });
        }
    }

    /// Nothing at all got ready: the cluster is what it was, and the asker hears why.
    fn finish_growing(
        &mut self,
        id: u32,
        mut slots: Vec<u16>,
        from: u32,
        error: Option<Error>,
        now: Duration,
    ) {
        let wanted = u32::from(self.policy.workers) - from;
        if slots.iter().any(|slot| self.slots[usize::from(*slot)].is_ready()) || wanted == 0 {
            // As many as there were numbers for.
            self.policy.workers = (from + slots.len() as u32) as u16;
            self.scaled(from);
            // Who did not get ready is missed from now on.
            slots.iter().for_each(|slot| self.slots[usize::from(*slot)].fresh = false);
            slots.retain(|slot| self.slots[usize::from(*slot)].is_ready());
            return self.done(id, Ok(slots));
        }
        for slot in slots.iter().rev() {
            self.retire(*slot, self.policy.graceful, now);
        }
        self.policy.workers = from as u16;
        self.done(id, Err(self.not_grown(error)));
    }

    fn not_grown(&self, error: Option<Error>) -> Error {
        match error {
            Some(error) if error.code != Code::System => error,
            Some(error) => {
                Error::new(Code::ResourceExhausted, format!("No further worker could be made: {error}"))
                    .with(error.details)
            }
            None => Error::new(
                Code::ResourceExhausted,
                format!("No further worker of {} got ready", self.policy.script),
            ),
        }
    }

    /// The next step of a roll; None when it has ended.
    fn roll_on(&mut self, id: u32, mut roll: Roll, asker: Option<WorkerId>, now: Duration) -> Option<Roll> {
        if let Some(next) = roll.at {
            if let Some(error) = roll.error {
                self.done(id, Err(not_replaced(next.slot, &error)));
                return None;
            }
            if !self.has_arrived(next, !roll.rest.is_empty()) {
                return Some(roll);
            }
            roll.at = None;
            if self.slots[usize::from(next.slot)].is_ready() {
                roll.new.push(next.slot);
            }
        }
        while let Some(number) = roll.rest.pop_front() {
            let slot = &mut self.slots[usize::from(number)];
            roll.at = Some(WorkerId { slot: number, generation: slot.generation + 1 });
            match &slot.active {
                ActiveWorker::Running(worker) if worker.is_ready() => {
                    roll.old.push(worker.id);
                    self.prepare_next(number, now);
                }
                // Whether it has the old code or the new nobody knows: it is replaced when it is ready.
                ActiveWorker::Running(worker) if matches!(worker.stage, Stage::Starting { .. }) => {
                    roll.at = None;
                    roll.rest.push_front(number);
                }
                // Its next worker is a new one anyway, and need not wait for its time.
                ActiveWorker::Waiting { announced, planned, .. } => {
                    slot.active =
                        ActiveWorker::Waiting { until: now, announced: *announced, planned: *planned };
                }
                ActiveWorker::CircuitOpen { .. } => {
                    slot.active = ActiveWorker::Waiting { until: now, announced: false, planned: false };
                }
                // It ends, and whoever comes after it is a new one.
                ActiveWorker::Running(_) => {}
                ActiveWorker::Vacant => {
                    roll.at = None;
                    continue;
                }
            }
            return Some(roll);
        }
        let has_left = |old: &WorkerId| {
            Some(*old) == asker || self.slots[usize::from(old.slot)].workers().all(|worker| worker.id != *old)
        };
        if id == OWN || roll.old.iter().all(has_left) {
            self.done(id, Ok(roll.new));
            return None;
        }
        Some(roll)
    }

    /// Is the new worker there, or will it never come? If others are still to be replaced, it must be as fast as
    /// the old one was: or soon all would be slow.
    fn has_arrived(&self, id: WorkerId, others_follow: bool) -> bool {
        let slot = &self.slots[usize::from(id.slot)];
        if slot.role == Role::Retired || slot.generation > id.generation {
            return true;
        }
        let Some(worker) = slot.workers().find(|worker| worker.id == id) else {
            return matches!(slot.active, ActiveWorker::Vacant | ActiveWorker::CircuitOpen { .. });
        };
        match worker.stage {
            Stage::Starting { .. } => false,
            Stage::Ready { .. } => !others_follow || worker.is_warm || slot.role == Role::Standby,
            Stage::Draining { .. } | Stage::Terminating { .. } | Stage::Killed { .. } => {
                worker.has_been_ready
            }
        }
    }
}

/// The end of a roll: what the new worker said of itself stands in `details.cause`.
fn not_replaced(slot: u16, cause: &Error) -> Error {
    let output = cause.details["output"].as_str().unwrap_or_default().trim_end();
    let ending = if output.is_empty() { String::new() } else { format!("\nIts last output was:\n{output}") };
    let message =
        format!("The new worker {slot} did not get ready; the old ones go on serving: {cause}{ending}");
    let worker = slot.to_string();
    Error::new(Code::WorkerStartupFailed, message).with(json!({
        "workerId": worker,
        "cause": cause,
        "output": output,
    }))
}

fn not_vacant(slot: u16) -> Error {
    let message = format!("spawnWorker: found worker {slot}, allowed: the id of a slot that no worker has");
    Error::new(Code::InvalidArgument, message)
}

fn no_such_worker(slot: u16) -> Error {
    Error::new(Code::NoSuchWorker, format!("There is no worker {slot}"))
}

fn stopping() -> Error {
    Error::new(Code::Stopped, "The cluster is stopping")
}
