//! The filter program that drops new handshakes of a listening socket, while pending handshakes complete and its queue
//! is kept. Data only, like the steering programs; the kernel runs it for each packet to the listener
//! (SO_ATTACH_FILTER, socket(7)), starting at the TCP header.

use super::bpf::*;

/// Offset of the flags in a TCP header (RFC 9293, 3.1).
const FLAGS: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

/// Bytes of a packet to keep: all.
const KEEP: u32 = u32::MAX;
const DROP: u32 = 0;

/// Drops packets that begin a handshake (SYN without ACK) and keeps all others: a client with a pending handshake can
/// complete it, other clients send their SYN again after a second.
pub fn no_new_handshakes() -> Vec<Instruction> {
    vec![
        op(LOAD_BYTE, FLAGS),
        op(AND, SYN | ACK),
        test(IF_EQUAL, SYN, 0, 1),
        op(RETURN, DROP),
        op(RETURN, KEEP),
    ]
}
