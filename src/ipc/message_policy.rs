//! The checks of every message in the primary before delivery: the rules of `security.ipc`, and the audit log, which
//! records sender, receiver and type but never the payload.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::message::{Envelope, Peer, What};
use super::message_rules::{Policy, Refusal};
use crate::error::{Code, Error};

pub struct MessagePolicy {
    policy: Option<Policy>,
    audit: Option<Audit>,
}

impl MessagePolicy {
    /// `audit`: the file; it is created if missing, readable by this user only.
    ///
    /// # Errors
    /// The audit file cannot be written.
    pub fn new(policy: Option<Policy>, audit: Option<&str>) -> io::Result<Self> {
        Ok(Self { policy, audit: audit.map(Audit::open).transpose()? })
    }

    /// No further messages follow: writes the rest of the audit log.
    pub fn finish(&self) {
        if let Some(audit) = &self.audit {
            audit.finish();
        }
    }

    /// Whether this message from `from` to `to` may be delivered. A response always may: its request was allowed.
    ///
    /// # Errors
    /// `MESSAGE_REFUSED`.
    pub fn pass(&self, from: Peer, to: Peer, envelope: &Envelope<'_>, body: &[u8]) -> Result<(), Error> {
        let verdict = match (&self.policy, envelope.what) {
            (Some(policy), What::Notify | What::Request) => {
                policy.check(from, to, envelope.kind, envelope.format, body)
            }
            (None, _) | (_, What::Answer | What::Failure) => Ok(()),
        };
        if let Some(audit) = &self.audit {
            audit.record(from, to, envelope, body.len(), verdict.as_ref().err());
        }
        verdict.map_err(|refusal| refused(from, to, envelope.kind, &refusal))
    }
}

fn name(peer: Peer) -> String {
    match peer {
        Peer::Primary => "primary".to_owned(),
        Peer::Worker(worker) => worker.to_string(),
    }
}

fn refused(from: Peer, to: Peer, kind: &str, refusal: &Refusal) -> Error {
    let (from, to) = (name(from), name(to));
    let text = match refusal {
        Refusal::Forbidden => {
            format!("security.ipc.allow has no rule for a message of type '{kind}' from {from} to {to}")
        }
        Refusal::Misshapen(why) => {
            format!("The message does not match the schema of '{kind}' (security.ipc.schemas): {why}")
        }
    };
    Error::new(Code::MessageRefused, text).with(json!({ "from": from, "to": to, "type": kind }))
}

/// The audit log. A thread writes the lines, so that messages never wait for the disk; it writes everything and ends when
/// this is dropped.
struct Audit {
    lines: Mutex<Option<Sender<String>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    fn open(path: &str) -> io::Result<Self> {
        let path = path.to_owned();
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let (lines, received) = channel::<String>();
        let writer = std::thread::Builder::new().name("drover-audit".into()).spawn(move || {
            let mut writer = Writer { file, path, lost: 0 };
            while let Ok(first) = received.recv() {
                // Lines that arrived meanwhile are written too.
                writer.write(std::iter::once(first).chain(received.try_iter()));
            }
            writer.report_lost();
        })?;
        Ok(Self { lines: Mutex::new(Some(lines)), writer: Mutex::new(Some(writer)) })
    }

    /// Returns when everything is written.
    fn finish(&self) {
        if let Ok(mut lines) = self.lines.lock() {
            lines.take();
        }
        if let Ok(mut writer) = self.writer.lock()
            && let Some(writer) = writer.take()
        {
            // A panic of the writer was already reported.
            let _ = writer.join();
        }
    }

    fn record(&self, from: Peer, to: Peer, envelope: &Envelope<'_>, size: usize, refusal: Option<&Refusal>) {
        let what = match envelope.what {
            What::Notify => "message",
            What::Request => "question",
            What::Answer => "answer",
            What::Failure => "failure",
        };
        let verdict = match refusal {
            None => "delivered",
            Some(Refusal::Forbidden) => "forbidden",
            Some(Refusal::Misshapen(_)) => "misshapen",
        };
        // A time before 1970 becomes 1970.
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let line = json!({
            "time": time,
            "from": name(from),
            "to": name(to),
            "what": what,
            "type": envelope.kind,
            "size": size,
            "verdict": verdict,
        });
        if let Ok(lines) = self.lines.lock()
            && let Some(lines) = &*lines
        {
            // Cannot fail: the writer lives as long as this.
            let _ = lines.send(line.to_string());
        }
    }
}

struct Writer {
    file: File,
    path: String,
    /// Number of lines lost since the last one that could be written.
    lost: u64,
}

impl Writer {
    fn write(&mut self, lines: impl Iterator<Item = String>) {
        let (mut text, mut count) = (String::new(), 0);
        for line in lines {
            text.push_str(&line);
            text.push('\n');
            count += 1;
        }
        match self.file.write_all(text.as_bytes()) {
            Ok(()) => self.report_lost(),
            Err(error) => {
                if self.lost == 0 {
                    say(&format!("{} cannot be written: {error}", self.path));
                }
                self.lost += count;
            }
        }
    }

    fn report_lost(&mut self) {
        if self.lost > 0 {
            say(&format!("{} lacks {} lines", self.path, self.lost));
        }
        self.lost = 0;
    }
}

/// Reports a problem of the audit log on standard error; if that is closed it is lost.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "drover: the audit log {text}");
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::message::Format;
    use crate::model::WorkerId;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_audit_log_records_each_message_with_its_verdict_and_never_its_payload() {
        let folder = std::env::temp_dir().join(format!("drover-audit-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("audit.log");
        let rules = json!({ "allow": [{ "from": ["primary"], "to": [], "types": ["task"] }], "schemas": {} });
        let policy = Policy::of(&serde_json::from_value(rules).unwrap());
        let message_policy = MessagePolicy::new(policy, path.to_str()).unwrap();
        let worker = Peer::Worker(WorkerId::new(3, 1));
        let envelope = |what, kind| Envelope { peer: Peer::Primary, what, format: Format::Json, kind };
        let body = br#"{"password":"hunter2"}"#;
        assert!(message_policy.pass(Peer::Primary, worker, &envelope(What::Request, "task"), body).is_ok());
        assert!(message_policy.pass(worker, Peer::Primary, &envelope(What::Answer, ""), body).is_ok());
        let refused =
            message_policy.pass(worker, Peer::Primary, &envelope(What::Notify, "task"), body).unwrap_err();
        assert_eq!(refused.code, Code::MessageRefused);
        assert!(!refused.to_string().contains("hunter2"));
        drop(message_policy);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let fields = |line: &serde_json::Value| {
            ["from", "to", "what", "verdict"].map(|key| line[key].as_str().unwrap().to_owned())
        };
        assert_eq!(fields(&lines[0]), ["primary", "3", "question", "delivered"]);
        assert_eq!(fields(&lines[1]), ["3", "primary", "answer", "delivered"]);
        assert_eq!(fields(&lines[2]), ["3", "primary", "message", "forbidden"]);
        assert_eq!(lines[0]["size"], body.len());
        assert!(!text.contains("hunter2"));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_log_that_cannot_be_written_is_an_error() {
        assert!(MessagePolicy::new(None, Some("/nowhere/at/all/audit.log")).is_err());
    }
}
