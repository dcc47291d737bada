//! Keeping the kernel's program and the ownership of the slots' queues in step with what the workers do.

use std::os::fd::AsFd;
use std::time::Duration;

use super::accept_loop::AcceptLoop;
use super::bind::attach;
use super::command::{Affinity, DispatchMode, Report};
use super::group::{Group, Share};
use super::worker_channel::WorkerChannel;
use crate::balance::{MAX_INSTRUCTIONS, Mode, Steering, Strategy, live_weights, program};
use crate::event::Level;
use crate::ipc::control::GroupId;
use crate::metrics::layout::page;

impl AcceptLoop {
    /// Stickiness by address overrules the strategy: both modes then hash the address.
    pub fn effective_strategy(&self) -> Strategy {
        if self.settings.affinity == Affinity::Ip { Strategy::IpHash } else { self.settings.strategy }
    }

    /// Slots whose own listener may be given connections by the kernel.
    pub fn direct_slots(&self, group: &Group) -> Vec<u16> {
        let fit = self.workers.serving().filter(|channel| {
            group.share(channel.id.slot) == Share::Open
                && channel.is_well()
                && !channel.fd_pressure
                && usize::from(channel.id.slot) < group.members.len()
        });
        fit.map(|channel| channel.id.slot).collect()
    }

    /// After any change of doors, workers or modes: who accepts from which listener, and what the kernel does.
    pub fn sync_routing(&mut self) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.own_queues(id);
            self.steer(id);
        }
    }

    fn steer(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else { return };
        let Some(primary_listener) = group.primary_listener.as_ref().filter(|_| !group.members.is_empty())
        else {
            return;
        };
        let direct = group.mode == Mode::Direct && !self.warms_up(group);
        let slots = if direct { self.direct_slots(group) } else { Vec::new() };
        let odds = self.odds(&slots);
        let steering = match self.effective_strategy() {
            _ if slots.is_empty() => Steering::Primary,
            Strategy::RoundRobin => Steering::Uniform(&slots),
            Strategy::IpHash => Steering::IpHash(&slots),
            Strategy::Os => Steering::Flow(&slots),
            Strategy::WeightedRoundRobin | Strategy::LeastConnections | Strategy::LeastResponseTime => {
                Steering::Weighted(&odds)
            }
        };
        let Some(program) = program(steering, group.family()) else {
            let slots = slots.len();
            let text = format!(
                "{slots} workers need a steering program of more than {MAX_INSTRUCTIONS} instructions: \
                 connections go through the primary"
            );
            return self.give_up_steering(id, text);
        };
        if program == group.program {
            return;
        }
        match attach(primary_listener.as_fd(), &program) {
            Ok(()) => {
                if let Some(group) = self.groups.get_mut(&id) {
                    group.program = program;
                }
            }
            Err(error) => {
                let text = format!(
                    "The kernel takes no steering program ({error}): connections go through the primary"
                );
                self.give_up_steering(id, text);
            }
        }
    }

    /// Push mode for good. Without a program the kernel spreads connections over all members; the primary
    /// takes those of every slot then.
    fn give_up_steering(&mut self, id: GroupId, text: String) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let first = !group.push_only;
        group.push_only = true;
        group.mode = Mode::Push;
        if first {
            (self.report)(Report::Notice(Level::Warn, text));
            self.steer(id);
        }
    }

    /// The odds of direct mode: configured weights, live counts or measured latency.
    fn odds(&self, slots: &[u16]) -> Vec<(u16, u32)> {
        let weight = |slot: u16| self.settings.weights.get(usize::from(slot)).copied().unwrap_or(1).max(1);
        let channel = |slot: u16| self.workers.in_slot(slot);
        match self.effective_strategy() {
            Strategy::WeightedRoundRobin => slots.iter().map(|&slot| (slot, weight(slot))).collect(),
            Strategy::LeastResponseTime => {
                let latency =
                    |slot: u16| channel(slot).map_or(0.0, |channel| channel.page.float(page::LATENCY));
                let measured: Vec<f64> =
                    slots.iter().map(|&slot| latency(slot)).filter(|l| *l > 0.0).collect();
                // One that has not answered yet counts as average, or it would draw everything at once.
                let average = measured.iter().sum::<f64>() / measured.len().max(1) as f64;
                let load = |slot: u16| Some(latency(slot)).filter(|l| *l > 0.0).unwrap_or(average) as u32;
                let loads: Vec<(u16, u32, u32)> =
                    slots.iter().map(|&slot| (slot, load(slot), weight(slot))).collect();
                live_weights(&loads)
            }
            _ => {
                let load = |slot: u16| channel(slot).map_or(0, |channel| channel.connections());
                let loads: Vec<(u16, u32, u32)> =
                    slots.iter().map(|&slot| (slot, load(slot), weight(slot))).collect();
                live_weights(&loads)
            }
        }
    }

    /// An option keeps every listener in push mode.
    pub fn holds_push(&self) -> bool {
        Group::must_push(&self.settings) || self.settings.mode == DispatchMode::Push
    }

    /// Some worker here is cold while others are warm: it must be fed slowly, which only the primary can do.
    /// (Clients that belong to a slot go there all the same.)
    fn warms_up(&self, group: &Group) -> bool {
        if self.effective_strategy() == Strategy::IpHash {
            return false;
        }
        let now = self.now();
        let here = || {
            self.workers
                .serving()
                .filter(|channel| group.share(channel.id.slot) == Share::Open && channel.is_well())
        };
        group.plain_http && here().any(|m| m.is_warm(now)) && here().any(|m| !m.is_warm(now))
    }

    /// A server here has a limit of connections of its own, which the kernel does not know.
    fn has_limits(&self, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(|group| {
            let serves = |channel: &&WorkerChannel| group.share(channel.id.slot) == Share::Open;
            self.workers.serving().filter(serves).any(|channel| channel.connection_limits.is_limited(id))
        })
    }

    /// A worker serves here for whose slot there was no listener when the address was opened: the kernel could
    /// give it nothing. As long as it is there, connections go through the primary.
    fn has_outgrown(&self, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(|group| {
            let beyond = |channel: &WorkerChannel| usize::from(channel.id.slot) >= group.members.len();
            self.workers
                .serving()
                .any(|channel| beyond(channel) && group.share(channel.id.slot) == Share::Open)
        })
    }

    /// Switches a group's mode if its rate says so. `accepted`: connections the accept thread just took.
    pub fn consider_mode(&mut self, id: GroupId, accepted: u32, now: Duration) {
        let held = self.holds_push() || self.has_outgrown(id) || self.has_limits(id);
        let Some(group) = self.groups.get_mut(&id) else { return };
        if group.push_only || held {
            group.direct_total += u64::from(accepted);
            group.reconsider(accepted, now);
            group.busy = group.switch.mode() == Mode::Direct;
            if group.mode == Mode::Direct {
                group.mode = Mode::Push;
                self.own_queues(id);
                self.steer(id);
            }
            return;
        }
        let wanted = match self.settings.mode {
            DispatchMode::Push | DispatchMode::Direct => Mode::Direct,
            DispatchMode::Auto if self.settings.strategy == Strategy::Os => Mode::Direct,
            DispatchMode::Auto => {
                if group.mode == Mode::Direct {
                    // While a worker warms up the primary accepts for it.
                    group.direct_total += u64::from(accepted);
                }
                group.reconsider(accepted, now);
                group.switch.mode()
            }
        };
        if wanted != group.mode {
            group.mode = wanted;
            self.own_queues(id);
            self.steer(id);
        }
    }
}
