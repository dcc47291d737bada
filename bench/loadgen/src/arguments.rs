//! The command line, and the bounds that no run exceeds.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

const MAX_SECONDS: f64 = 120.0;
const MAX_REQUESTS: u64 = 5_000_000;
/// Below the customary limit of 1,024 descriptors a process.
const MAX_CONNECTIONS: usize = 1000;
const MAX_WORKERS: usize = 64;
const MAX_RATE: f64 = 100_000.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    New,
    KeepAlive,
    Hold,
    Overload,
    ReusePortLaunch,
}

#[derive(Debug)]
pub struct Arguments {
    pub mode: Mode,
    pub target: SocketAddr,
    /// At the same time.
    pub connections: usize,
    /// After which no new request is made; a run by time ends earlier.
    pub total: u64,
    pub seconds: f64,
    /// Arrivals a second whatever the answers do; 0 starts a request when another ends.
    pub rate: f64,
    pub path: String,
    /// How long an answer may take after the last request; what is still missing then is stuck.
    pub grace: Duration,
    pub workers: usize,
    /// Never sleep while answers are awaited: a server that answers wakes nobody then, and its cost is its own.
    pub spin: bool,
    /// Of `overload`: whether connections are kept, how long a client waits, and the seconds that are not counted.
    pub keep: bool,
    pub patience: Duration,
    pub lead: f64,
    /// What `reuseport-launch` runs in each worker.
    pub command: Vec<String>,
}

impl Arguments {
    /// The arguments without the program's name, or the sentence to tell the user.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments;
        let mode = match arguments.next().as_deref() {
            Some("new") => Mode::New,
            Some("keepalive") => Mode::KeepAlive,
            Some("hold") => Mode::Hold,
            Some("overload") => Mode::Overload,
            Some("reuseport-launch") => Mode::ReusePortLaunch,
            _ => return Err("the first argument is new, keepalive, hold, overload or reuseport-launch".into()),
        };
        let target: SocketAddr = value("the address", arguments.next())?;
        if !target.ip().is_loopback() {
            return Err(format!("{target} is not loopback; this program loads no other machine"));
        }
        let mut parsed = Self {
            mode,
            target,
            connections: 64,
            total: MAX_REQUESTS,
            seconds: 2.0,
            rate: 0.0,
            path: "/".into(),
            grace: Duration::from_secs(3),
            workers: 1,
            spin: false,
            keep: false,
            patience: Duration::from_secs(1),
            lead: 1.0,
            command: Vec::new(),
        };
        let mut seconds = None;
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--connections" => parsed.connections = value(&name, arguments.next())?,
                "--total" => {
                    parsed.total = value(&name, arguments.next())?;
                    seconds = seconds.or(Some(MAX_SECONDS));
                }
                "--seconds" => seconds = Some(value(&name, arguments.next())?),
                "--rate" => parsed.rate = value(&name, arguments.next())?,
                "--path" => parsed.path = value(&name, arguments.next())?,
                "--grace" => parsed.grace = Duration::from_millis(value(&name, arguments.next())?),
                "--workers" => parsed.workers = value(&name, arguments.next())?,
                "--spin" => parsed.spin = value(&name, arguments.next())?,
                "--keep" => parsed.keep = value(&name, arguments.next())?,
                "--patience" => parsed.patience = Duration::from_millis(value(&name, arguments.next())?),
                "--lead" => parsed.lead = value(&name, arguments.next())?,
                "--" => parsed.command = arguments.by_ref().collect(),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        parsed.seconds = seconds.unwrap_or(parsed.seconds);
        parsed.bounded()
    }

    fn bounded(self) -> Result<Self, String> {
        let bounds = [
            ("--connections", self.connections as f64, 1.0, MAX_CONNECTIONS as f64),
            ("--total", self.total as f64, 1.0, MAX_REQUESTS as f64),
            ("--seconds", self.seconds, 0.001, MAX_SECONDS),
            ("--rate", self.rate, 0.0, MAX_RATE),
            ("--grace", self.grace.as_secs_f64() * 1000.0, 0.0, MAX_SECONDS * 1000.0),
            ("--patience", self.patience.as_secs_f64() * 1000.0, 1.0, MAX_SECONDS * 1000.0),
            ("--lead", self.lead, 0.0, MAX_SECONDS),
            ("--workers", self.workers as f64, 1.0, MAX_WORKERS as f64),
        ];
        for (name, given, least, most) in bounds {
            if !(least..=most).contains(&given) {
                return Err(format!("{name} {given} is not between {least} and {most}"));
            }
        }
        if !self.path.starts_with('/') || self.path.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("--path {:?} is no path", self.path));
        }
        if self.mode == Mode::Overload && self.rate == 0.0 {
            return Err("overload needs a --rate".into());
        }
        if self.mode == Mode::ReusePortLaunch && self.command.is_empty() {
            return Err("reuseport-launch needs -- and a command".into());
        }
        Ok(self)
    }
}

fn value<T: FromStr>(name: &str, given: Option<String>) -> Result<T, String> {
    let given = given.ok_or_else(|| format!("{name} is missing"))?;
    given.parse().map_err(|_| format!("{name}: {given:?} is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn another_machine_is_never_loaded() {
        for target in ["192.0.2.1:80", "10.0.0.1:3000", "[2001:db8::1]:80", "0.0.0.0:80"] {
            assert!(parse(&format!("new {target}")).unwrap_err().contains("not loopback"), "{target}");
        }
        for target in ["127.0.0.1:3000", "127.9.9.9:1", "[::1]:3000"] {
            assert!(parse(&format!("new {target}")).is_ok(), "{target}");
        }
    }

    #[test]
    fn every_run_is_bounded_in_count_and_time() {
        for options in [
            "--connections 0",
            "--connections 1001",
            "--total 0",
            "--total 5000001",
            "--seconds 0",
            "--seconds 121",
            "--seconds NaN",
            "--rate -1",
            "--rate 1e9",
            "--grace 999999",
            "--workers 65",
            "--path x",
            "--unknown 1",
            "--total",
        ] {
            assert!(parse(&format!("new 127.0.0.1:1 {options}")).is_err(), "{options}");
        }
        assert_eq!(parse("new 127.0.0.1:1").unwrap().seconds, 2.0);
        assert_eq!(parse("new 127.0.0.1:1 --total 5").unwrap().seconds, MAX_SECONDS);
        assert_eq!(parse("new 127.0.0.1:1 --total 5 --seconds 1").unwrap().seconds, 1.0);
    }

    #[test]
    fn a_launch_takes_its_command_as_it_stands() {
        let launch = parse("reuseport-launch 127.0.0.1:1 --workers 2 -- node app.js --rate x").unwrap();
        assert_eq!(launch.command, ["node", "app.js", "--rate", "x"]);
        assert!(parse("reuseport-launch 127.0.0.1:1 --workers 2").is_err());
    }
}
