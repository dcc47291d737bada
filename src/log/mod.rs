//! drover's own lines on standard output: pino's JSON, or pretty for people. One line is one write.

use std::io::{self, IsTerminal};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::json;

use crate::event::Level;
use crate::sys::local_time::LocalTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Pretty,
}

/// Where and how drover's lines are written.
#[derive(Clone, Debug)]
pub struct Log {
    pub enabled: bool,
    pub least: Level,
    pub format: Format,
    pub color: bool,
    pub hostname: String,
    /// NODE_ENV, for the `env` field.
    pub env: String,
}

impl Log {
    /// Colour only on a terminal, and never against NO_COLOR.
    pub fn may_color(no_color: bool) -> bool {
        !no_color && io::stdout().is_terminal()
    }

    pub fn write(&self, level: Level, message: &str, now_ms: u64) {
        if !self.enabled || level < self.least {
            return;
        }
        let line = match self.format {
            Format::Json => self.json(level, message, now_ms),
            Format::Pretty => self.pretty(level, message, now_ms),
        };
        write_all(line.as_bytes());
    }

    fn json(&self, level: Level, message: &str, now_ms: u64) -> String {
        let line = json!({
            "level": pino_level(level),
            "time": now_ms,
            "pid": std::process::id(),
            "hostname": self.hostname,
            "env": self.env,
            "msg": message,
        });
        format!("{line}\n")
    }

    fn pretty(&self, level: Level, message: &str, now_ms: u64) -> String {
        let (name, color) = match level {
            Level::Debug => ("DEBUG", 34),
            Level::Info => ("INFO", 32),
            Level::Warn => ("WARN", 33),
            Level::Error | Level::Silent => ("ERROR", 31),
        };
        let time = LocalTime::at(now_ms);
        if self.color {
            format!("\x1b[2m{time}\x1b[0m \x1b[{color}m[{name}]\x1b[0m {message}\n")
        } else {
            format!("{time} [{name}] {message}\n")
        }
    }
}

fn pino_level(level: Level) -> u8 {
    match level {
        Level::Debug => 20,
        Level::Info => 30,
        Level::Warn => 40,
        Level::Error | Level::Silent => 50,
    }
}

/// Standard output may be a pipe that the runtime made non-blocking: wait for its reader. A reader that is
/// gone takes no more lines.
fn write_all(mut bytes: &[u8]) {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(&stdout, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(format: Format) -> Log {
        let (hostname, env) = ("server".into(), "production".into());
        Log { enabled: true, least: Level::Info, format, color: false, hostname, env }
    }

    #[test]
    fn a_json_line_has_pinos_fields() {
        let line: serde_json::Value =
            serde_json::from_str(&log(Format::Json).json(Level::Info, "hello", 1_640_995_200_000)).unwrap();
        assert_eq!(line["level"], 30);
        assert_eq!(line["time"], 1_640_995_200_000u64);
        assert_eq!(line["msg"], "hello");
        assert_eq!(line["env"], "production");
    }

    #[test]
    fn a_pretty_line_has_time_and_level() {
        let line = log(Format::Pretty).pretty(Level::Warn, "hello", 1_640_995_200_000);
        assert!(line.ends_with(" [WARN] hello\n"), "{line}");
        assert_eq!(line.as_bytes()[4], b'-');
    }
}
