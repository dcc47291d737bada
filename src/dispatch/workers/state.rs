//! The state of an active worker, as plain data for the decisions of dispatch.

use crate::ipc::control::GroupId;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerState {
    pub slot: u16,
    /// It gets no more connections.
    pub leaving: bool,
    /// New connections should go to other workers.
    pub excluded: bool,
    /// It has fd pressure.
    pub fd_pressure: bool,
    /// It has warmed up, and is not relieved: it may get as many connections as any.
    pub is_warm: bool,
    /// Open in the worker or in transit to it.
    pub connections: u32,
    /// 0 if nothing has been measured yet.
    pub latency_us: f64,
    /// Groups in which its server has its own connection limit.
    pub limited: Vec<GroupId>,
}

impl WorkerState {
    /// Does not drain, and makes progress, as far as known.
    pub fn is_well(&self) -> bool {
        !self.leaving && !self.excluded
    }

    pub fn is_limited(&self, group: GroupId) -> bool {
        self.limited.contains(&group)
    }
}
