//! One client connection: a non-blocking socket, the request that goes out, the answer that comes in.
//! It does not wait; `pool` tells it when the socket is ready.

use crate::answer::Answer;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

pub struct Connection {
    socket: OwnedFd,
    sent: usize,
    answer: Answer,
    /// When the request that is under way was due; `None` between requests.
    pub asked: Option<Instant>,
}

#[derive(Debug, PartialEq)]
pub enum Progress {
    /// Nothing more can be done before the socket is readable or, with `unsent`, writable.
    Waiting { unsent: bool },
    /// The answer is complete. The connection may have more to say: its end.
    Answered,
    /// The peer closed it, between requests.
    Ended,
    /// Refused, reset, closed within an answer, or an answer that is none.
    Failed,
}

impl Connection {
    /// Starts to connect. On loopback that is usually over at once.
    pub fn open(target: SocketAddr) -> Result<Self, Errno> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        match net::connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {
                Ok(Self { socket, sent: 0, answer: Answer::default(), asked: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Begins the next request, which was due at `asked`, and sends what the socket takes.
    pub fn ask(&mut self, request: &[u8], asked: Instant) -> Progress {
        self.asked = Some(asked);
        self.sent = 0;
        self.answer.clear();
        self.send(request)
    }

    /// Sends what is left of the request.
    pub fn send(&mut self, request: &[u8]) -> Progress {
        while self.sent < request.len() {
            match net::send(&self.socket, &request[self.sent..], SendFlags::NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(Errno::AGAIN) => return Progress::Waiting { unsent: true },
                Err(_) => return Progress::Failed,
            }
        }
        Progress::Waiting { unsent: false }
    }

    pub fn unsent(&self, request: &[u8]) -> bool {
        self.asked.is_some() && self.sent < request.len()
    }

    /// Reads once. Whether more has arrived is for epoll to say.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Progress {
        match (net::recv(&self.socket, &mut *buffer, RecvFlags::empty()), self.asked) {
            (Ok((0, _)), None) => Progress::Ended,
            (Ok((got, _)), Some(_)) if got > 0 => match self.answer.feed(&buffer[..got]) {
                Ok(true) => Progress::Answered,
                Ok(false) => Progress::Waiting { unsent: false },
                Err(_) => Progress::Failed,
            },
            (Err(Errno::AGAIN), _) => Progress::Waiting { unsent: false },
            _ => Progress::Failed,
        }
    }

    /// A 503 is an answer too.
    pub fn take_refusals(&mut self) {
        self.answer.takes_refusals = true;
    }

    /// Whether the last answer is a 503.
    pub fn is_refused(&self) -> bool {
        self.answer.is_refused()
    }

    /// Whether the peer closes the connection after it.
    pub fn is_last(&self) -> bool {
        self.answer.is_last()
    }

    /// The body of the last complete answer.
    pub fn text(&self) -> String {
        self.answer.text()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
