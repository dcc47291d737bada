//! The formats of lines: pino's JSON, or pretty for people.

use std::io::Write;

use serde_json::{Map, Value};

use super::scan::{self, Members};
use super::tail::{Fresh, Tail};
use crate::event::Level;
use crate::sys::local_time::LocalTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Pretty,
}

/// The style of lines.
#[derive(Clone, Debug)]
pub struct Style {
    pub format: Format,
    pub color: bool,
    pub hostname: String,
    /// NODE_ENV, for the `env` field.
    pub env: String,
}

/// A stream of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub slot: u16,
    pub pid: u32,
    pub is_error: bool,
}

/// A line of drover's own.
#[derive(Clone, Debug)]
pub struct Own {
    pub level: Level,
    pub text: String,
    /// Members of the line besides its message.
    pub members: Option<Value>,
    /// Milliseconds since 1970.
    pub time: u64,
}

/// Renders lines into a buffer.
pub struct Renderer {
    style: Style,
    /// `,"hostname":"...","env":"..."`, and each part alone.
    hostname: Vec<u8>,
    env: Vec<u8>,
    /// The second of the last line, and its text.
    second: (u64, String),
}

impl Renderer {
    pub fn new(style: Style) -> Self {
        let member = |name: &str, text: &str| format!(",\"{name}\":{}", Value::from(text)).into_bytes();
        let (hostname, env) = (member("hostname", &style.hostname), member("env", &style.env));
        Self { style, hostname, env, second: (u64::MAX, String::new()) }
    }

    /// A line of drover's own.
    pub fn own(&mut self, line: &Own, into: &mut Vec<u8>, tail: &mut Tail) {
        let Own { level, text, members, time } = line;
        let number = pino_level(*level);
        let raw = members.as_ref().map(ToString::to_string);
        let fresh = Fresh {
            time: *time,
            level: number,
            worker: None,
            is_own: true,
            request_id: members.as_ref().and_then(|members| members["requestId"].as_str()),
            msg: text,
            members: raw.as_deref().map(str::as_bytes),
        };
        // So that a line about a worker is found by the worker's id.
        let about = members.as_ref().and_then(|members| members["worker"].as_str()?.parse().ok());
        tail.add(Fresh { worker: about, ..fresh });
        match self.style.format {
            Format::Pretty => self.pretty(fresh, into),
            Format::Json => {
                self.head(number, *time, std::process::id(), into);
                if let Some(raw) = raw.as_deref().filter(|raw| raw.len() > 2) {
                    into.push(b',');
                    into.extend_from_slice(&raw.as_bytes()[1..raw.len() - 1]);
                }
                end(text, into);
            }
        }
    }

    /// A worker's line.
    pub fn worker(&mut self, source: Source, line: &[u8], now_ms: u64, into: &mut Vec<u8>, tail: &mut Tail) {
        let (marked, line) = scan::request_of(line);
        let level = if source.is_error { 50 } else { 30 };
        let object = line.trim_ascii();
        let Some(members) = scan::members(object) else {
            let text = String::from_utf8_lossy(line);
            let is_plain = self.style.format == Format::Json || !self.style.color;
            let text =
                if is_plain && line.contains(&scan::ESCAPE) { scan::plain(&text).into() } else { text };
            let fresh = Fresh {
                time: now_ms,
                level,
                worker: Some(source.slot),
                is_own: false,
                request_id: marked,
                msg: &text,
                members: None,
            };
            tail.add(fresh);
            return match self.style.format {
                Format::Pretty => self.pretty(fresh, into),
                Format::Json => {
                    self.head(level, now_ms, source.pid, into);
                    put_worker(source.slot, into);
                    put_request(marked, into);
                    end(&text, into);
                }
            };
        };
        let fresh = Fresh {
            time: members.time.unwrap_or(now_ms),
            level: members.level.unwrap_or(level),
            worker: Some(source.slot),
            is_own: false,
            request_id: members.request_id.as_deref().or(marked),
            msg: members.msg.as_deref().unwrap_or_default(),
            members: Some(object),
        };
        tail.add(fresh);
        match self.style.format {
            Format::Pretty => self.pretty(fresh, into),
            Format::Json => self.complete(object, &members, fresh, source, into),
        }
    }

    /// A program's JSON line, completed with the members that it lacks.
    fn complete(
        &self,
        line: &[u8],
        members: &Members<'_>,
        fresh: Fresh<'_>,
        source: Source,
        into: &mut Vec<u8>,
    ) {
        into.extend_from_slice(&line[..line.len() - 1]);
        let begins = into.len();
        if !members.has_level {
            let _ = write!(into, ",\"level\":{}", fresh.level);
        }
        if !members.has_time {
            let _ = write!(into, ",\"time\":{}", fresh.time);
        }
        if !members.has_pid {
            let _ = write!(into, ",\"pid\":{}", source.pid);
        }
        if !members.has_hostname {
            into.extend_from_slice(&self.hostname);
        }
        if !members.has_env {
            into.extend_from_slice(&self.env);
        }
        if !members.has_worker {
            put_worker(source.slot, into);
        }
        if members.request_id.is_none() {
            put_request(fresh.request_id, into);
        }
        if members.is_empty && into.len() > begins {
            // No comma before the first member.
            into.remove(begins);
        }
        into.extend_from_slice(b"}\n");
    }

    fn head(&self, level: u8, time: u64, pid: u32, into: &mut Vec<u8>) {
        // Writing into a Vec cannot fail.
        let _ = write!(into, "{{\"level\":{level},\"time\":{time},\"pid\":{pid}");
        into.extend_from_slice(&self.hostname);
        into.extend_from_slice(&self.env);
    }

    /// Omits members that the line contains anyway.
    fn pretty(&mut self, line: Fresh<'_>, into: &mut Vec<u8>) {
        let (name, color) = match line.level {
            0..=10 => ("TRACE", 90),
            11..=20 => ("DEBUG", 34),
            21..=30 => ("INFO", 32),
            31..=40 => ("WARN", 33),
            41..=50 => ("ERROR", 31),
            51.. => ("FATAL", 31),
        };
        let second = line.time / 1000;
        if self.second.0 != second {
            self.second = (second, LocalTime::at(line.time).to_string());
        }
        let time = &self.second.1;
        let colored = self.style.color;
        let _ = if colored {
            write!(into, "\x1b[2m{time}\x1b[0m \x1b[{color}m[{name}]\x1b[0m ")
        } else {
            write!(into, "{time} [{name}] ")
        };
        if let Some(slot) = line.worker {
            let _ =
                if colored { write!(into, "\x1b[36m[{slot}]\x1b[0m ") } else { write!(into, "[{slot}] ") };
        }
        into.extend_from_slice(line.msg.as_bytes());
        let more = line.members.filter(|_| line.worker.is_some()).map(rest_of).unwrap_or_default();
        if !more.is_empty() {
            let _ = if colored { write!(into, " \x1b[2m{more}\x1b[0m") } else { write!(into, " {more}") };
        }
        if let Some(id) = line.request_id {
            let _ = if colored { write!(into, " \x1b[2m({id})\x1b[0m") } else { write!(into, " ({id})") };
        }
        into.push(b'\n');
    }
}

/// The additional members of a program's JSON line.
fn rest_of(line: &[u8]) -> String {
    const SAID: [&str; 7] = ["level", "time", "pid", "hostname", "env", "worker", "requestId"];
    let Ok(mut members) = serde_json::from_slice::<Map<String, Value>>(line) else { return String::new() };
    // The first of these that is a string is the message.
    if let Some(shown) =
        ["msg", "message"].into_iter().find(|name| members.get(*name).is_some_and(Value::is_string))
    {
        members.shift_remove(shown);
    }
    let rest: Map<String, Value> =
        members.into_iter().filter(|(name, _)| !SAID.contains(&name.as_str())).collect();
    if rest.is_empty() { String::new() } else { Value::from(rest).to_string() }
}

fn put_worker(slot: u16, into: &mut Vec<u8>) {
    let _ = write!(into, ",\"worker\":\"{slot}\"");
}

fn put_request(id: Option<&str>, into: &mut Vec<u8>) {
    if let Some(id) = id {
        into.extend_from_slice(b",\"requestId\":");
        put_text(id, into);
    }
}

fn end(text: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(b",\"msg\":");
    put_text(text, into);
    into.extend_from_slice(b"}\n");
}

fn put_text(text: &str, into: &mut Vec<u8>) {
    // Encoding a string into a Vec cannot fail.
    let _ = serde_json::to_writer(into, text);
}

fn pino_level(level: Level) -> u8 {
    match level {
        Level::Debug => 20,
        Level::Info => 30,
        Level::Warn => 40,
        Level::Error | Level::Silent => 50,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tail::{Filter, Whose};
    use super::*;
    use serde_json::json;

    fn renderer(format: Format) -> Renderer {
        let (hostname, env) = ("server".into(), "production".into());
        Renderer::new(Style { format, color: false, hostname, env })
    }

    const STDOUT: Source = Source { slot: 2, pid: 77, is_error: false };

    fn of(format: Format, source: Source, line: &[u8]) -> String {
        let (mut into, mut tail) = (Vec::new(), Tail::default());
        renderer(format).worker(source, line, 1000, &mut into, &mut tail);
        String::from_utf8(into).unwrap()
    }

    fn json_of(source: Source, line: &[u8]) -> Value {
        serde_json::from_str(&of(Format::Json, source, line)).unwrap()
    }

    #[test]
    fn drovers_line_has_pinos_fields_and_its_members() {
        let (mut into, mut tail) = (Vec::new(), Tail::default());
        let members = Some(json!({ "workers": 2 }));
        let line = Own { level: Level::Info, text: "hello".into(), members, time: 1_640_995_200_000 };
        renderer(Format::Json).own(&line, &mut into, &mut tail);
        let expected = json!({
            "level": 30, "time": 1_640_995_200_000u64, "pid": std::process::id(), "hostname": "server",
            "env": "production", "workers": 2, "msg": "hello",
        });
        assert_eq!(serde_json::from_slice::<Value>(&into).unwrap(), expected);
    }

    #[test]
    fn drovers_line_about_a_worker_is_found_by_it_and_among_drovers_own() {
        let members = Some(json!({ "event": "worker:stopped", "worker": "2" }));
        let line = Own { level: Level::Info, text: "gone".into(), members, time: 1000 };
        for format in [Format::Json, Format::Pretty] {
            let (mut into, mut tail) = (Vec::new(), Tail::default());
            renderer(format).own(&line, &mut into, &mut tail);
            let found = |whose| {
                let filter = Filter { whose: Some(whose), limit: 10, ..Filter::default() };
                tail.find(&filter).lines.len()
            };
            assert_eq!((found(Whose::Worker(2)), found(Whose::Drover), found(Whose::Worker(1))), (1, 1, 0));
            let is_shown = String::from_utf8(into).unwrap().contains("worker:stopped");
            assert_eq!(is_shown, format == Format::Json);
        }
    }

    #[test]
    fn a_pretty_line_has_time_and_level() {
        let (mut into, mut tail) = (Vec::new(), Tail::default());
        let line = Own { level: Level::Warn, text: "hello".into(), members: None, time: 1_640_995_200_000 };
        renderer(Format::Pretty).own(&line, &mut into, &mut tail);
        let text = String::from_utf8(into).unwrap();
        assert!(text.ends_with(" [WARN] hello\n") && text.as_bytes()[4] == b'-', "{text}");
        for (own, shown) in [
            (&br#"{"msg":{"o":1},"keep":2}"#[..], r#"[2]  {"msg":{"o":1},"keep":2}"#),
            (br#"{"message":["x"]}"#, r#"[2]  {"message":["x"]}"#),
            (br#" {"msg":"a","message":"b"} "#, r#"[2] a {"message":"b"}"#),
        ] {
            let line = of(Format::Pretty, STDOUT, own);
            assert!(line.ends_with(&format!("{shown}\n")), "{line}");
        }
        let worker =
            of(Format::Pretty, STDOUT, br#"{"level":40,"time":5,"pid":1,"msg":"full","disk":"sda"}"#);
        assert!(worker.ends_with(" [WARN] [2] full {\"disk\":\"sda\"}\n"), "{worker}");
    }

    #[test]
    fn a_plain_line_is_wrapped() {
        let line = json_of(STDOUT, "grüße \"you\"\t\u{1b}[0m".as_bytes());
        let expected = json!({
            "level": 30, "time": 1000, "pid": 77, "hostname": "server", "env": "production", "worker": "2",
            "msg": "grüße \"you\"\t",
        });
        assert_eq!(line, expected);
        assert_eq!(json_of(Source { is_error: true, ..STDOUT }, b"no")["level"], 50);
        assert_eq!(json_of(STDOUT, b"\xff")["msg"], "\u{fffd}");
        let of_a_request = json_of(STDOUT, b"\x1er-1\x1fhello");
        assert_eq!((&of_a_request["requestId"], &of_a_request["msg"]), (&json!("r-1"), &json!("hello")));
    }

    #[test]
    fn a_json_line_keeps_its_fields_and_gets_what_it_lacks() {
        let own = br#"{"level":20,"time":5,"pid":1,"hostname":"h","msg":"m","worker":"mine","n":1.50}"#;
        let line = of(Format::Json, STDOUT, own);
        assert!(line.starts_with(std::str::from_utf8(&own[..own.len() - 1]).unwrap()), "{line}");
        assert!(line.ends_with(",\"env\":\"production\"}\n"), "{line}");
        for bare in [&b"{}"[..], b"{ }"] {
            let line = json_of(STDOUT, bare);
            assert_eq!(
                (&line["level"], &line["worker"], &line["pid"]),
                (&json!(30), &json!("2"), &json!(77))
            );
        }
        let of_a_request = json_of(STDOUT, b"\x1er-1\x1f{\"msg\":\"hello\"}");
        assert_eq!((&of_a_request["requestId"], &of_a_request["msg"]), (&json!("r-1"), &json!("hello")));
    }
}
