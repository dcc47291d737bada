//! The cluster's log: drover's own lines and the workers' output as one stream of complete lines. One thread (`writer`)
//! writes it, and gets its input from a non-blocking `inbox`. `split` finds lines, `scan` parses JSON lines, `render`
//! writes pino's JSON or pretty lines, `output` and `files` write to standard output or files; `levels` and `rate` decide
//! which lines are written; `tail` and `frequent` keep recent lines for the monitoring API.

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

/// Size of a pipe: what a worker can write while the writer is busy. The kernel grants less to a user with many pipes.
const PIPE: usize = 256 * 1024;
/// How long the end of the process waits for the last lines; longer as long as the reader makes progress.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of the log.
#[derive(Clone, Debug)]
pub struct Settings {
    /// drover writes lines of its own.
    pub enabled: bool,
    /// The workers' output is part of the log; otherwise workers inherit the primary's streams.
    pub captures: bool,
    pub least: Level,
    pub components: Vec<(Component, Level)>,
    pub style: Style,
    pub file: Option<FileSettings>,
    /// Maximum lines per second of one worker.
    pub max_rate: Option<u32>,
}

/// The level of drover's own lines with this name.
pub fn own_level(name: &str) -> Option<Level> {
    Some(match name {
        "trace" | "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        // drover has no lines above the level error.
        "fatal" | "silent" => Level::Silent,
        _ => return None,
    })
}

/// Colour only on a terminal, and not if NO_COLOR is set.
pub fn may_color(no_color: bool) -> bool {
    !no_color && io::stdout().is_terminal()
}

/// The recent lines and the levels of the log, for the monitoring API.
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

    /// Sets a level by its name. None: for the log as a whole, including components with their own level. False if there
    /// is no such level.
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

/// The primary's handle of the log. Dropping it ends the log.
pub struct Log {
    inbox: Option<Arc<Inbox>>,
    levels: Arc<Levels>,
    tail: Arc<Mutex<Tail>>,
    format: Format,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The pipes of a worker's output: the worker's ends and the primary's.
#[derive(Debug)]
pub struct Pipes {
    pub stdout: (OwnedFd, OwnedFd),
    pub stderr: (OwnedFd, OwnedFd),
}

impl Pipes {
    /// # Errors
    /// No descriptors are available.
    pub fn new() -> io::Result<Self> {
        Ok(Self { stdout: pipe()?, stderr: pipe()? })
    }
}

/// A pipe. The reading end does not block; the worker's end does, as a terminal would.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
    // A smaller pipe works too.
    let _ = fcntl_setpipe_size(&write, PIPE);
    Ok((read, write))
}

impl Log {
    /// # Errors
    /// The file cannot be written, or no thread or descriptor is available.
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

    /// Logs a line of drover's own; never blocks. `members` is called only if the line is written.
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

    /// Adds a worker's output to the log, until the pipe's end.
    pub fn follow(&self, followed: Followed) {
        if let Some(inbox) = &self.inbox {
            inbox.follow(followed);
        }
    }

    /// Returns when all lines, including those in the workers' pipes, are written. Nothing is written afterwards.
    pub fn finish(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(inbox), Some(thread)) = (&self.inbox, thread) else { return };
        let (ended, end) = channel();
        inbox.end(ended);
        if end.recv_timeout(TIMEOUT) != Err(RecvTimeoutError::Timeout) {
            // A panic was already reported.
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
