//! The API's connections: few at a time, and none that takes for ever.

use std::io;
use std::net::{SocketAddr, TcpListener as Bound, ToSocketAddrs};
use std::os::unix::net::UnixListener as BoundSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::{Api, routes};

/// At the same time; others wait.
const MOST_CONNECTIONS: usize = 128;
/// A request's headers are here by then.
const HEADERS_BY: Duration = Duration::from_secs(10);
/// A connection lives no longer.
const LONGEST: Duration = Duration::from_secs(120);
/// Ports that are tried after one that is taken.
const TRIES: u16 = 100;

/// Of a connection: its answer lasts as long as its client wants.
#[derive(Clone, Default)]
pub struct Lasting(Arc<AtomicBool>);

impl Lasting {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns when a connection that does not last has lived long enough.
    async fn over(&self) {
        loop {
            tokio::time::sleep(LONGEST).await;
            if !self.0.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Binds the port, or the next free one where `searches`; 0 is any.
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
/// The listener is none.
pub async fn serve(bound: Bound, api: Arc<Api>) -> io::Result<()> {
    let listener = TcpListener::from_std(bound)?;
    serve_each(async || listener.accept().await.map(|(stream, _)| stream), api).await
}

/// Serves the control socket until it is dropped. Its connections are counted apart from the port's: a crowd there does
/// not lock out the operator.
///
/// # Errors
/// The listener is none.
pub async fn serve_socket(bound: BoundSocket, api: Arc<Api>) -> io::Result<()> {
    let listener = UnixListener::from_std(bound)?;
    serve_each(async || listener.accept().await.map(|(stream, _)| stream), api).await
}

async fn serve_each<S>(accept: impl AsyncFn() -> io::Result<S>, api: Arc<Api>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(routes::router(api));
    let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return Ok(()) };
        let Ok(stream) = accept().await else {
            // Out of descriptors, or a client that left at once: others may come.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (service, lasting) = (service.clone(), Lasting::default());
        let marked = lasting.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(marked.clone());
            service.call(request)
        });
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADERS_BY).max_buf_size(64 * 1024);
            // A client's mistakes and its leaving are its own affair.
            tokio::select! {
                _ = server.serve_connection(TokioIo::new(stream), service) => {}
                () = lasting.over() => {}
            }
            drop(permit);
        });
    }
}
