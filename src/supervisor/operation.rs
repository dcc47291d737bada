//! Operations: rolls, and changes of the number of workers. They run one at a time, in the order of the commands; a
//! stop ends them all. An operation is done when its goal is reached. Operations read the slots and give them orders;
//! the slots know nothing about operations.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::json;

use super::action::{Actions, OWN};
use super::slot::{ActiveWorker, Role, Slot};
use super::slots::Slots;
use super::worker::Stage;
use crate::error::{Code, Error};
use crate::event::Event;
use crate::model::{MAX_WORKERS, Scale, WorkerId};

#[derive(Clone, Debug)]
pub struct Operation {
    id: u32,
    requester: Option<WorkerId>,
    kind: Kind,
}

impl Operation {
    /// `requester`: the worker whose program waits for the result.
    pub fn scale(id: u32, target: Scale, requester: Option<WorkerId>) -> Self {
        Self { id, requester, kind: Kind::Scale { target } }
    }

    /// `only`: one slot; None: all.
    pub fn roll(id: u32, only: Option<u16>, requester: Option<WorkerId>) -> Self {
        Self { id, requester, kind: Kind::Roll { only } }
    }

    /// The supervisor's own replacement of the worker in this slot.
    pub fn own_roll(number: u16) -> Self {
        Self::roll(OWN, Some(number), None)
    }

    /// Rejects the operation because the cluster stops.
    pub fn refuse(&self, actions: &mut Actions) {
        actions.done(self.id, Err(stopping()));
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Scale {
        target: Scale,
    },
    /// `only`: one slot; None: all slots at the time when the operation begins.
    Roll {
        only: Option<u16>,
    },
}

/// The current operation.
#[derive(Clone, Debug)]
struct Running {
    id: u32,
    /// The operation does not wait for this worker's end.
    requester: Option<WorkerId>,
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    /// Waits until these slots are ready; `error`: why the first of them failed.
    Growing {
        slots: Vec<u16>,
        from: u32,
        error: Option<Error>,
    },
    /// Waits until these slots are empty.
    Shrinking {
        slots: Vec<u16>,
        from: u32,
    },
    Rolling(Roll),
}

/// Replaces the workers of one slot after the other.
#[derive(Clone, Debug)]
struct Roll {
    /// The new worker that the roll waits for, and why it did not become ready.
    at: Option<WorkerId>,
    error: Option<Error>,
    rest: VecDeque<u16>,
    /// Slots that have a new worker.
    new: Vec<u16>,
    /// Replaced workers that are draining.
    old: Vec<WorkerId>,
}

impl Roll {
    fn of(rest: VecDeque<u16>) -> Self {
        Self { at: None, error: None, rest, new: Vec::new(), old: Vec::new() }
    }
}

/// The current operation and those that wait for it.
#[derive(Debug, Default)]
pub struct Operations {
    queue: VecDeque<Operation>,
    running: Option<Running>,
}

impl Operations {
    pub fn ask(&mut self, operation: Operation) {
        self.queue.push_back(operation);
    }

    /// Whether an operation is running; others may wait.
    pub fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// The number of workers after all operations that wait. `now`: at present.
    pub fn intended(&self, now: u16) -> u16 {
        self.queue.iter().fold(now, |size, operation| match operation.kind {
            Kind::Roll { .. } => size,
            Kind::Scale { target } => target.of(size),
        })
    }

    /// Whether the slot's worker is being replaced, or will be.
    pub fn is_rolling(&self, number: u16) -> bool {
        let is_waiting = |operation: &Operation| matches!(operation.kind, Kind::Roll { only } if only.is_none_or(|one| one == number));
        let is_running = match self.running.as_ref().map(|running| &running.work) {
            Some(Work::Rolling(roll)) => {
                roll.at.is_some_and(|id| id.slot == number) || roll.rest.contains(&number)
            }
            Some(Work::Growing { .. } | Work::Shrinking { .. }) | None => false,
        };
        is_running || self.queue.iter().any(is_waiting)
    }

    /// A worker ended before it was ready; an operation may wait for it.
    pub fn not_ready(&mut self, id: WorkerId, why: &Error) {
        let error = match self.running.as_mut().map(|running| &mut running.work) {
            Some(Work::Rolling(roll)) if roll.at == Some(id) => &mut roll.error,
            Some(Work::Growing { slots, error, .. }) if slots.contains(&id.slot) => error,
            Some(Work::Rolling(_) | Work::Growing { .. } | Work::Shrinking { .. }) | None => return,
        };
        error.get_or_insert_with(|| why.clone());
    }

    /// Advances the current operation and begins the next one, as far as the slots allow.
    pub fn advance(&mut self, slots: &mut Slots, now: Duration, actions: &mut Actions) {
        loop {
            match self.running.take() {
                Some(running) => {
                    if let Some(unfinished) = running.advance(slots, now, actions) {
                        self.running = Some(unfinished);
                        return;
                    }
                }
                None => match self.queue.pop_front() {
                    Some(operation) => self.running = operation.begin(slots, now, actions),
                    None => return,
                },
            }
        }
    }

    /// A stop ends every operation.
    pub fn abandon(&mut self, actions: &mut Actions) {
        let running = self.running.take().map(|running| running.id);
        let queued = self.queue.drain(..).map(|operation| operation.id);
        for id in running.into_iter().chain(queued) {
            actions.done(id, Err(stopping()));
        }
    }
}

impl Operation {
    /// None if it has ended already because nothing can be done.
    fn begin(self, slots: &mut Slots, now: Duration, actions: &mut Actions) -> Option<Running> {
        let Self { id, requester, kind } = self;
        let begun = match kind {
            Kind::Scale { target } => begin_scale(target, slots, now, actions),
            Kind::Roll { only } => begin_roll(only, slots),
        };
        match begun {
            Ok(work) => Some(Running { id, requester, work }),
            Err(error) => {
                actions.done(id, Err(error));
                None
            }
        }
    }
}

/// # Errors
/// No such worker.
fn begin_roll(only: Option<u16>, slots: &Slots) -> Result<Work, Error> {
    let lives = |slot: &&Slot| slot.role != Role::Retired && only.is_none_or(|only| only == slot.number);
    let rest: VecDeque<u16> = slots.all().iter().filter(lives).map(|slot| slot.number).collect();
    match only {
        Some(only) if rest.is_empty() => Err(no_such_worker(only)),
        Some(_) | None => Ok(Work::Rolling(Roll::of(rest))),
    }
}

/// # Errors
/// Nothing can be done: the cluster has its minimum or maximum number of workers, or there is no such worker.
fn begin_scale(
    target: Scale,
    slots: &mut Slots,
    now: Duration,
    actions: &mut Actions,
) -> Result<Work, Error> {
    let serving: Vec<u16> = slots.serving().map(|slot| slot.number).collect();
    let count = serving.len();
    let most = MAX_WORKERS - slots.policy().standby;
    let within = |wanted: i64| wanted.clamp(1, i64::from(most)) as usize;
    let wanted = match target {
        Scale::To(wanted) => within(i64::from(wanted)),
        Scale::By(more) => within(count as i64 + i64::from(more)),
        Scale::With { slot } if slots.all().get(usize::from(slot)).is_some_and(|slot| !slot.is_vacant()) => {
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
    slots.want(wanted as u16);
    let from = count as u32;
    if let Scale::With { slot } = target {
        slots.open_slot(slot, Role::Serving);
        slots.start_worker(slot, now, actions);
        return Ok(Work::Growing { slots: vec![slot], from, error: None });
    }
    if wanted >= count {
        let grown = (count..wanted).filter_map(|_| grow(slots, now, actions)).collect();
        return Ok(Work::Growing { slots: grown, from, error: None });
    }
    let leaving = match target {
        Scale::Without { slot, .. } => vec![slot],
        Scale::To(_) | Scale::By(_) | Scale::With { .. } => serving[wanted..].to_vec(),
    };
    let graceful = slots.policy().graceful && !matches!(target, Scale::Without { graceful: false, .. });
    for slot in leaving.iter().rev() {
        slots.retire(*slot, graceful, now, actions);
    }
    Ok(Work::Shrinking { slots: leaving, from })
}

/// Adds a serving slot: that of a ready standby worker, or the lowest free number.
fn grow(slots: &mut Slots, now: Duration, actions: &mut Actions) -> Option<u16> {
    if let Some(standby) = slots.take_standby(actions) {
        // A new standby worker replaces this one.
        if let Some(fresh) = slots.free_slot(Role::Standby) {
            slots.start_worker(fresh, now, actions);
        }
        return Some(standby);
    }
    let fresh = slots.free_slot(Role::Serving)?;
    slots.start_worker(fresh, now, actions);
    Some(fresh)
}

impl Running {
    /// None when the operation is done and its result was sent.
    fn advance(self, slots: &mut Slots, now: Duration, actions: &mut Actions) -> Option<Self> {
        let Self { id, requester, work } = self;
        let work = match work {
            Work::Growing { slots: grown, from, error } => {
                if grown.iter().all(|number| slots.slot(*number).is_settled()) {
                    let result = finish_growing(grown, from, error, slots, now, actions);
                    actions.done(id, result);
                    return None;
                }
                Work::Growing { slots: grown, from, error }
            }
            Work::Shrinking { slots: leaving, from } => {
                // The operation does not wait for the requester.
                let is_waited_for =
                    |number: &u16| slots.slot(*number).workers().any(|worker| Some(worker.id) != requester);
                // The supervisor's own operation does not hold up those after it.
                if id == OWN || !leaving.iter().any(is_waited_for) {
                    scaled(from, slots, actions);
                    actions.done(id, Ok(Vec::new()));
                    return None;
                }
                Work::Shrinking { slots: leaving, from }
            }
            Work::Rolling(mut roll) => {
                if let Some(result) = roll.advance(id, requester, slots, now, actions) {
                    actions.done(id, result);
                    return None;
                }
                Work::Rolling(roll)
            }
        };
        Some(Self { id, requester, work })
    }
}

fn scaled(from: u32, slots: &Slots, actions: &mut Actions) {
    let new_count = u32::from(slots.wanted());
    if from != new_count {
        actions.emit(Event::ClusterScaled { old_count: from, new_count });
    }
}

/// The slots that have become ready.
///
/// # Errors
/// No worker became ready, and why: the cluster is unchanged.
fn finish_growing(
    mut grown: Vec<u16>,
    from: u32,
    error: Option<Error>,
    slots: &mut Slots,
    now: Duration,
    actions: &mut Actions,
) -> Result<Vec<u16>, Error> {
    let wanted = u32::from(slots.wanted()) - from;
    if grown.iter().any(|number| slots.slot(*number).is_ready()) || wanted == 0 {
        // As many as there were free numbers.
        slots.want((from + grown.len() as u32) as u16);
        scaled(from, slots, actions);
        slots.expect_workers(grown.iter().copied());
        grown.retain(|number| slots.slot(*number).is_ready());
        return Ok(grown);
    }
    let graceful = slots.policy().graceful;
    for number in grown.iter().rev() {
        slots.retire(*number, graceful, now, actions);
    }
    slots.want(from as u16);
    Err(not_grown(error, &slots.policy().script))
}

impl Roll {
    /// The next step; returns the result when the roll has ended.
    fn advance(
        &mut self,
        id: u32,
        requester: Option<WorkerId>,
        slots: &mut Slots,
        now: Duration,
        actions: &mut Actions,
    ) -> Option<Result<Vec<u16>, Error>> {
        if let Some(next) = self.at {
            if let Some(error) = &self.error {
                return Some(Err(not_replaced(next.slot, error)));
            }
            if !has_arrived(next, !self.rest.is_empty(), slots) {
                return None;
            }
            self.at = None;
            if slots.slot(next.slot).is_ready() {
                self.new.push(next.slot);
            }
        }
        while let Some(number) = self.rest.pop_front() {
            let slot = slots.slot_mut(number);
            self.at = Some(WorkerId { slot: number, generation: slot.generation + 1 });
            match &slot.active {
                ActiveWorker::Running(worker) if worker.is_ready() => {
                    self.old.push(worker.id);
                    slots.prepare_next(number, now, actions);
                }
                // It is unknown whether it runs the old or the new code: it is replaced when it is ready.
                ActiveWorker::Running(worker) if matches!(worker.stage, Stage::Starting { .. }) => {
                    self.at = None;
                    self.rest.push_front(number);
                }
                // Its next worker is a new one anyway, and is started without its delay.
                ActiveWorker::Waiting { announced, planned, .. } => {
                    slot.active =
                        ActiveWorker::Waiting { until: now, announced: *announced, planned: *planned };
                }
                ActiveWorker::CircuitOpen { .. } => {
                    slot.active = ActiveWorker::Waiting { until: now, announced: false, planned: false };
                }
                // It is ending, and its replacement is a new worker anyway.
                ActiveWorker::Running(_) => {}
                ActiveWorker::Vacant => {
                    self.at = None;
                    continue;
                }
            }
            return None;
        }
        let has_left = |old: &WorkerId| {
            Some(*old) == requester || slots.slot(old.slot).workers().all(|worker| worker.id != *old)
        };
        (id == OWN || self.old.iter().all(has_left)).then(|| Ok(std::mem::take(&mut self.new)))
    }
}

/// Whether the wait for the new worker is over. If more workers are to be replaced, it must have warmed up, otherwise
/// all workers would soon be cold.
fn has_arrived(id: WorkerId, others_follow: bool, slots: &Slots) -> bool {
    let slot = slots.slot(id.slot);
    if slot.role == Role::Retired || slot.generation > id.generation {
        return true;
    }
    let Some(worker) = slot.workers().find(|worker| worker.id == id) else {
        return matches!(slot.active, ActiveWorker::Vacant | ActiveWorker::CircuitOpen { .. });
    };
    match worker.stage {
        Stage::Starting { .. } => false,
        Stage::Ready { .. } => !others_follow || worker.is_warm || slot.role == Role::Standby,
        Stage::Draining { .. } | Stage::Terminating { .. } | Stage::Killed { .. } => worker.has_been_ready,
    }
}

fn not_grown(error: Option<Error>, script: &str) -> Error {
    match error {
        Some(error) if error.code != Code::System => error,
        Some(error) => {
            Error::new(Code::ResourceExhausted, format!("No further worker could be started: {error}"))
                .with(error.details)
        }
        None => Error::new(Code::ResourceExhausted, format!("No further worker of {script} became ready")),
    }
}

/// The error of a roll; the new worker's own error is in `details.cause`.
fn not_replaced(slot: u16, cause: &Error) -> Error {
    let output = cause.details["output"].as_str().unwrap_or_default().trim_end();
    let ending = if output.is_empty() { String::new() } else { format!("\nIts last output was:\n{output}") };
    let message =
        format!("The new worker {slot} did not become ready; the old workers keep serving: {cause}{ending}");
    let worker = slot.to_string();
    Error::new(Code::WorkerStartupFailed, message).with(json!({
        "workerId": worker,
        "cause": cause,
        "output": output,
    }))
}

fn not_vacant(slot: u16) -> Error {
    let message = format!("spawnWorker: found worker {slot}, allowed: the id of a vacant slot");
    Error::new(Code::InvalidArgument, message)
}

fn no_such_worker(slot: u16) -> Error {
    Error::new(Code::NoSuchWorker, format!("There is no worker {slot}"))
}

fn stopping() -> Error {
    Error::new(Code::Stopped, "The cluster is stopping")
}
