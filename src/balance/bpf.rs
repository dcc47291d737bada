//! The classic-BPF instructions that steering and closing need, as data. Nothing is attached here. Semantics:
//! <https://www.kernel.org/doc/html/latest/networking/filter.html>; the codes: `linux/filter.h`.

/// One classic-BPF instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    pub k: u32,
}

/// Loads at and above this offset read metadata of the packet: `SKF_AD_OFF`.
pub(super) const ANCILLARY: u32 = 0xFFFF_F000;
/// Loads at and above this offset are relative to the IP header: `SKF_NET_OFF`.
pub(super) const NETWORK: u32 = 0xFFF0_0000;
/// `SKF_AD_PROTOCOL`: the EtherType.
pub(super) const PROTOCOL: u32 = ANCILLARY;
/// `SKF_AD_RANDOM`: a fresh random number.
pub(super) const RANDOM: u32 = ANCILLARY + 56;

pub(super) const LOAD_IMMEDIATE: u16 = 0x00;
pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const LOAD_HALF: u16 = 0x28;
pub(super) const LOAD_BYTE: u16 = 0x30;
pub(super) const LOAD_SCRATCH: u16 = 0x60;
pub(super) const LOAD_X_SCRATCH: u16 = 0x61;
pub(super) const STORE: u16 = 0x02;
pub(super) const TO_X: u16 = 0x07;
pub(super) const ADD: u16 = 0x04;
pub(super) const MULTIPLY: u16 = 0x24;
pub(super) const AND: u16 = 0x54;
pub(super) const SHIFT_RIGHT: u16 = 0x74;
pub(super) const REMAINDER: u16 = 0x94;
pub(super) const XOR: u16 = 0xA4;
pub(super) const XOR_X: u16 = 0xAC;
pub(super) const JUMP: u16 = 0x05;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_AT_LEAST: u16 = 0x35;
pub(super) const IF_ABOVE_X: u16 = 0x2D;
pub(super) const RETURN: u16 = 0x06;
pub(super) const RETURN_A: u16 = 0x16;

/// Any instruction except a comparison.
pub(super) const fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// A comparison; with `k` or, depending on its code, with X.
pub(super) const fn test(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}
