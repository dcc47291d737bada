//! A classic-BPF interpreter and its packets: the reference for the steering tests. `tests/steering.rs` includes this
//! file to compare it with the kernel. As strict as the kernel's own checker.

use super::Instruction;
use std::net::{IpAddr, SocketAddr};

const NETWORK: u32 = 0xFFF0_0000;
const PROTOCOL: u32 = 0xFFFF_F000;
const RANDOM: u32 = PROTOCOL + 56;

/// What a program can see of a connection's first packet.
pub struct Packet {
    /// From the IP header on.
    pub bytes: Vec<u8>,
    ethertype: u32,
    pub random: u32,
}

impl Packet {
    /// The SYN of `client`; a v4-mapped address arrives as an IPv4 packet, as it does at a dual-stack listener.
    pub fn from(client: SocketAddr) -> Self {
        let (header, source, at, ethertype) = match client.ip().to_canonical() {
            IpAddr::V4(v4) => (20, v4.octets().to_vec(), 12, 0x0800),
            IpAddr::V6(v6) => (40, v6.octets().to_vec(), 8, 0x86DD),
        };
        let mut bytes = vec![0xA5; header + 20];
        bytes[at..at + source.len()].copy_from_slice(&source);
        bytes[header..header + 2].copy_from_slice(&client.port().to_be_bytes());
        Self { bytes, ethertype, random: 0 }
    }

    fn load(&self, at: u32, size: usize) -> Option<u32> {
        if at >= PROTOCOL {
            return match at {
                PROTOCOL => Some(self.ethertype),
                RANDOM => Some(self.random),
                _ => panic!("unknown ancillary load at {at:#x}"),
            };
        }
        let start = at.checked_sub(NETWORK).expect("loads count from the IP header") as usize;
        let bytes = self.bytes.get(start..start + size)?;
        Some(bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }
}

/// What the program returns. Panics where the kernel would refuse it: unknown codes, jumps out of it, scratch
/// that is read before it is written, a shift past 31, a division by zero, an end without a return.
pub fn run(program: &[Instruction], packet: &Packet) -> u32 {
    let (mut a, mut x, mut scratch) = (0u32, 0u32, [None; 16]);
    let mut at = 0;
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut branch = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            0x00 => a = k,
            0x20 | 0x28 => match packet.load(k, if code == 0x20 { 4 } else { 2 }) {
                Some(value) => a = value,
                None => return 0,
            },
            0x60 => a = scratch[k as usize].expect("scratch was written"),
            0x61 => x = scratch[k as usize].expect("scratch was written"),
            0x02 => scratch[k as usize] = Some(a),
            0x07 => x = a,
            0x04 => a = a.wrapping_add(k),
            0x24 => a = a.wrapping_mul(k),
            0x74 => a = a.checked_shr(k).expect("shifts stay below 32"),
            0x94 => a %= k,
            0xA4 => a ^= k,
            0xAC => a ^= x,
            0x05 => at += k as usize,
            0x15 => branch(a == k),
            0x35 => branch(a >= k),
            0x2D => branch(a > x),
            0x06 => return k,
            0x16 => return a,
            _ => panic!("unknown code {code:#x}"),
        }
    }
}
