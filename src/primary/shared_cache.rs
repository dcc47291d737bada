//! The shared cache of a cluster, or of a process without one. Its thread is started when a process opens it for the
//! first time.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::cache::service::{Joining, Report, Service, Settings};
use crate::cache::writer::Outside;
use crate::cache::writer::Resized;
use crate::config::units::size_text;
use crate::event::Level;
use crate::ipc::crypto::Pair;
use crate::model::CacheStatistics;

/// How long a stop waits for the file.
const SAVE_TIMEOUT: Duration = Duration::from_secs(60);

/// Logs a line, on any thread.
pub type Say = Box<dyn Fn(Level, String) + Send>;

pub struct SharedCache {
    settings: Mutex<Settings>,
    say: Arc<Mutex<Say>>,
    service: Mutex<Option<Service>>,
}

/// Whoever panicked has left the value whole: it is assigned at once.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedCache {
    pub fn new(settings: Settings, say: Say) -> Self {
        Self { settings: Mutex::new(settings), say: Arc::new(Mutex::new(say)), service: Mutex::default() }
    }

    /// Writes the contents to their file, if there are some and it has one; returns when that is done, or says that it
    /// takes too long.
    pub fn save(&self) {
        self.save_within(SAVE_TIMEOUT);
    }

    fn save_within(&self, timeout: Duration) {
        let is_saved = locked(&self.service).as_ref().is_none_or(|service| service.save(timeout));
        if !is_saved {
            let path = locked(&self.settings).persist.clone().unwrap_or_default();
            let text = format!(
                "The shared cache is not yet written to {} after {} s, and nobody waits for it any more (cache.persist)",
                path.display(),
                timeout.as_secs_f64()
            );
            locked(&self.say)(Level::Warn, text);
        }
    }

    /// Invalidates for another machine; nothing before the first use.
    pub fn invalidate(&self, what: Outside) {
        locked(&self.service).iter().for_each(|service| service.invalidate(what.clone()));
    }

    /// The cache is to have so many bytes: at its first use, or as soon as its values are in other memory.
    pub fn resize(&self, bytes: usize) {
        let service = locked(&self.service);
        let before = std::mem::replace(&mut locked(&self.settings).limits.bytes, bytes);
        if before != bytes {
            service.iter().for_each(|service| service.resize(bytes));
        }
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
                let settings = locked(&self.settings).clone();
                let path = settings.persist.clone().unwrap_or_default();
                none.insert(Service::start(settings, move |report| {
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
        Report::Saved(_) | Report::Loaded(_) | Report::Resized(_) => Level::Info,
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
        Report::Resized(Resized { bytes, entries, evicted }) => {
            format!(
                "The shared cache has {} now: {entries} values, {evicted} were evicted (cache.maxSize)",
                size_text(*bytes as u64)
            )
        }
        Report::NotResized(error) => format!("The shared cache keeps its size: {error} (cache.maxSize)"),
        Report::NoMemory(error) => format!("The shared cache has no memory: {error}"),
        Report::Broken { name, reason } => format!("The cache channel of {name} was closed: {reason}"),
        Report::Failed(error) => {
            format!("The shared cache has ended, and every look is a miss from now on: {error}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::client::Opened;
    use crate::cache::store::Limits;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs;
    use std::sync::mpsc::channel;

    #[test]
    fn a_save_that_takes_too_long_is_not_waited_for_and_said() {
        let folder = std::env::temp_dir().join(format!("drover-save-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("cache");
        // A file that is written before it gets its name: who opens this one waits for a reader.
        let staging = folder.join(format!("cache.{}", std::process::id()));
        mknodat(CWD, &staging, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let limits = Limits { bytes: 1 << 20, entries: usize::MAX };
        let settings = Settings { limits, persist: Some(path), seed: 1 };
        let (said, lines) = channel();
        let cache =
            SharedCache::new(settings, Box::new(move |level, text| said.send((level, text)).unwrap()));
        let _opened = Opened::new(cache.connect("a client".into(), None).unwrap(), None).unwrap();
        cache.save_within(Duration::from_millis(10));
        let (level, text) = lines.recv().unwrap();
        assert!(level == Level::Warn && text.contains("is not yet written to"), "{text}");
        fs::read(&staging).unwrap();
        drop(cache);
        fs::remove_dir_all(folder).unwrap();
    }
}
