//! A client: it connects, reads which worker has its connection, sends and receives. Every wait has a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use super::TIMEOUT;
use drover::model::WorkerId;

pub fn limit() -> Timespec {
    Timespec { tv_sec: TIMEOUT.as_secs() as i64, tv_nsec: 0 }
}

pub struct Client {
    // Also used for unix sockets, which read and write like TCP sockets.
    stream: TcpStream,
}

impl Client {
    #[track_caller]
    pub fn to(address: SocketAddr) -> Self {
        Self::try_to(address).unwrap()
    }

    pub fn try_to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        Ok(Self::over(stream.into()))
    }

    /// Connects from an address of this machine.
    #[track_caller]
    pub fn from(source: IpAddr, to: SocketAddr) -> Self {
        Self::from_exactly(SocketAddr::new(source, 0), to)
    }

    /// Connects from an address and port; the port may be in use by a connection of `from`.
    #[track_caller]
    pub fn from_exactly(source: SocketAddr, to: SocketAddr) -> Self {
        let socket = Self::socket(to);
        sockopt::set_socket_reuseaddr(&socket, true).unwrap();
        bind(&socket, &source).unwrap();
        Self::connected(socket, to)
    }

    /// A socket that is not connected yet.
    pub fn socket(to: SocketAddr) -> OwnedFd {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[track_caller]
    pub fn connected(socket: OwnedFd, to: SocketAddr) -> Self {
        connect(&socket, &to).unwrap();
        Self::over(socket)
    }

    #[track_caller]
    pub fn unix(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).unwrap().into())
    }

    fn over(socket: OwnedFd) -> Self {
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        Self { stream }
    }

    /// The slot of the worker that has this connection.
    #[track_caller]
    pub fn who(&mut self) -> u16 {
        self.who_exactly().slot
    }

    /// The worker that has this connection.
    #[track_caller]
    pub fn who_exactly(&mut self) -> WorkerId {
        self.greeting().expect("a worker's greeting")
    }

    pub fn greeting(&mut self) -> Result<WorkerId, ErrorKind> {
        let mut line = String::new();
        let mut byte = [0];
        loop {
            match self.stream.read(&mut byte) {
                Ok(1) if byte[0] == b'\n' => break,
                Ok(1) => line.push(byte[0].into()),
                Ok(_) => return Err(ErrorKind::UnexpectedEof),
                Err(error) => return Err(error.kind()),
            }
        }
        let parsed = line
            .split_once('.')
            .and_then(|(slot, generation)| Some(WorkerId::new(slot.parse().ok()?, generation.parse().ok()?)));
        Ok(parsed.unwrap_or_else(|| panic!("not a worker's greeting: {line}")))
    }

    #[track_caller]
    pub fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Disables Nagle's algorithm: each `say` is sent at once.
    pub fn send_at_once(&self) {
        self.stream.set_nodelay(true).unwrap();
    }

    /// Reads `count` bytes.
    #[track_caller]
    pub fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads to the end.
    pub fn hear_all(&mut self) -> io::Result<String> {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).map(|_| text)
    }

    /// Whether neither data nor the end of the stream arrives within `time`.
    pub fn is_silent_for(&self, time: Duration) -> bool {
        let mut polled = [PollFd::new(&self.stream, PollFlags::IN)];
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        poll(&mut polled, Some(&time)).unwrap() == 0
    }

    pub fn end_writing(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Closes with a reset, which leaves no port in TIME_WAIT.
    pub fn reset(self) {
        sockopt::set_socket_linger(self.stream.as_fd(), Some(Duration::ZERO)).unwrap();
    }
}
