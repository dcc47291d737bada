//! Refusing a connection so that its client can read the response. Closing with unread request bytes would send a reset
//! and the response would be lost: so respond, shut down the writing side, drain received bytes, then close.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::command::Report;
use super::connection::Connection;
use super::poller::Poller;
use super::settings::Fallback;
use crate::event::{Level, Subject};

/// Maximum number of bytes that are read and discarded from a refused client.
const MAX_DRAINED: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of refused connections that are drained; further ones are closed at once.
const MAX_LINGERING: usize = 1024;

struct Lingering {
    fd: OwnedFd,
    drained: usize,
    until: Option<Duration>,
}

pub struct Refusals {
    fallback: Fallback,
    next: u32,
    open: HashMap<u32, Lingering>,
    logged: bool,
}

impl Refusals {
    pub fn new(fallback: Fallback) -> Self {
        Self { fallback, next: 0, open: HashMap::new(), logged: false }
    }

    /// Whether no refused connection is left.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The report of the first refusal.
    pub fn notice(&mut self) -> Option<Report> {
        let text = "Connections are being refused: no worker could take them in time. The count is in \
                    the cluster's statistics.";
        let first = !std::mem::replace(&mut self.logged, true);
        first.then(|| Report::named(Level::Warn, text, Subject::ConnectionsRefused))
    }

    /// Refuses the connection: 503 on a plain HTTP server, a close otherwise.
    pub fn answer(&mut self, connection: Connection, plain_http: bool, poller: &Poller) {
        if !plain_http || self.open.len() >= MAX_LINGERING {
            return;
        }
        let answer = answer(&self.fallback);
        let is_whole = read_whole_request(&connection.fd);
        let sent = send(&connection.fd, answer.as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        // Nothing unread is left: closing resets nothing.
        if is_whole || sent != Ok(answer.len()) || shutdown(&connection.fd, Shutdown::Write).is_err() {
            return;
        }
        let id = self.next;
        self.next = id.wrapping_add(1);
        if poller.add_refused(&connection.fd, id).is_ok() {
            self.open.insert(id, Lingering { fd: connection.fd, drained: 0, until: None });
        }
    }

    /// Drains the connection; closes it at the client's end or when it sends too much.
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

/// Reads what a connection has sent so far. Returns whether that is one whole request without a body.
fn read_whole_request(fd: &OwnedFd) -> bool {
    let mut bytes = [MaybeUninit::<u8>::uninit(); 16 * 1024];
    match recv(fd, &mut bytes, RecvFlags::DONTWAIT) {
        Ok(((read, _), _)) => is_whole_request(read),
        Err(_) => false,
    }
}

fn is_whole_request(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    let is_whole =
        matches!(request.parse(bytes), Ok(httparse::Status::Complete(length)) if length == bytes.len());
    let announces_more = |header: &httparse::Header<'_>| {
        ["content-length", "transfer-encoding", "upgrade", "expect"]
            .iter()
            .any(|name| header.name.eq_ignore_ascii_case(name))
    };
    is_whole && !request.headers.iter().any(announces_more)
}

/// Whether it is an idle keep-alive connection, which may be closed at any time.
pub fn may_close_silently(connection: &Connection) -> bool {
    let mut byte = [MaybeUninit::<u8>::uninit(); 1];
    connection.keep_alive.is_some()
        && matches!(recv(&connection.fd, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(Errno::AGAIN))
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
    fn a_request_without_a_body_is_whole_at_its_empty_line() {
        for (text, whole) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\n", false),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", false),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(is_whole_request(text.as_bytes()), whole, "{text:?}");
        }
    }

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
