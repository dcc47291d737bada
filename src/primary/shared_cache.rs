//! The shared cache of a cluster, or of a process without one. Its thread is started when a process opens it for the
//! first time.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::cache::service::{Joining, Report, Service, Settings};
use crate::event::Level;
use crate::ipc::crypto::Pair;
use crate::model::CacheStatistics;

/// Logs a line, on any thread.
pub type Say = Box<dyn Fn(Level, String) + Send>;

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
    pub fn new(settings: Settings, say: Say) -> Self {
        Self { settings, say: Arc::new(Mutex::new(say)), service: Mutex::default() }
    }

    /// Writes the contents to their file, if there are some and it has one; returns when that is done.
    pub fn save(&self) {
        locked(&self.service).iter().for_each(Service::save);
    }

    /// Lines are logged in this way from now on.
    pub fn say_with(&self, say: Say) {
        *locked(&self.say) = say;
    }

    /// The figures of the namespaces; none before the first use.
    pub fn statistics(&self) -> Vec<CacheStatistics> {
        locked(&self.service).as_ref().map(Service::statistics).unwrap_or_default()
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
                let path = self.settings.persist.clone().unwrap_or_default();
                none.insert(Service::start(self.settings.clone(), move |report| {
                    locked(&say)(level(&report), sentence(&report, &path));
                })?)
            }
        };
        service.join(Joining { name, socket, keys });
        Ok(theirs)
    }
}

fn level(report: &Report) -> Level {
    match report {
        Report::Saved(_) | Report::Loaded(_) => Level::Info,
        _ => Level::Warn,
    }
}

/// `path`: the file of `cache.persist`.
fn sentence(report: &Report, path: &Path) -> String {
    let path = path.display();
    match report {
        Report::Saved(entries) => format!("The shared cache was written to {path}: {entries} values"),
        Report::NotSaved(error) => {
            format!("The shared cache was not written to {path}: {error} (cache.persist)")
        }
        Report::Loaded(entries) => format!("The shared cache was read from {path}: {entries} values"),
        Report::NotLoaded(error) => {
            format!("The shared cache begins empty, because {path} cannot be used: {error} (cache.persist)")
        }
        Report::NoMemory(error) => format!("The shared cache has no memory: {error}"),
        Report::Broken { name, reason } => format!("The cache channel of {name} was closed: {reason}"),
        Report::Failed(error) => {
            format!("The shared cache has ended, and every look is a miss from now on: {error}")
        }
    }
}
