//! The cluster's log: drover's own lines and the workers' output as one stream of whole lines. One thread writes it
//! (`writer`), told by an `inbox` that nobody waits for; `split` finds the lines, `scan` reads what a JSON line says,
//! `render` writes pino's JSON or pretty, `output` and `files` bring it to standard output or to files; `levels` and
//! `rate` say what is written, `tail` and `frequent` keep the last of it for the monitoring API.

mod files;
mod frequent;
mod inbox;
mod levels;
mod output;
mod rate;
mod render;
mod scan;
mod split;
mod tail;
mod writer;

use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use serde_json::Value;

use crate::component::Component;
use crate::event::{Level, Subject};
use crate::sys::local_time::now_ms;

pub use files::Rotation;
pub use frequent::Frequent;
pub use levels::Levels;
pub use output::FileSettings;
pub use render::{Format, Renderer, Source, Style};
pub use scan::{ID_BEGINS, ID_ENDS, level_name, level_named};
pub use split::{GOES_ON, Splitter};
pub use tail::{Filter, Found, Line, Tail, Whose};

pub use inbox::Followed;
use inbox::Inbox;
use output::Output;
use render::Own;

/// Of a pipe: what a worker may write while the writer is busy. The kernel grants less where a user has many.
const PIPE: usize = 256 * 1024;
/// How long the end of the process may wait for the last lines; a reader that takes some is given more.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is written, how and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// drover writes lines at all.
    pub enabled: bool,
    /// The workers' output is part of the log; otherwise it goes where the primary's does.
    pub captures: bool,
    pub least: Level,
    pub components: Vec<(Component, Level)>,
    pub style: Style,
    pub file: Option<FileSettings>,
    /// Lines a second of one worker.
    pub max_rate: Option<u32>,
}

/// The level of drover's own lines that a name stands for.
pub fn own_level(name: &str) -> Option<Level> {
    Some(match name {
        "trace" | "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        // None of its own lines is worse than an error.
        "fatal" | "silent" => Level::Silent,
        _ => return None,
    })
}

/// Colour only on a terminal, and never against NO_COLOR.
pub fn may_color(no_color: bool) -> bool {
    !no_color && io::stdout().is_terminal()
}

/// What the log has kept, and how loud it is: for the monitoring API.
#[derive(Clone)]
pub struct Logs {
    tail: Arc<Mutex<Tail>>,
    levels: Arc<Levels>,
    inbox: Option<Arc<Inbox>>,
}

impl Logs {
    pub fn find(&self, filter: &Filter) -> Found {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).find(filter)
    }

    /// By the level's name; None: of the log as a whole, whatever level components had of their own. False: there is no
    /// such level.
    pub fn set_level(&self, component: Option<Component>, name: &str) -> bool {
        let Some(level) = own_level(name) else { return false };
        self.levels.set(component, level);
        if let Some(inbox) = &self.inbox {
            let whose = component.map_or("the log", Component::name);
            let text = format!("The level of {whose} is {name} now");
            let subject =
                Subject::LogLevelChanged { component: component.map(Component::name), to: name.to_owned() };
            let time = now_ms();
            inbox.say(Own { level: Level::Info, text, members: Some(subject.members()), time });
        }
        true
    }
}

/// The log as the primary has it. It is over when this is.
pub struct Log {
    inbox: Option<Arc<Inbox>>,
    levels: Arc<Levels>,
    tail: Arc<Mutex<Tail>>,
    format: Format,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A worker's ends of its output, and the primary's.
#[derive(Debug)]
pub struct Pipes {
    pub stdout: (OwnedFd, OwnedFd),
    pub stderr: (OwnedFd, OwnedFd),
}

impl Pipes {
    /// # Errors
    /// No descriptors are left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { stdout: pipe()?, stderr: pipe()? })
    }
}

/// The end that is read does not block; the worker's does, as a terminal would.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
    // A smaller one serves too.
    let _ = fcntl_setpipe_size(&write, PIPE);
    Ok((read, write))
}

impl Log {
    /// # Errors
    /// The file cannot be written; no thread or descriptor is left.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let levels = Arc::new(Levels::new(settings.least, &settings.components));
        let tail = Arc::new(Mutex::new(Tail::default()));
        let format = settings.style.format;
        let thread = Mutex::default();
        let mut log = Self { inbox: None, levels: levels.clone(), tail: tail.clone(), format, thread };
        if !settings.enabled {
            return Ok(log);
        }
        let file = match settings.file {
            None => None,
            Some(file) => {
                output::make_folder(&file.path)?;
                let opened = file.open()?;
                Some((file, opened))
            }
        };
        let inbox = Arc::new(Inbox::new()?);
        let writer = writer::Writer::new(writer::Parts {
            inbox: inbox.clone(),
            levels,
            tail,
            renderer: Renderer::new(settings.style),
            output: Output::new(file),
            max_rate: settings.max_rate,
        })?;
        let thread = std::thread::Builder::new().name("drover-log".into()).spawn(move || writer.run())?;
        log.inbox = Some(inbox);
        log.thread = Mutex::new(Some(thread));
        Ok(log)
    }

    pub fn logs(&self) -> Logs {
        Logs { tail: self.tail.clone(), levels: self.levels.clone(), inbox: self.inbox.clone() }
    }

    pub fn is_pretty(&self) -> bool {
        self.format == Format::Pretty
    }

    /// A line of drover's own; never waits. `members` is asked only when the line is written.
    pub fn say(
        &self,
        component: Component,
        level: Level,
        text: String,
        members: impl FnOnce() -> Option<Value>,
        now_ms: u64,
    ) {
        if let Some(inbox) = &self.inbox
            && self.levels.allows(component, level)
        {
            inbox.say(Own { level, text, members: members(), time: now_ms });
        }
    }

    /// From now on what comes out of a worker's pipe is part of the log, until its end.
    pub fn follow(&self, followed: Followed) {
        if let Some(inbox) = &self.inbox {
            inbox.follow(followed);
        }
    }

    /// Returns when everything that was said, and that lies in the workers' pipes, is written. Nothing is written
    /// afterwards.
    pub fn finish(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(inbox), Some(thread)) = (&self.inbox, thread) else { return };
        let (ended, end) = channel();
        inbox.end(ended);
        if end.recv_timeout(TIMEOUT) != Err(RecvTimeoutError::Timeout) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_least_level_is_fatal_none_of_drovers_own_lines_is_written() {
        for (name, writes_errors) in [("trace", true), ("error", true), ("fatal", false), ("silent", false)] {
            let levels = Levels::new(own_level(name).unwrap(), &[]);
            assert_eq!(levels.allows(Component::Workers, Level::Error), writes_errors, "{name}");
        }
        assert_eq!(own_level("loud"), None);
    }
}
