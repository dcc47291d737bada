//! A thread that watches descriptors for event loops without poll handles, and wakes those loops.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use super::handle::{Handle, Owned};

/// Maximum events per wait.
const BATCH: usize = 64;

/// An async handle for use on other threads.
struct WakeHandle {
    handle: Handle,
    send: unsafe extern "C" fn(Handle) -> std::ffi::c_int,
}

// SAFETY: the handle is used for uv_async_send alone, which libuv allows on any thread.
unsafe impl Send for WakeHandle {}

pub(super) struct Watcher {
    epoll: OwnedFd,
    wake_handles: Mutex<HashMap<u64, WakeHandle>>,
    next: AtomicU64,
}

impl Watcher {
    /// The watcher of this process.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn get() -> io::Result<&'static Self> {
        static WATCHER: OnceLock<Result<Watcher, Errno>> = OnceLock::new();
        static THREAD: OnceLock<Option<i32>> = OnceLock::new();
        let made = WATCHER.get_or_init(|| {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            Ok(Watcher { epoll, wake_handles: Mutex::default(), next: AtomicU64::new(1) })
        });
        let watcher = made.as_ref().map_err(|error| io::Error::from(*error))?;
        let failed = THREAD.get_or_init(|| {
            let thread = std::thread::Builder::new().name("drover-poll".into());
            thread.spawn(move || watcher.run()).err().map(|error| error.raw_os_error().unwrap_or_default())
        });
        match failed {
            None => Ok(watcher),
            Some(errno) => Err(io::Error::from_raw_os_error(*errno)),
        }
    }

    fn run(&self) {
        let mut events = Vec::with_capacity(BATCH);
        loop {
            events.clear();
            if let Err(error) = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None)
                && error != Errno::INTR
            {
                return;
            }
            let wake_handles = self.wake_handles.lock().unwrap_or_else(PoisonError::into_inner);
            for event in &events {
                if let Some(wake_handle) = wake_handles.get(&event.data.u64()) {
                    // SAFETY: an async handle that is in the table is not closed: `forget` comes before that, and takes
                    // this lock.
                    unsafe { (wake_handle.send)(wake_handle.handle) };
                }
            }
        }
    }

    /// `wake_handle` is sent when the descriptor is ready, once per arming. The handle must stay open until `forget`. Returns the
    /// id of the watch.
    pub fn add(&self, fd: BorrowedFd<'_>, wake_handle: &Owned) -> io::Result<u64> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let wake_handle = WakeHandle { handle: wake_handle.handle, send: wake_handle.symbols.async_send };
        self.wake_handles.lock().unwrap_or_else(PoisonError::into_inner).insert(id, wake_handle);
        let added = epoll::add(&self.epoll, fd, EventData::new_u64(id), EventFlags::ONESHOT);
        if added.is_err() {
            self.forget_wake_handle(id);
        }
        Ok(added.map(|()| id)?)
    }

    pub fn arm(&self, id: u64, fd: BorrowedFd<'_>, events: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(id), events | EventFlags::ONESHOT)?)
    }

    pub fn forget(&self, id: u64, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.epoll, fd);
        self.forget_wake_handle(id);
    }

    fn forget_wake_handle(&self, id: u64) {
        self.wake_handles.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
