//! Opens an address for the primary or for a worker. If orphans of a killed primary still hold the address, it waits,
//! because they end soon.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::dispatch::{Dispatcher, Holder, ListenFailure, Listening};
use crate::ipc::control::{Address, Datagram, ListenOptions, SocketId};
use crate::model::WorkerId;
use crate::process::orphans;

/// Orphans end within two seconds; the rest is a margin for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A killed process holds its sockets until the kernel has cleaned up, and an orphan may end between an attempt and the
/// search for orphans: so the result counts only after the second check.
const SECOND_LOOK: Duration = Duration::from_millis(150);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// Interval of the checks whether another worker's server stays open; the requesting worker waits meanwhile.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

pub async fn open(
    dispatcher: Arc<Dispatcher>,
    address: Address,
    options: ListenOptions,
    requester: Option<WorkerId>,
) -> Result<Listening, ListenFailure> {
    let listen =
        |joins_only| dispatcher.listen(address.clone(), ListenOptions { joins_only, ..options }, requester);
    until_free("listen", listen, || orphans::hold(&address)).await
}

/// A datagram socket for a worker.
pub async fn bind(
    dispatcher: Arc<Dispatcher>,
    datagram: Datagram,
    worker: WorkerId,
) -> Result<(SocketId, OwnedFd), ListenFailure> {
    let port = datagram.port;
    let bind = |_| dispatcher.bind(worker, datagram.clone());
    until_free("bind", bind, || orphans::hold_datagrams(port)).await
}

/// Retries while orphans hold the address, and while a server of the cluster may be about to close it (passed to
/// `attempt`).
async fn until_free<T>(
    syscall: &'static str,
    attempt: impl Fn(bool) -> oneshot::Receiver<Result<T, ListenFailure>>,
    is_held: impl Fn() -> bool,
) -> Result<T, ListenFailure> {
    let since = tokio::time::Instant::now();
    let mut timeout_of = SECOND_LOOK;
    let mut was_ours = false;
    loop {
        let failure = match attempt(was_ours).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(failure)) => failure,
            // The accept thread has ended and has reported why.
            Err(_) => ListenFailure::new(libc::ECONNABORTED, syscall, None),
        };
        match failure.holder {
            Holder::Ours => return Err(failure),
            Holder::OursPerhaps => {
                was_ours = true;
                tokio::time::sleep(BETWEEN_LOOKS).await;
                continue;
            }
            Holder::Other => {}
        }
        if failure.errno != libc::EADDRINUSE || since.elapsed() >= timeout_of {
            return Err(failure);
        }
        if is_held() {
            timeout_of = TIMEOUT;
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}
