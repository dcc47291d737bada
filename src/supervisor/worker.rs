//! One worker process, from the request to its end. A slot may temporarily have several: the active one, the next one
//! that starts, and draining ones.

use std::time::Duration;

use super::policy::Policy;
use crate::error::Error;
use crate::event::ExitReason;
use crate::event::{MAX_OUTPUT, tail};
use crate::model::WorkerId;

/// All times are the supervisor's clock.
#[derive(Clone, Debug)]
pub enum Stage {
    /// Requested; `pid` is known once it is spawned.
    Starting {
        pid: Option<u32>,
        since: Duration,
    },
    Ready {
        pid: u32,
    },
    /// It finishes its requests; SIGTERM at `terminate`, SIGKILL at `kill`. `asked`: the primary has told it to drain.
    Draining {
        pid: u32,
        terminate: Duration,
        kill: Duration,
        asked: bool,
    },
    /// SIGTERM was sent.
    Terminating {
        pid: u32,
        kill: Duration,
    },
    /// SIGKILL was sent, for `reason`.
    Killed {
        pid: u32,
        reason: ExitReason,
    },
}

#[derive(Clone, Debug)]
pub struct Worker {
    pub id: WorkerId,
    pub stage: Stage,
    pub has_been_ready: bool,
    /// It has warmed up: a roll may continue with the next slot.
    pub is_warm: bool,
    /// Addresses that its predecessor serves and that it has not opened yet.
    pub lacks: Vec<String>,
    /// The uncaught error that it reported, if any.
    pub error: Option<Error>,
    /// The last output before it was ready.
    pub output: String,
    /// The kernel's OOM killer has ended it.
    pub is_out_of_memory: bool,
}

impl Worker {
    pub fn new(id: WorkerId, now: Duration) -> Self {
        let stage = Stage::Starting { pid: None, since: now };
        Self {
            id,
            stage,
            has_been_ready: false,
            is_warm: false,
            lacks: Vec::new(),
            error: None,
            output: String::new(),
            is_out_of_memory: false,
        }
    }

    pub fn wrote(&mut self, text: &str) {
        self.output.push_str(text);
        self.output = tail(&self.output, MAX_OUTPUT).to_owned();
    }

    pub fn pid(&self) -> Option<u32> {
        match self.stage {
            Stage::Starting { pid, .. } => pid,
            Stage::Ready { pid }
            | Stage::Draining { pid, .. }
            | Stage::Terminating { pid, .. }
            | Stage::Killed { pid, .. } => Some(pid),
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. })
    }

    /// Drains from `now` on; SIGKILL at `kill`. If that is less than the configured time, half of it is left for the
    /// drain before SIGTERM.
    pub fn drain(&mut self, pid: u32, policy: &Policy, now: Duration, kill: Duration) {
        let budget = kill.saturating_sub(now);
        let is_short = budget < policy.graceful_timeout;
        let kill_timeout = if is_short { policy.kill_timeout.min(budget / 2) } else { policy.kill_timeout };
        let terminate = kill.saturating_sub(kill_timeout).max(now);
        self.stage = Stage::Draining { pid, terminate, kill, asked: true };
    }

    /// Drains because its program asked to: otherwise as `drain`.
    pub fn leave(&mut self, pid: u32, policy: &Policy, now: Duration, kill: Duration) {
        self.drain(pid, policy, now, kill);
        if let Stage::Draining { asked, .. } = &mut self.stage {
            *asked = false;
        }
    }

    /// When it has to be checked again.
    pub fn due(&self, startup_timeout: Duration) -> Option<Duration> {
        match self.stage {
            Stage::Starting { pid: Some(_), since } => Some(since + startup_timeout),
            Stage::Draining { terminate, .. } => Some(terminate),
            Stage::Terminating { kill, .. } => Some(kill),
            Stage::Starting { pid: None, .. } | Stage::Ready { .. } | Stage::Killed { .. } => None,
        }
    }
}
