//! A door: the listener of one group, polled on the worker's loop.

use crate::ipc::control::GroupId;
use crate::sys::uv::Poll;

pub struct Door {
    pub group: GroupId,
    pub poll: Poll,
}
