//! Pending commands: their askers, to which the result is sent, and their log lines.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::inputs::CommandSource;
use crate::error::{Code, Error, Result};
use crate::event::{Event, Level, Subject};
use crate::model::{Command, Scale};
use crate::supervisor::Fact;

struct UnderWay {
    command: Command,
    source: CommandSource,
    since: Instant,
}

#[derive(Default)]
pub(super) struct Commands {
    last: u32,
    under_way: HashMap<u32, UnderWay>,
}

/// A finished command.
pub(super) struct Ended {
    pub source: CommandSource,
    /// Its log line.
    pub line: Option<Event>,
}

impl Commands {
    /// Registers a command and returns its fact for the supervisor.
    pub fn begin_scale(&mut self, target: Scale, source: CommandSource) -> Fact {
        let worker = source.worker();
        Fact::Scale { id: self.begin(Command::Scale(target), source), target, requester: worker }
    }

    pub fn begin_roll(&mut self, slot: Option<u16>, source: CommandSource) -> Fact {
        let worker = source.worker();
        Fact::Roll { id: self.begin(Command::Roll { slot }, source), slot, requester: worker }
    }

    fn begin(&mut self, command: Command, source: CommandSource) -> u32 {
        self.last += 1;
        self.under_way.insert(self.last, UnderWay { command, source, since: Instant::now() });
        self.last
    }

    /// None: an operation of the supervisor itself.
    pub fn end(&mut self, id: u32, result: &Result<Vec<u16>>) -> Option<Ended> {
        let UnderWay { command, source, since } = self.under_way.remove(&id)?;
        Some(Ended { source, line: line(command.name(), since.elapsed(), result) })
    }
}

/// The log line. A command that could not begin is reported only to its source.
fn line(command: &'static str, took: Duration, result: &Result<Vec<u16>>) -> Option<Event> {
    let (seconds, duration_ms) = (took.as_secs_f64(), took.as_millis() as u64);
    match result {
        Ok(_) => {
            let subject = Subject::CommandDone { command, duration_ms };
            Some(Event::notice(Level::Info, format!("{command}: done in {seconds:.1} s")).with(subject))
        }
        Err(Error { code: Code::WorkerStartupFailed, message, .. }) => {
            let text = format!("{command}: ended after {seconds:.1} s. {message}");
            let subject = Subject::CommandFailed { command, duration_ms };
            Some(Event::notice(Level::Error, text).with(subject))
        }
        Err(_) => None,
    }
}
