//! The shared cache of a cluster, or of a process without one. Its thread is started when a process opens it for the
//! first time.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::cache::service::{Joining, Report, Service, Settings};
use crate::cache::store::Limits;
use crate::ipc::crypto::Pair;

/// Logs a line, on any thread.
pub type Say = Box<dyn Fn(String) + Send>;

pub struct SharedCache {
    settings: Settings,
    say: Arc<Mutex<Say>>,
    service: Mutex<Option<Service>>,
}

/// Whoever panicked has left the value whole: it is assigned at once.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedCache {
    /// `seed`: a random number.
    pub fn new(limits: Limits, seed: u32, say: Say) -> Self {
        let say = Arc::new(Mutex::new(say));
        Self { settings: Settings { limits, seed }, say, service: Mutex::default() }
    }

    /// Lines are logged in this way from now on.
    pub fn say_with(&self, say: Say) {
        *locked(&self.say) = say;
    }

    /// A channel to the writer for a new client, `name` in the log.
    ///
    /// # Errors
    /// No descriptors or no thread for it.
    pub fn connect(&self, name: String, keys: Option<Pair>) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let mut service = locked(&self.service);
        let service = match &mut *service {
            Some(service) => service,
            none => {
                let say = self.say.clone();
                none.insert(Service::start(self.settings, move |report| locked(&say)(sentence(&report)))?)
            }
        };
        service.join(Joining { name, socket, keys });
        Ok(theirs)
    }
}

fn sentence(report: &Report) -> String {
    match report {
        Report::NoMemory(error) => format!("The shared cache has no memory: {error}"),
        Report::Broken { name, reason } => format!("The cache channel of {name} was closed: {reason}"),
        Report::Failed(error) => {
            format!("The shared cache has ended, and every look is a miss from now on: {error}")
        }
    }
}
