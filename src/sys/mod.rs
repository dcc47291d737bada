//! The hand-written unsafe code of drover, that of Node-API apart (`bindings::raw`): descriptors that came as numbers,
//! shared memory, libuv, V8, signals and the moment between fork and exec. Each block says why it is sound. No policy
//! may come in here: a function does one thing for the layers above and decides nothing.

pub mod async_fd;
pub mod bpf;
pub mod dynamic;
pub mod fds;
pub mod gc;
pub mod hidden;
pub mod limits;
pub mod local_time;
pub mod memory;
pub mod orphan;
pub mod spawn;
pub mod stack;
pub mod stack_trace;
pub mod uv;
