//! Probes a worker's HTTP server over a separate loopback connection, which leads only to that worker.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::ipc::control::Protocol;

/// Maximum bytes of a response's body that are read, so that the client does not disconnect in the middle of a short
/// response.
const MAX_BODY: usize = 64 * 1024;
const BODY_TIME: Duration = Duration::from_secs(1);

/// No response has this status.
const NONE: u16 = 0;
/// Timeout of the connection, which is immediate on loopback unless a firewall drops it.
const CONNECT_TIME: Duration = Duration::from_secs(1);

const AGENT: &str = concat!("drover-health/", env!("CARGO_PKG_VERSION"));

/// Both ends of a loopback connection: ours, and the worker's. A real TCP connection, so that programs see an address.
///
/// # Errors
/// The kernel's.
pub fn pair() -> io::Result<(TcpStream, OwnedFd)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect_timeout(&listener.local_addr()?, CONNECT_TIME)?;
    // Another process may have connected to the port first.
    let own = ours.local_addr()?;
    loop {
        let (theirs, peer) = listener.accept()?;
        if peer == own {
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            return Ok((ours, theirs.into()));
        }
    }
}

/// The status of the server's response to a GET of `path`.
///
/// # Errors
/// Why there is no response, in words.
pub async fn ask(ours: TcpStream, protocol: Protocol, path: &str, time: Duration) -> Result<u16, String> {
    // The status, once received: a body that takes longer is not a failure.
    let status = AtomicU16::new(NONE);
    let asked = async {
        let stream = tokio::net::TcpStream::from_std(ours).map_err(|error| error.to_string())?;
        send(stream, protocol, path, &status).await.map_err(|error| format!("no answer: {error}"))
    };
    let failed = match timeout(time, asked).await {
        Ok(asked) => asked.err(),
        Err(_) => Some(format!("no answer in {} ms", time.as_millis())),
    };
    match (status.load(Ordering::Relaxed), failed) {
        (NONE, failed) => Err(failed.unwrap_or_default()),
        (status, _) => Ok(status),
    }
}

/// A bidirectional stream. One type for every client, so that hyper's code is compiled once.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn send(
    stream: tokio::net::TcpStream,
    protocol: Protocol,
    path: &str,
    status: &AtomicU16,
) -> Result<(), hyper::Error> {
    let mut request = Request::new(Body::empty());
    let io = TokioIo::new(Box::new(stream) as Box<dyn Stream>);
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, header::HeaderValue::from_static(AGENT));
    match protocol {
        Protocol::Http1 => {
            headers.insert(header::HOST, header::HeaderValue::from_static("localhost"));
            headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            *request.uri_mut() = path.parse().unwrap_or_default();
            let (mut sender, connection) = http1::handshake(io).await?;
            let driven = Driven(tokio::spawn(connection));
            take(sender.send_request(request).await?, status).await;
            drop(driven);
            Ok(())
        }
        Protocol::Http2 => {
            *request.uri_mut() = format!("http://localhost{path}").parse().unwrap_or_default();
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            let driven = Driven(tokio::spawn(connection));
            take(sender.send_request(request).await?, status).await;
            drop(driven);
            Ok(())
        }
    }
}

/// Reads the response; its body is ignored, even if it is endless.
async fn take(answer: hyper::Response<Incoming>, status: &AtomicU16) {
    status.store(answer.status().as_u16(), Ordering::Relaxed);
    let _ = timeout(BODY_TIME, to_bytes(Body::new(answer.into_body()), MAX_BODY)).await;
}

/// A task that ends with its owner.
struct Driven<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Driven<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn run(asked: impl Future<Output = Result<u16, String>>) -> Result<u16, String> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(asked)
    }

    /// A server that sends these bytes on one connection, after it has read a request's headers.
    fn answering(theirs: OwnedFd, answer: &'static [u8]) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let mut stream = TcpStream::from(theirs);
            stream.set_nonblocking(false).unwrap();
            let mut read = Vec::new();
            let mut piece = [0; 1024];
            while !read.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut piece).unwrap() {
                    0 => break,
                    count => read.extend_from_slice(&piece[..count]),
                }
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(read).unwrap()
        })
    }

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn an_answer_is_its_status() {
        let (ours, theirs) = pair().unwrap();
        let server = answering(theirs, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(run(ask(ours, Protocol::Http1, "/health", TIMEOUT)), Ok(404));
        let request = server.join().unwrap();
        assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains("host: localhost"), "{request}");
    }

    #[test]
    fn a_body_without_an_end_takes_nothing_from_its_status() {
        let (ours, theirs) = pair().unwrap();
        let held = theirs.try_clone().unwrap();
        let server = answering(theirs, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun");
        assert_eq!(run(ask(ours, Protocol::Http1, "/", Duration::from_millis(300))), Ok(200));
        server.join().unwrap();
        drop(held);
    }

    #[test]
    fn nonsense_and_silence_are_no_answers() {
        let (ours, theirs) = pair().unwrap();
        let server = answering(theirs, b"nonsense\r\n\r\n");
        let failed = run(ask(ours, Protocol::Http1, "/", TIMEOUT)).unwrap_err();
        assert!(failed.starts_with("no answer: "), "{failed}");
        server.join().unwrap();
        let (ours, _theirs) = pair().unwrap();
        let time = Duration::from_millis(20);
        assert_eq!(run(ask(ours, Protocol::Http1, "/", time)), Err("no answer in 20 ms".into()));
    }
}
