//! The hand-written unsafe code of drover, except Node-API (`bindings::raw`): descriptors given as numbers, shared
//! memory, libuv, V8, signals and the code between fork and exec. Each block says why it is sound. There is no policy
//! here: a function does one thing for the layers above and makes no decisions.

pub mod async_fd;
pub mod bpf;
pub mod byte_memory;
pub mod clock;
pub mod dynamic;
pub mod fds;
pub mod gc;
pub mod hidden;
pub mod io_priority;
pub mod limits;
pub mod local_time;
pub mod memory;
pub mod orphan;
pub mod socket_calls;
pub mod spawn;
pub mod stack;
pub mod stack_trace;
pub mod uv;
