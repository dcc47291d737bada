//! Steering programs: what the kernel runs for each new connection of a SO_REUSEPORT group to pick the
//! listener. The program returns the member's index, which is the order of `listen()`: 0 is the primary's
//! own listener, slot `s` is member `s + 1`. Data only: `sys` attaches it (SO_ATTACH_REUSEPORT_CBPF, see
//! socket(7)), `dispatch` decides when, and excludes workers that cannot accept.
//!
//! A load past the packet's end ends a program with 0: such a connection goes to the primary.

use super::bpf::*;
use super::hash::{ABSORB, ABSORB_SHIFT, SCORE_FIRST, SCORE_SECOND, SCORE_SHIFT, SEED, slot_seed};

/// Maximum length of a program. Older kernels allow a socket 20 KB of option memory (`net.core.optmem_max`), in which
/// the translated program must fit: 8 bytes for each translated instruction, of which there are at most 1.5 per
/// instruction here.
pub const MAX_INSTRUCTIONS: usize = 1500;

const ETHERTYPE_IPV4: u32 = 0x0800;

/// Which listener gets a new connection. A steering that names no slot is [`Steering::Primary`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering<'a> {
    /// All connections to the accept thread: push mode.
    Primary,
    /// At random, uniformly.
    Uniform(&'a [u16]),
    /// At random with these weights; a slot with weight zero gets no connections.
    Weighted(&'a [(u16, u32)]),
    /// By the client's address, as [`super::Chooser`] does it for ip-hash.
    IpHash(&'a [u16]),
    /// By the client's address and port, as [`super::Chooser`] does it for os.
    Flow(&'a [u16]),
}

/// The address family of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    V4,
    /// IPv6, and IPv4 too when the listener is dual-stack.
    V6,
}

/// The program for a group, or `None` when it would be longer than [`MAX_INSTRUCTIONS`]; then the listener
/// stays in push mode. The order of the slots and duplicates do not matter, except for `Weighted`, where the weights of
/// a duplicate slot are added.
pub fn program(steering: Steering<'_>, family: Family) -> Option<Vec<Instruction>> {
    let program = match steering {
        Steering::Primary => Vec::new(),
        Steering::Uniform(slots) => by_remainder(vec![op(LOAD_WORD, RANDOM)], slots),
        Steering::Weighted(odds) => weighted(odds),
        Steering::IpHash(slots) => by_score(key(family, false), slots),
        Steering::Flow(slots) => by_remainder(key(family, true), slots),
    };
    let program = if program.is_empty() { vec![op(RETURN, 0)] } else { program };
    (program.len() <= MAX_INSTRUCTIONS).then_some(program)
}

fn member(slot: u16) -> u32 {
    u32::from(slot) + 1
}

fn ascending(slots: &[u16]) -> Vec<u16> {
    let mut slots = slots.to_vec();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// Leaves [`super::client_key`] (or [`super::flow_key`]) in A. Ports are read at their offset in a packet without IPv4
/// options and IPv6 extension headers; with them other bytes of the same flow are hashed.
fn key(family: Family, with_port: bool) -> Vec<Instruction> {
    let path = |addresses: &[u32], port: u32| {
        let mut loads: Vec<_> = addresses.iter().map(|at| op(LOAD_WORD, NETWORK + at)).collect();
        loads.extend(with_port.then_some(op(LOAD_HALF, NETWORK + port)));
        absorb_all(&loads)
    };
    let v4 = path(&[12], 20);
    if family == Family::V4 {
        return v4;
    }
    let v6 = path(&[8, 12, 16, 20], 40);
    // Both paths are shorter than the 255 instructions that a comparison can skip.
    let mut program = vec![op(LOAD_WORD, PROTOCOL), test(IF_EQUAL, ETHERTYPE_IPV4, 0, v4.len() as u8 + 1)];
    program.extend(v4);
    program.push(op(JUMP, v6.len() as u32));
    program.extend(v6);
    program
}

/// `hash::absorb` of each loaded value in turn, starting with the seed.
fn absorb_all(loads: &[Instruction]) -> Vec<Instruction> {
    let mut program = Vec::new();
    for (n, &load) in loads.iter().enumerate() {
        match n {
            0 => program.extend([load, op(XOR, SEED)]),
            _ => program.extend([op(TO_X, 0), load, op(XOR_X, 0)]),
        }
        program.extend([op(MULTIPLY, ABSORB), op(TO_X, 0), op(SHIFT_RIGHT, ABSORB_SHIFT), op(XOR_X, 0)]);
    }
    program
}

/// Maps the number in A to one of the slots: its remainder is an index, and for each run of consecutive slots one
/// addition converts the index to a member.
fn by_remainder(mut program: Vec<Instruction>, slots: &[u16]) -> Vec<Instruction> {
    let slots = ascending(slots);
    if slots.is_empty() {
        return Vec::new();
    }
    program.push(op(REMAINDER, slots.len() as u32));
    let mut position = 0;
    for run in slots.chunk_by(|a, b| a + 1 == *b) {
        let shift = member(run[0]) - position;
        position += run.len() as u32;
        if position < slots.len() as u32 {
            program.push(test(IF_AT_LEAST, position, 2, 0));
        }
        program.extend([op(ADD, shift), op(RETURN_A, 0)]);
    }
    program
}

/// Compares a random number with the cumulative weights, both scaled to 31 bits: no slot's share is off by more than
/// 2^-31, and the kernel translates a comparison with a value below 2^31 into one instruction, above into two.
fn weighted(odds: &[(u16, u32)]) -> Vec<Instruction> {
    let total: u128 = odds.iter().map(|&(_, odds)| u128::from(odds)).sum();
    let mut program = vec![op(LOAD_WORD, RANDOM), op(SHIFT_RIGHT, 1)];
    let mut reached = 0;
    for &(slot, odds) in odds.iter().filter(|&&(_, odds)| odds > 0) {
        reached += u128::from(odds);
        if reached == total {
            program.push(op(RETURN, member(slot)));
            return program;
        }
        // Below 2^31, because `reached` is below the total.
        let bound = ((reached << 31) / total) as u32;
        program.extend([test(IF_AT_LEAST, bound, 1, 0), op(RETURN, member(slot))]);
    }
    Vec::new()
}

/// `hash::score` of every slot for the key in A; the best slot's member is returned. Ascending slots and a
/// strict comparison give equal scores to the lower slot.
fn by_score(mut program: Vec<Instruction>, slots: &[u16]) -> Vec<Instruction> {
    const KEY: u32 = 0;
    const BEST_SCORE: u32 = 1;
    const BEST_MEMBER: u32 = 2;
    if slots.is_empty() {
        return Vec::new();
    }
    program.push(op(STORE, KEY));
    for (n, slot) in ascending(slots).into_iter().enumerate() {
        program.extend([
            op(LOAD_SCRATCH, KEY),
            op(XOR, slot_seed(slot)),
            op(MULTIPLY, SCORE_FIRST),
            op(TO_X, 0),
            op(SHIFT_RIGHT, SCORE_SHIFT),
            op(XOR_X, 0),
            op(MULTIPLY, SCORE_SECOND),
        ]);
        if n > 0 {
            program.extend([op(LOAD_X_SCRATCH, BEST_SCORE), test(IF_ABOVE_X, 0, 0, 3)]);
        }
        program.extend([op(STORE, BEST_SCORE), op(LOAD_IMMEDIATE, member(slot)), op(STORE, BEST_MEMBER)]);
    }
    program.extend([op(LOAD_SCRATCH, BEST_MEMBER), op(RETURN_A, 0)]);
    program
}

#[cfg(test)]
mod tests;
