//! The API's connections, limited in number and in time.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener as Bound, ToSocketAddrs};
use std::os::unix::net::UnixListener as BoundSocket;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{HttpService, Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::api::Api;
use super::connection::{Lasting, Transport};
use super::routes;

/// Maximum number of concurrent connections; others wait.
const MAX_CONNECTIONS: usize = 128;
/// Timeout of a request's headers.
const HEADERS_BY: Duration = Duration::from_secs(10);
/// A connection accepts no request after this time, and a response in progress has as long again.
const MAX_LENGTH: Duration = Duration::from_secs(120);
/// Number of ports that are tried after one that is taken.
const TRIES: u16 = 100;

/// Binds the port, or the next free one if `searches`; 0 is any.
///
/// # Errors
/// The operating system's.
pub fn bind(host: &str, port: u16, searches: bool) -> io::Result<Bound> {
    let tries = if searches && port != 0 { TRIES } else { 1 };
    let mut taken = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for next in (0..tries).map_while(|more| port.checked_add(more)) {
        let addresses: Vec<SocketAddr> = (host, next).to_socket_addrs()?.collect();
        match Bound::bind(addresses.as_slice()) {
            Ok(bound) => {
                bound.set_nonblocking(true)?;
                return Ok(bound);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

/// Serves the port until it is dropped.
///
/// # Errors
/// The listener is invalid.
pub async fn serve(bound: Bound, api: Arc<Api>) -> io::Result<()> {
    let listener = TcpListener::from_std(bound)?;
    serve_each(async || listener.accept().await.map(|(stream, _)| stream), api, Transport::Port).await
}

/// Serves the control socket until it is dropped. Its connections are counted separately, so that many connections on
/// the port do not lock out the operator.
///
/// # Errors
/// The listener is invalid.
pub async fn serve_socket(bound: BoundSocket, api: Arc<Api>) -> io::Result<()> {
    let listener = UnixListener::from_std(bound)?;
    serve_each(async || listener.accept().await.map(|(stream, _)| stream), api, Transport::Socket).await
}

async fn serve_each<S>(
    accept: impl AsyncFn() -> io::Result<S>,
    api: Arc<Api>,
    transport: Transport,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(routes::router(api));
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return Ok(()) };
        let Ok(stream) = accept().await else {
            // Out of file descriptors, or a client that disconnected at once: continue with others.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (service, lasting) = (service.clone(), Lasting::default());
        let marked = lasting.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(marked.clone());
            request.extensions_mut().insert(transport);
            service.call(request)
        });
        tokio::spawn(async move {
            attend(stream, service, &lasting, MAX_LENGTH).await;
            drop(permit);
        });
    }
}

/// Serves a connection. Errors of the client and its disconnection are ignored.
async fn attend<S, H, B>(stream: S, service: H, lasting: &Lasting, longest: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: HttpService<Incoming, ResBody = B>,
    H::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS_BY).max_buf_size(64 * 1024);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = lasting.over(longest) => {}
    }
    // A request in progress is completed.
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(longest, connection).await;
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, Response};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_was_asked_before_a_connection_is_too_old_is_answered() {
        let (mut client, stream) = tokio::io::duplex(1024);
        let longest = Duration::from_secs(1);
        let (began, begun) = tokio::sync::oneshot::channel::<()>();
        let began = std::sync::Mutex::new(Some(began));
        let service = service_fn(move |_: Request<Incoming>| {
            let began = began.lock().unwrap().take();
            async move {
                drop(began);
                tokio::time::sleep(longest + longest / 2).await;
                Ok::<_, std::convert::Infallible>(Response::new("done".to_owned()))
            }
        });
        let served = tokio::spawn(async move { attend(stream, service, &Lasting::default(), longest).await });
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let _ = begun.await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("done") && answer.contains("connection: close"), "{answer:?}");
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_asks_nothing_is_closed() {
        let (mut client, stream) = tokio::io::duplex(1024);
        let service = service_fn(async |_: Request<Incoming>| {
            Ok::<_, std::convert::Infallible>(Response::new(String::new()))
        });
        attend(stream, service, &Lasting::default(), Duration::from_millis(10)).await;
        let mut answer = String::new();
        assert_eq!(client.read_to_string(&mut answer).await.unwrap(), 0);
    }
}
