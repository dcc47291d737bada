use std::fmt;

use serde::{Deserialize, Serialize};

/// Identifies a worker process by its slot and its generation. A replacement has the same slot and the next generation,
/// so that what is addressed to a worker never reaches its replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId {
    pub slot: u16,
    /// 1 for the first worker of the slot.
    pub generation: u32,
}

impl WorkerId {
    pub const fn new(slot: u16, generation: u32) -> Self {
        Self { slot, generation }
    }
}

/// The slot alone, which is the worker's public id.
impl fmt::Display for WorkerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slot.fmt(formatter)
    }
}
