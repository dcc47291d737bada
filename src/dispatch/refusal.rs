//! Turning a connection away in a way that its client can read. Closing while request bytes lie unread would
//! send a reset and the answer would be lost: so answer, shut the writing side, drain what comes, then close.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::accept_loop::AcceptLoop;
use super::command::{Fallback, Report};
use super::group::Connection;
use super::token::Token;
use crate::event::Level;
use crate::metrics::layout::header;

/// Bytes that are read and thrown away from a client that was answered.
const MAX_DRAINED: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(2);
/// Answered connections that may linger at once; beyond it they are closed at once.
const MAX_LINGERING: usize = 1024;

struct Lingering {
    fd: OwnedFd,
    drained: usize,
    until: Option<Duration>,
}

#[derive(Default)]
pub struct Refusals {
    next: u32,
    open: HashMap<u32, Lingering>,
    said: bool,
}

impl Refusals {
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Reads on; closes at the client's end or when it sends too much.
    pub fn drain(&mut self, id: u32) {
        let Some(lingering) = self.open.get_mut(&id) else { return };
        let mut bytes = [MaybeUninit::<u8>::uninit(); 16 * 1024];
        loop {
            match recv(&lingering.fd, &mut bytes, RecvFlags::DONTWAIT) {
                Ok(((read, _), _)) if !read.is_empty() && lingering.drained < MAX_DRAINED => {
                    lingering.drained += read.len();
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.open.remove(&id);
    }

    pub fn expire(&mut self, now: Duration) {
        if !self.open.is_empty() {
            self.open.retain(|_, lingering| now < *lingering.until.get_or_insert(now + TIMEOUT));
        }
    }
}

impl AcceptLoop {
    pub fn count_refused(&self, count: u64) {
        self.memory.set(header::REFUSED, self.memory.get(header::REFUSED) + count);
    }

    /// No worker can take the connection: 503 where a plain HTTP server stands, a close elsewhere.
    pub fn refuse(&mut self, connection: Connection) {
        if connection.keep_alive.is_some() && is_silent(&connection.fd) {
            // It was open for its next request alone, and may end at any time without a word.
            return;
        }
        self.count_refused(1);
        if !std::mem::replace(&mut self.refusals.said, true) {
            let text = "Connections are being refused: no worker could take them in time. The count is in \
                        the cluster's statistics.";
            (self.report)(Report::Notice(Level::Warn, text.to_owned()));
        }
        let plain_http = self.groups.get(&connection.group).is_some_and(|group| group.plain_http);
        if !plain_http || self.refusals.open.len() >= MAX_LINGERING {
            return;
        }
        let answer = answer(&self.settings.fallback);
        let sent = send(&connection.fd, answer.as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        if sent != Ok(answer.len()) || shutdown(&connection.fd, Shutdown::Write).is_err() {
            return;
        }
        let id = self.refusals.next;
        self.refusals.next = id.wrapping_add(1);
        let token = EventData::new_u64(Token::Refused(id).pack());
        let flags = EventFlags::IN | EventFlags::RDHUP;
        if epoll::add(&self.epoll, &connection.fd, token, flags).is_ok() {
            self.refusals.open.insert(id, Lingering { fd: connection.fd, drained: 0, until: None });
        }
    }
}

/// Has the client said nothing that is unread?
fn is_silent(fd: &OwnedFd) -> bool {
    let mut byte = [MaybeUninit::<u8>::uninit(); 1];
    matches!(recv(fd, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(Errno::AGAIN))
}

fn answer(fallback: &Fallback) -> String {
    let Fallback { status, body, content_type, retry_after } = fallback;
    let reason = if *status == 503 { "Service Unavailable" } else { "Unavailable" };
    let length = body.len();
    let retry = if *retry_after == 0 { String::new() } else { format!("Retry-After: {retry_after}\r\n") };
    format!(
        "HTTP/1.1 {status} {reason}\r\n{retry}Content-Type: {content_type}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_a_whole_http_response() {
        let fallback = Fallback {
            status: 503,
            body: "busy\n".into(),
            content_type: "text/plain; charset=utf-8".into(),
            retry_after: 5,
        };
        let text = answer(&fallback);
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut response = httparse::Response::new(&mut headers);
        let head = response.parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(response.code, Some(503));
        assert_eq!(&text[head..], "busy\n");
    }
}
