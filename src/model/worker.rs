use std::fmt;

use serde::{Deserialize, Serialize};

/// Which worker process: the slot that it fills, and which of the slot's processes it is. A replacement has the same
/// slot and the next generation, so that nothing meant for a worker reaches the one after it.
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

/// The slot alone, which is what the outside calls the worker's id.
impl fmt::Display for WorkerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slot.fmt(formatter)
    }
}
