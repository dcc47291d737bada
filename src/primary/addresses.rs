//! Opening an address for the primary or for a worker. An address that orphans of a killed primary still hold
//! is waited for, since they are gone in a moment.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::dispatch::{Dispatcher, Holder, ListenFailure, Listening};
use crate::ipc::control::{Address, Datagram, ListenOptions, SocketId};
use crate::model::WorkerId;
use crate::process::orphans;

/// Orphans are gone in two seconds; the rest is for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A process that has been killed holds its sockets until the kernel is done with it, and an orphan may end
/// between a try and the look for orphans: so nobody is believed before the second look.
const SECOND_LOOK: Duration = Duration::from_millis(150);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// Between two looks whether another worker's server stays: the asking worker waits.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

pub async fn open(
    dispatcher: Arc<Dispatcher>,
    address: Address,
    options: ListenOptions,
    asker: Option<WorkerId>,
) -> Result<Listening, ListenFailure> {
    let listen =
        |joins_only| dispatcher.listen(address.clone(), ListenOptions { joins_only, ..options }, asker);
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

/// Tries again while orphans hold the address, and while a server of the cluster's perhaps leaves it, which `attempt` is
/// told of.
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
            // The accept thread has ended, and has said why.
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
