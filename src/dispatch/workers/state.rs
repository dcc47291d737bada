//! A worker that has a slot, as plain data for the parts of dispatch that decide by it.

use crate::ipc::control::GroupId;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerState {
    pub slot: u16,
    /// It gets nothing more.
    pub leaving: bool,
    /// New work is better given to others.
    pub excluded: bool,
    /// It is short of descriptors.
    pub fd_pressure: bool,
    /// It is as fast as it will be.
    pub is_warm: bool,
    /// Open in the worker or on their way to it.
    pub connections: u32,
    /// 0 when nothing has been measured yet.
    pub latency_us: f64,
    /// Groups where a server of its has a limit of connections of its own.
    pub limited: Vec<GroupId>,
}

impl WorkerState {
    /// Stays and makes progress, as far as is known.
    pub fn is_well(&self) -> bool {
        !self.leaving && !self.excluded
    }

    pub fn is_limited(&self, group: GroupId) -> bool {
        self.limited.contains(&group)
    }
}
