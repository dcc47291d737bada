//! What a worker inherits: the channels, the shared memory, the hello; and the parent-death signal.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::control_channel::ControlChannel;
use super::streams::Streams;
use crate::ipc::control::{Hello, ToWorker};
use crate::ipc::crypto::WorkerKeys;
use crate::ipc::message::BESIDE;
use crate::ipc::ticket_keys;
use crate::metrics::layout::Region;
use crate::metrics::memory::{Memfds, SharedMemory};
use crate::sys::memory::Mapping;
use crate::sys::spawn::FIRST_INHERITED;
use crate::sys::{fds, orphan};

/// The time of a worker after its primary was killed, for requests that are nearly done.
pub const GRACE_AFTER_DEATH: Duration = Duration::from_millis(1500);

/// Number of descriptors before those of the shared memory: the control, the connection and the message channel.
const CHANNELS: i32 = 3;

/// What a worker inherits, before it has an event loop.
pub struct Attachment {
    pub(super) control: ControlChannel,
    pub(super) connections: OwnedFd,
    /// The channel to the primary's program.
    pub(super) program: OwnedFd,
    /// The keys of its channels, if they are encrypted.
    pub(super) keys: Option<WorkerKeys>,
    pub(super) streams: Option<Streams>,
    pub(super) memory: SharedMemory,
    /// The keys of TLS session tickets: [`crate::ipc::ticket_keys`].
    pub tickets: Arc<Mapping>,
    pub hello: Hello,
}

/// Names the process (ps -o comm), for runtimes whose `process.title` does not. The kernel keeps 15 bytes.
fn name_process(hello: &Hello) {
    if let Ok(name) = CString::new(format!("drover:{}", hello.worker.slot)) {
        // A name is no reason not to start.
        let _ = rustix::thread::set_name(&name);
    }
}

impl Attachment {
    /// Takes over the descriptors from 3 on if `primary_pid` (from the environment) is really this process's
    /// parent; a grandchild that inherited the variable is not a worker.
    ///
    /// # Errors
    /// The channel is missing or invalid.
    pub fn find(primary_pid: u32) -> io::Result<Option<Self>> {
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if parent != Some(primary_pid) {
            return Ok(None);
        }
        let inherit = |index: i32| -> io::Result<OwnedFd> {
            let fd = fds::take(FIRST_INHERITED + index)?;
            rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
            Ok(fd)
        };
        let (control, connections, program) = (inherit(0)?, inherit(1)?, inherit(2)?);
        let memfds = Memfds::inherit(|nth| inherit(CHANNELS + nth as i32))?;
        orphan::watch(GRACE_AFTER_DEATH)?;
        let control = ControlChannel::new(control);
        let (ToWorker::Hello(hello), Some(tickets)) = control.first()? else {
            return Err(io::Error::other("the first message is not a hello"));
        };
        name_process(&hello);
        let tickets = Arc::new(Mapping::hidden(tickets.as_fd(), ticket_keys::CELLS, false)?);
        let keys = if hello.sealed { Some(control.keys()?) } else { None };
        let streams =
            Streams::inherit(hello.captured, |nth| inherit(CHANNELS + Region::ALL.len() as i32 + nth))?;
        control.greeted(hello.messages.most + BESIDE);
        let memory = SharedMemory::open(&memfds, hello.worker)?;
        Ok(Some(Self { control, connections, program, keys, streams, tickets, memory, hello: *hello }))
    }
}
