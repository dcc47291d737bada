//! What somebody asked the cluster to become: another size, or other workers. One at a time, in the order of
//! the asking; a stop ends them all. An operation is done when what it wanted is true.

use std::collections::VecDeque;
use std::time::Duration;

use super::reconcile::{Phase, Supervisor};
use super::slot::{Role, Seat, Slot};
use super::worker::Stage;
use super::{Action, Scale};
use serde_json::json;

use crate::config::MOST_WORKERS;
use crate::error::{Code, Error};
use crate::event::Event;

#[derive(Clone, Debug)]
pub struct Operation {
    id: u32,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Scale { target: Scale },
    Roll { slots: Vec<u16> },
}

/// An operation under way.
#[derive(Clone, Debug)]
pub struct Running {
    id: u32,
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    /// These slots are to become ready.
    Growing { slots: Vec<u16>, from: u32 },
    /// These slots are to become empty.
    Shrinking { slots: Vec<u16>, from: u32 },
    /// `at` is being replaced, `rest` come after it, `old` were replaced and leave.
    Rolling { at: Option<u16>, rest: VecDeque<u16>, old: Vec<(u16, u32)> },
}

impl Supervisor {
    pub(super) fn ask_scale(&mut self, id: u32, target: Scale) {
        self.ask(Operation { id, kind: Kind::Scale { target } });
    }

    /// `only`: one slot; None: all.
    pub(super) fn ask_roll(&mut self, id: u32, only: Option<u16>) {
        let slots = match only {
            Some(slot) => vec![slot],
            None => self.slots.iter().map(|slot| slot.number).collect(),
        };
        self.ask(Operation { id, kind: Kind::Roll { slots } });
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

    fn done(&mut self, id: u32, result: Result<(), Error>) {
        self.actions.push(Action::Done { id, result });
    }

    fn begin(&mut self, Operation { id, kind }: Operation, now: Duration) {
        let work = match kind {
            Kind::Scale { target } => match self.begin_scale(target, now) {
                Ok(work) => work,
                Err(error) => return self.done(id, Err(error)),
            },
            Kind::Roll { slots } => Work::Rolling { at: None, rest: slots.into(), old: Vec::new() },
        };
        self.running = Some(Running { id, work });
    }

    /// # Errors
    /// Nothing at all can be done: the cluster has its least or most workers, or no worker of that number.
    fn begin_scale(&mut self, target: Scale, now: Duration) -> Result<Work, Error> {
        let is_serving = |slot: &&Slot| slot.role == Role::Serving;
        let serving: Vec<u16> = self.slots.iter().filter(is_serving).map(|slot| slot.number).collect();
        let count = serving.len();
        let within = |wanted: i64| wanted.clamp(1, i64::from(MOST_WORKERS)) as usize;
        let wanted = match target {
            Scale::To(wanted) => within(i64::from(wanted)),
            Scale::By(more) => within(count as i64 + i64::from(more)),
            Scale::Without(slot) if !serving.contains(&slot) => return Err(no_such_worker(slot)),
            Scale::Without(_) => within(count as i64 - 1),
        };
        if wanted == count && !matches!(target, Scale::To(_)) {
            let message = format!("The cluster has {count} workers, and 1 to {MOST_WORKERS} are possible");
            return Err(Error::new(Code::ResourceExhausted, message));
        }
        self.policy.workers = wanted as u16;
        let from = count as u32;
        if wanted >= count {
            let slots = (count..wanted).map(|_| self.grow(now)).collect();
            return Ok(Work::Growing { slots, from });
        }
        let slots = match target {
            Scale::Without(slot) => vec![slot],
            Scale::To(_) | Scale::By(_) => serving[wanted..].to_vec(),
        };
        for slot in slots.iter().rev() {
            self.retire(*slot, now);
        }
        Ok(Work::Shrinking { slots, from })
    }

    /// One serving slot more: a spare that is ready, or the lowest number that is free.
    fn grow(&mut self, now: Duration) -> u16 {
        if let Some(spare) = self.take_spare() {
            // Another spare takes the place of this one.
            let fresh = self.free_slot(Role::Spare);
            self.occupy(fresh, now);
            return spare;
        }
        let fresh = self.free_slot(Role::Serving);
        self.occupy(fresh, now);
        fresh
    }

    /// Nobody comes after the slot's present worker, which leaves.
    pub(super) fn retire(&mut self, slot: u16, now: Duration) {
        self.slots[usize::from(slot)].role = Role::Retired;
        self.stop_slot(usize::from(slot), self.policy.graceful, now);
    }

    /// None when the work is done and has been answered.
    fn continue_work(&mut self, Running { id, work }: Running, now: Duration) -> Option<Running> {
        match work {
            Work::Growing { slots, from } => {
                if slots.iter().any(|slot| !self.slots[usize::from(*slot)].is_settled()) {
                    return Some(Running { id, work: Work::Growing { slots, from } });
                }
                self.finish_growing(id, &slots, from, now);
            }
            Work::Shrinking { slots, from } => {
                if slots.iter().any(|slot| self.slots[usize::from(*slot)].is_inhabited()) {
                    return Some(Running { id, work: Work::Shrinking { slots, from } });
                }
                self.scaled(from);
                self.done(id, Ok(()));
            }
            Work::Rolling { at, rest, old } => {
                let work = self.roll_on(id, at, rest, old, now)?;
                return Some(Running { id, work });
            }
        }
        None
    }

    fn scaled(&mut self, from: u32) {
        let new_count = u32::from(self.policy.workers);
        if from != new_count {
            self.emit(Event::ClusterScaled { old_count: from, new_count });
        }
    }

    /// Nothing at all got ready: the cluster is what it was, and the asker hears why.
    fn finish_growing(&mut self, id: u32, slots: &[u16], from: u32, now: Duration) {
        let ready = slots.iter().filter(|slot| self.slots[usize::from(**slot)].is_ready()).count();
        if ready > 0 || slots.is_empty() {
            self.scaled(from);
            return self.done(id, Ok(()));
        }
        for slot in slots.iter().rev() {
            self.retire(*slot, now);
        }
        self.policy.workers = from as u16;
        let error = self.first_error.take().unwrap_or_else(|| {
            Error::new(
                Code::ResourceExhausted,
                format!("No further worker of {} got ready", self.policy.script),
            )
        });
        self.done(id, Err(error));
    }

    /// The next step of a roll; None when it has ended.
    fn roll_on(
        &mut self,
        id: u32,
        mut at: Option<u16>,
        mut rest: VecDeque<u16>,
        mut old: Vec<(u16, u32)>,
        now: Duration,
    ) -> Option<Work> {
        if let Some(number) = at {
            let slot = &self.slots[usize::from(number)];
            if slot.next.is_some()
                || matches!(slot.sitting().map(|worker| &worker.stage), Some(Stage::Starting { .. }))
                || (!rest.is_empty() && slot.role == Role::Serving && is_cold(slot, &old))
            {
                return Some(Work::Rolling { at, rest, old });
            }
            if let Some(error) = self.roll_error.take() {
                self.done(id, Err(not_replaced(number, &error)));
                return None;
            }
            at = None;
        }
        while let Some(number) = rest.pop_front() {
            let Some(slot) = self.slots.get_mut(usize::from(number)) else {
                self.done(id, Err(no_such_worker(number)));
                return None;
            };
            match &slot.seat {
                Seat::Occupied(worker) if worker.is_ready() && slot.role != Role::Retired => {
                    old.push((number, worker.generation));
                    self.prepare_next(number, now);
                    return Some(Work::Rolling { at: Some(number), rest, old });
                }
                // Its next worker is a new one anyway; asked for by name it need not wait for its time.
                Seat::Waiting { .. } | Seat::CircuitOpen { .. } => slot.seat = Seat::Waiting { until: now },
                Seat::Occupied(_) | Seat::Vacant => {}
            }
        }
        let left = |(slot, generation): &(u16, u32)| {
            self.slots[usize::from(*slot)].workers().all(|worker| worker.generation != *generation)
        };
        if old.iter().all(left) {
            self.done(id, Ok(()));
            return None;
        }
        Some(Work::Rolling { at, rest, old })
    }
}

/// The slot has its new worker, which is not as fast yet as the old one was: if the next slot changed now, soon all
/// would be slow.
fn is_cold(slot: &Slot, old: &[(u16, u32)]) -> bool {
    let is_old = |generation: u32| old.contains(&(slot.number, generation));
    slot.sitting().is_some_and(|worker| worker.is_ready() && !worker.is_warm && !is_old(worker.generation))
}

/// The end of a roll: what the new worker said of itself stands in `details.cause`.
fn not_replaced(slot: u16, cause: &Error) -> Error {
    let output = cause.details["output"].as_str().unwrap_or_default().trim_end();
    let said = if output.is_empty() { String::new() } else { format!("\nIts last output was:\n{output}") };
    let message =
        format!("The new worker {slot} did not get ready; the old ones go on serving: {cause}{said}");
    let worker = slot.to_string();
    Error::new(Code::WorkerStartupFailed, message).with(json!({
        "workerId": worker,
        "cause": cause,
        "output": output,
    }))
}

fn no_such_worker(slot: u16) -> Error {
    Error::new(Code::NoSuchWorker, format!("There is no worker {slot}"))
}

fn stopping() -> Error {
    Error::new(Code::Stopped, "The cluster is stopping")
}
