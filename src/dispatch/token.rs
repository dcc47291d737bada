//! What an epoll event is about, packed into its 64 bits.

use crate::ipc::control::GroupId;
use crate::model::WorkerId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Commands are waiting.
    Wake,
    /// The group's own listener (member 0) has connections.
    PrimaryListener(GroupId),
    /// A slot's listener that the primary looks after has connections.
    Slot(GroupId, u16),
    /// The worker gives connections away.
    Handoffs(WorkerId),
    /// First bytes of a connection that is looked at before it is placed.
    Peek(u32),
    /// A connection that was answered by drover and is being drained.
    Refused(u32),
}

impl Token {
    pub fn pack(self) -> u64 {
        match self {
            Token::Wake => 0,
            Token::PrimaryListener(group) => 1 << 56 | u64::from(group),
            Token::Slot(group, slot) => 2 << 56 | u64::from(slot) << 32 | u64::from(group),
            Token::Peek(id) => 3 << 56 | u64::from(id),
            Token::Refused(id) => 4 << 56 | u64::from(id),
            Token::Handoffs(worker) => 5 << 56 | u64::from(worker.slot) << 32 | u64::from(worker.generation),
        }
    }

    pub fn unpack(bits: u64) -> Self {
        let low = bits as u32;
        match bits >> 56 {
            1 => Token::PrimaryListener(low),
            2 => Token::Slot(low, (bits >> 32) as u16),
            3 => Token::Peek(low),
            4 => Token::Refused(low),
            5 => Token::Handoffs(WorkerId { slot: (bits >> 32) as u16, generation: low }),
            _ => Token::Wake,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        let tokens = [
            Token::Wake,
            Token::PrimaryListener(7),
            Token::Slot(u32::MAX, 1023),
            Token::Peek(9),
            Token::Refused(3),
            Token::Handoffs(WorkerId { slot: 1023, generation: u32::MAX }),
        ];
        for token in tokens {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
