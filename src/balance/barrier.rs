//! The program that lets no new handshake into a listening socket, while those under way end and what is in its
//! queue stays. Data only, as the steering programs; the kernel runs it for each packet that comes to the listener
//! (SO_ATTACH_FILTER, socket(7)), beginning at the TCP header.

use super::bpf::*;

/// Where the flags are in a TCP header (RFC 9293, 3.1).
const FLAGS: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

/// How much of a packet is kept: all of it, or nothing.
const KEEP: u32 = u32::MAX;
const DROP: u32 = 0;

/// Drops what begins a handshake (SYN without ACK) and keeps all else: a client whose handshake was begun can end it,
/// another repeats its SYN after a second.
pub fn no_new_handshakes() -> Vec<Instruction> {
    vec![
        op(LOAD_BYTE, FLAGS),
        op(AND, SYN | ACK),
        test(IF_EQUAL, SYN, 0, 1),
        op(RETURN, DROP),
        op(RETURN, KEEP),
    ]
}
