//! Keeping the kernel's program and the ownership of the slots' queues in step with what the workers do.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};

use super::accept::Floor;
use super::command::{Affinity, DispatchMode, Report};
use super::group::{Door, Group};
use super::token::Token;
use crate::balance::{Instruction, MAX_INSTRUCTIONS, Mode, Steering, Strategy, live_weights, program};
use crate::event::Level;
use crate::ipc::control::GroupId;
use crate::metrics::layout::page;
use crate::sys::bpf;

impl Floor {
    /// Stickiness by address overrules the strategy: both modes then hash the address.
    pub fn effective_strategy(&self) -> Strategy {
        if self.settings.affinity == Affinity::Ip { Strategy::IpHash } else { self.settings.strategy }
    }

    /// Slots whose own listener may be given connections by the kernel.
    fn direct_slots(&self, group: &Group) -> Vec<u16> {
        let fit = self.crew.iter().flatten().filter(|member| {
            group.door(member.slot) == Door::Open
                && !member.leaving
                && !member.stuck
                && !member.scarce
                && usize::from(member.slot) < group.members.len()
        });
        fit.map(|member| member.slot).collect()
    }

    /// After any change of doors, workers or modes: who accepts from which listener, and what the kernel does.
    pub fn restate(&mut self) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.own_queues(id);
            self.steer(id);
        }
    }

    /// A slot's queue that no worker serves is the primary's: connections of handshakes begun before the
    /// program changed still end there. Listeners are never closed: that would reset them.
    fn own_queues(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else { return };
        let fit = self.direct_slots(group);
        // With nobody to give them to, a stuck worker's queue stays its own.
        let somebody = !fit.is_empty();
        let mut wanted = vec![true; group.members.len()];
        for member in self.crew.iter().flatten() {
            let serves = group.door(member.slot) == Door::Open && !member.leaving && !member.scarce;
            if serves
                && !(member.stuck && somebody)
                && let Some(owned) = wanted.get_mut(usize::from(member.slot))
            {
                *owned = false;
            }
        }
        let Some(group) = self.groups.get_mut(&id) else { return };
        for (slot, owned) in wanted.into_iter().enumerate() {
            if group.owned[slot] == owned {
                continue;
            }
            if group.paused_until.is_some() {
                // None of its listeners is polled now.
                group.owned[slot] = owned;
                continue;
            }
            let token = EventData::new_u64(Token::Slot(id, slot as u16).pack());
            let listener = &group.members[slot];
            let changed = if owned {
                epoll::add(&self.epoll, listener, token, EventFlags::IN)
            } else {
                epoll::delete(&self.epoll, listener)
            };
            if changed.is_ok() {
                group.owned[slot] = owned;
            }
        }
    }

    fn steer(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else { return };
        if group.members.is_empty() {
            return;
        }
        let slots = if group.mode == Mode::Direct { self.direct_slots(group) } else { Vec::new() };
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
        match attach(group, &program) {
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
        let member = |slot: u16| self.crew.get(usize::from(slot)).and_then(Option::as_ref);
        match self.effective_strategy() {
            Strategy::WeightedRoundRobin => slots.iter().map(|&slot| (slot, weight(slot))).collect(),
            Strategy::LeastResponseTime => {
                let latency = |slot: u16| member(slot).map_or(0.0, |member| member.page.float(page::LATENCY));
                let loads: Vec<(u16, u32, u32)> =
                    slots.iter().map(|&slot| (slot, latency(slot).max(0.0) as u32, weight(slot))).collect();
                live_weights(&loads)
            }
            _ => {
                let load = |slot: u16| member(slot).map_or(0, |member| member.connections());
                let loads: Vec<(u16, u32, u32)> =
                    slots.iter().map(|&slot| (slot, load(slot), weight(slot))).collect();
                live_weights(&loads)
            }
        }
    }

    /// Switches a group's mode if its rate says so. `accepted`: connections the accept thread just took.
    pub fn consider_mode(&mut self, id: GroupId, accepted: u32, now: Duration) {
        let must_push = Group::must_push(&self.settings) || self.settings.mode == DispatchMode::Push;
        let Some(group) = self.groups.get_mut(&id) else { return };
        if group.push_only || must_push {
            group.direct_total += u64::from(accepted);
            group.reconsider(accepted, now);
            group.busy = group.switch.mode() == Mode::Direct;
            return;
        }
        let wanted = match self.settings.mode {
            DispatchMode::Push | DispatchMode::Direct => Mode::Direct,
            DispatchMode::Auto if self.settings.strategy == Strategy::Os => Mode::Direct,
            DispatchMode::Auto => {
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

fn attach(group: &Group, program: &[Instruction]) -> std::io::Result<()> {
    let raw: Vec<bpf::RawInstruction> =
        program.iter().map(|step| (step.code, step.jt, step.jf, step.k)).collect();
    bpf::attach(group.front.as_fd(), &raw)
}
